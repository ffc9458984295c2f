import pytest
from PIL import Image, ImageColor

from vision_r1_data import Answer, Frame
from vision_r1_grpo.overlays import _BEST, _SIDE, _WORST, draw_group, question_text
from vision_r1_grpo.rewards import Target

BOX = (20.0, 30.0, 60.0, 70.0)
TRUTH = Target((BOX,), ("cat",), ("cat", "dog"), Frame(100, 100, 100, 100))
EMPTY = Target((), (), ("cat",), Frame(100, 100, 100, 100))
GROUND = (7, 9, 11)
FOUND = Answer((BOX,), ("cat",), True)
UNREAD = Answer(problems=("no_json",))


def draw(answers, rewards, target=TRUTH, size=(100, 100)):
    image = Image.new("RGB", size, GROUND)
    parts = {"format": [1.0] * len(answers), "nowhere": [float("nan")] * len(answers)}
    return draw_group(image, target, answers, rewards, parts, title="step 1", question="Where?")


def colours(image):
    return {colour for _, colour in image.getcolors(image.width * image.height)}


def cells(sheet, columns=2):
    """The parts of a sheet below its head, row by row; a cell is square and has a caption."""
    width = sheet.width // columns
    height = _SIDE + 4 + 66 + 14
    top = sheet.height - height * ((sheet.height - 60) // height)
    return [
        sheet.crop((x, y, x + width, y + height))
        for y in range(top, sheet.height - 20, height)
        for x in range(0, width * columns - 20, width)
    ]


def test_the_best_comes_first_and_the_worst_last():
    truth, best, middle, worst = cells(draw([UNREAD, FOUND, FOUND], [0.0, 3.0, 2.0]))
    green, red = map(ImageColor.getrgb, (_BEST, _WORST))
    assert [green in colours(cell) for cell in (truth, best, middle, worst)] == [False, True, False, False]
    assert [red in colours(cell) for cell in (truth, best, middle, worst)] == [False, False, False, True]


def test_equal_rewards_have_no_best():
    seen = colours(draw([FOUND, FOUND], [1.0, 1.0]))
    assert not {ImageColor.getrgb(_BEST), ImageColor.getrgb(_WORST)} & seen


def test_a_box_is_drawn_where_it_is():
    truth, found, *_ = cells(draw([FOUND, UNREAD, UNREAD], [3.0, 0.0, 0.0]))
    blue = ImageColor.getrgb("hsl(205,90%,60%)")
    scale = _SIDE / 100
    for cell in (truth, found):
        where = [
            (x, y) for x in range(cell.width) for y in range(_SIDE + 14) if cell.getpixel((x, y)) == blue
        ]
        height = max(y for _, y in where) - min(y for _, y in where)
        width = max(x for x, _ in where) - min(x for x, _ in where)
        assert width == pytest.approx(40 * scale, abs=4)
        assert height == pytest.approx(40 * scale, abs=24), "with the label above or below"


@pytest.mark.parametrize(
    "answer",
    [
        Answer((BOX,), ("dog",), True),
        Answer(((50, 50, 50, 50),), ("dog",), True),
        Answer((BOX,), ("dog",), True, polygons=(((20, 30), (60, 30), (40, 70)),)),
        Answer(((0, 0, 1e9, 1e9),), ("dog",), True),
        Answer(((60, 70, 20, 30),), ("dog",), True),
        Answer(((60, 30, 20, 30),), ("dog",), True),
    ],
    ids=["box", "point", "polygon", "beyond the image", "swapped corners", "a swapped line"],
)
def test_every_form_of_an_answer_is_drawn_in_the_colour_of_its_label(answer):
    _, drawn, *_ = cells(draw([answer, UNREAD, UNREAD], [1.0, 0.0, 0.0], EMPTY))
    # cat is asked for, so dog is the second label
    assert ImageColor.getrgb(f"hsl({(205 + 137.508) % 360:.0f},90%,68%)") in colours(drawn)


@pytest.mark.parametrize("size", [(100, 100), (1, 300), (4000, 30)])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_sheets_of_any_group_and_image(size, count):
    numbers = [Answer(well_formed=True, count=n) for n in range(count)]
    sheet = draw(numbers, [float(n) for n in range(count)], size=size)
    assert sheet.width < 3000
    assert sheet.height < 3000


def test_the_words_of_a_question():
    content = [{"type": "image"}, {"type": "text", "text": "Where is it?"}]
    assert question_text([{"role": "user", "content": content}]) == "Where is it?"
