import importlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from numpy.typing import NDArray

Array = NDArray[Any]


@pytest.fixture(params=["reference", "_cpu"])
def arithmetic(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "_cpu":
        pytest.importorskip("numba")
    return importlib.import_module(f"vision_r1_ops.{request.param}")


def poisoned(cost: Array, n_rows: Array, n_cols: Array) -> Array:
    cost = np.pad(cost, ((0, 0), (0, 2), (0, 3)))
    for b, (n, m) in enumerate(zip(n_rows, n_cols, strict=True)):
        cost[b, n:] = cost[b, :, m:] = np.nan
    return cost


def check_duals(arithmetic: ModuleType, cost: Array, n_rows: Array, n_cols: Array, maximize: bool) -> int:
    """Hold the duals of finite problems to their conventions; returns how many of these there are."""
    cost = poisoned(cost, n_rows, n_cols)
    index, invalid, duals = arithmetic.linear_sum_assignment(
        cost, n_rows, n_cols, maximize=maximize, duals=True
    )
    assert [u.dtype for u in duals] == [np.float64] * 2
    assert [u.shape for u in duals] == [cost.shape[:2], (len(cost), cost.shape[2])]
    without = arithmetic.linear_sum_assignment(cost, n_rows, n_cols, maximize=maximize)
    assert np.array_equal(without[0], index)
    assert without[2] is None

    sign = -1 if maximize else 1
    solved = 0
    for b, (n, m) in enumerate(zip(n_rows, n_cols, strict=True)):
        u, v = duals[0][b, :n], duals[1][b, :m]
        assert (duals[0][b, n:] == 0).all()
        assert (duals[1][b, m:] == 0).all()
        matched = np.flatnonzero(index[b] >= 0)
        if len(matched) < min(n, m) or invalid[b]:
            assert np.isnan([*u, *v]).all()
            continue
        solved += 1
        valid = cost[b, :n, :m].astype(np.float64)
        least = scipy.optimize.linear_sum_assignment(valid, maximize=maximize)
        assert u.sum() + v.sum() == pytest.approx(valid[least].sum(), rel=1e-9, abs=1e-9)
        slack = sign * (valid - u[:, None] - v)
        tolerance = 1e-9 * max(1, np.abs(valid[np.isfinite(valid)]).max(initial=0))
        assert (slack >= -tolerance).all()
        assert (np.abs(slack[matched, index[b, matched]]) <= tolerance).all()
        assert (np.delete(u, matched) == 0).all()
        assert (np.delete(v, index[b, matched]) == 0).all()
        assert (sign * (u if n > m else v) <= tolerance).all()
    return solved


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, shape: rng.normal(size=shape), id="float64"),
        pytest.param(lambda rng, shape: rng.normal(size=shape).astype(np.float32) * 1e4, id="float32"),
        pytest.param(lambda rng, shape: rng.integers(0, 3, shape).astype(np.float64), id="ties"),
        pytest.param(lambda rng, shape: np.zeros(shape), id="all equal"),
    ],
)
def test_duals_prove_the_assignment(arithmetic: ModuleType, draw: Any, maximize: bool) -> None:
    rng = np.random.default_rng(0)
    cost, n_rows, n_cols = draw(rng, (150, 9, 7)), rng.integers(0, 10, 150), rng.integers(0, 8, 150)
    assert check_duals(arithmetic, cost, n_rows, n_cols, maximize) == 150


def test_duals_of_large_problems(arithmetic: ModuleType) -> None:
    cost = np.random.default_rng(1).random((3, 60, 70))
    assert check_duals(arithmetic, cost, np.array([60, 60, 20]), np.array([70, 33, 70]), False) == 3


@pytest.mark.parametrize("maximize", [False, True])
def test_duals_where_pairs_are_forbidden(arithmetic: ModuleType, maximize: bool) -> None:
    rng = np.random.default_rng(2)
    cost, n_rows, n_cols = rng.random((200, 5, 4)), rng.integers(2, 6, 200), rng.integers(2, 5, 200)
    cost[rng.random(cost.shape) < 0.4] = -np.inf if maximize else np.inf
    cost[:5, 0, 0] = np.nan
    assert 100 < check_duals(arithmetic, cost, n_rows, n_cols, maximize) < 180


def test_duals_by_hand(arithmetic: ModuleType) -> None:
    cost, size = np.array([[[1.0, 5.0, 9.0]]]), np.array([1])
    _, _, (row_duals, column_duals) = arithmetic.linear_sum_assignment(cost, size, size * 3, duals=True)
    assert row_duals.tolist() == [[1]]
    assert column_duals.tolist() == [[0, 0, 0]]
