"""The functions of reference.py compiled by Numba, with results that are equal element by element.

Problems are solved one after the other at their own size; slices of a batch run in threads. Threads instead
of Numba's own parallel loops: those end the process when they run in a forked child.

Most of the time goes into loops over columns. LLVM makes vector instructions of them, without remainder as
columns are padded to blocks. To keep the rest small, what is called for every problem is inlined, and arrays
stay in their tuple until they are indexed: Numba counts references to an array with a name, atomically.

One file holds all compiled functions, because Numba's cache notices changes of a function's own file only.

Axes: N problems, M predicted boxes, K true boxes, both padded. A table has R <= C rows and columns: those of
the problem or, where it has more rows, its columns and rows.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import torch
from numba.extending import intrinsic
from numpy.typing import NDArray

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT turns Numba's compiler off")

Array = NDArray[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# What one thread does while another starts; with less than this for each, starting it is a loss.
_PAIRS_PER_THREAD = 15_000
_COSTS = {"box": 0, "released": 1, "box_label": 2}
_BLOCK = 16  # columns
_NONE: Any = np.int32(2**31 - 1)
# Python's numbers would make float64 of float32.
_ZERO, _ONE = np.float32(0), np.float32(1)


class _Space(NamedTuple):
    """Room for any problem of the batch; C is padded to whole blocks."""

    table: Array  # (R, C) costs
    boxes: Array  # (2, 5, C) of rows and of columns: x1, y1, x2, y2, area
    labels: Array  # (2, C) likewise
    row_dual: Array  # (R,)
    column_dual: Array  # (C,) -inf keeps a column out of the search
    column_of: Array  # (R,) the column that a row has
    row_of: Array  # (C,) the row that a column has, or -1
    distance: Array  # (C,) length of the shortest path found so far, inf where the search has been
    came_from: Array  # (C,) the row before the column on this path
    remaining: Array  # (C,) SciPy's list of the columns where the search has not been
    rank: Array  # (C,) of equally near columns SciPy takes the one of lowest rank
    closed: Array  # (C,) by step of the search: the column where it has been,
    closed_at: Array  # (C,) its distance
    closed_dual: Array  # (C,) and its dual


def linear_sum_assignment(
    cost: Array, n_rows: Array, n_cols: Array, *, maximize: bool = False, duals: bool = False
) -> tuple[Array, Array, tuple[Array, Array] | None]:
    """The column (N, rows) of each row of costs (N, rows, columns), (N,) whether a problem is invalid, duals.

    The duals of rows (N, rows) and of columns (N, columns) are float64; NaN where a problem has no
    assignment, 0 in the padding; None if not asked for.
    """
    index, invalid = np.empty(cost.shape[:2], np.int64), np.empty(len(cost), np.bool_)
    row_duals, column_duals = (np.zeros((len(cost), size if duals else 0)) for size in cost.shape[1:])
    outputs = index, invalid, row_duals, column_duals
    _run(_assign_problems, n_rows, n_cols, cost, maximize, duals, outputs)
    return index, invalid, (row_duals, column_duals) if duals else None


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
    boxes, match = (pred, true, pred_labels, true_labels), _empty_match(pred)
    _run(_match_problems, n_pred, n_true, boxes, _COSTS[cost], match)
    return match


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
    boxes, match = (pred, true, pred_labels, true_labels), _empty_match(pred)
    rule = np.array(thresholds, pred.dtype), denominator == "predicted", label_checked
    rewards = np.empty(len(pred), pred.dtype), np.empty(len(pred), pred.dtype)
    _run(_localize_problems, n_pred, n_true, boxes, _COSTS[cost], match, rule, rewards)
    return *rewards, *match


def _empty_match(pred: Array) -> tuple[Array, Array, Array]:
    shape = pred.shape[:2]
    return np.empty(shape, np.int64), np.empty(shape, pred.dtype), np.empty(shape, pred.dtype)


def _run(problems: Callable[..., None], n_rows: Array, n_cols: Array, *arguments: object) -> None:
    """Call a compiled loop on slices of the batch that take about the same time."""
    pairs = np.cumsum(n_rows * n_cols)
    total = int(pairs[-1]) if pairs.size else 0
    count = max(min(torch.get_num_threads(), total // _PAIRS_PER_THREAD - 1), 1)
    shares = [_PAIRS_PER_THREAD + (total - _PAIRS_PER_THREAD) * k / count for k in range(1, count)]
    here, *others = itertools.pairwise([0, *np.searchsorted(pairs, shares).tolist(), len(n_rows)])
    started = [_pool(os.getpid()).submit(problems, *ab, n_rows, n_cols, *arguments) for ab in others]
    problems(*here, n_rows, n_cols, *arguments)
    for future in started:
        future.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads that stay, since to start one takes as long as 200 small problems; a forked child has none."""
    return ThreadPoolExecutor()


def _compiled(function: _Function, *, inline: bool = False) -> _Function:
    # no fastmath: contracted or reordered arithmetic would not equal the reference
    compiler = functools.partial(numba.njit, nogil=True, error_model="numpy", forceinline=inline)
    try:
        return cast(_Function, compiler(cache=True)(function))
    except RuntimeError:  # there is no folder to write a cache to
        return cast(_Function, compiler()(function))


def _inlined(function: _Function) -> _Function:
    return _compiled(function, inline=True)


def _lower_least(_: Any, x: Any, y: Any) -> Any:
    def lower(_context: Any, builder: Any, _signature: Any, arguments: tuple[Any, Any]) -> Any:
        x, y = arguments
        flags = "nnan", "nsz"
        return builder.select(builder.fcmp_ordered("<", y, x, flags=flags), y, x, flags=flags)

    return x(x, x), lower


# min() that LLVM reduces in vectors: told that neither is NaN, and that it may take either of -0 and 0
_least = cast(Callable[[float, float], float], intrinsic(_lower_least))


@_inlined
def _padded(columns: int) -> int:
    return (columns + _BLOCK - 1) // _BLOCK * _BLOCK


@_inlined
def _space(n: int, m: int, dtype: Any) -> _Space:
    width = _padded(max(n, m))
    return _Space(
        table=np.empty((min(n, m), width), dtype),
        # zeros, since padding that was never written must be numbers too
        boxes=np.zeros((2, 5, width), dtype),
        labels=np.zeros((2, width), np.int64),
        row_dual=np.empty(width),
        column_dual=np.empty(width),
        column_of=np.empty(width, np.int32),
        row_of=np.empty(width, np.int32),
        distance=np.empty(width),
        came_from=np.empty(width, np.int32),
        remaining=np.empty(width, np.int32),
        rank=np.empty(width, np.int32),
        closed=np.empty(width, np.int32),
        closed_at=np.empty(width),
        closed_dual=np.empty(width),
    )


@_compiled
def _solve(space: _Space, rows: int, columns: int) -> bool:
    """Find column_of and the duals of the table by shortest augmenting paths; False if it is infeasible.

    Crouse's algorithm with SciPy's arithmetic and its order of scanning columns, which decides between equal
    costs. The padding of the table may hold any number but -inf.
    """
    width = _padded(columns)
    for k in range(width):
        space.column_dual[k] = 0.0 if k < columns else -np.inf
        space.row_of[k] = -1
        space.remaining[k] = columns - 1 - k
        space.rank[k] = k

    for start in range(rows):
        shortest = np.inf
        for k in range(width):
            distance = space.table[start, k] - space.column_dual[k]
            space.distance[k] = distance
            space.came_from[k] = start
            shortest = _least(shortest, distance)
        rank = _lowest_rank(space, width, shortest)
        steps = 0
        # free columns, which end the search, rank before the others
        while rank >= columns:
            if rank == _NONE:
                return False
            place = rank - columns
            column = space.remaining[place]
            row = space.row_of[column]
            space.closed[steps] = column
            space.closed_at[steps] = shortest
            space.closed_dual[steps] = space.column_dual[column]
            space.distance[column] = np.inf
            space.column_dual[column] = -np.inf
            steps += 1
            # the last column of the list fills the gap
            last = space.remaining[columns - steps]
            space.remaining[place] = last
            space.rank[last] = columns - 1 - place if space.row_of[last] < 0 else columns + place

            row_dual = space.row_dual[row]
            so_far, shortest = shortest, np.inf
            for k in range(width):
                through = so_far + space.table[row, k] - row_dual - space.column_dual[k]
                known, came_from = space.distance[k], space.came_from[k]
                distance = _least(through, known)
                space.distance[k] = distance
                space.came_from[k] = row if through < known else came_from
                shortest = _least(shortest, distance)
            rank = _lowest_rank(space, width, shortest)

        space.row_dual[start] = shortest
        for k in range(steps):
            column, change = space.closed[k], shortest - space.closed_at[k]
            space.row_dual[space.row_of[column]] += change
            space.column_dual[column] = space.closed_dual[k] - change
        column = space.remaining[columns - 1 - rank]
        space.rank[column] = 2 * columns - 1 - column
        row = -1
        while row != start:
            row = space.came_from[column]
            space.row_of[column] = row
            space.column_of[row], column = column, space.column_of[row]
        if steps:
            for k in range(width):
                space.remaining[k] = columns - 1 - k
                space.rank[k] = k if space.row_of[k] < 0 else 2 * columns - 1 - k
    return True


@_inlined
def _lowest_rank(space: _Space, width: int, distance: float) -> int:
    """Of the columns at a distance: the last free one of SciPy's list, or else the first of the list."""
    rank: int = _NONE
    if distance < np.inf:
        for k in range(width):
            if space.distance[k] == distance:
                rank = min(rank, space.rank[k])
    return rank


@_compiled
def _assign_problems(
    start: int,
    stop: int,
    n_rows: Array,
    n_cols: Array,
    cost: Array,
    maximize: bool,
    duals: bool,
    outputs: tuple[Array, Array, Array, Array],
) -> None:
    index, invalid, row_duals, column_duals = outputs
    space = _space(cost.shape[1], cost.shape[2], cost.dtype)
    for b in range(start, stop):
        n, m = n_rows[b], n_cols[b]
        for i in range(index.shape[1]):
            index[b, i] = -1
        invalid[b] = not _fill_with_costs(space, cost, b, n, m, maximize)
        solved = not invalid[b] and _solve(space, min(n, m), max(n, m))
        if solved:
            for r in range(min(n, m)):
                c = space.column_of[r]
                i, j = (c, r) if n > m else (r, c)
                index[b, i] = j
        if duals:
            for i in range(n):
                dual = space.column_dual[i] if n > m else space.row_dual[i]
                row_duals[b, i] = (0.0 - dual if maximize else dual) if solved else np.nan
            for j in range(m):
                dual = space.row_dual[j] if n > m else space.column_dual[j]
                column_duals[b, j] = (0.0 - dual if maximize else dual) if solved else np.nan


@_inlined
def _fill_with_costs(space: _Space, cost: Array, b: int, n: int, m: int, maximize: bool) -> bool:
    """Make the table of a problem's costs, or of their negatives; False if some are invalid."""
    columns = max(n, m)
    valid = True
    for r in range(min(n, m)):
        for c in range(columns):
            value = cost[b, c, r] if n > m else cost[b, r, c]
            value = -value if maximize else value
            valid &= value > -np.inf
            space.table[r, c] = value
        for c in range(columns, _padded(columns)):
            space.table[r, c] = 0
    return valid


@_compiled
def _match_problems(
    start: int,
    stop: int,
    n_pred: Array,
    n_true: Array,
    boxes: tuple[Array, Array, Array, Array],
    cost: int,
    match: tuple[Array, Array, Array],
) -> None:
    pred, true, pred_labels, true_labels = boxes
    index, iou, giou = match
    space = _space(pred.shape[1], true.shape[1], pred.dtype)
    for b in range(start, stop):
        n, m = n_pred[b], n_true[b]
        for i in range(index.shape[1]):
            index[b, i] = -1
            iou[b, i] = giou[b, i] = 0
        _load(space, 1 if n > m else 0, pred, pred_labels, b, n)
        _load(space, 0 if n > m else 1, true, true_labels, b, m)
        _fill_with_pairs(space, min(n, m), max(n, m), cost)
        if _solve(space, min(n, m), max(n, m)):
            for r in range(min(n, m)):
                c = space.column_of[r]
                i, j = (c, r) if n > m else (r, c)
                index[b, i] = j
                iou[b, i], giou[b, i] = _overlap(space, r, c)


@_inlined
def _load(space: _Space, side: int, boxes: Array, labels: Array, b: int, count: int) -> None:
    for k in range(count):
        x1, y1, x2, y2 = boxes[b, k, 0], boxes[b, k, 1], boxes[b, k, 2], boxes[b, k, 3]
        space.boxes[side, 0, k], space.boxes[side, 1, k] = x1, y1
        space.boxes[side, 2, k], space.boxes[side, 3, k] = x2, y2
        space.boxes[side, 4, k] = _area(x1, y1, x2, y2)
        space.labels[side, k] = labels[b, k]


@_inlined
def _fill_with_pairs(space: _Space, rows: int, columns: int, cost: int) -> None:
    """Make the table of all pairs of loaded boxes; its padding is of pairs with boxes loaded before."""
    width = _padded(columns)
    for r in range(rows):
        for c in range(width):
            equal = space.labels[0, r] == space.labels[1, c]
            if cost == 1:
                distance = _ZERO
                for side in range(4):
                    distance += abs(space.boxes[0, side, r] - space.boxes[1, side, c])
                space.table[r, c] = distance - (_ONE if equal else _ZERO)
            elif cost == 2:
                space.table[r, c] = _ZERO if equal else _ONE
            else:
                space.table[r, c] = _ZERO
        # apart from the labels, whose int64 would halve the vectors
        for c in range(width):
            _, giou = _overlap(space, r, c)
            space.table[r, c] -= giou


@_inlined
def _overlap(space: _Space, r: int, c: int) -> tuple[Any, Any]:
    """IoU and GIoU of a pair, in the dtype of the boxes and in the order of reference.box_iou."""
    ax1, ay1 = space.boxes[0, 0, r], space.boxes[0, 1, r]
    ax2, ay2 = space.boxes[0, 2, r], space.boxes[0, 3, r]
    bx1, by1 = space.boxes[1, 0, c], space.boxes[1, 1, c]
    bx2, by2 = space.boxes[1, 2, c], space.boxes[1, 3, c]
    intersection = _area(max(ax1, bx1), max(ay1, by1), min(ax2, bx2), min(ay2, by2))
    union = space.boxes[0, 4, r] + space.boxes[1, 4, c] - intersection
    enclosing = _area(min(ax1, bx1), min(ay1, by1), max(ax2, bx2), max(ay2, by2))
    # where a denominator is 0, so is its numerator
    iou = intersection / (union if union > _ZERO else _ONE)
    return iou, iou - (enclosing - union) / (enclosing if enclosing > _ZERO else _ONE)


@_inlined
def _area(x1: Any, y1: Any, x2: Any, y2: Any) -> Any:
    return max(x2 - x1, _ZERO) * max(y2 - y1, _ZERO)


@_compiled
def _localize_problems(
    start: int,
    stop: int,
    n_pred: Array,
    n_true: Array,
    boxes: tuple[Array, Array, Array, Array],
    cost: int,
    match: tuple[Array, Array, Array],
    rule: tuple[Array, bool, bool],
    rewards: tuple[Array, Array],
) -> None:
    _match_problems(start, stop, n_pred, n_true, boxes, cost, match)
    _, _, pred_labels, true_labels = boxes
    index, iou, _ = match
    xi, over_predicted, label_checked = rule
    recall, precision = rewards
    for b in range(start, stop):
        n, m = n_pred[b], n_true[b]
        recall[b] = precision[b] = n == 0 and m == 0
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


@_inlined
def _refine(x: Any, xi: Array) -> Any:
    if x >= xi[2]:
        return xi.dtype.type(1)
    return xi.dtype.type(0) if x < xi[1] else x
