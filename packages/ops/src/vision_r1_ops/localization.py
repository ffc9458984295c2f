"""Matching and its rewards in one pass.

Axes: N completions, M predicted boxes, K true boxes, both padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from vision_r1_ops._backend import backend, kernels
from vision_r1_ops._checks import LARGEST, check_option, check_problems, checked_arrays
from vision_r1_ops.criteria import DENOMINATORS, Denominator, Thresholds
from vision_r1_ops.matching import COSTS, Cost, Match


@dataclass(frozen=True, slots=True, eq=False)
class LocalizationRewards:
    """The rewards of each completion, and the match they come from.

    Args:
        recall: (N,) in [0, 1].
        precision: (N,) in [0, 1].
        match: what `match_boxes` gives.
    """

    recall: Float[Tensor, " n"]
    precision: Float[Tensor, " n"]
    match: Match


def localization_rewards(
    pred: Num[Tensor, "n m 4"],
    true: Num[Tensor, "n k 4"],
    n_pred: Int[Tensor, " n"],
    n_true: Int[Tensor, " n"],
    thresholds: Thresholds,
    *,
    pred_labels: Int[Tensor, "n m"] | None = None,
    true_labels: Int[Tensor, "n k"] | None = None,
    cost: Cost = "box",
    denominator: Denominator = "predicted",
    label_checked: bool = False,
    validate: bool = True,
) -> LocalizationRewards:
    """Match boxes and score the match: `match_boxes`, then `criterion_rewards`, in one pass.

    On the CPU the rewards are equal bit for bit, on a GPU within 1e-6.

    Args:
        pred: (N, M, 4) boxes xyxy. float64 is computed in float64, everything else in float32.
        true: (N, K, 4) boxes xyxy in the same unit.
        n_pred: (N,) integers, how many rows of `pred` are valid. Padding is not read.
        n_true: (N,) integers, likewise for `true`.
        thresholds: xi0, xi1 and xi2 of the criterion.
        pred_labels: (N, M) integers.
        true_labels: (N, K) integers.
        cost: of a pair, see `match_boxes`.
        denominator: of the precision, see `criterion_rewards`.
        label_checked: a matched pair whose labels differ counts 0; needs labels.
        validate: of values on a GPU, see `match_boxes`; an invalid problem is worth 0.

    Returns:
        The rewards and the match, on the device of `pred`.

    Raises:
        ValueError, TypeError: as `match_boxes` and `criterion_rewards` do.

    Example:
        >>> pred = torch.tensor([[[0, 0, 50, 100], [200, 200, 300, 300]]])
        >>> true = torch.tensor([[[200, 200, 300, 300], [0, 0, 100, 100]]])
        >>> two = torch.tensor([2])
        >>> rewards = localization_rewards(pred, true, two, two, Thresholds(0.5, 0.5, 0.75))
        >>> rewards.recall, rewards.precision
        (tensor([1.]), tensor([0.7500]))

    Source: Zhan et al. 2025 (arXiv 2503.18013), Eq. 3 and 5 to 8.
    """
    check_option("cost", cost, COSTS)
    check_option("denominator", denominator, DENOMINATORS)
    needing = "label_checked" if label_checked else None if cost == "box" else f"cost {cost!r}"
    problems = check_problems(pred, true, n_pred, n_true, pred_labels, true_labels, labels_for=needing)
    xi = (thresholds.xi0, thresholds.xi1, thresholds.xi2)
    options = {"cost": cost, "denominator": denominator, "label_checked": label_checked}
    if module := kernels(pred, pred.shape[1], true.shape[1]):
        recall, precision, index, iou, giou, steps = module.localization_rewards(
            *problems, xi, **options, largest=LARGEST[problems.pred.dtype]
        )
        if validate and (steps == module.INVALID).any():
            checked_arrays(problems)  # raises, and says where
        return LocalizationRewards(recall, precision, Match(index, iou, giou))
    arrays = backend().localization_rewards(*checked_arrays(problems), xi, **options)
    recall, precision, *match = (torch.from_numpy(array).to(pred.device) for array in arrays)
    return LocalizationRewards(recall, precision, Match(*match))
