"""The linear sum assignment problem on a GPU: one warp solves one problem.

All that the search changes lies in registers, one value per column: the column's dual, its row and that
row's dual, its distance, the column before it on the path, and its place in the scan. A step of the search
reads one row of costs and reduces over the columns. No scratch memory is asked for, no barrier is needed and
nothing waits for the host.

Axes: N problems of n_rows x n_columns costs, padded. The solver's rows are never more than its columns:
where they would be, it is given the transpose.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# A program keeps a problem in its registers: no more rows or columns than these. A candidate's key has room
# for just so many: bits 19 to 28 are its order (free columns 0 to 511, then matched ones 512 to 1023), 10 to
# 18 its column, 0 to 9 its row plus 1, and the sign says that it has been reached.
WIDEST = 512
# In the place of a number of steps.
INVALID = -2
_INVALID = tl.constexpr(INVALID)
# All registers there are: the compiler would rather spill a few and run more warps.
REGISTERS = {"maxnreg": 255, "enable_fp_fusion": False}


@triton.jit
def _halves(number):
    """The bits of a float64 as two int32: a warp reduces these in one instruction, a float64 in many."""
    bits = number.to(tl.int64, bitcast=True)
    return (bits >> 32).to(tl.int32), bits.to(tl.int32)


@triton.jit
def _whole(high, low):
    """The float64 of these halves."""
    return ((high.to(tl.int64) << 32) | (low.to(tl.int64) & 0xFFFFFFFF)).to(tl.float64, bitcast=True)


@triton.jit
def _ordered(high, low):
    """Halves that order as the numbers do, first by the high one, then by the low one; its own inverse.

    -0.0 would come before 0.0, but no distance is -0.0: the first addend of its sum, 0.0 at first and a
    distance later, is not.
    """
    is_negative = high >> 31  # all bits set, or none
    return high ^ (is_negative & 0x7FFFFFFF), low ^ is_negative ^ -0x80000000


@triton.jit
def _pick(numbers, is_it):
    """The one of the float64 numbers that is it; anything where none is."""
    high, low = _halves(numbers)
    least = -0x80000000
    return _whole(tl.max(tl.where(is_it, high, least), axis=0), tl.max(tl.where(is_it, low, least), axis=0))


@triton.jit
def shortest_augmenting_paths(
    n_rows, n_columns, cost_row: tl.constexpr, problem, OPTION: tl.constexpr, BLOCK: tl.constexpr
):
    """Crouse's algorithm, with SciPy's order of operations and of scanning, so that ties fall alike.

    `cost_row(problem, row, columns, wanted, OPTION)` gives the costs of a row. Returns for each column its
    row or -1, that row's dual and its own, and the number of steps, -1 where there is no assignment.
    """
    infinity = float("inf")
    columns = tl.arange(0, BLOCK)
    row_of = tl.full([BLOCK], -1, tl.int32)
    row_dual = tl.zeros([BLOCK], tl.float64)
    column_dual = tl.zeros([BLOCK], tl.float64)
    steps = 0
    start = 0
    while start < n_rows:
        distance = tl.full([BLOCK], infinity, tl.float64)
        came_from = tl.full([BLOCK], -1, tl.int32)
        # Among equally near columns the least key wins: the last free one in the scan, else the first.
        # The scan begins with the last column. A key is negative once its column is reached.
        orders = tl.where(row_of < 0, columns, 512 + n_columns - 1 - columns)
        key = (orders << 19) + (columns << 10) + (row_of + 1)
        key = tl.where(columns < n_columns, key, -0x80000000)
        last = n_columns - 1
        row = start
        column = -1
        dual = tl.full((), 0.0, tl.float64)
        shortest = tl.full((), 0.0, tl.float64)
        while row >= 0:
            costs = cost_row(problem, row, columns, key >= 0, OPTION).to(tl.float64)
            through = shortest + costs - dual - column_dual
            is_nearer = (key >= 0) & (through < distance)
            distance = tl.where(is_nearer, through, distance)
            came_from = tl.where(is_nearer, column, came_from)
            reach = tl.where(key >= 0, distance, infinity)
            highs, lows = _halves(reach)
            highs, lows = _ordered(highs, lows)
            high = tl.min(highs, axis=0)
            low = tl.min(tl.where(highs == high, lows, 0x7FFFFFFF), axis=0)
            is_nearest = (key >= 0) & (highs == high) & (lows == low)
            chosen = tl.min(tl.where(is_nearest, key, 0x7FFFFFFF), axis=0)
            high, low = _ordered(high, low)
            shortest = _whole(high, low)
            is_found = shortest < infinity
            column = tl.where(is_found, (chosen >> 10) & 511, -1)
            row = tl.where(is_found, (chosen & 1023) - 1, -1)
            dual = _pick(row_dual, columns == column)
            # the last of the scan takes the place of the chosen one
            order = chosen >> 19
            place = tl.where(order < 512, n_columns - 1 - order, order - 512)
            moved = (place - last) << 19
            orders = key >> 19
            key += tl.where(orders == 512 + last, moved, tl.where(orders == n_columns - 1 - last, -moved, 0))
            key = tl.where(columns == column, key | -0x80000000, key)
            last -= 1
            steps += 1
        if column < 0:
            steps = -1
            start = n_rows
        else:
            row_of = (key & 1023) - 1
            is_passed = (key < 0) & (columns != column) & (columns < n_columns)
            change = tl.where(is_passed, shortest - distance, 0.0)
            row_dual += change
            column_dual -= change
            while column >= 0:
                before = tl.max(tl.where(columns == column, came_from, -1), axis=0)
                is_before = columns == before
                moved_row = tl.max(tl.where(is_before, row_of, -1), axis=0)
                moved_dual = _pick(row_dual, is_before)
                is_here = columns == column
                row_of = tl.where(is_here, tl.where(before < 0, start, moved_row), row_of)
                row_dual = tl.where(is_here, tl.where(before < 0, shortest, moved_dual), row_dual)
                column = before
            start += 1
    return row_of, row_dual, column_dual, steps


@triton.jit
def load_counts(n_rows, n_columns, batch, M, K):
    """The size of a problem, and whether the padding holds it; nothing where it does not."""
    n, m = tl.load(n_rows + batch), tl.load(n_columns + batch)
    is_valid = (n >= 0) & (n <= M) & (m >= 0) & (m <= K)
    return tl.where(is_valid, n, 0).to(tl.int32), tl.where(is_valid, m, 0).to(tl.int32), is_valid


@triton.jit
def store_rows(pointer, values, default, row_of, n_assigned, width, is_across, BLOCK: tl.constexpr):
    """Store the solver's columns as the caller's rows, and the default where a row has none.

    Unless the problem lies across, its first `n_assigned` rows have columns. So no element is written twice
    and the order of writing does not matter.
    """
    columns = tl.arange(0, BLOCK)
    is_assigned = row_of >= 0
    is_left = tl.where(is_across, ~is_assigned, columns >= n_assigned)
    tl.store(pointer + tl.where(is_across, columns, row_of), values, mask=is_assigned)
    tl.store(pointer + columns, default, mask=is_left & (columns < width))


@triton.jit
def _matrix_row(problem, row, columns, wanted, SIGN: tl.constexpr):
    cost, row_stride, column_stride = problem
    place = cost + row * row_stride + columns * column_stride
    return SIGN * tl.load(place, mask=wanted, other=0).to(tl.float64)


# As compiled ahead of time: alignment would buy nothing, and costs registers.
@triton.jit(do_not_specialize=tuple(range(12)))
def linear_sum_assignment_kernel(
    cost,  # (N, M, K) of any real dtype
    n_rows,  # (N,)
    n_columns,  # (N,)
    index,  # (N, M) int64
    steps,  # (N,) int32
    row_duals,  # (N, M) float64 or None
    column_duals,  # (N, K) float64 or None
    stride_n,
    stride_row,
    stride_column,
    M,
    K,
    SIGN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes every element of the outputs, padding too."""
    batch = tl.program_id(0).to(tl.int64)
    n, m, is_valid = load_counts(n_rows, n_columns, batch, M, K)
    is_across = n > m
    short, long = tl.minimum(n, m), tl.maximum(n, m)
    row_stride = tl.where(is_across, stride_column, stride_row).to(tl.int64)
    column_stride = tl.where(is_across, stride_row, stride_column).to(tl.int64)
    problem = (cost + batch * stride_n, row_stride, column_stride)

    columns = tl.arange(0, BLOCK)
    is_bad = columns < 0
    for row in range(short):
        wanted = columns < long
        costs = _matrix_row(problem, row, columns, wanted, SIGN)
        is_bad = is_bad | (wanted & ~(costs > -float("inf")))
    is_valid = is_valid & (tl.max(is_bad.to(tl.int32), axis=0) == 0)
    row_of, row_dual, column_dual, count = shortest_augmenting_paths(
        tl.where(is_valid, short, 0), long, _matrix_row, problem, SIGN, BLOCK
    )
    tl.store(steps + batch, tl.where(is_valid, count, _INVALID))
    is_solved = is_valid & (count >= 0)
    row_of = tl.where(is_solved, row_of, -1)
    n_assigned = tl.where(is_solved, short, 0)
    column_of = tl.where(is_across, row_of, columns).to(tl.int64)
    store_rows(index + batch * M, column_of, -1, row_of, n_assigned, M, is_across, BLOCK)

    if row_duals is not None:
        short_duals, short_width = row_duals + batch * M, M
        long_duals, long_width = column_duals + batch * K, K
        if is_across:
            short_duals, short_width = column_duals + batch * K, K
            long_duals, long_width = row_duals + batch * M, M
        none = float("nan")
        default = tl.where(columns < short, none, 0.0)
        store_rows(short_duals, SIGN * row_dual, default, row_of, n_assigned, short_width, False, BLOCK)
        value = tl.where(columns < long, tl.where(is_solved, SIGN * column_dual, none), 0.0)
        tl.store(long_duals + columns, value, mask=columns < long_width)


def linear_sum_assignment(
    cost: Tensor, n_rows: Tensor, n_cols: Tensor, *, maximize: bool = False, duals: bool = False
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """The column (N, M) of each row of costs (N, M, K), M, K <= WIDEST, and (N,) the steps it took.

    Steps are -1 where a problem is infeasible, INVALID where a cost or a count is. Duals are (N, M), (N, K).
    """
    n, m, k = cost.shape
    index = cost.new_empty((n, m), dtype=torch.int64)
    steps = cost.new_empty(n, dtype=torch.int32)
    both = None
    if duals:
        both = cost.new_empty((n, m), dtype=torch.float64), cost.new_empty((n, k), dtype=torch.float64)
    if n:
        with torch.cuda.device_of(cost):
            linear_sum_assignment_kernel[(n,)](
                cost,
                n_rows.contiguous(),
                n_cols.contiguous(),
                index,
                steps,
                *(both or (None, None)),
                *cost.stride(),
                m,
                k,
                SIGN=-1.0 if maximize else 1.0,
                BLOCK=block_size(m, k),
                num_warps=1,
                **REGISTERS,
            )
    return index, steps, both


def block_size(*widths: int) -> int:
    """Columns of a program: at least one for each lane of its warp."""
    size: int = triton.next_power_of_2(max(32, *widths))
    return size
