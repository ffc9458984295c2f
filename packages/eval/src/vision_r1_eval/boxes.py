"""Overlaps of boxes; what a model wrote is taken as it comes.

M predicted boxes, K true boxes; xyxy in original pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vision_r1_data import Box

Floats = npt.NDArray[np.float64]

# No image is larger; beyond it areas could overflow.
_HUGE = 1e9


def box_array(boxes: Sequence[Box]) -> Floats:
    """Boxes as an array in which every box is safe to measure.

    A box with swapped corners, no area or a number that is not finite becomes all zeros: it overlaps
    nothing and still counts as a predicted box. pycocotools would give it a negative area, which its size
    ranges ignore, or an IoU of NaN, which passes for a match.

    Returns:
        (M, 4) float64.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    finite = np.all(np.abs(array) < _HUGE, axis=1, keepdims=True)
    ordered = np.all(array[:, 2:] > array[:, :2], axis=1, keepdims=True)
    return np.where(finite & ordered, array, 0.0)


def overlaps(pred: Floats, true: Floats, crowd: Sequence[bool]) -> Floats:
    """IoU of every predicted with every true box; with a crowd, intersection over the predicted area.

    Args:
        pred: (M, 4).
        true: (K, 4).
        crowd: K flags.

    Returns:
        (M, K) in [0, 1]; 0 where there is no area to divide by.
    """
    corner1 = np.maximum(pred[:, None, :2], true[None, :, :2])
    corner2 = np.minimum(pred[:, None, 2:], true[None, :, 2:])
    intersection = (corner2 - corner1).clip(min=0).prod(axis=2)
    pred_area, true_area = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (pred, true))
    union = pred_area[:, None] + true_area[None, :] - intersection
    whole = np.where(np.asarray(crowd, dtype=bool)[None, :], pred_area[:, None], union)
    result: Floats = np.divide(intersection, whole, out=np.zeros_like(intersection), where=whole > 0)
    return result
