"""On a GPU: boxes to rewards, costs to assignments, boxes to IoU, beside what bounds their time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from vision_r1_ops import box_iou, linear_sum_assignment

from . import contenders
from .floors import bytes_floor, slots_floor
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

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

DEVICE = "cuda"
SHAPES = ((4096, 32, False), (1024, 128, False), (208, 300, False), (4096, 32, True), (1024, 128, True))
PAIRS = (256, 64)  # problems, and boxes of each set
QUEUED = 20  # calls

OURS = "vision-r1-ops"
TORCH = "torch-linear-assignment"


def assign_ours(costs: Costs, *, validate: bool = True) -> Tensor:
    return linear_sum_assignment(*costs, validate=validate)


def assign_queued(costs: Costs) -> Tensor:
    """Calls of which none waits for the device, so that it is never idle."""
    return [assign_ours(costs, validate=False) for _ in range(QUEUED)][-1]


SCORERS: dict[str, Callable[[], contenders.Score]] = {
    TORCH: lambda: partial(contenders.score_padded, solve=contenders.torch_solver()),
    OURS: lambda: contenders.score_ours,
    f"{OURS}, validate=False": lambda: partial(contenders.score_ours, validate=False),
}
ASSIGNERS: dict[str, Callable[[], contenders.Assign]] = {
    "SciPy per slice": lambda: partial(contenders.assign_slices, solve=contenders.scipy_solver),
    TORCH: lambda: partial(contenders.assign_padded, solve=contenders.torch_solver()),
    OURS: lambda: assign_ours,
    f"{OURS}, validate=False": lambda: partial(assign_ours, validate=False),
    f"{OURS}, {QUEUED} calls queued": lambda: assign_queued,
}
OVERLAPS: dict[str, Callable[[], contenders.Overlap]] = {
    "plain torch": lambda: contenders.box_iou_torch,
    "torchvision": lambda: contenders.library("torchvision.ops").box_iou,
    OURS: lambda: box_iou,
}


class Scored(NamedTuple):
    """Boxes on the device; their costs and what is to come out, on the CPU; what is said of the case."""

    problems: Problems
    costs: Costs
    truth: Answer
    case: dict[str, Any]


class Assigned(NamedTuple):
    """Costs on the device and on the CPU, what is to come out, and what is said of the case."""

    on_device: Costs
    costs: Costs
    truth: Tensor
    case: dict[str, Any]


@pytest.fixture(params=SHAPES, scope="module")
def scored(request: pytest.FixtureRequest) -> Scored:
    count, size, is_ragged = request.param
    problems = box_problems(count, size, ragged=is_ragged)
    costs = contenders.released_costs(problems)
    n_boxes = int(problems.n_pred.sum() + problems.n_true.sum())
    # boxes and labels in; the index, IoU and GIoU of each prediction and the two rewards out
    moved = n_boxes * (16 + 8) + count * size * (8 + 4 + 4) + count * 8
    case = {
        "group": "score",
        "shape": [count, size, size],
        "ragged": is_ragged,
        **floors(moved, ("localization_rewards_kernel", "released"), costs.to(DEVICE)),
    }
    return Scored(problems.to(DEVICE), costs, true_answer(problems), case)


@pytest.fixture(params=[(kind, *shape) for kind in ("uniform", "giou") for shape in SHAPES], scope="module")
def assigned(request: pytest.FixtureRequest) -> Assigned:
    kind, count, size, is_ragged = request.param
    if kind == "uniform":
        costs = uniform_costs(count, size, ragged=is_ragged)
    else:
        boxes = box_problems(count, size, ragged=is_ragged)
        costs = Costs(-box_iou(boxes.pred, boxes.true, kind="giou"), boxes.n_pred, boxes.n_true)
    on_device = costs.to(DEVICE)
    moved = 4 * int((costs.n_rows * costs.n_cols).sum()) + 8 * count * size
    case = {
        "group": f"assign {kind}",
        "shape": [count, size, size],
        "ragged": is_ragged,
        **floors(moved, ("linear_sum_assignment_kernel", "index only"), on_device),
    }
    return Assigned(on_device, costs, true_assignment(costs), case)


def floors(moved: int, kernel: tuple[str, str], costs: Costs) -> dict[str, float | None]:
    """The least seconds that the bytes take, and the kernel's instructions on these costs."""
    from vision_r1_ops import _kernels  # needs Triton

    _, steps, _ = _kernels.linear_sum_assignment(*costs)
    slots = slots_floor(*kernel, max(costs.cost.shape[1:]), steps)
    return {"bytes_floor": bytes_floor(moved), "slots_floor": slots}


def synchronised(function: Callable[..., object], *arguments: object) -> Callable[[], None]:
    def call() -> None:
        function(*arguments)
        torch.cuda.synchronize()

    return call


@pytest.mark.parametrize("name", SCORERS)
def test_score(scored: Scored, name: str, timed: Callable[..., None]) -> None:
    score = SCORERS[name]()
    check_answer(score(scored.problems), scored.truth, scored.costs, exact=OURS in name)
    timed(synchronised(score, scored.problems), **scored.case, contender=name)


@pytest.mark.parametrize("name", ASSIGNERS)
def test_assign(assigned: Assigned, name: str, timed: Callable[..., None]) -> None:
    assign = ASSIGNERS[name]()
    costs = contenders.fill_padding(assigned.on_device) if name == TORCH else assigned.on_device
    check_assignment(assign(costs), assigned.truth, assigned.costs, exact=OURS in name)
    calls = QUEUED if "queued" in name else 1
    timed(synchronised(assign, costs), **assigned.case, contender=name, calls=calls)


@pytest.mark.parametrize("name", OVERLAPS)
def test_box_iou(name: str, timed: Callable[..., None]) -> None:
    problems = box_problems(*PAIRS, ragged=False)
    overlap, boxes = OVERLAPS[name](), (problems.pred.to(DEVICE), problems.true.to(DEVICE))
    values = overlap(*boxes)
    check_overlap(values, problems)
    moved = 4 * (boxes[0].numel() + boxes[1].numel() + values.numel())
    case = {"group": "box_iou", "shape": list(values.shape), "ragged": False}
    timed(synchronised(overlap, *boxes), **case, bytes_floor=bytes_floor(moved), contender=name)
