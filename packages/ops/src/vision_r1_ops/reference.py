"""The truth: the public functions on NumPy arrays, in plain loops over SciPy.

Everything else in this package is tested against this file. It trusts its arguments: arrays are of checked
shapes, boxes of one float dtype, integers int64.

Axes: N problems, M predicted boxes, K true boxes, both padded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

Array = NDArray[Any]


def box_iou(boxes1: Array, boxes2: Array, *, kind: str = "iou") -> Array:
    """Overlap (M, K) of boxes (M, 4) and (K, 4) xyxy; kind is iou, giou or diou."""
    a, b = boxes1[:, None, :], boxes2[None, :, :]
    intersection = _area(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - intersection
    iou = _ratio(intersection, union)
    low, high = np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])
    if kind == "giou":
        enclosing = _area(low, high)
        return iou - _ratio(enclosing - union, enclosing)
    if kind == "diou":
        offset = (a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])
        return iou - _ratio((offset**2).sum(-1) / 4, ((high - low) ** 2).sum(-1))
    return iou


def linear_sum_assignment(
    cost: Array, n_rows: Array, n_cols: Array, *, maximize: bool = False, duals: bool = False
) -> tuple[Array, Array, tuple[Array, Array] | None]:
    """The column (N, rows) of each row of costs (N, rows, columns), (N,) whether a problem is invalid, duals.

    The duals of rows (N, rows) and of columns (N, columns) are float64; NaN where a problem has no
    assignment, 0 in the padding; None if not asked for.
    """
    index = np.full(cost.shape[:2], -1, np.int64)
    invalid = np.zeros(len(cost), np.bool_)
    row_duals, column_duals = np.zeros(cost.shape[:2]), np.zeros((len(cost), cost.shape[2]))
    for b, (n, m) in enumerate(zip(n_rows, n_cols, strict=True)):
        valid = cost[b, :n, :m]
        row_duals[b, :n] = column_duals[b, :m] = np.nan
        invalid[b] = (np.isnan(valid) | (valid == (np.inf if maximize else -np.inf))).any()
        if not invalid[b]:
            try:
                rows, columns = scipy.optimize.linear_sum_assignment(valid, maximize=maximize)
            except ValueError:  # infeasible
                continue
            index[b, rows] = columns
            if duals:
                row_duals[b, :n], column_duals[b, :m] = _duals(valid, rows, columns, maximize)
    return index, invalid, (row_duals, column_duals) if duals else None


def _duals(cost: Array, rows: Array, columns: Array, maximize: bool) -> tuple[Array, Array]:
    """Duals (n,) and (m,) that prove an assignment of costs (n, m) to be best.

    Row i has column m(i). The duals of columns are lengths of shortest paths,

        v_j = min(0, min_i(cost_ij - cost_i,m(i) + v_m(i))),  0 where column j has no row,

    and those of rows are u_i = cost_i,m(i) - v_m(i). To maximise, costs and duals change sign.

    Source: Ahuja, Magnanti and Orlin, "Network Flows", 1993, chapter 9: potentials are shortest paths in the
    residual network of an optimal flow.
    """
    if len(rows) < len(cost):  # the side with the shorter axis is the one that is assigned in full
        column_duals, row_duals = _duals(cost.T, columns, rows, maximize)
        return row_duals, column_duals
    sign = -1.0 if maximize else 1.0
    paid = sign * cost[rows, columns].astype(np.float64)
    detour = sign * cost[np.ix_(rows, columns)].astype(np.float64) - paid[:, None]  # 0 on the diagonal
    v = np.zeros(len(rows))
    for _ in rows:  # no shortest path is longer; rounding could make the loop go on
        shorter = (detour + v[:, None]).min(axis=0)
        if (shorter == v).all():
            break
        v = shorter
    row_duals, column_duals = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    row_duals[rows], column_duals[columns] = sign * (paid - v), sign * v
    return row_duals, column_duals


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
    for b, (n, m) in enumerate(zip(n_pred, n_true, strict=True)):
        p, t = pred[b, :n], true[b, :m]
        overlap = box_iou(p, t, kind="giou")
        equal = pred_labels[b, :n, None] == true_labels[b, None, :m]
        if cost == "released":
            offset = np.abs(p[:, None] - t[None])
            # corner by corner: NumPy's own sum may take another order
            distance = offset[..., 0] + offset[..., 1] + offset[..., 2] + offset[..., 3]
            table = distance - equal.astype(pred.dtype) - overlap
        elif cost == "box_label":
            table = -overlap + (~equal).astype(pred.dtype)
        else:
            table = -overlap
        rows, columns = scipy.optimize.linear_sum_assignment(table)
        index[b, rows] = columns
        iou[b, rows] = box_iou(p, t)[rows, columns]
        giou[b, rows] = overlap[rows, columns]
    return index, iou, giou


def criterion_rewards(
    index: Array,
    iou: Array,
    n_pred: Array,
    n_true: Array,
    thresholds: tuple[float, float, float],
    *,
    denominator: str = "predicted",
    label_ok: Array | None = None,
) -> tuple[Array, Array]:
    """The rewards recall (N,) and precision (N,) of matches (N, M)."""
    number = iou.dtype.type
    xi0, xi1, xi2 = (number(xi) for xi in thresholds)

    def refine(x: Any) -> Any:
        return number(1) if x >= xi2 else number(0) if x < xi1 else x

    recall, precision = np.zeros(len(iou), iou.dtype), np.zeros(len(iou), iou.dtype)
    for b, (n, m) in enumerate(zip(n_pred, n_true, strict=True)):
        if n == 0 and m == 0:
            recall[b] = precision[b] = 1
        if n == 0 or m == 0:
            continue
        found, matched, total = 0, 0, 0.0
        for i in range(n):
            if index[b, i] < 0:
                continue
            matched += 1
            if iou[b, i] >= xi0 and (label_ok is None or label_ok[b, i]):
                found += 1
                total += float(refine(iou[b, i]))
        recall[b] = refine(number(found / m))
        precision[b] = total / max(n if denominator == "predicted" else matched, 1)
    return recall, precision


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
    index, iou, giou = match_boxes(pred, true, n_pred, n_true, pred_labels, true_labels, cost=cost)
    label_ok = np.zeros(index.shape, np.bool_)
    for b, i in np.argwhere(index >= 0):
        label_ok[b, i] = pred_labels[b, i] == true_labels[b, index[b, i]]
    recall, precision = criterion_rewards(
        index,
        iou,
        n_pred,
        n_true,
        thresholds,
        denominator=denominator,
        label_ok=label_ok if label_checked else None,
    )
    return recall, precision, index, iou, giou


def _area(low: Array, high: Array) -> Array:
    sides = np.maximum(high - low, 0)
    area: Array = sides[..., 0] * sides[..., 1]
    return area


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
