"""The ways from boxes or costs to matches and rewards: ours first, then those of others.

Axes: N problems, M predicted boxes or rows, K true boxes or columns, both padded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from vision_r1_ops import localization, localization_rewards, reference

from .problems import CLASSES, THRESHOLDS, Answer, Costs, Problems

Array = NDArray[Any]
Score = Callable[[Problems], Answer]
Assign = Callable[[Costs], Tensor]  # the column (N, M) of each row, or -1
Overlap = Callable[[Tensor, Tensor], Tensor]  # of all pairs of boxes (..., M, 4) and (..., K, 4)
Overlaps = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # their IoU and GIoU
SliceSolver = Callable[[Array], tuple[Array, Array]]  # costs (m, k) to rows and columns
BatchSolver = Callable[[Tensor], Tensor]  # costs (N, M, K) of one size to columns (N, M)

scipy_solver: SliceSolver = scipy.optimize.linear_sum_assignment


def score_ours(problems: Problems, *, validate: bool = True) -> Answer:
    rewards = localization_rewards(
        problems.pred,
        problems.true,
        problems.n_pred,
        problems.n_true,
        THRESHOLDS,
        pred_labels=problems.pred_labels,
        true_labels=problems.true_labels,
        cost="released",
        validate=validate,
    )
    return Answer(rewards.match.index, rewards.recall, rewards.precision)


def score_without_numba(problems: Problems) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localization, "backend", lambda: reference)
        return score_ours(problems)


def library(name: str) -> Any:
    """An optional peer; the test that asks for it is skipped where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # torchvision beside another build of torch: RuntimeError
        pytest.skip(f"{name} cannot be imported: {error}")


def lapx_solver() -> SliceSolver:
    """lapx's fastest solver of dense problems, rectangular ones too."""
    return partial(library("lap").lapjvr, extend_cost=True, return_cost=False)


def torch_solver() -> BatchSolver:
    """torch-linear-assignment: a Triton kernel on CUDA tensors, a loop over SciPy on others."""
    solve: BatchSolver = library("torch_linear_assignment").batch_linear_assignment
    return solve


def torchvision_overlaps() -> Overlaps:
    ops = library("torchvision.ops")
    return lambda pred, true: (ops.box_iou(pred, true), ops.generalized_box_iou(pred, true))


def box_iou_torch(pred: Float[Tensor, "*n m 4"], true: Float[Tensor, "*n k 4"]) -> Float[Tensor, "*n m k"]:
    """IoU in plain torch."""
    intersection, union = _intersection_union(pred, true)
    return intersection / union


def overlaps_torch(pred: Float[Tensor, "*n m 4"], true: Float[Tensor, "*n k 4"]) -> tuple[Tensor, Tensor]:
    """IoU and GIoU in plain torch, in the steps of DETR; NaN for pairs without area."""
    intersection, union = _intersection_union(pred, true)
    iou = intersection / union
    low = torch.min(pred[..., None, :2], true[..., None, :, :2])
    high = torch.max(pred[..., None, 2:], true[..., None, :, 2:])
    sides = (high - low).clamp(min=0)
    enclosing = sides[..., 0] * sides[..., 1]
    return iou, iou - (enclosing - union) / enclosing


def _intersection_union(pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.max(pred[..., None, :2], true[..., None, :, :2])
    high = torch.min(pred[..., None, 2:], true[..., None, :, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    return intersection, _area(pred)[..., None] + _area(true)[..., None, :] - intersection


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def score_released(
    problems: Problems, *, overlaps: Overlaps = overlaps_torch, matched_once: bool = False
) -> Answer:
    """One completion at a time, as the released Vision-R1 code does it.

    Its rewards of recall and of precision are two functions, and each matches the boxes anew: labels one-hot,
    `torch.cdist`, GIoU with a check of the corners, SciPy. Recall adds up its pairs one by one. Unlike there,
    boxes come as tensors, a pair is worth its IoU instead of its GIoU, and what equals a threshold reaches
    it, as in the paper.

    matched_once: match once and add up in one call, as the released code could have done.
    """
    index = np.full(problems.pred.shape[:2], -1)
    recall, precision = [], []
    for b, (n, k) in enumerate(zip(problems.n_pred.tolist(), problems.n_true.tolist(), strict=True)):
        boxes = problems.pred[b, :n], problems.true[b, :k]
        labels = problems.pred_labels[b, :n], problems.true_labels[b, :k]
        rows, columns, iou = _match_released(*boxes, *labels, overlaps)
        is_found = _refine(iou, THRESHOLDS.xi0, THRESHOLDS.xi0)
        found = is_found.sum() if matched_once else sum(is_found)
        recall.append(_refine(found / k, THRESHOLDS.xi1, THRESHOLDS.xi2).item())
        if not matched_once:
            rows, columns, iou = _match_released(*boxes, *labels, overlaps)
        precision.append(_refine(iou, THRESHOLDS.xi0, THRESHOLDS.xi2).sum().item() / n)
        index[b, rows] = columns
    return Answer(torch.from_numpy(index), torch.tensor(recall), torch.tensor(precision))


def _match_released(
    pred: Tensor, true: Tensor, pred_labels: Tensor, true_labels: Tensor, overlaps: Overlaps
) -> tuple[Array, Array, Tensor]:
    probability = torch.zeros(len(pred), CLASSES)
    probability[torch.arange(len(pred)), pred_labels] = 1
    assert (pred[:, 2:] >= pred[:, :2]).all()
    assert (true[:, 2:] >= true[:, :2]).all()
    iou, giou = overlaps(pred, true)
    cost = torch.cdist(pred, true, p=1) - probability[:, true_labels] - giou
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    return rows, columns, iou[rows, columns]


def _refine(x: Tensor, low: float, high: float) -> Tensor:
    x = x.clone()
    x[x < low] = 0
    x[x >= high] = 1
    return x


def score_slices(problems: Problems, solve: SliceSolver) -> Answer:
    """NumPy on one problem at a time."""
    arrays = [tensor.numpy() for tensor in problems]
    index = np.full(problems.pred.shape[:2], -1)
    recall, precision = np.zeros(len(index), np.float32), np.zeros(len(index), np.float32)
    for b, (pred, true, n, k, pred_labels, true_labels) in enumerate(zip(*arrays, strict=True)):
        iou, cost = slice_cost(pred[:n], true[:k], pred_labels[:n], true_labels[:k])
        rows, columns = solve(cost)
        index[b, rows] = columns
        counting = iou[rows, columns]
        counting = counting[counting >= THRESHOLDS.xi0]
        found = len(counting) / k
        recall[b] = 1 if found >= THRESHOLDS.xi2 else found if found >= THRESHOLDS.xi1 else 0
        precision[b] = np.where(counting >= THRESHOLDS.xi2, 1, counting).sum() / n
    return Answer(*(torch.from_numpy(array) for array in (index, recall, precision)))


def slice_cost(pred: Array, true: Array, pred_labels: Array, true_labels: Array) -> tuple[Array, Array]:
    """IoU and the cost "released", L1 - [labels equal] - GIoU, of boxes (m, 4) and (k, 4)."""
    ax1, ay1, ax2, ay2 = pred.T[:, :, None]
    bx1, by1, bx2, by2 = true.T
    width, height = np.minimum(ax2, bx2) - np.maximum(ax1, bx1), np.minimum(ay2, by2) - np.maximum(ay1, by1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    enclosing = (np.maximum(ax2, bx2) - np.minimum(ax1, bx1)) * (np.maximum(ay2, by2) - np.minimum(ay1, by1))
    iou = intersection / union
    giou = iou - (enclosing - union) / enclosing
    distance = np.abs(ax1 - bx1) + np.abs(ay1 - by1) + np.abs(ax2 - bx2) + np.abs(ay2 - by2)
    return iou, distance - (pred_labels[:, None] == true_labels) - giou


def released_costs(problems: Problems) -> Costs:
    """The costs that scoring minimises, as a padded batch."""
    cost = torch.zeros(*problems.pred.shape[:2], problems.true.shape[1])
    arrays = [tensor.numpy() for tensor in problems]
    for b, (pred, true, n, k, pred_labels, true_labels) in enumerate(zip(*arrays, strict=True)):
        _, table = slice_cost(pred[:n], true[:k], pred_labels[:n], true_labels[:k])
        cost[b, :n, :k] = torch.from_numpy(table)
    return Costs(cost, problems.n_pred, problems.n_true)


def assign_slices(costs: Costs, solve: SliceSolver) -> Int[Tensor, "n m"]:
    """One problem at a time on the CPU, copies included."""
    index = np.full(costs.cost.shape[:2], -1)
    for b, (cost, n, k) in enumerate(zip(*(tensor.cpu().numpy() for tensor in costs), strict=True)):
        rows, columns = solve(cost[:n, :k])
        index[b, rows] = columns
    return torch.from_numpy(index).to(costs.cost.device)


def assign_whole(costs: Costs, solve: BatchSolver) -> Int[Tensor, "n m"]:
    """Problems that fill their padding."""
    return solve(costs.cost)


def score_padded(problems: Problems, solve: BatchSolver) -> Answer:
    """torch on the padded batch, on any device."""
    iou, giou = overlaps_torch(problems.pred, problems.true)
    equal = problems.pred_labels[:, :, None] == problems.true_labels[:, None, :]
    cost = torch.cdist(problems.pred, problems.true, p=1) - equal.float() - giou
    index = assign_padded(fill_padding(Costs(cost, problems.n_pred, problems.n_true)), solve)
    paired = iou.gather(2, index.clamp(min=0)[..., None])[..., 0].where(index >= 0, 0)
    counting = paired >= THRESHOLDS.xi0
    recall = _refine(counting.sum(1) / problems.n_true, THRESHOLDS.xi1, THRESHOLDS.xi2)
    precision = _refine(paired, THRESHOLDS.xi0, THRESHOLDS.xi2).sum(1) / problems.n_pred
    return Answer(index, recall, precision)


def fill_padding(costs: Costs) -> Costs:
    """Ragged problems for a solver of one shape.

    Every pair with padding costs the same, and more than any valid pair. So wherever a valid row and a valid
    column are both left to padding, pairing them is cheaper: no valid pair is missed, and those that are made
    cost least.
    """
    is_row, is_column = _valid(costs)
    is_valid = is_row[:, :, None] & is_column[:, None, :]
    largest = costs.cost.where(is_valid, -torch.inf).amax((1, 2), keepdim=True)
    return costs._replace(cost=costs.cost.where(is_valid, largest + 1))


def assign_padded(costs: Costs, solve: BatchSolver) -> Int[Tensor, "n m"]:
    """Problems whose padding is filled."""
    index = solve(costs.cost)
    is_row, _ = _valid(costs)
    return index.where(is_row & (index < costs.n_cols[:, None]), -1)


def _valid(costs: Costs) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(size, device=costs.cost.device) for size in costs.cost.shape[1:])
    return rows < costs.n_rows[:, None], columns < costs.n_cols[:, None]
