from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vision_r1_ops import Match, Thresholds, criterion_rewards, match_boxes, reference

FIRST, SECOND = Thresholds(0.5, 0.5, 0.75), Thresholds(0.75, 0.75, 0.9)


def rewards(
    ious: list[float | None], n_true: int, thresholds: Thresholds = FIRST, **options: Any
) -> tuple[float, float]:
    """Of one completion; None is an unmatched prediction."""
    match = Match(
        torch.tensor([[-1 if iou is None else k for k, iou in enumerate(ious)]], dtype=torch.int64),
        torch.tensor([[iou or 0.0 for iou in ious]]),
        torch.zeros(1, len(ious)),
    )
    result = criterion_rewards(
        match, torch.tensor([len(ious)]), torch.tensor([n_true]), thresholds, **options
    )
    return result.recall.item(), result.precision.item()


@pytest.mark.parametrize(
    ("ious", "n_true", "thresholds", "recall", "precision"),
    [
        ([0.8, 0.6], 2, FIRST, 1, (1 + 0.6) / 2),  # f(1) = 1; f(.8) = 1, f(.6) = .6
        ([0.8, 0.6], 3, FIRST, 2 / 3, 0.8),  # f(2/3) = 2/3
        ([0.8, 0.6], 5, FIRST, 0, 0.8),  # f(2/5) = 0
        ([0.8, 0.4], 2, FIRST, 0.5, 0.5),  # f(1/2) = 1/2; .4 does not count
        ([0.8, 0.6], 2, SECOND, 0, 0.4),  # f(1/2) = 0; f(.8) = .8
        ([0.9, 0.9, 0.9, 0.9], 5, SECOND, 0.8, 1),
        ([0.9] * 9, 10, SECOND, 1, 1),  # 9/10 reaches xi2 = .9 and so does an IoU of .9
        ([0.5], 1, FIRST, 1, 0.5),
        ([0.8, None, None, None], 1, FIRST, 1, 0.25),
        ([0.4], 1, Thresholds(0, 0.5, 0.75), 1, 0),  # counts for recall, worth nothing
        ([0.8, None], 1, Thresholds(0, 0, 0), 1, 0.5),  # unmatched never counts
    ],
)
def test_by_hand(
    ious: list[float | None], n_true: int, thresholds: Thresholds, recall: float, precision: float
) -> None:
    assert rewards(ious, n_true, thresholds) == pytest.approx((recall, precision), abs=1e-6)


@pytest.mark.parametrize("thresholds", [FIRST, SECOND, Thresholds(0, 0, 0), Thresholds(1, 1, 1)])
@pytest.mark.parametrize("denominator", ["predicted", "matched"])
@pytest.mark.parametrize(
    ("ious", "n_true", "expected"), [([], 0, (1, 1)), ([None, None], 0, (0, 0)), ([], 3, (0, 0))]
)
def test_empty_cases(
    ious: list[float | None],
    n_true: int,
    expected: tuple[float, float],
    thresholds: Thresholds,
    denominator: str,
) -> None:
    assert rewards(ious, n_true, thresholds, denominator=denominator) == expected


def test_junk_is_free_only_over_matched() -> None:
    good = [0.9, 0.9]
    assert rewards(good + [None] * 40, 2) == (1, pytest.approx(2 / 42))
    assert rewards(good + [None] * 40, 2, denominator="matched") == (1, 1)
    assert rewards([None, None], 2, denominator="matched") == (0, 0)


def test_wrong_labels_count_nothing() -> None:
    ok = torch.tensor([[True, False, True]])
    assert rewards([0.9, 0.9, None], 2, label_ok=ok) == (0.5, pytest.approx(1 / 3))


def test_padding_is_not_read() -> None:
    match = Match(
        torch.tensor([[0, 1, 2]]), torch.tensor([[0.9, float("nan"), float("inf")]]), torch.zeros(1, 3)
    )
    result = criterion_rewards(match, torch.tensor([1]), torch.tensor([1]), FIRST)
    assert (result.recall.item(), result.precision.item()) == (1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("denominator", ["predicted", "matched"])
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("thresholds", [FIRST, SECOND, Thresholds(0.2, 0.1, 0.4)])
def test_equals_the_reference(
    random_problems: Callable[..., dict[str, Tensor]],
    dtype: torch.dtype,
    denominator: Any,
    checked: bool,
    thresholds: Thresholds,
) -> None:
    given = random_problems(6)
    n_pred, n_true = given["n_pred"], given["n_true"]
    index = match_boxes(**given).index
    ious = torch.rand(index.shape, dtype=dtype, generator=torch.Generator().manual_seed(0)).sqrt()
    match = Match(index, ious.where(index >= 0, 0), ious)
    label_ok = torch.from_numpy(np.random.default_rng(0).random(match.index.shape) < 0.7) if checked else None
    result = criterion_rewards(match, n_pred, n_true, thresholds, denominator=denominator, label_ok=label_ok)
    recall, precision = reference.criterion_rewards(
        match.index.numpy(),
        match.iou.numpy(),
        n_pred.numpy(),
        n_true.numpy(),
        (thresholds.xi0, thresholds.xi1, thresholds.xi2),
        denominator=denominator,
        label_ok=None if label_ok is None else label_ok.numpy(),
    )
    assert result.recall.dtype == result.precision.dtype == dtype
    assert np.array_equal(result.recall.numpy(), recall)
    assert np.array_equal(result.precision.numpy(), precision)
    assert len(np.unique(precision)) > 5


def test_batch_of_none() -> None:
    match = Match(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3), torch.zeros(0, 3))
    none = torch.zeros(0, dtype=torch.int64)
    assert criterion_rewards(match, none, none, FIRST).recall.shape == (0,)


@pytest.mark.parametrize(
    "bad", [(-0.1, 0.5, 0.5), (0.5, 0.8, 0.7), (0.5, 0.5, 1.1), (float("nan"), 0.5, 0.5)]
)
def test_bad_thresholds(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"Thresholds\.xi"):
        Thresholds(*bad)


def test_bad_arguments() -> None:
    match = Match(torch.tensor([[0]]), torch.tensor([[0.9]]), torch.tensor([[0.9]]))
    one = torch.tensor([1])
    with pytest.raises(ValueError, match="n_pred must be at most the 1 rows of the match, got 2"):
        criterion_rewards(match, one * 2, one, FIRST)
    with pytest.raises(ValueError, match="denominator must be one of predicted, matched, got 'true'"):
        criterion_rewards(match, one, one, FIRST, denominator="true")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"label_ok must be of booleans, got torch\.int64"):
        criterion_rewards(match, one, one, FIRST, label_ok=one[None])
    with pytest.raises(ValueError, match=r"label_ok must have shape \(1, 1\), got \(1, 2\)"):
        criterion_rewards(match, one, one, FIRST, label_ok=torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"n_true must be on the device of match\.index, cpu, got meta"):
        criterion_rewards(match, one, one.to("meta"), FIRST)
    with pytest.raises(ValueError, match=r"match\.index must have shape \(N, M\), got \(1,\)"):
        criterion_rewards(Match(one, one, one), one, one, FIRST)


def test_counts_of_any_integers() -> None:
    match = Match(torch.tensor([[0, -1]]), torch.tensor([[0.8, 0.0]]), torch.zeros(1, 2))
    counts = torch.tensor([2], dtype=torch.uint16), torch.tensor([1], dtype=torch.uint8)
    rewards = criterion_rewards(match, *counts, Thresholds(0.5, 0.5, 0.75), validate=False)
    assert (rewards.recall.item(), rewards.precision.item()) == (1, 0.5)
    with pytest.raises(ValueError, match="n_pred must be at most the 2 rows of the match, got 3"):
        criterion_rewards(match, torch.tensor([3]), counts[1], Thresholds(0, 0, 0), validate=False)
