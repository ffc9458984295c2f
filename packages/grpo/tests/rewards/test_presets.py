import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_r1_grpo import Refinement
from vision_r1_ops import box_iou

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import answer, f_measure, score, target

CAT, DOG, BIRD = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog"), ((60, 0, 100, 40), "bird")
SILENCE = "```json\n[]\n```"
SECOND_STAGE = Refinement((0.0,), ((0.75, 0.75, 0.9),))

# IoU with ((0, 0, 100, 100), "cat") is the width over 100.
HALF, SIXTY, EIGHTY = ((0, 0, 50, 100), "cat"), ((0, 0, 60, 100), "cat"), ((0, 0, 80, 100), "cat")
WHOLE = ((0, 0, 100, 100), "cat")


@pytest.mark.parametrize(
    ("truth", "completion", "parts"),
    [
        pytest.param([], SILENCE, (1, 1), id="correct rejection"),
        pytest.param([], answer(CAT), (1, 0), id="hallucination"),
        pytest.param([CAT], SILENCE, (1, 0), id="silence"),
        pytest.param([CAT], "I see a cat.", (0, 0), id="unreadable"),
        pytest.param([], "I see nothing.", (0, 0), id="unreadable, nothing to find"),
        pytest.param([], "", (0, 0), id="no text, nothing to find"),
        pytest.param([], "[]", (0, 0), id="no fence, nothing to find"),
        pytest.param([CAT], answer(CAT), (1, 1), id="right"),
    ],
)
@pytest.mark.parametrize(
    ("preset", "options"), [("strict", {}), ("paper", {}), ("paper", {"denominator": "matched"})]
)
def test_truth_table(preset, options, truth, completion, parts):
    """That of released is in test_released.py."""
    form, content = parts
    scored = score(preset, [completion], target(*truth), **options)
    assert scored.parts.pop("format").tolist() == [form]
    assert [part.tolist() for part in scored.parts.values()] == [[content]] * len(scored.parts)


@pytest.mark.parametrize(
    ("refinement", "recall", "precision"),
    [
        # .5 counts in the first stage and is worth itself, .6 too, .8 is above xi2 and worth 1.
        pytest.param(Refinement(), [1, 1, 1], [0.5, 0.6, 1.0], id="first stage"),
        pytest.param(SECOND_STAGE, [0, 0, 1], [0.0, 0.0, 0.8], id="second stage"),
    ],
)
def test_paper_on_one_box(refinement, recall, precision):
    completions = [answer(box) for box in (HALF, SIXTY, EIGHTY)]
    scored = score("paper", completions, target(WHOLE), refinement=refinement)
    assert scored.parts["recall"].tolist() == recall
    assert scored.parts["precision"].tolist() == pytest.approx(precision)


def test_paper_on_several_boxes():
    """Three of four found, one of them at IoU .6, and a box too many: Eq. 5 to 8 by hand."""
    truth = [((x, 0, x + 20, 50), "cat") for x in (0, 25, 50, 75)]
    predicted = [*truth[:2], ((50, 0, 70, 30), "cat"), ((0, 80, 20, 100), "cat"), ((80, 80, 99, 99), "cat")]
    scored = score("paper", [answer(*predicted)], target(*truth))
    assert scored.parts["recall"].item() == 1.0  # 3 / 4 reaches xi2 = .75
    assert scored.parts["precision"].item() == pytest.approx((1 + 1 + 0.6) / 5)
    assert scored.total.item() == pytest.approx(1 + 1 + 2.6 / 5)
    late = score("paper", [answer(*predicted)], target(*truth), refinement=SECOND_STAGE)
    assert late.parts["recall"].item() == 0.0  # 2 / 4 is below xi1 = .75
    assert late.parts["precision"].item() == pytest.approx(2 / 5)


@pytest.mark.parametrize(("denominator", "precision"), [("predicted", 1 / 21), ("matched", 1.0)])
def test_paper_charges_for_junk_where_m_counts_every_prediction(denominator, precision):
    scored = score("paper", [answer(CAT, *JUNK, *JUNK[:2])], target(CAT), denominator=denominator)
    assert scored.parts["precision"].item() == pytest.approx(precision)
    assert scored.parts["recall"].item() == 1


def test_paper_scores_boxes_whatever_their_labels():
    right, wrong = score("paper", [answer(CAT), answer((CAT[0], "dog"))], target(CAT)).total.tolist()
    assert right == wrong == 3


def test_paper_pays_for_silence():
    """One sure box of five earns more than naming all five, three of them badly."""
    truth = [((x, 0, x + 15, 100), "cat") for x in (0, 20, 40, 60, 80)]
    wide = [((x, 0, x + 15, 40), "cat") for x in (0, 20, 40)]  # IoU .4: misses
    one_sure, honest = answer(truth[4]), answer(*truth[3:], *wide)
    scored = score("paper", [one_sure, honest], target(*truth))
    assert scored.parts["precision"].tolist() == pytest.approx([1.0, 0.4])
    assert scored.parts["recall"].tolist() == [0.0, 0.0]  # .2 and .4 are both below xi1
    assert scored.total[0] > scored.total[1]
    strict = score("strict", [one_sure, honest], target(*truth)).total
    assert strict[0] < strict[1]


def test_paper_gives_one_sure_box_of_three_full_precision():
    scored = score("paper", [answer(CAT), answer(CAT, DOG)], target(CAT, DOG, BIRD))
    assert scored.parts["precision"].tolist() == [1.0, 1.0]


def test_strict_by_hand():
    """q = 1, .6 and 0 for exact, IoU .6 and a wrong label; M = 3 predicted and K = 4 true boxes."""
    truth = [((x, 0, x + 20, 50), "cat") for x in (0, 25, 50, 75)]
    predicted = [truth[0], ((25, 0, 45, 30), "cat"), (truth[2][0], "dog")]
    assert f_measure(predicted, truth) == pytest.approx(5 * 1.6 / (3 + 4 * 4))


@pytest.mark.parametrize(
    ("refinement", "quality"), [(Refinement(), [0.5, 0.6, 1.0]), (SECOND_STAGE, [0.0, 0.0, 0.8])]
)
def test_strict_refines_the_iou(refinement, quality):
    completions = [answer(box) for box in (HALF, SIXTY, EIGHTY)]
    scored = score("strict", completions, target(WHOLE), refinement=refinement)
    assert scored.parts["f_measure"].tolist() == pytest.approx(quality)


@pytest.mark.parametrize(
    "worse",
    [
        pytest.param([CAT, (DOG[0], "bird")], id="wrong label"),
        pytest.param([CAT, DOG, DOG], id="duplicate"),
        pytest.param([CAT, DOG, ((0, 80, 10, 90), "cat")], id="junk box"),
        pytest.param([CAT], id="missing box"),
        pytest.param([CAT, ((50, 50, 90, 70), "dog")], id="loose box"),
    ],
)
def test_strict_makes_every_fault_cost(worse):
    assert f_measure([CAT, DOG], [CAT, DOG]) == 1
    assert f_measure(worse, [CAT, DOG]) < 1


def test_a_wrong_label_takes_no_true_box_away_from_a_right_one():
    near = ((0, 0, 40, 38), "cat")
    assert f_measure([(CAT[0], "dog"), near], [CAT]) == pytest.approx(5 / (2 + 4))


@pytest.mark.parametrize("preset", ["strict", "paper"])
def test_exactly_half_counts(preset):
    scored = score(preset, [answer(HALF), answer(((0, 0, 49, 100), "cat"))], target(WHOLE))
    assert scored.total[0] > scored.total[1] == 1


@st.composite
def objects(draw, most=5):
    pairs = st.lists(st.integers(0, 100), min_size=2, max_size=2, unique=True).map(sorted)
    boxes = st.tuples(pairs, pairs).map(lambda p: (p[0][0], p[1][0], p[0][1], p[1][1]))
    return draw(st.lists(st.tuples(boxes, st.sampled_from(["cat", "dog"])), max_size=most, unique=True))


@st.composite
def loose_answers(draw):
    """Truths near one another, and predictions near the truths: where a matching has to decide."""
    shift = st.integers(-15, 15)
    base = draw(st.tuples(st.integers(15, 30), st.integers(15, 30), st.integers(61, 85), st.integers(61, 85)))
    box = st.tuples(*[shift] * 4).map(lambda s: tuple(b + d for b, d in zip(base, s, strict=True)))
    pairs = st.tuples(box, st.sampled_from(["cat", "cat", "dog"]))
    truth = draw(st.lists(pairs, min_size=1, max_size=4, unique=True))
    return truth, draw(st.lists(pairs, max_size=4, unique=True)), draw(pairs)


def hits(one, truth):
    """Whether the object finds any of the truth."""
    same = [box for box, label in truth if label == one[1]]
    return bool(same) and box_iou(torch.tensor([one[0]]), torch.tensor(same)).max().item() >= 0.5


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(loose_answers(), st.tuples(objects(), objects(), objects(1).filter(len).map(lambda o: o[0])))
)
@example(
    (
        [((32, 22, 74, 68), "cat"), ((4, 27, 67, 88), "cat")],
        [((16, 40, 59, 74), "cat"), ((19, 32, 75, 95), "cat")],
        ((27, 30, 92, 90), "cat"),
    )
)
def test_a_box_that_finds_nothing_never_helps(case):
    truth, predicted, one = case
    if hits(one, truth):
        one = (one[0], "bird")
    assert f_measure([*predicted, one], truth) <= f_measure(predicted, truth) + 1e-6


@settings(max_examples=300, deadline=None)
@given(st.one_of(loose_answers(), st.tuples(objects().filter(len), objects(), st.none())))
def test_naming_a_missing_object_never_hurts(case):
    truth, predicted, _ = case
    missing = [one for one in truth if not any(hits(p, [one]) for p in predicted)]
    before = f_measure(predicted, truth)
    for one in missing:
        assert f_measure([*predicted, one], truth) >= before - 1e-6


@settings(max_examples=300, deadline=None)
@given(objects(), st.data())
def test_saying_a_box_twice_never_helps(predicted, data):
    truth = [
        ((x, y, x + 30, y + 30), label) for x, y, label in ((0, 0, "cat"), (50, 0, "cat"), (0, 50, "dog"))
    ]
    predicted = [*truth[: data.draw(st.integers(1, 3))], *predicted]
    again = data.draw(st.sampled_from(predicted))
    assert f_measure([*predicted, again], truth) <= f_measure(predicted, truth) + 1e-6


ALL = answer(CAT, DOG, BIRD)
MODEST = answer(CAT, ((50, 50, 90, 82), "dog"))  # misses the bird and frames the dog loosely
JUNK = [((x, y, x + 9, y + 9), "cat") for x in range(0, 90, 10) for y in (41, 91)]
GRID = [((x, y, x + 20, y + 20), "cat") for x in range(0, 100, 20) for y in range(0, 100, 20)]
SWAPPED = [((x2, y2, x1, y1), label) for (x1, y1, x2, y2), label in (CAT, DOG, BIRD)]
BEYOND = [((x1, y1, x2 + 900, y2 + 900), label) for (x1, y1, x2, y2), label in (CAT, DOG, BIRD)]
EVERY_LABEL = [(box, label) for box, _ in (CAT, DOG, BIRD) for label in ("cat", "dog", "bird")]


@pytest.mark.parametrize(
    ("exploit", "honest"),
    [
        pytest.param(answer(CAT, DOG, BIRD, CAT, DOG, BIRD), ALL, id="duplicate boxes"),
        pytest.param(answer(CAT, DOG, BIRD, *JUNK), MODEST, id="many junk boxes"),
        pytest.param(answer(CAT), MODEST, id="one best box only"),
        pytest.param(answer(((0, 0, 100, 100), "cat")), MODEST, id="the whole image as one box"),
        pytest.param(answer(*GRID), MODEST, id="a grid of boxes"),
        pytest.param(SILENCE, MODEST, id="empty answer"),
        pytest.param("", MODEST, id="no text"),
        pytest.param(answer((CAT[0], "dog"), (DOG[0], "bird"), (BIRD[0], "cat")), MODEST, id="wrong labels"),
        pytest.param(answer(*EVERY_LABEL), ALL, id="every label for every box"),
        pytest.param(answer(*SWAPPED), MODEST, id="swapped corners"),
        pytest.param(answer(*BEYOND), MODEST, id="numbers out of bounds"),
        pytest.param("Here you are:\n" + ALL, ALL, id="extra text"),
        pytest.param(ALL[:-9], ALL, id="truncated JSON"),
        pytest.param(ALL + "\n" + ALL, ALL, id="two fenced blocks"),
        pytest.param(answer(*[CAT] * 2000), MODEST, id="a huge list"),
        pytest.param(
            answer((CAT[0], "ca\u200bt"), (DOG[0], "dóg"), (BIRD[0], "bird ")), MODEST, id="lookalike labels"
        ),
        pytest.param(
            ALL.replace("[0, 0, 40, 40]", '["0", "0", "40", "40"]'), ALL, id="coordinates as strings"
        ),
    ],
)
def test_no_exploit_earns_what_the_honest_answer_earns(exploit, honest):
    """Where the exploit knows every box, so does the honest answer; otherwise that one is modest."""
    exploited, earned = score("strict", [exploit, honest], target(CAT, DOG, BIRD)).total.tolist()
    assert exploited < earned


def test_an_escaped_label_is_the_label():
    escaped = answer(CAT).replace('"cat"', '"c\\u0061t"')
    assert score("strict", [escaped], target(CAT)).total.item() == 3
