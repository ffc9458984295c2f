import itertools
import random

import pytest

from vision_r1_data import Answer, Objects
from vision_r1_eval import Counts, match_objects
from vision_r1_eval.boxes import box_array, overlaps


def objects(*boxes, crowd=()):
    return Objects(tuple(boxes), ("cat",) * len(boxes), crowd)


def answer(*boxes, label="cat"):
    return Answer(tuple(boxes), (label,) * len(boxes))


def test_most_pairs_not_greedy():
    # The first prediction overlaps the first object best (IoU .8), but only it can take the second one.
    truth = objects((0, 0, 100, 100), (0, 40, 100, 120))
    shared, first_only = (0, 20, 100, 100), (0, 0, 100, 60)
    ious = overlaps(box_array([shared, first_only]), box_array(truth.boxes), truth.crowd)
    assert ious.argmax(axis=1).tolist() == [0, 0]
    matching = match_objects(truth, answer(shared, first_only), 0.5)
    assert matching.pairs == ((0, 1), (1, 0))
    assert matching.counts == Counts(right=2)


def test_among_the_most_pairs_the_largest_overlap():
    truth = objects((0, 0, 100, 100), (10, 0, 110, 100))
    assert match_objects(truth, answer((10, 0, 110, 100), (0, 0, 100, 100)), 0.5).pairs == ((0, 1), (1, 0))


def test_duplicates_and_wrong_labels_are_invented():
    box = (0, 0, 10, 10)
    assert match_objects(objects(box), answer(box, box), 0.5).counts == Counts(1, 0, 1)
    assert match_objects(objects(box), answer(box, label="dog"), 0.5).counts == Counts(0, 1, 1)


def test_the_threshold_itself_counts():
    half = answer((0, 0, 50, 100))
    assert match_objects(objects((0, 0, 100, 100)), half, 0.5).counts.right == 1
    assert match_objects(objects((0, 0, 100, 100)), half, 0.500001).counts.right == 0


def test_crowds_are_not_found_nor_missed_but_excuse():
    truth = objects((0, 0, 10, 10), (50, 50, 100, 100), crowd=(False, True))
    inside, half_out, outside = (60, 60, 70, 70), (40, 60, 60, 70), (20, 20, 30, 30)
    matching = match_objects(truth, answer((0, 0, 10, 10), inside, half_out, outside), 0.5)
    assert matching.pairs == ((0, 0),)
    assert matching.ignored == (1, 2)
    assert matching.invented == (3,)
    assert matching.missed == ()
    assert match_objects(truth, answer(inside, label="dog"), 0.5).invented == (0,)


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        (Counts(), (1, 1, 1)),
        (Counts(invented=2), (0, 0, 0)),
        (Counts(missed=2), (0, 0, 0)),
        (Counts(right=1, missed=1, invented=3), (0.25, 0.5, 1 / 3)),
    ],
    ids=["correct_rejection", "hallucination", "silence", "mixed"],
)
def test_scores_by_hand(counts, scores):
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx(scores)


@pytest.mark.parametrize("threshold", [0, 1.01, float("nan")])
def test_refuses_other_thresholds(threshold):
    with pytest.raises(ValueError, match="threshold must be in"):
        match_objects(objects(), answer(), threshold)


def test_as_many_pairs_as_trying_everything():
    rng = random.Random(0)

    def boxes(count):
        corners = [(rng.randint(0, 6), rng.randint(0, 6)) for _ in range(count)]
        return [(x, y, x + rng.randint(6, 12), y + rng.randint(6, 12)) for x, y in corners]

    for _ in range(200):
        pred, true = boxes(rng.randint(0, 4)), boxes(rng.randint(0, 4))
        iou = overlaps(box_array(pred), box_array(true), [False] * len(true))
        small, hits = sorted(iou.shape)[0], (iou if len(pred) <= len(true) else iou.T) >= 0.5
        columns = range(max(iou.shape))
        best = max(
            sum(bool(hits[row, column]) for row, column in enumerate(chosen))
            for chosen in itertools.permutations(columns, small)
        )
        assert len(match_objects(objects(*true), answer(*pred), 0.5).pairs) == best
