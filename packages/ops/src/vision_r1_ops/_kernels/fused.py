"""Boxes in, rewards out, on a GPU: one program matches the boxes of one problem and scores the match.

No matrix of costs is held: the columns' boxes lie in registers, and a step of the search computes its row of
costs from them.

Axes: N problems, M predicted boxes, K true boxes, both padded; the solver's columns are the true boxes or,
where these are fewer, the predicted ones.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from vision_r1_ops._kernels.assignment import (
    _INVALID,
    REGISTERS,
    block_size,
    load_counts,
    shortest_augmenting_paths,
    store_rows,
)
from vision_r1_ops._kernels.iou import load_boxes, overlap

fp64: TypeAlias = tl.float64  # Triton reads the name; another would make a float argument float32


@triton.jit
def _cost_row(problem, row, columns, wanted, COST: tl.constexpr):
    row_boxes, x1, y1, x2, y2, row_labels, labels = problem
    ax1, ay1, ax2, ay2 = load_boxes(row_boxes, row, True)
    cost = -overlap(ax1, ay1, ax2, ay2, x1, y1, x2, y2, "giou")
    if COST == "released":
        distance = tl.abs(ax1 - x1) + tl.abs(ay1 - y1) + tl.abs(ax2 - x2) + tl.abs(ay2 - y2)
        cost += distance - tl.where(tl.load(row_labels + row) == labels, 1.0, 0.0)
    if COST == "box_label":
        cost += tl.where(tl.load(row_labels + row) == labels, 0.0, 1.0)
    return cost


@triton.jit
def _has_bad_box(boxes, n, LIMIT: tl.constexpr, BLOCK: tl.constexpr):
    """Whether a coordinate of the first n boxes is NaN or beyond the limit."""
    rows = tl.arange(0, BLOCK)
    x1, y1, x2, y2 = load_boxes(boxes, rows, rows < n)
    is_good = (tl.abs(x1) <= LIMIT) & (tl.abs(y1) <= LIMIT) & (tl.abs(x2) <= LIMIT) & (tl.abs(y2) <= LIMIT)
    return tl.min(is_good.to(tl.int32), axis=0) == 0


@triton.jit
def _refine(x, xi1, xi2):
    return tl.where(x >= xi2, 1.0, tl.where(x < xi1, 0.0, x))


@triton.jit(do_not_specialize=tuple(range(17)))
def localization_rewards_kernel(
    pred,  # (N, M, 4) float32 or float64
    true,  # (N, K, 4) of the same dtype
    n_pred,  # (N,)
    n_true,  # (N,)
    pred_labels,  # (N, M) or None
    true_labels,  # (N, K) or None
    index,  # (N, M) int64
    iou,  # (N, M) in the boxes' dtype, as the next
    giou,  # (N, M)
    recall,  # (N,) or None
    precision,  # (N,) or None
    steps,  # (N,) int32
    M,
    K,
    xi0: fp64,
    xi1: fp64,
    xi2: fp64,
    COST: tl.constexpr,
    PER_PREDICTED: tl.constexpr,
    LABEL_CHECKED: tl.constexpr,
    LIMIT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes every element of the outputs, padding too."""
    batch = tl.program_id(0).to(tl.int64)
    n, m, is_valid = load_counts(n_pred, n_true, batch, M, K)
    pred += batch * M * 4
    true += batch * K * 4
    is_valid = is_valid & ~_has_bad_box(pred, n, LIMIT, BLOCK) & ~_has_bad_box(true, m, LIMIT, BLOCK)
    n, m = tl.where(is_valid, n, 0), tl.where(is_valid, m, 0)
    is_across = n > m
    short, long = tl.minimum(n, m), tl.maximum(n, m)

    columns = tl.arange(0, BLOCK)
    row_boxes, column_boxes = pred, true
    if is_across:
        row_boxes, column_boxes = true, pred
    x1, y1, x2, y2 = load_boxes(column_boxes, columns, columns < long)
    row_labels, labels = index, columns  # not read, but of some type
    if pred_labels is not None:
        row_labels, column_labels = pred_labels + batch * M, true_labels + batch * K
        if is_across:
            row_labels, column_labels = true_labels + batch * K, pred_labels + batch * M
        labels = tl.load(column_labels + columns, mask=columns < long, other=0)
    problem = (row_boxes, x1, y1, x2, y2, row_labels, labels)
    row_of, _, _, count = shortest_augmenting_paths(short, long, _cost_row, problem, COST, BLOCK)
    tl.store(steps + batch, tl.where(is_valid, count, _INVALID))

    is_matched = row_of >= 0
    ax1, ay1, ax2, ay2 = load_boxes(row_boxes, row_of, is_matched)
    pair_iou = overlap(ax1, ay1, ax2, ay2, x1, y1, x2, y2, "iou")
    pair_giou = overlap(ax1, ay1, ax2, ay2, x1, y1, x2, y2, "giou")
    true_of = tl.where(is_across, row_of, columns).to(tl.int64)
    store_rows(index + batch * M, true_of, -1, row_of, short, M, is_across, BLOCK)
    store_rows(iou + batch * M, pair_iou, 0.0, row_of, short, M, is_across, BLOCK)
    store_rows(giou + batch * M, pair_giou, 0.0, row_of, short, M, is_across, BLOCK)

    if recall is not None:
        # a threshold in float64 would miss an IoU of 0.9 in float32
        dtype = pair_iou.dtype
        xi0, xi1, xi2 = tl.full((), xi0, dtype), tl.full((), xi1, dtype), tl.full((), xi2, dtype)
        is_counting = is_matched & (pair_iou >= xi0)
        if LABEL_CHECKED:
            is_counting &= tl.load(row_labels + row_of, mask=is_matched, other=0) == labels
        worth = tl.where(is_counting, _refine(pair_iou, xi1, xi2), 0.0).to(tl.float64)
        found = tl.sum(is_counting.to(tl.int32), axis=0).to(tl.float64)
        found = (found / tl.maximum(m, 1).to(tl.float64)).to(dtype)
        divisor = n if PER_PREDICTED else short
        total = (tl.sum(worth, axis=0) / tl.maximum(divisor, 1).to(tl.float64)).to(dtype)
        otherwise = tl.where(is_valid & (long == 0), 1.0, 0.0).to(dtype)
        tl.store(recall + batch, tl.where(short > 0, _refine(found, xi1, xi2), otherwise))
        tl.store(precision + batch, tl.where(short > 0, total, otherwise))


def localization_rewards(
    pred: Tensor,
    true: Tensor,
    n_pred: Tensor,
    n_true: Tensor,
    pred_labels: Tensor | None,
    true_labels: Tensor | None,
    thresholds: tuple[float, float, float] | None,
    *,
    cost: str,
    denominator: str = "predicted",
    label_checked: bool = False,
    largest: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Recall and precision (N,); the true box (N, M) of each prediction, IoU, GIoU; (N,) the steps it took.

    Steps are INVALID where a count is, or a coordinate, which is at most the largest. M, K <= WIDEST.
    Without thresholds no rewards are computed, and theirs are not written.
    """
    n, m, _ = pred.shape
    k = true.shape[1]
    recall, precision = pred.new_empty(n), pred.new_empty(n)
    index = pred.new_empty((n, m), dtype=torch.int64)
    iou, giou = pred.new_empty((n, m)), pred.new_empty((n, m))
    steps = pred.new_empty(n, dtype=torch.int32)
    if n:
        inputs = (pred, true, n_pred, n_true, pred_labels, true_labels)
        with torch.cuda.device_of(pred):
            localization_rewards_kernel[(n,)](
                *(tensor if tensor is None else tensor.contiguous() for tensor in inputs),
                index,
                iou,
                giou,
                *(None, None) if thresholds is None else (recall, precision),
                steps,
                m,
                k,
                *thresholds or (0.0, 0.0, 0.0),
                COST=cost,
                PER_PREDICTED=denominator == "predicted",
                LABEL_CHECKED=label_checked,
                LIMIT=largest,
                BLOCK=block_size(m, k),
                **launch_options(block_size(m, k), pred.dtype.itemsize),
            )
    return recall, precision, index, iou, giou, steps


def launch_options(block: int, itemsize: int) -> dict[str, Any]:
    """One warp as long as a lane's registers hold the boxes of its columns, 8 of float32 or 4 of float64.

    More warps reduce through shared memory.
    """
    return {**REGISTERS, "num_warps": max(1, block * itemsize // 1024)}
