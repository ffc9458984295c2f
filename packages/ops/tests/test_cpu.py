import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_r1_ops import reference

_cpu = pytest.importorskip("vision_r1_ops._cpu", reason="numba is not installed", exc_type=ImportError)

Array = NDArray[Any]
# around the width of vectors and of blocks
SIDES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 257)
SHAPES = [(n, n) for n in SIDES] + [(n, m) for n, m in zip(SIDES, SIDES[2:], strict=False)]
SHAPES += [(m, n) for n, m in SHAPES[len(SIDES) :]] + [(1, 257), (257, 1), (17, 200), (200, 17)]


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cpu, "_PAIRS_PER_THREAD", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


def check_equal(ours: tuple[Array, ...], theirs: tuple[Array, ...]) -> None:
    for array, expected in zip(ours, theirs, strict=True):
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


def check_assignments(cost: Array, n_rows: Array, n_cols: Array, *, maximize: bool = False) -> None:
    given = cost, n_rows, n_cols
    check_equal(
        _cpu.linear_sum_assignment(*given, maximize=maximize)[:2],
        reference.linear_sum_assignment(*given, maximize=maximize)[:2],
    )


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cost", ["box", "released", "box_label"])
def test_rewards_equal_the_reference(
    random_problems: Callable[..., dict[str, Tensor]], cost: str, dtype: torch.dtype
) -> None:
    given = random_problems(9)
    given |= {"pred": (given["pred"] * 1.07).to(dtype), "true": given["true"].to(dtype)}
    problems = [tensor.numpy() for tensor in given.values()]
    options: dict[str, Any] = {"cost": cost, "denominator": "matched", "label_checked": True}
    expected = reference.localization_rewards(*problems, (0.2, 0.3, 0.45), **options)
    check_equal(_cpu.localization_rewards(*problems, (0.2, 0.3, 0.45), **options), expected)
    check_equal(_cpu.match_boxes(*problems, cost=cost), expected[2:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cost", ["box", "released", "box_label"])
def test_matches_of_many_boxes_equal_the_reference(cost: str, dtype: type) -> None:
    rng = np.random.default_rng(12)
    n_true = np.array([1, 14, 16, 17, 60, 100, 130, 0])
    pred, true = np.full((8, 140, 4), np.nan, dtype), np.full((8, 130, 4), np.nan, dtype)
    n_pred = np.zeros(8, np.int64)
    for b, k in enumerate(n_true):
        low = rng.uniform(0, 900, (k, 2))
        true[b, :k] = np.hstack([low, low + rng.uniform(5, 150, (k, 2))])
        found = rng.permutation(np.r_[:k, : k // 5])[k // 8 : k // 8 + 140]
        n_pred[b] = len(found)
        pred[b, : len(found)] = true[b, found] + rng.normal(0, 8, (len(found), 4))
    labels = rng.integers(0, 10, (8, 140)) + 2**40 * rng.integers(0, 2, (8, 140))
    problems = pred, true, n_pred, n_true, labels, labels[:, ::-1][:, :130].copy()
    check_equal(
        _cpu.localization_rewards(*problems, (0.5, 0.5, 0.75), cost=cost),
        reference.localization_rewards(*problems, (0.5, 0.5, 0.75), cost=cost),
    )


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("maximize", [False, True])
def test_assignments_equal_the_reference(maximize: bool) -> None:
    rng = np.random.default_rng(10)
    cost = rng.integers(0, 4, (400, 7, 6)).astype(np.float64)
    cost[rng.random(cost.shape) < 0.2] = -np.inf if maximize else np.inf
    cost[rng.random(cost.shape) < 0.002] = np.nan
    check_assignments(cost, rng.integers(0, 8, 400), rng.integers(0, 7, 400), maximize=maximize)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("values", [2, 5, 1000, None])
def test_assignments_of_all_sizes_equal_the_reference(values: int | None, dtype: type) -> None:
    rng = np.random.default_rng(13)
    cost = np.full((len(SHAPES), 257, 257), np.nan, dtype)
    for b, shape in enumerate(SHAPES):
        cost[b, : shape[0], : shape[1]] = rng.integers(0, values, shape) if values else rng.normal(size=shape)
    check_assignments(cost, *np.array(SHAPES).T)


def test_the_slow_case() -> None:
    side, size = np.arange(1.0, 33.0), np.array([32])
    index, _, duals = _cpu.linear_sum_assignment((side[:, None] * side)[None], size, size, duals=True)
    assert index.tolist() == [list(range(31, -1, -1))]
    assert sum(dual.sum() for dual in duals) == (side * side[::-1]).sum()


@pytest.mark.usefixtures("threads")
def test_duals_are_those_of_each_problem() -> None:
    rng = np.random.default_rng(14)
    given = rng.random((50, 6, 9)), rng.integers(0, 7, 50), rng.integers(0, 10, 50)
    _, _, duals = _cpu.linear_sum_assignment(*given, duals=True)
    for b in range(50):
        _, _, alone = _cpu.linear_sum_assignment(*(array[b : b + 1] for array in given), duals=True)
        check_equal(alone, tuple(dual[b : b + 1] for dual in duals))


@pytest.mark.parametrize("scale", [1e307, 1.7e308])
def test_sums_that_overflow_do_no_harm(scale: float) -> None:
    cost, size = scale * np.random.default_rng(15).uniform(-1, 1, (50, 9, 8)), np.full(50, 8)
    index, invalid, _ = _cpu.linear_sum_assignment(cost, size, size)
    assert not invalid.any()
    assert ((index >= -1) & (index < 8)).all()


def _assign(cost: Array) -> list[int]:
    size = np.full(len(cost), 5)
    index: list[int] = _cpu.linear_sum_assignment(cost, size, size)[0].tolist()
    return index


@pytest.mark.usefixtures("threads")
def test_works_in_a_forked_child() -> None:
    cost = np.random.default_rng(11).random((40, 5, 5))
    expected = _assign(cost)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_assign, (cost,)).get(timeout=60) == expected
