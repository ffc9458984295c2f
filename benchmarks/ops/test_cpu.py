"""On the CPU: boxes to rewards, costs to assignments, boxes to IoU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from vision_r1_ops import box_iou, linear_sum_assignment

from . import contenders
from .problems import (
    Answer,
    Costs,
    Problems,
    box_problems,
    check_answer,
    check_assignment,
    check_overlap,
    true_answer,
    true_assignment,
    uniform_costs,
)

COUNT = 1024
SIZES = (16, 64, 256)
SQUARE_COUNT = {16: 1024, 64: 1024, 256: 64}  # SciPy takes milliseconds for one of 256
WIDEST_PADDED = 64
PAIRS = (256, 64)  # problems, and boxes of each set

OURS = "vision-r1-ops"
TORCH = "torch-linear-assignment"
SCORERS: dict[str, Callable[[], contenders.Score]] = {
    "released loop": lambda: contenders.score_released,
    "released loop, matched once": lambda: partial(contenders.score_released, matched_once=True),
    "torchvision + SciPy, matched once": lambda: partial(
        contenders.score_released, overlaps=contenders.torchvision_overlaps(), matched_once=True
    ),
    "NumPy + SciPy per slice": lambda: partial(contenders.score_slices, solve=contenders.scipy_solver),
    "NumPy + lapx per slice": lambda: partial(contenders.score_slices, solve=contenders.lapx_solver()),
    f"{TORCH}, padded": lambda: partial(contenders.score_padded, solve=contenders.torch_solver()),
    f"{OURS} without Numba": lambda: contenders.score_without_numba,
    OURS: lambda: contenders.score_ours,
}
ASSIGNERS: dict[str, Callable[[], contenders.Assign]] = {
    "SciPy per slice": lambda: partial(contenders.assign_slices, solve=contenders.scipy_solver),
    "lapx per slice": lambda: partial(contenders.assign_slices, solve=contenders.lapx_solver()),
    TORCH: lambda: partial(contenders.assign_whole, solve=contenders.torch_solver()),
    OURS: lambda: lambda costs: linear_sum_assignment(*costs),
}
OVERLAPS: dict[str, Callable[[], contenders.Overlap]] = {
    "plain torch": lambda: contenders.box_iou_torch,
    "torchvision": lambda: contenders.library("torchvision.ops").box_iou,
    OURS: lambda: box_iou,
}


class Scored(NamedTuple):
    """Boxes, their costs, and what is to come out."""

    problems: Problems
    costs: Costs
    truth: Answer


class Assigned(NamedTuple):
    """Costs, and what is to come out."""

    costs: Costs
    is_ragged: bool
    truth: Tensor


@pytest.fixture(params=SIZES, scope="module")
def scored(request: pytest.FixtureRequest) -> Scored:
    problems = box_problems(COUNT, request.param)
    return Scored(problems, contenders.released_costs(problems), true_answer(problems))


@pytest.fixture(
    params=[
        pytest.param((size, ragged), id=f"{'ragged' if ragged else 'square'} {size}")
        for ragged in (True, False)
        for size in SIZES
    ],
    scope="module",
)
def assigned(request: pytest.FixtureRequest) -> Assigned:
    size, is_ragged = request.param
    if is_ragged:
        costs = contenders.released_costs(box_problems(COUNT, size))
    else:
        costs = uniform_costs(SQUARE_COUNT[size], size)
    return Assigned(costs, is_ragged, true_assignment(costs))


def with_threads(names: Iterable[str]) -> list[Any]:
    """Each contender with one thread, and ours with two as well."""
    pairs = [(name, 1) for name in names] + [(OURS, 2)]
    return [pytest.param(*pair, id=f"{pair[0]}, {pair[1]} threads") for pair in pairs]


@pytest.mark.parametrize(("name", "threads"), with_threads(SCORERS))
def test_score(scored: Scored, name: str, threads: int, timed: Callable[..., None]) -> None:
    shape = list(scored.costs.cost.shape)
    if "padded" in name and shape[1] > WIDEST_PADDED:
        pytest.skip(f"padding to more than {WIDEST_PADDED} boxes makes SciPy's work ten times as much")
    torch.set_num_threads(threads)
    score = SCORERS[name]()
    check_answer(score(scored.problems), scored.truth, scored.costs, exact=OURS in name)
    call = partial(score, scored.problems)
    timed(call, group="score", shape=shape, ragged=True, contender=name, threads=threads)


@pytest.mark.parametrize(("name", "threads"), with_threads(ASSIGNERS))
def test_assign(assigned: Assigned, name: str, threads: int, timed: Callable[..., None]) -> None:
    if name == TORCH and assigned.is_ragged:
        pytest.skip(f"{TORCH} takes problems of one shape")
    torch.set_num_threads(threads)
    assign = ASSIGNERS[name]()
    check_assignment(assign(assigned.costs), assigned.truth, assigned.costs, exact=name == OURS)
    call, shape = partial(assign, assigned.costs), list(assigned.costs.cost.shape)
    timed(call, group="assign", shape=shape, ragged=assigned.is_ragged, contender=name, threads=threads)


@pytest.mark.parametrize("name", OVERLAPS)
def test_box_iou(name: str, timed: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    problems = box_problems(*PAIRS, ragged=False)
    overlap = OVERLAPS[name]()
    values = overlap(problems.pred, problems.true)
    check_overlap(values, problems)
    call, shape = partial(overlap, problems.pred, problems.true), list(values.shape)
    timed(call, group="box_iou", shape=shape, ragged=False, contender=name, threads=1)
