"""What every dialect promises."""

import dataclasses
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1_data import Answer, Frame, Objects, Sample, get_dialect, list_dialects
from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.prompts import TASKS

FRAMES = (Frame(640, 480, 644, 476), Frame(333, 1000, 336, 1008), Frame(1920, 1080, 1932, 1092))
FRAME = FRAMES[0]
THREE = Objects(
    ((320.0, 120.0, 640.0, 480.0), (10.0, 20.0, 100.0, 200.0), (30.0, 44.0, 150.0, 160.0)),
    ("cat", "a red dog", "a red dog"),
)
EVERY = pytest.mark.parametrize("name", list_dialects())
NO_FAULTS = {"duplicate", "unknown_label"}


def written(name: str, objects: Objects = THREE, frame: Frame = FRAME) -> str:
    dialect = get_dialect(name)
    return dialect.encode(objects, frame, dialect.forms[0])


def read(name: str, text: str, frame: Frame = FRAME, categories: tuple[str, ...] = ()) -> Answer:
    dialect = get_dialect(name)
    return dialect.decode(text, frame, dialect.forms[0], categories)


def labels(name: str, objects: Objects = THREE) -> tuple[str, ...]:
    return objects.labels if get_dialect(name).names_labels else ("",) * len(objects)


def steps(name: str, frame: Frame) -> tuple[float, float]:
    """The width and the height of a quantisation step in original pixels."""
    space = get_dialect(name).space
    if space.scale is None:
        return frame.width / frame.model_width, frame.height / frame.model_height
    units = space.scale * 10**space.decimals
    side = max(frame.width, frame.height)
    return (side if space.square else frame.width) / units, (side if space.square else frame.height) / units


def random_objects(name: str, frame: Frame, count: int, rng: random.Random) -> Objects:
    """Boxes that are wider and higher than a step."""
    boxes = []
    for _ in range(count):
        spans = []
        for side, step in zip((frame.width, frame.height), steps(name, frame), strict=True):
            if name == "paligemma":  # it has no token for the edge, and what lies beyond the last is clipped
                side *= 1023.5 / 1024
            low = rng.uniform(0, side - 1.01 * step)
            spans.append((low, rng.uniform(low + 1.01 * step, side)))
        (x1, x2), (y1, y2) = spans
        boxes.append((x1, y1, x2, y2))
    return Objects(tuple(boxes), tuple(rng.choices(("cat", "a red dog", "日本"), k=count)))


@EVERY
def test_round_trip_within_half_a_step_of_ten_thousand_boxes(name: str) -> None:
    rng = random.Random(0)
    dialect = get_dialect(name)
    for k in range(100):
        frame = (
            FRAMES[k % len(FRAMES)]
            if k < 50
            else Frame(rng.randint(200, 3000), rng.randint(200, 3000), 280, 700)
        )
        objects = random_objects(name, frame, 100, rng)
        answer = read(name, written(name, objects, frame), frame)
        assert answer.labels == labels(name, objects)
        assert set(answer.problems) <= NO_FAULTS, answer.problems
        true, got = np.array(objects.boxes), np.array(answer.boxes)
        if dialect.forms == ("points",):
            true = np.tile((true[:, :2] + true[:, 2:]) / 2, 2)
        step = np.array(steps(name, frame) * 2)
        assert (abs(got - true) <= step / 2 + 1e-6).all()


@EVERY
def test_the_size_of_a_step(name: str) -> None:
    for frame in FRAMES:
        assert get_dialect(name).space.step(frame) == pytest.approx(steps(name, frame))


@EVERY
def test_width_and_height_are_not_confused(name: str) -> None:
    text = written(name)
    turned = Frame(FRAME.height, FRAME.width, FRAME.model_height, FRAME.model_width)
    assert read(name, text).boxes != read(name, text, turned).boxes


@EVERY
def test_no_objects(name: str) -> None:
    assert read(name, written(name, Objects())) == Answer(well_formed=True)


@EVERY
def test_a_cut_at_every_character_keeps_what_is_whole(name: str) -> None:
    text = written(name)
    whole = read(name, text)
    first_number = re.search(r"\d", text)
    assert first_number is not None
    for length in range(len(text)):
        cut = text[:length]
        answer = read(name, cut)
        count = len(answer)
        assert answer.boxes == whole.boxes[:count], cut
        assert answer.labels[:-2] == whole.labels[: max(0, count - 2)], cut
        for label, true in zip(answer.labels, whole.labels, strict=False):
            assert label == true or true.startswith(label), cut
        if answer.well_formed:  # by chance, a whole answer
            form = get_dialect(name).forms[0]
            assert get_dialect(name).encode(Objects(answer.boxes, answer.labels), FRAME, form) == cut.strip()
        else:
            assert answer.truncated or length <= first_number.start(), cut


@EVERY
def test_junk_around_is_named_and_changes_nothing(name: str) -> None:
    text = written(name)
    answer = read(name, f"Sure, here they are!\n{text}\nDone!")
    assert (answer.boxes, answer.labels) == (read(name, text).boxes, labels(name))
    assert "extra_text" in answer.problems
    assert not answer.well_formed


@EVERY
@pytest.mark.parametrize(
    "end", ["<|im_end|>", "</s>", "<eos>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>\n<pad><pad>"]
)
def test_special_tokens_that_are_kept(name: str, end: str) -> None:
    text = written(name)
    answer, whole = read(name, text + end), read(name, text)
    assert (answer.boxes, answer.labels) == (whole.boxes, whole.labels)
    assert answer.well_formed == (not isinstance(get_dialect(name), JsonList))
    if answer.well_formed:
        assert read(name, f"<s> {text}") == whole


@EVERY
def test_special_tokens_that_are_dropped(name: str) -> None:
    if get_dialect(name).needs_special_tokens:
        answer = read(name, re.sub(r"<[^<>]*>", "", written(name)))
        assert (answer.boxes, answer.well_formed, answer.problems) == ((), False, ("no_boxes",))


@EVERY
def test_problems_are_named(name: str) -> None:
    dialect = get_dialect(name)
    one = Objects(THREE.boxes[:1], THREE.labels[:1])
    text = written(name, one)
    last_number = re.compile(r"\d+(\.\d+)?(?=\D*\Z)")

    beyond = read(name, last_number.sub("9999", text))
    assert (beyond.problems[0], len(beyond)) == ("out_of_bounds", 1)
    for bad in ("x", "9" * 400):
        answer = read(name, last_number.sub(bad, text))
        assert answer.boxes == ()
        assert {"bad_number", "bad_item"} & set(answer.problems)
    twice = read(name, written(name, Objects(one.boxes * 2, one.labels * 2)))
    assert (twice.problems, twice.well_formed, len(twice)) == (("duplicate",), True, 2)
    if dialect.forms != ("points",):
        x1, y1, x2, y2 = one.boxes[0]
        assert "swapped_corners" in read(name, written(name, Objects(((x2, y1, x1, y2),), ("cat",)))).problems
        assert "swapped_corners" in read(name, written(name, Objects(((x1, y2, x2, y1),), ("cat",)))).problems
    assert read(name, "There is nothing here").problems[-1] in ("no_boxes", "no_points", "no_json")


@EVERY
def test_labels_that_were_not_asked_for(name: str) -> None:
    text = written(name)
    answer = read(name, text, categories=("cat", "bird"))
    assert answer.problems == ("unknown_label",)
    assert answer.well_formed
    assert read(name, text, categories=("cat", "a red dog", "")).problems == ()
    one = read(name, text, categories=("bird",))
    assert one.labels == (labels(name) if get_dialect(name).names_labels else ("bird",) * 3)


def pieces(name: str) -> list[str]:
    """What the family's texts are made of."""
    text = written(name)
    marks = re.findall(r"<[^<>0-9]*>|```json|```", text)
    return sorted(
        {*marks, *re.findall(r"\w+|\W", text), text, *"[](){}<>,.;&-\n", "9" * 400, "None", "\ud800", "</s>"}
    )


@EVERY
@settings(max_examples=150)
@given(data=st.data())
def test_any_text_is_an_answer(name: str, data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=40) | st.lists(st.sampled_from(pieces(name)), max_size=40).map("".join))
    if data.draw(st.booleans()):
        whole = written(name)
        start = data.draw(st.integers(0, len(whole)))
        text = whole[:start] + text + whole[data.draw(st.integers(start, len(whole))) :]
    categories = data.draw(st.sampled_from([(), ("cat",), ("cat", "dog")]))
    for form in get_dialect(name).forms:
        answer = get_dialect(name).decode(text, FRAME, form, categories)
        assert answer.well_formed == (set(answer.problems) <= NO_FAULTS)
        assert answer.truncated == ("truncated" in answer.problems)
        assert len(answer.boxes) == len(answer.labels)
        assert all(math.isfinite(x) for box in answer.boxes for x in box)


@EVERY
def test_long_hostile_text_comes_back(name: str) -> None:
    """A decoder whose work grew with the square of the length would not."""
    parts = pieces(name)
    marks = [part for part in parts if len(part) > 1 and not part.isalnum()]
    text = written(name)
    units = [*parts, *(mark + more for mark in marks for more in (*marks, "1 ", "a"))]
    texts = [unit * (100_000 // len(unit)) for unit in units]
    texts += [text[:k] + part * 100_000 for k in range(0, len(text), 11) for part in " 1<["]
    for form in get_dialect(name).forms:
        for hostile in texts:
            get_dialect(name).decode(hostile, FRAME, form)


@EVERY
@settings(max_examples=150)
@given(data=st.data())
def test_a_label_is_written_so_that_it_reads_the_same_or_is_refused(name: str, data: st.DataObject) -> None:
    some = st.text(min_size=1, max_size=8) | st.lists(
        st.sampled_from(pieces(name)), min_size=1, max_size=4
    ).map("".join)
    told = data.draw(st.tuples(some, some))
    objects = Objects(THREE.boxes[:2], told)
    try:
        text = written(name, objects)
    except ValueError as error:
        if "cannot write the label" not in str(error):
            raise
        return
    answer = read(name, text)
    assert answer.labels == labels(name, objects)
    assert answer.well_formed


@EVERY
def test_questions(name: str) -> None:
    dialect = get_dialect(name)
    for task, about in TASKS.items():
        for categories in ((), ("cat",), ("cat", "red dog")):
            sample = Sample("7", Path("7.png"), 640, 480, task=task, categories=categories)
            if about.form not in (*dialect.forms, "number"):
                with pytest.raises(
                    ValueError, match=f"sample '7' has task '{task}', whose answer is {about.form}"
                ):
                    dialect.prompt(sample)
                continue
            (message,) = dialect.prompt(sample)
            image, text = message["content"]
            assert image == {"type": "image"}
            assert all(label in text["text"] for label in categories) or task == "ocr"
            assert "{" not in text["text"]
            assert "JSON" not in text["text"] or isinstance(dialect, JsonList)
    asked = dataclasses.replace(Sample("7", Path("7.png"), 640, 480), task="counting", query="How many?")
    assert dialect.prompt(asked)[0]["content"][1]["text"] == "How many?"
