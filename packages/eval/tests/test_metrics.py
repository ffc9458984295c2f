import math
import random

import pytest

from vision_r1_data import Answer
from vision_r1_eval import Protocol, comparison_table, evaluate, meanings

KEYS = [
    "mAP", "AP50", "AP75", "AR100", "F1@50", "F1@75", "precision@50", "recall@50",
    "boxes_per_answer", "boxes_per_image", "well_formed", "unknown_labels", "truncated",
]  # fmt: skip
CAT, DOG, FAR = (0, 0, 40, 40), (50, 50, 100, 100), (60, 0, 90, 30)


def test_by_hand(make_sample, make_answer):
    samples = [make_sample((CAT, "cat"), (DOG, "dog")), make_sample((CAT, "cat"), id="2")]
    loose_cat = (0, 0, 40, 25)  # IoU .625
    answers = [
        make_answer((CAT, "cat"), (FAR, "dog"), (FAR, "bird")),
        make_answer((loose_cat, "cat"), well_formed=False, truncated=True),
    ]
    numbers = evaluate(samples, answers).as_dict()
    assert list(numbers) == KEYS == [meaning.key for meaning in meanings()]
    assert numbers == pytest.approx(
        {
            # cat: both found up to IoU .6, one of two above (recall .5 is 51 of 101 points); dog: never.
            "mAP": (3 * 1 + 7 * 51 / 101) / 10 / 2,
            "AP50": 0.5,
            "AP75": 51 / 101 / 2,
            "AR100": (3 * 1 + 7 * 0.5) / 10 / 2,
            "F1@50": 2 * 2 / (4 + 3),
            "F1@75": 2 * 1 / (4 + 3),
            "precision@50": 2 / 4,
            "recall@50": 2 / 3,
            "boxes_per_answer": 2,
            "boxes_per_image": 1.5,
            "well_formed": 0.5,
            "unknown_labels": 1 / 4,
            "truncated": 0.5,
        }
    )


def test_all_right(make_sample, make_answer):
    samples = [make_sample((CAT, "cat"), (DOG, "dog")), make_sample(id="negative")]
    answers = [make_answer((DOG, "dog"), (CAT, "cat")), make_answer()]
    numbers = evaluate(samples, answers).as_dict()
    assert [numbers[key] for key in KEYS[:8]] == pytest.approx([1.0] * 8)
    assert numbers["unknown_labels"] == numbers["truncated"] == 0


def test_all_silent(make_sample):
    numbers = evaluate([make_sample((CAT, "cat"))], [Answer()]).as_dict()
    assert numbers.pop("boxes_per_image") == 1
    assert set(numbers.values()) == {0.0}


def test_negatives(make_sample, make_answer):
    rejected = evaluate([make_sample()], [make_answer()])
    assert (rejected.f1_50, rejected.precision_50, rejected.recall_50) == (1, 1, 1)
    hallucinated = evaluate([make_sample()], [make_answer((CAT, "cat"))])
    assert (hallucinated.f1_50, hallucinated.precision_50, hallucinated.recall_50) == (0, 0, 0)
    assert math.isnan(rejected.mean_ap)


def test_crowds_are_not_counted(make_sample, make_answer):
    sample = make_sample((CAT, "cat"), (DOG, "dog", True))
    metrics = evaluate([sample], [make_answer((CAT, "cat"), ((60, 60, 70, 70), "dog"))])
    assert metrics.f1_50 == 1
    assert metrics.boxes_per_image == 1
    assert metrics.boxes_per_answer == 2


def test_an_annotated_label_is_known(make_sample, make_answer):
    sample = make_sample((CAT, "cat"), categories=())
    assert evaluate([sample], [make_answer((CAT, "cat"))]).unknown_labels == 0


def test_f1_does_not_depend_on_order(make_sample, make_answer):
    rng = random.Random(0)
    boxes = [((x, 0, x + 20, 20), "cat") for x in range(0, 80, 7)]
    sample = make_sample(*boxes[::2])
    scores = set()
    for _ in range(10):
        rng.shuffle(boxes)
        scores.add(evaluate([sample], [make_answer(*boxes)]).f1_50)
    assert len(scores) == 1


def test_refuses_what_does_not_fit(make_sample):
    sample = make_sample()
    with pytest.raises(ValueError, match="at least one sample"):
        evaluate([], [])
    with pytest.raises(ValueError, match="got 2 for 1 samples"):
        evaluate([sample], [Answer(), Answer()])
    with pytest.raises(ValueError, match="distinct ids, got '1' more than once"):
        evaluate([sample, sample], [Answer(), Answer()])


def test_comparison_table(make_sample, make_answer):
    sample = make_sample((CAT, "cat"))
    silent, right = evaluate([sample], [make_answer()]), evaluate([sample], [make_answer((CAT, "cat"))])
    lines = comparison_table(silent, right).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[1].split() == ["mAP", "0.000", "1.000", "+1.000", "-"]
    assert lines[-1] == f"protocol: {Protocol()}"
    negative = evaluate([make_sample()], [make_answer()])
    assert comparison_table(negative, right).splitlines()[1].split() == ["mAP", "-", "1.000", "-", "-"]
    with pytest.raises(ValueError, match="must have one protocol"):
        comparison_table(silent, evaluate([sample], [make_answer()], Protocol(max_dets=1)))
