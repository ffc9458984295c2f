"""Seeded problems, their true answers, and the check that every answer passes before it is timed.

Axes: N problems, M predicted boxes or rows, K true boxes or columns, both padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vision_r1_ops import Thresholds, reference

CLASSES = 10
IMAGE = 1000.0  # pixels
THRESHOLDS = Thresholds(xi0=0.5, xi1=0.5, xi2=0.75)


class Problems(NamedTuple):
    """Predicted boxes to be matched with true ones, xyxy in pixels."""

    pred: Float[Tensor, "n m 4"]
    true: Float[Tensor, "n k 4"]
    n_pred: Int[Tensor, " n"]
    n_true: Int[Tensor, " n"]
    pred_labels: Int[Tensor, "n m"]
    true_labels: Int[Tensor, "n k"]

    def to(self, device: str) -> Problems:
        return Problems(*(tensor.to(device) for tensor in self))


class Costs(NamedTuple):
    """Assignment problems."""

    cost: Float[Tensor, "n m k"]
    n_rows: Int[Tensor, " n"]
    n_cols: Int[Tensor, " n"]

    def to(self, device: str) -> Costs:
        return Costs(*(tensor.to(device) for tensor in self))


@dataclass(frozen=True)
class Answer:
    """What becomes of boxes."""

    index: Int[Tensor, "n m"]  # the true box of each prediction, or -1
    recall: Float[Tensor, " n"]
    precision: Float[Tensor, " n"]


def box_problems(count: int, size: int, *, ragged: bool = True) -> Problems:
    """Jittered true boxes in another order.

    Ragged: 1 to `size` true boxes, of which some are missed and some are predicted twice. Else all of them,
    once each.
    """
    rng = np.random.default_rng([count, size, ragged])
    problems = Problems(
        torch.zeros(count, size, 4),
        torch.zeros(count, size, 4),
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, size, dtype=torch.int64),
        torch.zeros(count, size, dtype=torch.int64),
    )
    for b in range(count):
        n_true = int(rng.integers(1, size + 1)) if ragged else size
        low, sides = rng.uniform(0, 0.8, (n_true, 2)), rng.uniform(0.02, 0.2, (n_true, 2))
        true = IMAGE * np.hstack([low, low + sides])
        sources = np.arange(n_true)
        if ragged:
            found = rng.random(n_true) < 0.9
            found[rng.integers(n_true)] = True
            sources = np.concatenate([sources[found], rng.integers(n_true, size=rng.binomial(n_true, 0.15))])
        sources = rng.permutation(sources)[:size]
        n_pred = len(sources)
        jitter = IMAGE * np.tile(sides[sources], 2) * rng.uniform(-0.15, 0.15, (n_pred, 4))
        labels = rng.integers(CLASSES, size=n_true)
        mistaken = np.where(rng.random(n_pred) < 0.1, rng.integers(CLASSES, size=n_pred), labels[sources])

        problems.pred[b, :n_pred] = torch.from_numpy((true[sources] + jitter).clip(0, IMAGE))
        problems.true[b, :n_true] = torch.from_numpy(true)
        problems.n_pred[b], problems.n_true[b] = n_pred, n_true
        problems.pred_labels[b, :n_pred] = torch.from_numpy(mistaken)
        problems.true_labels[b, :n_true] = torch.from_numpy(labels)
    return problems


def uniform_costs(count: int, size: int, *, ragged: bool = False) -> Costs:
    """Costs between 0 and 1; ragged: 1 to `size` rows and, independently, columns."""
    generator = torch.Generator().manual_seed(size)
    cost = torch.rand(count, size, size, generator=generator)
    sizes = torch.full((2, count), size)
    if ragged:
        sizes = torch.randint(1, size + 1, (2, count), generator=generator)
    return Costs(cost, *sizes)


def true_assignment(costs: Costs) -> Tensor:
    """SciPy's columns (N, M)."""
    index, *_ = reference.linear_sum_assignment(*(tensor.numpy() for tensor in costs))
    return torch.from_numpy(index)


def true_answer(problems: Problems) -> Answer:
    """By the package's reference."""
    pred, true, n_pred, n_true, pred_labels, true_labels = (tensor.numpy() for tensor in problems)
    thresholds = THRESHOLDS.xi0, THRESHOLDS.xi1, THRESHOLDS.xi2
    recall, precision, index, _, _ = reference.localization_rewards(
        pred, true, n_pred, n_true, pred_labels, true_labels, thresholds, cost="released"
    )
    return Answer(*(torch.from_numpy(array) for array in (index, recall, precision)))


def check_assignment(index: Tensor, truth: Tensor, costs: Costs, *, exact: bool) -> None:
    """Full one-to-one assignments at SciPy's total cost; exact: SciPy's very choice, ties included."""
    index = index.cpu()
    if exact:
        assert torch.equal(index, truth)
    is_matched = index >= 0
    assert torch.equal(is_matched.sum(1), torch.minimum(costs.n_rows, costs.n_cols))
    times_taken = torch.zeros(len(index), costs.cost.shape[2], dtype=torch.int64)
    assert times_taken.scatter_add_(1, index.clamp(min=0), is_matched.long()).max() <= 1
    tolerance = 0.0 if exact else 1e-4  # float32 may break a near tie otherwise
    torch.testing.assert_close(_total(costs, index), _total(costs, truth), rtol=tolerance, atol=tolerance)


def check_answer(answer: Answer, truth: Answer, costs: Costs, *, exact: bool) -> None:
    """The true matches as above, and the rewards of the batch; exact: of every problem, up to rounding."""
    check_assignment(answer.index, truth.index, costs, exact=exact)
    for reward, expected in ((answer.recall, truth.recall), (answer.precision, truth.precision)):
        error = (reward.cpu() - expected).abs()
        assert error.max() <= 1e-5 if exact else error.mean() <= 1e-3


def check_overlap(iou: Float[Tensor, "n m k"], problems: Problems) -> None:
    """The reference's IoU of all pairs, up to rounding; all boxes must be valid."""
    pairs = zip(problems.pred.numpy(), problems.true.numpy(), strict=True)
    truth = torch.stack([torch.from_numpy(reference.box_iou(pred, true)) for pred, true in pairs])
    torch.testing.assert_close(iou.cpu(), truth, rtol=0, atol=1e-6)


def _total(costs: Costs, index: Tensor) -> Tensor:
    taken = costs.cost.gather(2, index.clamp(min=0)[..., None])[..., 0]
    return taken.double().where(index >= 0, 0).sum(1)
