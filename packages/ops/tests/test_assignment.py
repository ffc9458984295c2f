from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from vision_r1_ops import Assignment, assignment, linear_sum_assignment, reference

INF, NAN = float("inf"), float("nan")


@pytest.fixture(params=["as installed", "scipy"], autouse=True)
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "scipy":
        monkeypatch.setattr(assignment, "backend", lambda: reference)


def scipys(cost: np.ndarray[Any, Any], *, maximize: bool = False) -> np.ndarray[Any, Any]:
    index = np.full(len(cost), -1)
    rows, columns = scipy.optimize.linear_sum_assignment(cost, maximize=maximize)
    index[rows] = columns
    return index


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ([[8, 4, 7], [5, 2, 3], [9, 6, 7], [9, 4, 8]], [0, 2, -1, 1]),
        ([[INF, 1], [2, 3]], [1, 0]),
        ([[1, INF], [2, INF]], [-1, -1]),
        ([[INF, INF, INF]], [-1]),
        ([[3]], [0]),
        ([[1, 1], [1, 1]], [0, 1]),
    ],
)
def test_by_hand(cost: list[list[float]], expected: list[int]) -> None:
    assert linear_sum_assignment(torch.tensor(cost)).tolist() == expected


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
def test_nothing_to_assign(shape: tuple[int, ...]) -> None:
    index = linear_sum_assignment(torch.zeros(shape))
    assert index.shape == shape[:-1]
    assert index.dtype == torch.int64
    assert (index == -1).all()


def test_the_slow_case() -> None:
    side = torch.arange(1, 33)
    assert linear_sum_assignment(side[:, None] * side).tolist() == list(range(31, -1, -1))


@pytest.mark.parametrize(("values", "maximize"), list(product((2, 5), (False, True))))
def test_ties_are_scipys(values: int, maximize: bool) -> None:
    rng = np.random.default_rng(values)
    cost = rng.integers(0, values, (1000, 6, 6)).astype(np.float32)
    rows, columns = rng.integers(0, 7, 1000), rng.integers(0, 7, 1000)
    cost[::3, 1] = cost[::3, 0]  # two rows alike
    index = linear_sum_assignment(
        torch.from_numpy(cost), torch.from_numpy(rows), torch.from_numpy(columns), maximize=maximize
    ).numpy()
    for b, (n, m) in enumerate(zip(rows, columns, strict=True)):
        assert np.array_equal(index[b, :n], scipys(cost[b, :n, :m], maximize=maximize)), (b, n, m)
        assert (index[b, n:] == -1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_every_dtype_is_scipys(dtype: torch.dtype) -> None:
    cost = (torch.rand(60, 13, 17, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    for one, index in zip(cost, linear_sum_assignment(cost), strict=True):
        assert np.array_equal(index.numpy(), scipys(one.double().numpy()))


def test_costs_of_very_different_size() -> None:
    rng = np.random.default_rng(2)
    cost = rng.integers(0, 50, (300, 6, 6)) * 2.0 ** rng.integers(0, 40, (300, 6, 6))
    for one, index in zip(cost, linear_sum_assignment(torch.from_numpy(cost)).numpy(), strict=True):
        assert np.array_equal(index, scipys(one))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (9, 1), (31, 33), (65, 64)])
def test_sizes(n: int, m: int) -> None:
    cost = torch.rand(3, n, m, generator=torch.Generator().manual_seed(n))
    for one, index in zip(cost, linear_sum_assignment(cost), strict=True):
        assert np.array_equal(index.numpy(), scipys(one.numpy()))


def test_forbidden_pairs_are_scipys() -> None:
    rng = np.random.default_rng(3)
    cost = rng.integers(0, 4, (500, 4, 5)).astype(np.float64)
    cost[rng.random(cost.shape) < 0.5] = np.inf
    infeasible = 0
    for one, index in zip(cost, linear_sum_assignment(torch.from_numpy(cost)).numpy(), strict=True):
        try:
            expected = scipys(one)
        except ValueError:
            infeasible += 1
            expected = np.full(4, -1)
        assert np.array_equal(index, expected)
    assert 50 < infeasible < 450


finite = st.floats(-1e6, 1e6, width=32)
problem = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=finite)
)


@settings(max_examples=100, deadline=None)
@given(cost=problem, power=st.integers(-20, 20))
def test_properties(cost: np.ndarray[Any, Any], power: int) -> None:
    tensor = torch.from_numpy(cost)
    index = linear_sum_assignment(tensor).numpy()
    matched = np.flatnonzero(index >= 0)
    assert len(matched) == min(cost.shape) == len(set(index[matched]))
    total = cost.astype(np.float64)[matched, index[matched]].sum()

    across = linear_sum_assignment(tensor.T).numpy()
    kept = np.flatnonzero(across >= 0)
    assert cost.astype(np.float64)[across[kept], kept].sum() == pytest.approx(total, rel=1e-9, abs=1e-6)

    assert np.array_equal(linear_sum_assignment(tensor.double() * 2.0**power).numpy(), index)
    assert np.array_equal(linear_sum_assignment(-tensor, maximize=True).numpy(), index)


@pytest.mark.parametrize("poison", [NAN, INF, -INF, -1e30])
def test_padding_is_not_read(poison: float) -> None:
    generator = torch.Generator().manual_seed(4)
    cost = torch.randint(0, 5, (50, 4, 3), generator=generator).float()
    rows, columns = (torch.randint(0, size + 1, (50,), generator=generator) for size in (4, 3))
    padded = torch.full((50, 7, 6), poison)
    for b in range(50):
        padded[b, : rows[b], : columns[b]] = cost[b, : rows[b], : columns[b]]
    index = linear_sum_assignment(padded, rows, columns)
    assert torch.equal(index[:, :4], linear_sum_assignment(cost, rows, columns))
    assert (index[:, 4:] == -1).all()


def test_batches_are_problems_of_their_own() -> None:
    cost = torch.randint(0, 3, (2, 5, 4, 6), generator=torch.Generator().manual_seed(5))
    index = linear_sum_assignment(cost)
    assert index.shape == (2, 5, 4)
    assert torch.equal(index.flip(1), linear_sum_assignment(cost.flip(1)))
    assert torch.equal(index[1, 3], linear_sum_assignment(cost[1, 3]))


def test_counts_of_a_single_problem() -> None:
    cost = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert linear_sum_assignment(cost, torch.tensor(1), torch.tensor(1)).tolist() == [0, -1]


def test_transposed_storage_and_gradients() -> None:
    cost = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(6), requires_grad=True)
    across = cost.transpose(1, 2)
    assert torch.equal(linear_sum_assignment(across), linear_sum_assignment(across.detach().contiguous()))


@pytest.mark.parametrize(("bad", "maximize"), [(NAN, False), (NAN, True), (-INF, False), (INF, True)])
def test_bad_costs(bad: float, maximize: bool) -> None:
    cost = torch.zeros(3, 2, 2)
    cost[1, 1, 0] = bad
    sign = r"\+" if maximize else "-"
    with pytest.raises(ValueError, match=f"cost must be neither NaN nor {sign}inf .* see problem 1"):
        linear_sum_assignment(cost, maximize=maximize)


def test_minus_infinity_forbids_when_maximizing() -> None:
    cost = torch.tensor([[-INF, 1.0], [9.0, 20.0]])
    assert linear_sum_assignment(cost, maximize=True).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (torch.tensor([3, 1]), ValueError, "n_rows must be at most the 2 rows of cost, got 3"),
        (torch.tensor([-1, 1]), ValueError, "n_rows must not be negative, got -1"),
        (torch.tensor([1]), ValueError, r"n_rows must have shape \(2,\), got \(1,\)"),
        (torch.tensor([1.0, 1.0]), TypeError, "n_rows must be of integers, got torch.float32"),
        (
            torch.zeros(2, dtype=torch.int64, device="meta"),
            ValueError,
            "n_rows must be on the device of cost",
        ),
    ],
)
def test_bad_counts(rows: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        linear_sum_assignment(torch.zeros(2, 2, 3), rows)


def test_bad_shape_and_type() -> None:
    with pytest.raises(TypeError, match="n_rows must be a tensor, got list"):
        linear_sum_assignment(torch.zeros(2, 2, 3), [2, 1])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"cost must have shape \(..., N, M\), got \(3,\)"):
        linear_sum_assignment(torch.zeros(3))
    with pytest.raises(TypeError, match=r"cost must be of real numbers, got torch\.complex64"):
        linear_sum_assignment(torch.zeros(2, 2, dtype=torch.complex64))


@pytest.mark.parametrize("maximize", [False, True])
def test_duals_prove_the_assignment(maximize: bool) -> None:
    cost = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(7))
    solution = linear_sum_assignment(cost, maximize=maximize, return_duals=True)
    assert isinstance(solution, Assignment)
    assert torch.equal(solution.index, linear_sum_assignment(cost, maximize=maximize))
    gap = cost - solution.row_duals[..., None] - solution.column_duals[..., None, :]
    assert ((-gap if maximize else gap) > -1e-6).all()
    total = solution.row_duals.sum(-1) + solution.column_duals.sum(-1)
    torch.testing.assert_close(total, cost.gather(-1, solution.index[..., None]).sum((-1, -2)).double())
