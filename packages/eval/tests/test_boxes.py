import numpy as np
import pytest

from vision_r1_eval.boxes import box_array, overlaps


def test_iou_by_hand():
    pred = box_array([(0, 0, 25, 25)])
    true = box_array([(0, 0, 100, 100), (0, 0, 50, 50), (200, 200, 300, 300)])
    assert overlaps(pred, true, [False] * 3).tolist() == [[0.0625, 0.25, 0.0]]


def test_exactly_half_compares_as_half():
    half, whole = box_array([(0, 0, 50, 100)]), box_array([(0, 0, 100, 100)])
    assert overlaps(half, whole, [False])[0, 0] == 0.5


def test_a_crowd_is_divided_by_the_predicted_area():
    pred, true = box_array([(0, 0, 10, 10)]), box_array([(0, 5, 100, 100)])
    assert overlaps(pred, true, [True])[0, 0] == 0.5


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 0, 0),
        (0, 10, 10, 0),
        (5, 5, 5, 9),
        (0, 0, float("nan"), 5),
        (0, 0, float("inf"), 5),
        (0, 0, 1e300, 1e300),
    ],
    ids=["swapped", "swapped_y", "no_width", "nan", "inf", "huge"],
)
def test_a_bad_box_overlaps_nothing(box):
    array = box_array([box])
    assert array.tolist() == [[0, 0, 0, 0]]
    assert overlaps(array, box_array([(0, 0, 10, 10)]), [False]).tolist() == [[0]]
    assert overlaps(array, array, [False]).tolist() == [[0]]


@pytest.mark.parametrize(("m", "k"), [(0, 0), (0, 3), (3, 0)])
def test_none_is_fine(m, k):
    box = (0, 0, 1, 1)
    assert overlaps(box_array([box] * m), box_array([box] * k), np.zeros(k, bool)).shape == (m, k)
