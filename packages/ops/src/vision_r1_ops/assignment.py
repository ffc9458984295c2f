"""The linear sum assignment problem, in batches.

Axes: N rows and M columns of a cost matrix, both padded.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Int, Num
from torch import Tensor

from vision_r1_ops._backend import backend
from vision_r1_ops._checks import check_counts, check_device, to_numpy


def linear_sum_assignment(
    cost: Num[Tensor, "*batch n m"],
    n_rows: Int[Tensor, "*batch"] | None = None,
    n_cols: Int[Tensor, "*batch"] | None = None,
    *,
    maximize: bool = False,
) -> Int[Tensor, "*batch n"]:
    """Give each row a column of its own so that the sum of the costs is least.

        minimise  sum_i cost[i, column_i]   over one-to-one choices of min(rows, columns) pairs

    The cost is SciPy's, and so is the choice where several are equally good. Assignments are computed on the
    CPU, with float64 duals.

    Args:
        cost: (..., N, M), one problem per leading index. +inf forbids a pair.
        n_rows: (...) integers, how many rows of each problem are valid; all if left out. Padding is not read.
        n_cols: (...) integers, likewise for the columns.
        maximize: find the greatest sum instead; then -inf forbids a pair and +inf is an error.

    Returns:
        (..., N) int64 on the device of `cost`: the column of each row, -1 where the row is unmatched or
        padding. All -1 where every full assignment needs a forbidden pair.

    Raises:
        ValueError: a valid cost is NaN or -inf (+inf to maximise), a count exceeds its padding, or shapes or
            devices do not fit.
        TypeError: `cost` is complex, or counts are not integers.

    Example:
        >>> linear_sum_assignment(torch.tensor([[8, 4, 7], [5, 2, 3], [9, 6, 7], [9, 4, 8]]))
        tensor([ 0,  2, -1,  1])

    Source: Crouse, "On implementing 2D rectangular assignment algorithms", 2016, as in
    scipy.optimize.linear_sum_assignment.
    """
    if cost.ndim < 2:
        raise ValueError(f"cost must have shape (..., N, M), got {tuple(cost.shape)}")
    if cost.is_complex():
        raise TypeError(f"cost must be of real numbers, got {cost.dtype}")
    *batch, rows, columns = cost.shape
    if n_rows is None:
        n_rows = torch.full(batch, rows, device=cost.device)
    if n_cols is None:
        n_cols = torch.full(batch, columns, device=cost.device)
    check_device(cost=cost, n_rows=n_rows, n_cols=n_cols)
    row_counts = check_counts("n_rows", n_rows, tuple(batch), rows, "rows of cost")
    column_counts = check_counts("n_cols", n_cols, tuple(batch), columns, "columns of cost")

    # half precision fits into float32; only float64 holds the integers that SciPy would see
    half = cost.dtype in (torch.float16, torch.bfloat16, torch.float32)
    values = to_numpy(cost, torch.float32 if half else torch.float64)
    index, invalid = backend().linear_sum_assignment(
        values.reshape(math.prod(batch), rows, columns),
        row_counts.reshape(-1),
        column_counts.reshape(-1),
        maximize=maximize,
    )
    if invalid.any():
        raise ValueError(
            f"cost must be neither NaN nor {'+inf' if maximize else '-inf'} where it is valid, "
            f"see problem {np.flatnonzero(invalid)[0]}"
        )
    return torch.from_numpy(index).reshape(*batch, rows).to(cost.device)
