"""The linear sum assignment problem, in batches.

Axes: N rows and M columns of a cost matrix, both padded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import torch
from jaxtyping import Float64, Int, Num
from numpy.typing import NDArray
from torch import Tensor

from vision_r1_ops._backend import backend, kernels
from vision_r1_ops._checks import check_counts, check_device, check_integers, to_numpy


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """An assignment and the duals that prove it to be best.

    To minimise, row_duals[i] + column_duals[j] <= cost[i, j] for all pairs, with equality for assigned ones,
    up to rounding of the largest costs; to maximise, >=. What is not assigned has dual 0, so the duals sum to
    the total cost. Where several duals do, those of a GPU and of Numba are alike, those of SciPy are others.

    Args:
        index: (..., N) int64, the column of each row, -1 where the row is unmatched or padding.
        row_duals: (..., N) float64, 0 in the padding, NaN where every full assignment is forbidden.
        column_duals: (..., M) float64, likewise.
    """

    index: Int[Tensor, "*batch n"]
    row_duals: Float64[Tensor, "*batch n"]
    column_duals: Float64[Tensor, "*batch m"]


@overload
def linear_sum_assignment(
    cost: Num[Tensor, "*batch n m"],
    n_rows: Int[Tensor, "*batch"] | None = None,
    n_cols: Int[Tensor, "*batch"] | None = None,
    *,
    maximize: bool = False,
    return_duals: Literal[False] = False,
    validate: bool = True,
) -> Int[Tensor, "*batch n"]: ...


@overload
def linear_sum_assignment(
    cost: Num[Tensor, "*batch n m"],
    n_rows: Int[Tensor, "*batch"] | None = None,
    n_cols: Int[Tensor, "*batch"] | None = None,
    *,
    maximize: bool = False,
    return_duals: Literal[True],
    validate: bool = True,
) -> Assignment: ...


def linear_sum_assignment(
    cost: Num[Tensor, "*batch n m"],
    n_rows: Int[Tensor, "*batch"] | None = None,
    n_cols: Int[Tensor, "*batch"] | None = None,
    *,
    maximize: bool = False,
    return_duals: bool = False,
    validate: bool = True,
) -> Int[Tensor, "*batch n"] | Assignment:
    """Give each row a column of its own so that the sum of the costs is least.

        minimise  sum_i cost[i, column_i]   over one-to-one choices of min(rows, columns) pairs

    The cost is SciPy's, and so is the choice where several are equally good: duals are float64. CUDA tensors
    of up to 512 rows and columns are solved where they are, one warp a problem; wider ones on the CPU.

    Args:
        cost: (..., N, M), one problem per leading index. +inf forbids a pair.
        n_rows: (...) integers, how many rows of each problem are valid; all if left out. Padding is not read.
        n_cols: (...) integers, likewise for the columns.
        maximize: find the greatest sum instead; then -inf forbids a pair and +inf is an error.
        return_duals: return an `Assignment`, which has the index and the duals.
        validate: raise if values are invalid, for which a CUDA call waits for the device. If False it does
            not wait, and an invalid problem gets all -1 and duals without meaning. Values on the CPU, and of
            problems that are too wide for a GPU, are always checked.

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
    given = {"cost": cost, "n_rows": n_rows, "n_cols": n_cols}
    check_device(**{name: tensor for name, tensor in given.items() if tensor is not None})
    if cost.ndim < 2:
        raise ValueError(f"cost must have shape (..., N, M), got {tuple(cost.shape)}")
    if cost.is_complex():
        raise TypeError(f"cost must be of real numbers, got {cost.dtype}")
    *batch, rows, columns = cost.shape
    if n_rows is None:
        n_rows = torch.full(batch, rows, device=cost.device)
    if n_cols is None:
        n_cols = torch.full(batch, columns, device=cost.device)
    check_integers("n_rows", n_rows, batch)
    check_integers("n_cols", n_cols, batch)
    costs = cost.detach().reshape(math.prod(batch), rows, columns)

    index: Tensor
    if module := kernels(cost, rows, columns):
        costs = costs.to(torch.uint8) if cost.dtype == torch.bool else costs
        index, steps, duals = module.linear_sum_assignment(
            costs, n_rows.reshape(-1), n_cols.reshape(-1), maximize=maximize, duals=return_duals
        )
        invalid = steps == module.INVALID if validate else None
    else:
        index, invalid, duals = _solve_on_cpu(costs, n_rows, n_cols, maximize, return_duals)
    if invalid is not None and invalid.any():
        _check_sizes(n_rows, n_cols, rows, columns)
        raise ValueError(
            f"cost must be neither NaN nor {'+inf' if maximize else '-inf'} where it is valid, "
            f"see problem {int(invalid.nonzero()[0])}"
        )
    index = index.reshape(*batch, rows)
    if duals is None:
        return index
    return Assignment(index, duals[0].reshape(*batch, rows), duals[1].reshape(*batch, columns))


def _solve_on_cpu(
    cost: Tensor, n_rows: Tensor, n_cols: Tensor, maximize: bool, duals: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """What the kernels give, for costs (N, rows, columns), on the device of the costs."""
    # half precision fits into float32; only float64 holds the integers that SciPy would see
    half = cost.dtype in (torch.float16, torch.bfloat16, torch.float32)
    values = to_numpy(cost, torch.float32 if half else torch.float64)
    index, invalid, both = backend().linear_sum_assignment(
        values, *_check_sizes(n_rows, n_cols, *cost.shape[1:]), maximize=maximize, duals=duals
    )
    there = [torch.from_numpy(array).to(cost.device) for array in (index, invalid, *(both or ()))]
    return there[0], there[1], (there[2], there[3]) if both else None


def _check_sizes(
    n_rows: Tensor, n_cols: Tensor, rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return (
        check_counts("n_rows", n_rows, rows, "rows of cost").reshape(-1),
        check_counts("n_cols", n_cols, columns, "columns of cost").reshape(-1),
    )
