"""The functions of reference.py compiled by Numba, with results that are equal element by element.

Problems are solved one after the other at their own size, without padding; slices of a batch run in threads.
Threads instead of Numba's own parallel loops: those end the process when they run in a forked child.

One file holds all compiled functions, because Numba's cache notices changes of a function's own file only.

Axes: N problems, M predicted boxes, K true boxes, both padded; a table has R <= C rows and columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# A thread must have this many pairs to work on, or starting it costs more than it saves.
_PAIRS_PER_THREAD = 50_000
_COSTS = {"box": 0, "released": 1, "box_label": 2}


def linear_sum_assignment(
    cost: Array, n_rows: Array, n_cols: Array, *, maximize: bool = False
) -> tuple[Array, Array]:
    """The column (N, rows) of each row of costs (N, rows, columns), and (N,) whether a problem is invalid."""
    index = np.full(cost.shape[:2], -1, np.int64)
    invalid = np.zeros(len(cost), np.bool_)
    _run(_assign_problems, n_rows, n_cols, cost, maximize, index, invalid)
    return index, invalid


def match_boxes(
    pred: Array,
    true: Array,
    n_pred: Array,
    n_true: Array,
    pred_labels: Array,
    true_labels: Array,
    *,
    cost: str = "box",
) -> tuple[Array, Array, Array]:
    """The true box (N, M) of each prediction or -1, and the pair's IoU and GIoU, 0 where unmatched."""
    index = np.full(pred.shape[:2], -1, np.int64)
    iou, giou = np.zeros(pred.shape[:2], pred.dtype), np.zeros(pred.shape[:2], pred.dtype)
    _run(
        _match_problems, n_pred, n_true, pred, true, pred_labels, true_labels, _COSTS[cost], index, iou, giou
    )
    return index, iou, giou


def localization_rewards(
    pred: Array,
    true: Array,
    n_pred: Array,
    n_true: Array,
    pred_labels: Array,
    true_labels: Array,
    thresholds: tuple[float, float, float],
    *,
    cost: str = "box",
    denominator: str = "predicted",
    label_checked: bool = False,
) -> tuple[Array, Array, Array, Array, Array]:
    """Recall and precision (N,), then what `match_boxes` gives."""
    index = np.full(pred.shape[:2], -1, np.int64)
    iou, giou = np.zeros(pred.shape[:2], pred.dtype), np.zeros(pred.shape[:2], pred.dtype)
    recall, precision = np.zeros(len(pred), pred.dtype), np.zeros(len(pred), pred.dtype)
    _run(
        _localize_problems,
        n_pred,
        n_true,
        pred,
        true,
        pred_labels,
        true_labels,
        _COSTS[cost],
        np.array(thresholds, pred.dtype),
        denominator == "predicted",
        label_checked,
        index,
        iou,
        giou,
        recall,
        precision,
    )
    return recall, precision, index, iou, giou


def _run(problems: Callable[..., None], n_rows: Array, n_cols: Array, *arguments: object) -> None:
    """Call a compiled loop on slices of the batch that hold about the same number of pairs."""
    pairs = np.cumsum(n_rows * n_cols)
    count = min(torch.get_num_threads(), pairs[-1] // _PAIRS_PER_THREAD) if pairs.size else 0
    if count < 2:
        problems(0, len(n_rows), n_rows, n_cols, *arguments)
        return
    ends = [int(np.searchsorted(pairs, pairs[-1] * k / count)) for k in range(count)] + [len(n_rows)]
    with ThreadPoolExecutor(count) as pool:
        slices = itertools.pairwise(ends)
        for future in [pool.submit(problems, *ab, n_rows, n_cols, *arguments) for ab in slices]:
            future.result()


def _compiled(function: _Function) -> _Function:
    # no fastmath: contracted or reordered arithmetic would not equal the reference
    return cast(_Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def _assign(table: Array, index: Array, is_transposed: bool) -> None:
    """Solve a float64 table (R, C) by shortest augmenting paths; infeasible leaves the index as it is.

    Crouse's algorithm with SciPy's order of scanning columns, which decides between equal costs.
    """
    rows, columns = table.shape
    row_dual, column_dual = np.zeros(rows), np.zeros(columns)
    column_of, row_of = np.full(rows, -1, np.int64), np.full(columns, -1, np.int64)
    distance, came_from = np.empty(columns), np.empty(columns, np.int64)
    remaining = np.empty(columns, np.int64)
    row_seen, column_seen = np.empty(rows, np.bool_), np.empty(columns, np.bool_)

    for start in range(rows):
        for k in range(columns):
            remaining[k] = columns - 1 - k
        distance[:] = np.inf
        row_seen[:] = False
        column_seen[:] = False
        n_remaining, row, sink, shortest = columns, start, -1, 0.0
        while sink < 0:
            row_seen[row] = True
            dual = row_dual[row]
            lowest, place = np.inf, -1
            for k in range(n_remaining):
                column = remaining[k]
                through = shortest + table[row, column] - dual - column_dual[column]
                if through < distance[column]:
                    distance[column] = through
                    came_from[column] = row
                here = distance[column]
                # among equally near columns a free one ends the search
                if here < lowest or (here == lowest and row_of[column] < 0):
                    lowest, place = here, k
            if lowest == np.inf:
                return
            shortest = lowest
            column = remaining[place]
            if row_of[column] < 0:
                sink = column
            else:
                row = row_of[column]
            column_seen[column] = True
            n_remaining -= 1
            remaining[place] = remaining[n_remaining]

        row_dual[start] += shortest
        for k in range(rows):
            if row_seen[k] and k != start:
                row_dual[k] += shortest - distance[column_of[k]]
        for k in range(columns):
            if column_seen[k]:
                column_dual[k] -= shortest - distance[k]
        column, row = sink, -1
        while row != start:
            row = came_from[column]
            row_of[column] = row
            column_of[row], column = column, column_of[row]

    for k in range(rows):
        if is_transposed:
            index[column_of[k]] = k
        else:
            index[k] = column_of[k]


@_compiled
def _oriented(space: Array, n: int, m: int) -> Array:
    """Room for a table of n x m or m x n, whichever has at most as many rows as columns."""
    return space[: n * m].reshape(min(n, m), max(n, m))


@_compiled
def _assign_problems(
    start: int,
    stop: int,
    n_rows: Array,
    n_cols: Array,
    cost: Array,
    maximize: bool,
    index: Array,
    invalid: Array,
) -> None:
    space = np.empty(cost.shape[1] * cost.shape[2])
    sign = -1.0 if maximize else 1.0
    for b in range(start, stop):
        n, m = n_rows[b], n_cols[b]
        table = _oriented(space, n, m)
        for i in range(n):
            for j in range(m):
                value = sign * cost[b, i, j]
                if np.isnan(value) or value == -np.inf:
                    invalid[b] = True
                if n > m:
                    table[j, i] = value
                else:
                    table[i, j] = value
        if not invalid[b]:
            _assign(table, index[b], n > m)


@_compiled
def _overlap(boxes1: Array, i: int, boxes2: Array, j: int) -> tuple[Any, Any]:
    """IoU and GIoU of a pair, in the dtype of the boxes and in the order of reference.box_iou."""
    ax1, ay1, ax2, ay2 = boxes1[i, 0], boxes1[i, 1], boxes1[i, 2], boxes1[i, 3]
    bx1, by1, bx2, by2 = boxes2[j, 0], boxes2[j, 1], boxes2[j, 2], boxes2[j, 3]
    zero = boxes1.dtype.type(0)
    intersection = max(min(ax2, bx2) - max(ax1, bx1), zero) * max(min(ay2, by2) - max(ay1, by1), zero)
    area1, area2 = max(ax2 - ax1, zero) * max(ay2 - ay1, zero), max(bx2 - bx1, zero) * max(by2 - by1, zero)
    union = area1 + area2 - intersection
    enclosing = max(max(ax2, bx2) - min(ax1, bx1), zero) * max(max(ay2, by2) - min(ay1, by1), zero)
    iou = intersection / union if union > zero else zero
    return iou, iou - ((enclosing - union) / enclosing if enclosing > zero else zero)


@_compiled
def _pair_cost(boxes1: Array, i: int, boxes2: Array, j: int, labels_equal: bool, cost: int) -> Any:
    zero, one = boxes1.dtype.type(0), boxes1.dtype.type(1)
    _, giou = _overlap(boxes1, i, boxes2, j)
    if cost == 1:
        distance = zero
        for side in range(4):
            distance += abs(boxes1[i, side] - boxes2[j, side])
        return distance - (one if labels_equal else zero) - giou
    if cost == 2:
        return -giou + (zero if labels_equal else one)
    return -giou


@_compiled
def _match_problems(
    start: int,
    stop: int,
    n_pred: Array,
    n_true: Array,
    pred: Array,
    true: Array,
    pred_labels: Array,
    true_labels: Array,
    cost: int,
    index: Array,
    iou: Array,
    giou: Array,
) -> None:
    space = np.empty(pred.shape[1] * true.shape[1])
    for b in range(start, stop):
        n, m = n_pred[b], n_true[b]
        boxes1, boxes2 = pred[b], true[b]  # a slice per pair would cost more than the arithmetic
        table = _oriented(space, n, m)
        for i in range(n):
            for j in range(m):
                equal = pred_labels[b, i] == true_labels[b, j]
                value = _pair_cost(boxes1, i, boxes2, j, equal, cost)
                if n > m:
                    table[j, i] = value
                else:
                    table[i, j] = value
        _assign(table, index[b], n > m)
        for i in range(n):
            if index[b, i] >= 0:
                iou[b, i], giou[b, i] = _overlap(boxes1, i, boxes2, index[b, i])


@_compiled
def _refine(x: Any, xi: Array) -> Any:
    if x >= xi[2]:
        return xi.dtype.type(1)
    return xi.dtype.type(0) if x < xi[1] else x


@_compiled
def _localize_problems(
    start: int,
    stop: int,
    n_pred: Array,
    n_true: Array,
    pred: Array,
    true: Array,
    pred_labels: Array,
    true_labels: Array,
    cost: int,
    xi: Array,
    over_predicted: bool,
    label_checked: bool,
    index: Array,
    iou: Array,
    giou: Array,
    recall: Array,
    precision: Array,
) -> None:
    _match_problems(start, stop, n_pred, n_true, pred, true, pred_labels, true_labels, cost, index, iou, giou)
    for b in range(start, stop):
        n, m = n_pred[b], n_true[b]
        if n == 0 and m == 0:
            recall[b] = precision[b] = 1
        if n == 0 or m == 0:
            continue
        found, total = 0, 0.0
        for i in range(n):
            j = index[b, i]
            right = j >= 0 and (not label_checked or pred_labels[b, i] == true_labels[b, j])
            if right and iou[b, i] >= xi[0]:
                found += 1
                total += _refine(iou[b, i], xi)
        recall[b] = found / m
        recall[b] = _refine(recall[b], xi)
        precision[b] = total / (n if over_predicted else min(n, m))
