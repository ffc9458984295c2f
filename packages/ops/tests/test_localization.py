from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from vision_r1_ops import (
    Match,
    Thresholds,
    box_iou,
    criterion_rewards,
    linear_sum_assignment,
    localization,
    localization_rewards,
    match_boxes,
    matching,
    reference,
)

THRESHOLDS = Thresholds(0.2, 0.3, 0.45)


def same(one: Match, other: Match) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("index", "iou", "giou"))


def label_ok(match: Match, given: dict[str, Tensor]) -> Tensor:
    right = torch.zeros(match.index.shape, dtype=torch.bool)
    for b, i in torch.nonzero(match.index >= 0).tolist():
        right[b, i] = given["pred_labels"][b, i] == given["true_labels"][b, match.index[b, i]]
    return right


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("cost", "denominator", "checked"),
    list(product(("box", "released", "box_label"), ("predicted", "matched"), (False, True))),
)
@pytest.mark.parametrize("arithmetic", ["as installed", "scipy"])
def test_equals_the_composition(
    random_problems: Callable[..., dict[str, Tensor]],
    dtype: torch.dtype,
    cost: Any,
    denominator: Any,
    checked: bool,
    arithmetic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if arithmetic == "scipy":
        monkeypatch.setattr(localization, "backend", lambda: reference)
        monkeypatch.setattr(matching, "backend", lambda: reference)
    given = random_problems(7)
    given["pred"] = (given["pred"] * 1.07).to(dtype)
    fused = localization_rewards(
        **given, thresholds=THRESHOLDS, cost=cost, denominator=denominator, label_checked=checked
    )
    match = match_boxes(**given, cost=cost)
    composed = criterion_rewards(
        match,
        given["n_pred"],
        given["n_true"],
        THRESHOLDS,
        denominator=denominator,
        label_ok=label_ok(match, given) if checked else None,
    )
    assert same(fused.match, match)
    assert torch.equal(fused.recall, composed.recall)
    assert torch.equal(fused.precision, composed.precision)
    assert fused.precision.unique().numel() > 5


def test_by_hand() -> None:
    # IoU .5 with the right label, IoU 1 with the wrong one, one box too many
    pred = torch.tensor([[[0, 0, 50, 100], [200, 200, 300, 300], [400, 0, 410, 10]]])
    true = torch.tensor([[[200, 200, 300, 300], [0, 0, 100, 100]]])
    given: dict[str, Any] = {
        "pred": pred,
        "true": true,
        "n_pred": torch.tensor([3]),
        "n_true": torch.tensor([2]),
        "thresholds": Thresholds(0.5, 0.5, 0.75),
        "pred_labels": torch.tensor([[1, 2, 3]]),
        "true_labels": torch.tensor([[9, 1]]),
    }
    rewards = localization_rewards(**given)
    assert (rewards.recall.item(), rewards.precision.item()) == (1, 0.5)
    checked = localization_rewards(**given, label_checked=True)
    assert (checked.recall.item(), checked.precision.item()) == (0.5, pytest.approx(0.5 / 3))
    over_matched = localization_rewards(**given, denominator="matched")
    assert (over_matched.recall.item(), over_matched.precision.item()) == (1, 0.75)


def test_padding_is_not_read(random_problems: Callable[..., dict[str, Tensor]]) -> None:
    given = random_problems(8)
    expected = localization_rewards(**given, thresholds=THRESHOLDS)
    for side in ("pred", "true"):
        given[side][torch.arange(given[side].shape[1]) >= given[f"n_{side}"][:, None]] = float("nan")
    poisoned = localization_rewards(**given, thresholds=THRESHOLDS)
    assert torch.equal(poisoned.recall, expected.recall)
    assert torch.equal(poisoned.precision, expected.precision)
    assert same(poisoned.match, expected.match)


@pytest.mark.parametrize(("n_pred", "n_true", "reward"), [(0, 0, 1), (2, 0, 0), (0, 3, 0)])
def test_empty_cases(n_pred: int, n_true: int, reward: float) -> None:
    rewards = localization_rewards(
        torch.rand(1, 2, 4),
        torch.rand(1, 3, 4),
        torch.tensor([n_pred]),
        torch.tensor([n_true]),
        Thresholds(0, 0, 0),
    )
    assert rewards.recall.tolist() == rewards.precision.tolist() == [reward]


@pytest.mark.parametrize(("n", "m", "k"), [(0, 3, 2), (2, 0, 2), (2, 3, 0), (2, 0, 0)])
def test_sizes_of_zero(n: int, m: int, k: int) -> None:
    rewards = localization_rewards(
        torch.zeros(n, m, 4), torch.zeros(n, k, 4), torch.full((n,), m), torch.full((n,), k), THRESHOLDS
    )
    assert rewards.recall.tolist() == rewards.precision.tolist() == [float(m == k == 0)] * n
    assert rewards.match.index.shape == (n, m)


def test_labels_are_needed_to_check_them() -> None:
    box, one = torch.zeros(1, 1, 4), torch.tensor([1])
    with pytest.raises(ValueError, match="label_checked needs pred_labels and true_labels"):
        localization_rewards(box, box, one, one, THRESHOLDS, label_checked=True)
    with pytest.raises(ValueError, match="denominator must be one of"):
        localization_rewards(box, box, one, one, THRESHOLDS, denominator="all")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_come_back_on_the_device_of_the_input(
    random_problems: Callable[..., dict[str, Tensor]],
) -> None:
    given = random_problems(12)
    there = {name: tensor.cuda() for name, tensor in given.items()}
    expected = localization_rewards(**given, thresholds=THRESHOLDS)
    rewards = localization_rewards(**there, thresholds=THRESHOLDS)
    match = match_boxes(**there)
    composed = criterion_rewards(match, there["n_pred"], there["n_true"], THRESHOLDS)
    for tensor in (rewards.recall, rewards.match.index, match.iou, composed.precision):
        assert tensor.device.type == "cuda"
    assert torch.equal(rewards.recall.cpu(), expected.recall)
    assert torch.equal(composed.precision.cpu(), expected.precision)
    cost = box_iou(there["pred"], there["true"], kind="giou")
    torch.testing.assert_close(
        cost.cpu(), box_iou(given["pred"], given["true"], kind="giou"), atol=1e-6, rtol=0
    )
    index = linear_sum_assignment(cost, there["n_pred"], there["n_true"])
    assert index.device.type == "cuda"
    assert torch.equal(index.cpu(), linear_sum_assignment(cost.cpu(), given["n_pred"], given["n_true"]))
