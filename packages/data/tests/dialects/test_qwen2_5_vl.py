import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vision_r1_data import Answer, Dialect, Frame, Objects, get_dialect, list_dialects
from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.prompts import Form

DIALECT = get_dialect("qwen2_5_vl")
FRAME = Frame(width=640, height=480, model_width=1288, model_height=952)
SAME = Frame(100, 50, 100, 50)
CHAIR = '{"bbox_2d": [1, 2, 30, 40], "label": "chair"}'
TABLE = '{"bbox_2d": [5, 6, 70, 48], "label": "table"}'


def decode(text: str, frame: Frame = SAME) -> Answer:
    return DIALECT.decode(text, frame)


def decode_with_care(text: str, frame: Frame = SAME) -> Answer:
    """The answer without the short cut for items that have no problems."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JsonList, "_typed", lambda *_: None)
        return decode(text, frame)


def fenced(body: str) -> str:
    return f"```json\n{body}\n```"


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Frame, Objects]:
    """A non-square frame, and objects whose boxes are wider and higher than a pixel of the model."""
    sides = st.integers(20, 3000)
    width, height = draw(sides), draw(sides)
    frame = Frame(width, height, 28 * draw(st.integers(1, 60)), 28 * draw(st.integers(1, 60)))
    objects = []
    for _ in range(draw(st.integers(0, 5))):
        spans = []
        for side, model in ((width, frame.model_width), (height, frame.model_height)):
            step = 1.001 * side / model
            low = draw(st.floats(0, side - step))
            spans.append((low, draw(st.floats(min(low + step, side), side))))
        (x1, x2), (y1, y2) = spans
        objects.append(((x1, y1, x2, y2), draw(st.text(max_size=12))))
    return frame, Objects(tuple(box for box, _ in objects), tuple(label for _, label in objects))


def test_the_registry_knows_it() -> None:
    assert "qwen2_5_vl" in list_dialects()
    dialect: Dialect = get_dialect("qwen2_5_vl")
    assert dialect.name == "qwen2_5_vl"
    with pytest.raises(ValueError, match=r"unknown dialect 'qwen9'; known are .*qwen2_5_vl"):
        get_dialect("qwen9")


def test_the_text_of_two_objects() -> None:
    objects = Objects(((0, 0, 320, 240), (10, 20, 640, 480)), ("chair", 'a "é"'))
    text = DIALECT.encode(objects, FRAME)
    assert text == (
        '```json\n[\n\t{"bbox_2d": [0, 0, 644, 476], "label": "chair"},\n'
        '\t{"bbox_2d": [20, 40, 1288, 952], "label": "a \\"é\\""}\n]\n```'
    )


def test_no_objects_are_an_empty_list() -> None:
    text = DIALECT.encode(Objects(), FRAME)
    assert text == "```json\n[]\n```"
    assert decode(text) == Answer(well_formed=True)


@given(scenes())
def test_round_trip_within_half_a_step(scene: tuple[Frame, Objects]) -> None:
    frame, objects = scene
    answer = decode(DIALECT.encode(objects, frame), frame)
    assert answer.labels == objects.labels
    assert set(answer.problems) <= {"duplicate"}  # different boxes may round to the same
    for got, true in zip(answer.boxes, objects.boxes, strict=True):
        for k, step in enumerate((frame.width / frame.model_width, frame.height / frame.model_height) * 2):
            assert abs(got[k] - true[k]) <= step / 2 + 1e-6


@given(scenes())
def test_what_is_written_reads_as_the_same_text(scene: tuple[Frame, Objects]) -> None:
    frame, objects = scene
    text = DIALECT.encode(objects, frame)
    answer = decode(text, frame)
    assert DIALECT.encode(Objects(answer.boxes, answer.labels), frame) == text


def test_boxes_come_back_in_original_pixels() -> None:
    (box,) = decode(fenced('[{"bbox_2d": [644, 238, 1288, 952], "label": "a"}]'), FRAME).boxes
    assert box == pytest.approx((320, 120, 640, 480))


def test_halves_round_up_so_that_a_pixel_stays_a_pixel() -> None:
    assert "[2, 2, 3, 3]" in DIALECT.encode(Objects(((1.5, 1.5, 2.5, 2.5),), ("a",)), SAME)


@pytest.mark.parametrize("body", [f"[{CHAIR},{TABLE}]", f"  [\n{CHAIR} ,\t{TABLE}\n]\n"])
def test_white_space_is_free(body: str) -> None:
    assert decode(f"\n{fenced(body)}  ") == Answer(
        ((1, 2, 30, 40), (5, 6, 70, 48)), ("chair", "table"), well_formed=True
    )


FORMS = {
    "nothing": ("", 0, {"no_fence", "no_json"}),
    "words": ("There is no chair.", 0, {"no_fence", "no_json"}),
    "None": ("None", 0, {"no_fence", "no_json"}),
    "an object": (fenced(CHAIR), 0, {"no_json"}),
    "a number": (fenced("7"), 0, {"no_json"}),
    "an empty fence": ("```json```", 0, {"no_json"}),
    "no fence": (f"[{CHAIR}]", 1, {"no_fence"}),
    "a fence without json": (f"```\n[{CHAIR}]\n```", 1, {"no_fence", "extra_text"}),
    "only an opening fence": (f"```json\n[{CHAIR}]", 1, {"no_fence", "truncated"}),
    "only a closing fence": (f"[{CHAIR}]\n```", 1, {"no_fence", "extra_text"}),
    "the opening fence twice": (f"```json\n{fenced(f'[{CHAIR}]')}", 1, {"extra_text"}),
    "the closing fence twice": (f"{fenced(f'[{CHAIR}]')}\n```", 1, {"extra_text"}),
    "text before": (f"Here: {fenced(f'[{CHAIR}]')}", 1, {"no_fence", "extra_text"}),
    "text after": (f"{fenced(f'[{CHAIR}]')} Done.", 1, {"no_fence", "extra_text"}),
    "text inside": (fenced(f"Here: [{CHAIR}]"), 1, {"extra_text"}),
    "brackets in the text before": (f"I see [2] chairs [{CHAIR}]", 1, {"no_fence", "extra_text"}),
    "two fenced blocks": (f"{fenced(f'[{CHAIR}]')}\n{fenced(f'[{TABLE}]')}", 1, {"extra_text"}),
    "two lists": (f"[{CHAIR}][{TABLE}]", 1, {"no_fence", "extra_text"}),
    "a missing comma": (fenced(f"[{CHAIR} {TABLE}]"), 2, {"bad_json"}),
    "a comma at the end": (fenced(f"[{CHAIR},]"), 1, {"bad_json"}),
    "two commas": (fenced(f"[{CHAIR},,{TABLE}]"), 1, {"extra_text"}),
    "words between": (fenced(f"[{CHAIR}, and {TABLE}]"), 1, {"extra_text"}),
    "a number between": (fenced(f"[{CHAIR}, 7, {TABLE}]"), 2, {"bad_item"}),
    "a broken item": (fenced(f'[{CHAIR}, {{"bbox_2d": [1, 2 3, 4]}}, {TABLE}]'), 2, {"bad_item"}),
    "single quotes": (fenced("[{'bbox_2d': [1, 2, 3, 4], 'label': 'a'}]"), 0, {"bad_item"}),
    "an unclosed list": (fenced(f"[{CHAIR}, {TABLE}"), 2, {"truncated"}),
    "an unclosed item": (fenced(f'[{CHAIR}, {{"bbox_2d": [5, 6'), 1, {"truncated"}),
    "an unclosed string": (fenced(f'[{CHAIR}, {{"bbox_2d": [5, 6, 7, 8], "label": "]}}'), 1, {"truncated"}),
}


@pytest.mark.parametrize(("text", "count", "problems"), FORMS.values(), ids=FORMS)
def test_forms(text: str, count: int, problems: set[str]) -> None:
    answer = decode(text)
    assert set(answer.problems) == problems
    assert answer.labels == ("chair", "table")[:count]
    assert answer.truncated == ("truncated" in problems)
    assert not answer.well_formed


NUMBERS = {
    "three": "[1, 2, 3]",
    "five": "[1, 2, 3, 4, 5]",
    "text": '["1", "2", "3", "4"]',
    "flags": "[true, true, true, true]",
    "null": "[null, 2, 3, 4]",
    "pairs": "[[1, 2], [3, 4]]",
    "not a list": '"1, 2, 3, 4"',
    "not a number": "[NaN, 2, 3, 4]",
    "infinite": "[1, 2, Infinity, 4]",
    "minus infinite": "[-Infinity, 2, 3, 4]",
    "beyond floats": "[1, 2, 1e999, 4]",
    "5,000 digits": f"[1, 2, {'9' * 5000}, 4]",
    "minus 5,000 digits": f"[-{'9' * 5000}, 2, 3, 4]",
    "300 digits": f"[1, 2, {'9' * 300}, 4]",
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_bad_numbers_cost_only_their_item(numbers: str) -> None:
    answer = decode(fenced(f'[{CHAIR}, {{"bbox_2d": {numbers}, "label": "a"}}, {TABLE}]'))
    assert (answer.labels, answer.problems) == (("chair", "table"), ("bad_number",))
    assert not answer.well_formed


BOXES = {
    "whole image": ("[0, 0, 100, 50]", ()),
    "fractions": ("[0.5, 0.25, 99.5, 49.75]", ()),
    "beyond the right": ("[0, 0, 101, 50]", ("out_of_bounds",)),
    "beyond the bottom": ("[0, 0, 100, 51]", ("out_of_bounds",)),
    "beyond the left": ("[-1, 0, 100, 50]", ("out_of_bounds",)),
    "beyond the top": ("[0, -1, 100, 50]", ("out_of_bounds",)),
    "swapped x": ("[30, 10, 20, 40]", ("swapped_corners",)),
    "swapped y": ("[10, 40, 20, 30]", ("swapped_corners",)),
    "no width": ("[10, 10, 10, 40]", ("swapped_corners",)),
    "swapped and beyond": ("[101, 10, 20, 40]", ("out_of_bounds", "swapped_corners")),
}


@pytest.mark.parametrize(("numbers", "problems"), BOXES.values(), ids=BOXES)
def test_bad_boxes_are_kept_and_named(numbers: str, problems: tuple[str, ...]) -> None:
    answer = decode(fenced(f'[{{"bbox_2d": {numbers}, "label": "a"}}]'))
    assert answer.boxes == (tuple(json.loads(numbers)),)
    assert answer.problems == problems
    assert answer.well_formed == (not problems)


def test_bounds_are_those_of_what_the_model_sees() -> None:
    text = fenced('[{"bbox_2d": [0, 0, 1288, 952], "label": "a"}]')
    assert decode(text, FRAME).well_formed
    assert decode(text, Frame(1288, 952, 644, 476)).problems == ("out_of_bounds",)


ITEMS = {
    "no label": '{"bbox_2d": [1, 2, 3, 4]}',
    "no box": '{"label": "a"}',
    "label not text": '{"bbox_2d": [1, 2, 3, 4], "label": 5}',
    "extra key": '{"bbox_2d": [1, 2, 3, 4], "label": "a", "score": 0.9}',
    "other key": '{"bbox": [1, 2, 3, 4], "label": "a"}',
    "a list": "[1, 2, 3, 4]",
    "text": '"chair"',
    "null": "null",
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_bad_items_are_left_out_and_named(item: str) -> None:
    answer = decode(fenced(f"[{CHAIR}, {item}, {TABLE}]"))
    assert (answer.labels, answer.problems) == (("chair", "table"), ("bad_item",))


def test_the_same_item_twice_is_a_duplicate() -> None:
    answer = decode(fenced(f"[{CHAIR}, {TABLE}, {CHAIR}]"))
    assert (answer.labels, answer.problems) == (("chair", "table", "chair"), ("duplicate",))
    assert answer.well_formed


def test_the_same_box_with_another_label_is_not() -> None:
    assert decode(fenced(f"[{CHAIR}, {CHAIR.replace('chair', 'seat')}]")).well_formed


@pytest.mark.parametrize("label", ["", "\\ud800", "\\u0041", "\\n", "}], ```", '\\"', "日本", "\ud800"])
def test_labels_are_any_text(label: str) -> None:
    answer = decode(fenced(f'[{{"bbox_2d": [1, 2, 3, 4], "label": "{label}"}}]'))
    assert answer.labels == (json.loads(f'"{label}"'),)
    assert answer.well_formed


@pytest.mark.parametrize("label", ["chair", 'a ]}, {" \\', "``` [{"])
def test_a_cut_at_every_character_keeps_the_complete_items(label: str) -> None:
    boxes = ((1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 48.0), (7.0, 7.0, 8.0, 8.0))
    text = DIALECT.encode(Objects(boxes, (label,) * 3), SAME)
    item = json.dumps(label)
    ends = [k + len(item) + 1 for k in range(len(text)) if text.startswith(item, k)]
    for length in range(len(text)):
        answer = decode(text[:length])
        assert answer.boxes == boxes[: sum(end <= length for end in ends)], text[:length]
        assert not answer.well_formed
        assert answer.truncated or length < text.index("{"), text[:length]
    assert decode(text).boxes == boxes


PIECES = ["```json", "```", "[", "]", "{", "}", '"', "\\", ",", ":", " ", "\n", "bbox_2d", '"label"', CHAIR]
PIECES += ["-", "1e999", "NaN", "-Infinity", "9" * 5000, "true", "null", "\ud800", "\x00", "\ufeff"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_an_answer(text: str) -> None:
    answer = decode(text)
    assert repr(answer) == repr(decode_with_care(text))  # a repr tells 0.0 from -0.0
    assert len(answer.boxes) == len(answer.labels)
    assert answer.well_formed == (set(answer.problems) <= {"duplicate"})
    assert all(math.isfinite(x) for box in answer.boxes for x in box)


@given(scenes(), st.data())
def test_a_changed_answer_is_an_answer(scene: tuple[Frame, Objects], data: st.DataObject) -> None:
    frame, objects = scene
    text = DIALECT.encode(objects, frame)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[end:]
    answer = decode(text, frame)
    assert repr(answer) == repr(decode_with_care(text, frame))
    assert answer.well_formed == (set(answer.problems) <= {"duplicate"})
    if answer.well_formed:  # then the list says the same to a plain JSON reader
        items = json.loads(text.strip()[7:-3])
        assert answer.labels == tuple(item["label"] for item in items)


@given(
    st.lists(
        st.from_regex(r"\A-?[0-9]{1,12}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"), min_size=4, max_size=4
    ),
    st.text() | st.text().map(json.dumps).map(lambda label: label[1:-1]),
)
@example(["-0", "-0.0", "1E2", "1e-400"], "")
@example(["0", "1e999", "999999999.9999999999", "1000000000"], "\\ud800")
@example(["1", "2", "3", "4"], 'a", "label": "b')
def test_any_number_and_label_reads_the_same_with_and_without_the_short_cut(
    numbers: list[str], label: str
) -> None:
    text = fenced(f'[{{"bbox_2d": [{", ".join(sorted(numbers, key=float))}], "label": "{label}"}}]')
    frame = Frame(640, 480, 10**9, 10**9)
    assert repr(decode(text, frame)) == repr(decode_with_care(text, frame))


# 2 MB each: a decoder whose work grew with the square of the length would not come back.
HOSTILE = {
    "deep lists": "[" * 2_000_000,
    "deep objects": '[{"a":' * 300_000,
    "deep and closed": "[" + '{"a":' * 300_000 + "1" + "}" * 300_000 + "]",
    "spaces": "[" + " " * 2_000_000,
    "lists and spaces": "[ \n" * 700_000,
    "open items": "[" + "{" * 2_000_000,
    "quotes": "[{" + '"' * 2_000_000,
    "one string": '[{"' + "a" * 2_000_000,
    "escapes": '[{"' + "\\a" * 1_000_000,
    "backslashes": '[{"' + "\\" * 2_000_000,
    "digits": f'[{{"bbox_2d": [{"9" * 2_000_000}]}}]',
    "many short ints": f'[{{"bbox_2d": [{"1," * 1_000_000}]}}]',
    "broken items": "[" + '{"a" 1},' * 250_000,
    "items of strings that swallow": "[" + '{"a": "b},' * 200_000,
    "items of wrong brackets": "[" + '{"a": [1},' * 200_000,
    "complete items": "[" + f"{CHAIR}," * 45_000,
    "separators": f"[{CHAIR}" + " " * 1_000_000 + "," + " " * 1_000_000 + "x",
    "fences": "```json" * 300_000,
    "backticks": "`" * 2_000_000,
    "blocks": fenced(f"[{CHAIR}]") * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("in_fence", [False, True], ids=["bare", "fenced"])
def test_long_hostile_text_comes_back(text: str, in_fence: bool) -> None:
    assert not decode(fenced(text) if in_fence else text).well_formed


# Points, texts and polygons.


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("points", '{"point_2d": [322, 238], "label": "chair"}'),
        ("texts", '{"bbox_2d": [0, 0, 644, 476], "text_content": "chair"}'),
        ("polygons", '{"polygon_2d": [[0, 0], [644, 0], [644, 476], [0, 476]], "label": "chair"}'),
    ],
)
def test_each_form_is_written_and_read(form: Form, body: str) -> None:
    text = DIALECT.encode(Objects(((0, 0, 320, 240),), ("chair",)), FRAME, form)
    assert text == fenced(f"[\n\t{body}\n]")
    answer = DIALECT.decode(text, FRAME, form)
    assert answer.well_formed
    assert answer.labels == ("chair",)
    middle = (160.0, 120.0, 160.0, 120.0)
    assert answer.boxes[0] == (middle if form == "points" else (0.0, 0.0, 320.0, 240.0))
    assert len(answer.polygons) == (form == "polygons")


@pytest.mark.parametrize("form", ["boxes", "points", "texts", "polygons"])
def test_the_items_of_another_form_are_bad(form: Form) -> None:
    for other in ("boxes", "points", "texts", "polygons"):
        answer = DIALECT.decode(
            DIALECT.encode(Objects(((1, 2, 30, 40),), ("chair",)), SAME, other), SAME, form
        )
        assert answer.well_formed == (form == other)
        assert answer.problems == (() if form == other else ("bad_item",))


@pytest.mark.parametrize("form", ["points", "texts", "polygons"])
@given(
    text=st.text(max_size=60) | st.text(alphabet='{}[]":,0123456789-eE.\\`jsonpitlabexcd_2 \n', max_size=80)
)
def test_any_text_is_an_answer_of_any_form(form: Form, text: str) -> None:
    answer = DIALECT.decode(text, SAME, form)
    assert answer.well_formed == (set(answer.problems) <= {"duplicate"})
    assert len(answer.boxes) == len(answer.labels)
    assert len(answer.polygons) in (0, len(answer.boxes))


@pytest.mark.parametrize(
    ("place", "problems"),
    [
        ("[[1, 2], [30, 40], [1, 40]]", ()),
        ("[[1, 2], [30, 40]]", ("bad_number",)),
        ("[[1, 2], [30, 40], [1]]", ("bad_number",)),
        ("[[1, 2], [30, 40], 7]", ("bad_number",)),
        ("[[1, 2], [30, 40], [1, NaN]]", ("bad_number",)),
        ("[[1, 2], [30, 51], [1, 40]]", ("out_of_bounds",)),
        ("7", ("bad_number",)),
    ],
)
def test_polygons_have_three_corners_or_more(place: str, problems: tuple[str, ...]) -> None:
    text = fenced(f'[{{"polygon_2d": {place}, "label": "chair"}}]')
    assert DIALECT.decode(text, SAME, "polygons").problems == problems


def test_a_polygon_is_bounded_by_its_box() -> None:
    text = fenced('[{"polygon_2d": [[10, 20], [50, 4], [30, 44]], "label": "chair"}]')
    answer = DIALECT.decode(text, Frame(200, 100, 100, 50), "polygons")
    assert answer.boxes == ((20.0, 8.0, 100.0, 88.0),)
    assert answer.polygons == (((20.0, 40.0), (100.0, 8.0), (60.0, 88.0)),)


def test_a_point_beyond_the_edge() -> None:
    text = fenced('[{"point_2d": [101, 20], "label": "chair"}, {"point_2d": [1, 2], "label": "chair"}]')
    assert DIALECT.decode(text, SAME, "points").problems == ("out_of_bounds",)


@given(scenes(), st.data())
def test_an_answer_that_is_cut_off_reads_the_same_with_and_without_the_short_cut(
    scene: tuple[Frame, Objects], data: st.DataObject
) -> None:
    frame, objects = scene
    labels = data.draw(st.tuples(*[st.text(alphabet='a}{]["`,\n ', max_size=6)] * len(objects)))
    text = DIALECT.encode(Objects(objects.boxes, labels), frame)
    text = text[: data.draw(st.integers(0, len(text)))] + data.draw(st.sampled_from(["", "", "`", "\n", "]"]))
    answer = decode(text, frame)
    assert repr(answer) == repr(decode_with_care(text, frame))
