"""Overlap of all pairs of boxes.

Axes: M boxes of one set, K boxes of the other.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from vision_r1_ops._backend import kernels
from vision_r1_ops._checks import check_device, check_option, working_dtype

Overlap = Literal["iou", "giou", "diou"]


def box_iou(
    boxes1: Num[Tensor, "*batch m 4"], boxes2: Num[Tensor, "*batch k 4"], *, kind: Overlap = "iou"
) -> Float[Tensor, "*batch m k"]:
    """Overlap of every box of one set with every box of the other.

    With I the area of the intersection, U of the union and E of the smallest enclosing box, d the distance
    of the centres and e the diagonal of the enclosing box:

        iou = I / U        giou = iou - (E - U) / E        diou = iou - d^2 / e^2

    A ratio whose denominator is zero counts as 0, so boxes without area give finite values. A box whose
    corners are swapped has no area. Runs on any device and is differentiable; on a GPU it is one kernel where
    no gradient is asked for.

    Args:
        boxes1: (..., M, 4) boxes xyxy, in any unit. float64 is computed in float64, everything else in
            float32.
        boxes2: (..., K, 4) boxes xyxy in the same unit, with the same leading dimensions.
        kind: "iou" in [0, 1], "giou" in [-1, 1], or "diou", in [-1, 1] for ordered corners.

    Returns:
        (..., M, K), float64 if one of the two is float64, else float32.

    Raises:
        ValueError: a shape, the devices or `kind` do not fit.
        TypeError: a tensor is neither of floats nor of integers.

    Example:
        >>> box_iou(torch.tensor([[0, 0, 50, 100]]), torch.tensor([[0, 0, 100, 100], [50, 0, 90, 100]]))
        tensor([[0.5000, 0.0000]])

    Source: GIoU, Rezatofighi et al. 2019 (arXiv 1902.09630); DIoU, Zheng et al. 2020 (arXiv 1911.08287).
    """
    check_option("kind", kind, ("iou", "giou", "diou"))
    if boxes1.ndim < 2 or boxes1.shape[-1] != 4:
        raise ValueError(f"boxes1 must have shape (..., M, 4), got {tuple(boxes1.shape)}")
    if boxes2.ndim < 2 or boxes2.shape[-1] != 4 or boxes2.shape[:-2] != boxes1.shape[:-2]:
        expected = ", ".join([*map(str, boxes1.shape[:-2]), "K", "4"])
        raise ValueError(f"boxes2 must have shape ({expected}), got {tuple(boxes2.shape)}")
    check_device(boxes1=boxes1, boxes2=boxes2)
    dtype = working_dtype(boxes1=boxes1, boxes2=boxes2)

    boxes1, boxes2 = boxes1.to(dtype), boxes2.to(dtype)
    is_differentiated = torch.is_grad_enabled() and (boxes1.requires_grad or boxes2.requires_grad)
    if not is_differentiated and (module := kernels(boxes1)):
        values: Tensor = module.box_iou(boxes1, boxes2, kind=kind)
        return values

    a, b = boxes1.unsqueeze(-2), boxes2.unsqueeze(-3)  # (..., M, 1, 4), (..., 1, K, 4)
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    intersection = _area(low, high)
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - intersection
    iou = _ratio(intersection, union)
    if kind == "iou":
        return iou
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    if kind == "giou":
        enclosing = _area(low, high)
        return iou - _ratio(enclosing - union, enclosing)
    # twice the centres, so four times the squared distance
    offset = (a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])
    return iou - _ratio(offset.square().sum(-1) / 4, (high - low).square().sum(-1))


def _area(low: Tensor, high: Tensor) -> Tensor:
    sides = (high - low).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    # dividing by 1 instead of 0 keeps the gradient of the branch not taken finite
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1), 0)
