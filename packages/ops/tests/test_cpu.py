import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vision_r1_ops import linear_sum_assignment, reference
from vision_r1_ops._checks import check_problems

_cpu = pytest.importorskip("vision_r1_ops._cpu", reason="numba is not installed", exc_type=ImportError)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cpu, "_PAIRS_PER_THREAD", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cost", ["box", "released", "box_label"])
def test_rewards_equal_the_reference(
    random_problems: Callable[..., dict[str, Tensor]], cost: str, dtype: torch.dtype
) -> None:
    given = random_problems(9)
    given["pred"] = (given["pred"] * 1.07).to(dtype)
    problems = check_problems(**given, labels_for=None)
    options: dict[str, Any] = {"cost": cost, "denominator": "matched", "label_checked": True}
    expected = reference.localization_rewards(*problems, (0.2, 0.3, 0.45), **options)
    for ours, theirs in zip(
        _cpu.localization_rewards(*problems, (0.2, 0.3, 0.45), **options), expected, strict=True
    ):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    for ours, theirs in zip(_cpu.match_boxes(*problems, cost=cost), expected[2:], strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("maximize", [False, True])
def test_assignments_equal_the_reference(maximize: bool) -> None:
    rng = np.random.default_rng(10)
    cost = rng.integers(0, 4, (400, 7, 6)).astype(np.float64)
    cost[rng.random(cost.shape) < 0.2] = -np.inf if maximize else np.inf
    cost[rng.random(cost.shape) < 0.002] = np.nan
    given = cost, rng.integers(0, 8, 400), rng.integers(0, 7, 400)
    for ours, theirs in zip(
        _cpu.linear_sum_assignment(*given, maximize=maximize),
        reference.linear_sum_assignment(*given, maximize=maximize),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)


def _assign_in_child(cost: Any) -> list[int]:
    result: list[int] = linear_sum_assignment(torch.from_numpy(cost)).tolist()
    return result


def test_works_in_a_forked_child() -> None:
    cost = np.random.default_rng(11).random((40, 5, 5))
    expected = linear_sum_assignment(torch.from_numpy(cost)).tolist()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_assign_in_child, (cost,)) == expected
