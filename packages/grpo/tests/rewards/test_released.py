"""The cases of released_rewards.json are values that the released code returned."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1_data import Frame
from vision_r1_grpo import Refinement, Target, VisionReward
from vision_r1_grpo.rewards import released
from vision_r1_grpo.rewards.released import read_qwen2_5_vl
from vision_r1_ops import Thresholds

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import FRAME, answer, score, target

CASES = json.loads(Path(__file__).with_name("released_rewards.json").read_text(encoding="utf-8"))
CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")
WHOLE = ((0, 0, 100, 100), "cat")
TWO_STAGES = {"adaptive": True}


def case_target(case):
    boxes, labels = zip(*((tuple(one["box"]), one["label"]) for one in case["targets"]), strict=True)
    frame = Frame(*(case[key] for key in ("width", "height", "input_width", "input_height")))
    return Target(boxes, labels, tuple(case["category_ids"]), frame)


def parts(text, truth, progress=0.0, **options):
    scored = score("released", [text], truth, progress, **options)
    return tuple(round(scored.parts[name].item(), 4) for name in ("format", "recall", "precision"))


def item(box, label='"cat"'):
    return f'{{"bbox_2d": {box}, "label": {label}}}'


def listed(*boxes):
    return f"[{', '.join(item(box) for box in boxes)}]"


@pytest.mark.parametrize(
    ("mode", "options", "progress"),
    [("none", {}, 0.0), ("none", {}, 1.0), ("early", TWO_STAGES, 0.0), ("late", TWO_STAGES, 0.52)],
)
def test_what_the_released_code_returns(mode, options, progress):
    completions, targets = [case["completion"] for case in CASES], [case_target(case) for case in CASES]
    scored = score("released", completions, targets, progress, **options)
    for name in ("format", "recall", "precision"):
        expected = [(case["expected"] | case["expected"][mode])[name] for case in CASES]
        assert scored.parts[name].tolist() == pytest.approx(expected, abs=1e-4), name
    assert scored.total.tolist() == pytest.approx(sum(part for part in scored.parts.values()).tolist())


def test_each_case_alone_is_the_same():
    for case in CASES[:20]:
        scored = score("released", [case["completion"]], case_target(case))
        expected = case["expected"]["none"] | {"format": case["expected"]["format"]}
        assert {name: part.item() for name, part in scored.parts.items()} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("truth", "text", "expected"),
    [
        pytest.param([], "```json\n[]\n```", (0, 1, 1), id="correct rejection, its format inverted"),
        pytest.param([], "I see nothing.", (1, 1, 1), id="unreadable, nothing to find"),
        pytest.param([], "", (1, 1, 1), id="no text, nothing to find"),
        pytest.param([], answer(CAT), (0, 0, 0), id="hallucination"),
        pytest.param([CAT], "```json\n[]\n```", (1, 0, 0), id="silence"),
        pytest.param([CAT], "I see a cat.", (0, 0, 0), id="unreadable"),
        pytest.param([CAT], "", (0, 0, 0), id="no text"),
        pytest.param([CAT], answer(CAT), (1, 1, 1), id="right"),
    ],
)
@pytest.mark.parametrize("options", [{}, TWO_STAGES])
def test_empty_cases(truth, text, expected, options):
    assert parts(text, target(*truth), **options) == expected


@pytest.mark.parametrize(
    ("text", "well_formed"),
    [
        pytest.param("[]", True, id="empty list"),
        pytest.param("```json\n[]\n```", True, id="fenced"),
        pytest.param("null", True, id="JSON that is no list"),
        pytest.param(item([1, 2, 3, 4]), True, id="bare dict"),
        pytest.param('[1, "two", [3], {}]', True, id="items that are no dicts"),
        pytest.param('[{"bbox_2d": 5}]', True, id="one key only"),
        pytest.param(listed([900, 2, -30, 4]), True, id="out of bounds and swapped"),
        pytest.param('[{"bbox_2d": ["a", null, [], {}], "label": 3}]', True, id="four of anything"),
        pytest.param("[NaN, Infinity]", True, id="NaN"),
        pytest.param(listed([1, 2, 3]), False, id="three coordinates"),
        pytest.param(listed([1, 2, 3, 4, 5]), False, id="five coordinates"),
        pytest.param(listed([[1, 2, 3, 4]]), False, id="nested box"),
        pytest.param(f"[{item([1, 2, 3, 4])}, {item('null')}]", False, id="one bad item"),
        pytest.param("```json []\n```", False, id="fence on the line of the list"),
        pytest.param("```json\n[]```", False, id="closing fence on the line of the list"),
        pytest.param("```\n[]\n```", False, id="fence without json"),
        pytest.param("Here: []", False, id="text before"),
        pytest.param("[{", False, id="truncated"),
        pytest.param("", False, id="empty"),
        pytest.param("[" * 100_000, False, id="nested too deeply"),
        pytest.param("[" + "9" * 5000 + "]", False, id="more digits than Python converts"),
    ],
)
def test_the_format_that_passes(text, well_formed):
    assert read_qwen2_5_vl(text, FRAME).well_formed == well_formed


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        pytest.param(listed('["1", " 2 ", 30.9, true]', [5, 6, 70.5, 80]), [(5, 6, 70, 80)], id="int()"),
        pytest.param(listed('["1", " 2 ", 30.9, 4e1]'), [(1, 2, 30, 40)], id="strings and fractions"),
        pytest.param(listed('["1.5", 2, 30, 40]'), [], id="a fraction as a string"),
        pytest.param(listed("[NaN, 2, 30, 40]", "[1, 2, Infinity, 40]"), [], id="NaN and infinity"),
        pytest.param(listed("[null, 2, 30, 40]", "[[1], 2, 30, 40]"), [], id="no numbers"),
        pytest.param(listed([-5, -6, 700, 800]), [(-5, -6, 700, 800)], id="out of bounds"),
        pytest.param(listed([3, 2, 1, 4], [1, 2, 1, 4]), [], id="corners that are not in order"),
        pytest.param(listed([1, 2, 3], [[1, 2, 3, 4]]), [], id="not four coordinates"),
        pytest.param(f"[[{item([1, 2, 3, 4])}]]", [(1, 2, 3, 4)], id="nested list: searched"),
        pytest.param(item([1, 2, 3, 4]), [(1, 2, 3, 4)], id="bare dict: searched"),
        pytest.param(f"Yes: {item([1, 2, 3, 1000])} and", [(1, 2, 3, 1000)], id="in a sentence: searched"),
        pytest.param(f"Yes: {item([1, 2, 3, 1001])}", [], id="searched, from 1001 on not found"),
        pytest.param(f"Yes: {item('[1,2,3,4]')}", [], id="searched, without spaces not found"),
        pytest.param(f"Yes: {item([1, 2, 3, 4.5])}", [], id="searched, fractions not found"),
        pytest.param(
            f"[{item([1, 2, 3, 4])}, {item([5, 6, 7, 8])}", [(1, 2, 3, 4), (5, 6, 7, 8)], id="truncated"
        ),
        pytest.param(
            f"```json\n[{item([1, 2, 3, 4])}]\n```\n[{item([5, 6, 7, 8])}]", [(1, 2, 3, 4)], id="two lists"
        ),
        pytest.param(f"```json\n[{item([1, 2, 3, 1004])}]```", [(1, 2, 3, 1004)], id="fence on its line"),
        pytest.param(f"```json [{item([1, 2, 3, 1004])}] ```", [], id="opening fence on its line"),
        pytest.param(
            listed([1, 2, 3, 4]).replace("cat", "a```b"), [(1, 2, 3, 4)], id="fence in a label: searched"
        ),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4]}]', [(1, 2, 3, 4)], id="no label"),
        pytest.param("[" * 100_000, [], id="nested too deeply"),
    ],
)
def test_the_boxes_that_are_read(text, boxes):
    read = read_qwen2_5_vl(text, FRAME).boxes  # scaled in float32
    assert list(read) == [pytest.approx(box) for box in boxes]


@pytest.mark.parametrize("far", ["1e300", "9" * 400, "-1e300"])
def test_coordinates_beyond_float32_are_cut(far):
    boxes = [0, 0, far, 10] if far[0] != "-" else [far, 0, 0, 10]
    assert parts(listed(str(boxes).replace("'", "")), target(CAT)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("said", "true", "taken"),
    [
        pytest.param('"cat"', "cat", True, id="equal"),
        pytest.param('"  CAT "', "Cat", True, id="case and spaces"),
        pytest.param('"cat"', "cat ", False, id="spaces of the truth stay"),
        pytest.param('"zebra"', "cat", False, id="not asked for"),
        pytest.param("null", "none", False, id="no string"),
        pytest.param("3", "3", False, id="a number"),
    ],
)
def test_an_equal_label_is_worth_a_pixel_of_distance(said, true, taken):
    """The exact box costs -1; the one a tenth of a pixel off .1 - .999, and 1 less if its label is equal."""
    truth = Target(WHOLE[:1], (true,), (true, "?"), Frame(100, 100, 1000, 1000))
    text = "[" + item([0, 0, 1000, 1000], '"?"') + ", " + item([0, 0, 1000, 999], said) + "]"
    assert parts(text, truth)[2] == (0.999 if taken else 1)


def test_giou_stands_where_the_paper_says_iou():
    """A GIoU below 0, of boxes that do not meet, is worth 0."""
    corner = ((0, 0, 50, 50), "cat")
    assert parts(answer(corner), target(WHOLE)) == (1, 0, 0.25)
    apart = ((60, 60, 100, 100), "cat")
    assert parts(answer(apart), target(CAT)) == (1, 0, 0)


def test_junk_boxes_are_free():
    junk = [((x, 95, x + 4, 99), "cat") for x in range(0, 95, 5)]
    assert (
        parts(answer(CAT, DOG, *junk), target(CAT, DOG))
        == parts(answer(CAT, DOG), target(CAT, DOG))
        == (1, 1, 1)
    )


@pytest.mark.parametrize(
    ("width", "progress", "recall", "precision"),
    [
        pytest.param(50, 0.0, 0.5, 0.5, id="exactly xi0 counts itself, and the recall of .5 stays"),
        pytest.param(51, 0.0, 1, 0.51, id="above xi0"),
        pytest.param(49, 0.0, 0, 0, id="below xi0 and xi1"),
        pytest.param(75, 0.0, 1, 0.75, id="exactly xi2 is worth itself"),
        pytest.param(76, 0.0, 1, 1, id="above xi2"),
        pytest.param(75, 0.5, 0.75, 0.75, id="second stage, exactly xi0"),
        pytest.param(74, 0.5, 0, 0, id="second stage, below"),
        pytest.param(89, 0.5, 1, 0.89, id="second stage, between"),
        pytest.param(91, 0.5, 1, 1, id="second stage, above xi2"),
    ],
)
def test_thresholds_of_the_two_stages(width, progress, recall, precision):
    text = answer(((0, 0, width, 100), "cat"))
    assert parts(text, target(WHOLE), progress, **TWO_STAGES) == (1, recall, precision)


@pytest.mark.parametrize("progress", [0.0, 0.6])
@pytest.mark.parametrize(("found", "recall"), [(1, 0), (2, 0.5), (3, 0.75), (4, 1)])
def test_recall_is_differentiated_alike_in_both_stages(progress, found, recall):
    truth = [((x, 0, x + 20, 50), "cat") for x in (0, 25, 50, 75)]
    assert parts(answer(*truth[:found]), target(*truth), progress, **TWO_STAGES)[1] == recall
    assert parts(answer(*truth[:found]), target(*truth), progress)[1] == found / 4


def test_the_thresholds_that_are_logged_are_those_that_hold():
    plain, adaptive = (
        VisionReward.from_preset("released", "qwen2_5_vl", adaptive=on) for on in (False, True)
    )
    assert plain.refinement(0.0) == plain.refinement(1.0) == Thresholds(0.5, 0.0, 1.0)
    assert adaptive.refinement == Refinement.staged(0.5)


text_pieces = st.sampled_from(
    [
        item([0, 0, 40, 40]),
        item([5, 5, 1001, 40], "null"),
        "```json\n",
        "\n```",
        "```",
        "[",
        "]",
        ", ",
        "{",
        '"',
        "7",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(text_pieces, max_size=9).map("".join)), st.booleans())
def test_any_text_is_scored(text, adaptive):
    for truth in (target(), target(CAT), target(CAT, DOG)):
        scored = score("released", [text], truth, adaptive=adaptive)
        assert all(0 <= part.item() <= 1 for part in scored.parts.values())


numbers = st.integers() | st.floats() | st.booleans() | st.sampled_from(["1.0", " 7 ", 2**53 + 1, 10**400])
lists = st.lists(
    st.builds(item, st.lists(numbers, min_size=4, max_size=4).map(json.dumps), st.text().map(json.dumps))
)


@settings(max_examples=300, deadline=None)
@given(
    lists.map(lambda items: f"```json\n[{', '.join(items)}]\n```")
    | st.lists(text_pieces, max_size=9).map("".join)
    | st.builds("```json\n[{}]\n```".format, st.text().map(lambda label: item([1, 2, 30, 40], f'"{label}"')))
)
def test_any_text_reads_the_same_with_and_without_the_short_cut(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(released, "_faultless", lambda _: None)
        expected = read_qwen2_5_vl(text, FRAME)
    assert repr(read_qwen2_5_vl(text, FRAME)) == repr(expected)
