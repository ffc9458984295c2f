import math
from html.parser import HTMLParser

import pytest
from PIL import Image

from vision_r1_data import Answer, Objects
from vision_r1_eval import Scene, label_colours, scene_figure

IMAGE = Image.new("RGB", (100, 100), "white")
CAT, DOG, FAR = (0, 0, 40, 40), (50, 50, 90, 90), (60, 0, 90, 30)
TRUTH = Objects((CAT, DOG), ("cat", "dog"))
PERFECT = Answer((CAT, DOG), ("cat", "dog"), well_formed=True)
HALF = Answer((CAT, FAR), ("cat", "dog"), well_formed=True)


class Tags(HTMLParser):
    def __init__(self, markup):
        super().__init__()
        self.tags = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def rects(figure, kind):
    return [attrs for tag, attrs in Tags(figure).tags if tag == "rect" and attrs.get("class") == kind]


def test_marks_right_missed_and_invented():
    figure = scene_figure(Scene(IMAGE, "7", TRUTH, HALF, PERFECT))
    assert len(rects(figure, "right")) == 2 + 1 + 2
    (missed,), (invented,) = rects(figure, "missed"), rects(figure, "invented")
    assert "stroke-dasharray" in missed
    assert missed["x"] == "50"
    assert invented["fill"] == "url(#hatch-0)"
    assert invented["x"] == "60"
    assert "F1 0.50 \N{RIGHTWARDS ARROW} 1.00" in figure


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [(HALF, PERFECT, "better"), (PERFECT, HALF, "worse"), (HALF, HALF, "unchanged")],
)
def test_change_is_by_f1(before, after, change):
    assert f'data-change="{change}"' in scene_figure(Scene(IMAGE, "7", TRUTH, before, after))


def test_small_images_are_embedded_once_and_keep_their_pixels():
    figure = scene_figure(Scene(IMAGE, "7", TRUTH, HALF, PERFECT), number=3)
    assert figure.count("data:image/png") == 1
    assert figure.count('href="#image-3"') == 2
    assert figure.count('class="pixels"') == 3
    photo = scene_figure(Scene(Image.new("RGB", (640, 480)), "7", TRUTH, HALF, PERFECT))
    assert 'class="pixels"' not in photo


def test_crowds_are_neither_right_nor_missed():
    truth = Objects((CAT, DOG), ("cat", "dog"), (False, True))
    inside = Answer((CAT, (60, 60, 70, 70)), ("cat", "dog"), well_formed=True)
    figure = scene_figure(Scene(IMAGE, "7", truth, inside, inside))
    assert "<p>1 object</p>" in figure
    assert len(rects(figure, "crowd")) == 3
    assert not rects(figure, "missed") + rects(figure, "invented")


def test_any_answer_draws():
    numbers = (math.nan, math.inf, -1e9, 1e9)
    odd = Answer(
        (numbers, (90, 90, 10, 10), (-5, 200, 700, 900)), ("a", "b" * 500, ""), problems=("no_json",)
    )
    figure = scene_figure(Scene(IMAGE, "7", Objects(), odd, Answer()))
    assert len(rects(figure, "invented")) == 2
    assert "nan" not in figure
    assert "no json" in figure
    assert "malformed" in figure
    assert "nothing to find" in figure


def test_what_a_model_writes_is_text():
    evil = "</pre><script>alert(1)</script>"
    answer = Answer((CAT,), (evil,), problems=(evil,))
    figure = scene_figure(Scene(IMAGE, evil, Objects((CAT,), (evil,)), answer, answer, evil, evil))
    assert "<script" not in figure
    assert "&lt;script&gt;" in figure


def test_a_label_has_one_colour_everywhere():
    scenes = [
        Scene(IMAGE, "1", TRUTH, HALF, PERFECT),
        Scene(IMAGE, "2", Objects((CAT,), ("bird",)), HALF, Answer((CAT,), ("fish",))),
    ]
    colours = label_colours(scenes)
    assert sorted(colours) == ["bird", "cat", "dog", "fish"]
    assert len(set(colours.values())) == 4
    assert label_colours(scenes[::-1]) == colours
    assert label_colours([]) == {}
