"""How good a match is: the recall and precision rewards of the paper.

Axes: N completions, M predicted boxes, padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_ops._checks import (
    check_counts,
    check_device,
    check_integers,
    check_option,
    check_shape,
    working_dtype,
)
from vision_r1_ops.matching import Match

Denominator = Literal["predicted", "matched"]
DENOMINATORS = ("predicted", "matched")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of the criterion rewards; compared in the precision of the IoU.

    Args:
        xi0: the least IoU at which a pair counts.
        xi1: a value below it is worth 0.
        xi2: a value from it on is worth 1.

    Raises:
        ValueError: a threshold lies outside [0, 1], or xi1 is above xi2.

    Example:
        >>> Thresholds(0.5, 0.5, 0.75)
        Thresholds(xi0=0.5, xi1=0.5, xi2=0.75)

    Source: Zhan et al. 2025 (arXiv 2503.18013), Eq. 5, 6 and 8.
    """

    xi0: float
    xi1: float
    xi2: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Thresholds.{name} must be in [0, 1], got {getattr(self, name)}")
        if self.xi1 > self.xi2:
            raise ValueError(f"Thresholds.xi1 must be at most xi2, got {self.xi1} and {self.xi2}")


@dataclass(frozen=True, slots=True, eq=False)
class CriterionRewards:
    """The rewards of each completion.

    Args:
        recall: (N,) in [0, 1].
        precision: (N,) in [0, 1].
    """

    recall: Float[Tensor, " n"]
    precision: Float[Tensor, " n"]


def criterion_rewards(
    match: Match,
    n_pred: Int[Tensor, " n"],
    n_true: Int[Tensor, " n"],
    thresholds: Thresholds,
    *,
    denominator: Denominator = "predicted",
    label_ok: Bool[Tensor, "n m"] | None = None,
    validate: bool = True,
) -> CriterionRewards:
    """Score matches: how many true boxes were found, and how good the predictions are.

    With f(x) = 1 if x >= xi2, 0 if x < xi1, else x, and a pair m counting if IoU_m >= xi0 (and its label is
    right, where labels are checked):

        recall    = f( #counting pairs / n_true )
        precision = sum over counting pairs of f(IoU_m) / n

    | truth | predictions | recall, precision |
    |---|---|---|
    | none | none | 1, 1 |
    | none | some | 0, 0 |
    | some | none | 0, 0 |

    Thresholds are compared in the precision of the IoU; sums are in float64, in the order of the predictions.

    Args:
        match: of `match_boxes`.
        n_pred: (N,) integers, how many boxes were predicted.
        n_true: (N,) integers, how many there are in truth.
        thresholds: xi0, xi1 and xi2.
        denominator: n of the precision, which the paper leaves open. "predicted": all predictions, so each
            box too many lowers it. "matched": the matched ones, so boxes too many are free.
        label_ok: (N, M) booleans, false where a matched pair has different labels and must count 0.
        validate: raise if a count exceeds its padding, for which a CUDA call waits for the device. Counts on
            the CPU are always checked.

    Returns:
        The rewards in the dtype of `match.iou`, on its device.

    Raises:
        ValueError: a count exceeds its padding, or shapes, devices or `denominator` do not fit.
        TypeError: counts are not integers, or `label_ok` is not of booleans.

    Example:
        >>> match = Match(torch.tensor([[1, 0, -1]]), torch.tensor([[0.8, 0.6, 0.0]]), torch.zeros(1, 3))
        >>> n_pred, n_true = torch.tensor([3]), torch.tensor([2])
        >>> criterion_rewards(match, n_pred, n_true, Thresholds(0.5, 0.5, 0.75))
        CriterionRewards(recall=tensor([1.]), precision=tensor([0.5333]))

    Source: Zhan et al. 2025 (arXiv 2503.18013), Eq. 5 to 8.
    """
    check_option("denominator", denominator, DENOMINATORS)
    if match.index.ndim != 2:
        raise ValueError(f"match.index must have shape (N, M), got {tuple(match.index.shape)}")
    shape = tuple(match.index.shape)
    check_shape("match.iou", match.iou, shape)
    named = {"match.index": match.index, "match.iou": match.iou, "n_pred": n_pred, "n_true": n_true}
    if label_ok is not None:
        check_shape("label_ok", label_ok, shape)
        if label_ok.dtype != torch.bool:
            raise TypeError(f"label_ok must be of booleans, got {label_ok.dtype}")
        named["label_ok"] = label_ok
    check_device(**named)
    check_integers("n_pred", n_pred, shape[:1])
    check_integers("n_true", n_true, shape[:1])
    if validate or not match.index.is_cuda:
        check_counts("n_pred", n_pred, shape[1], "rows of the match")
        check_counts("n_true", n_true)
    n_pred, n_true = n_pred.to(torch.int64), n_true.to(torch.int64)

    iou = match.iou.detach().to(working_dtype(iou=match.iou))
    matched = (match.index >= 0) & (torch.arange(shape[1], device=iou.device) < n_pred[:, None])
    counting = matched & (iou >= thresholds.xi0)
    if label_ok is not None:
        counting &= label_ok
    worth = torch.where(counting, _refine(iou, thresholds), 0).double()
    # one after the other, as the fused path adds them, from 0
    total = torch.nn.functional.pad(worth, (1, 0)).cumsum(dim=1)[:, -1]
    divisor = n_pred if denominator == "predicted" else matched.sum(dim=1)
    found = (counting.sum(dim=1).double() / n_true.clamp(min=1)).to(iou.dtype)

    full, some = (n_pred == 0) & (n_true == 0), (n_pred > 0) & (n_true > 0)
    recall = torch.where(some, _refine(found, thresholds), full.to(iou.dtype))
    precision = torch.where(some, (total / divisor.clamp(min=1)).to(iou.dtype), full.to(iou.dtype))
    return CriterionRewards(recall, precision)


def _refine(x: Tensor, thresholds: Thresholds) -> Tensor:
    return torch.where(x >= thresholds.xi2, 1, torch.where(x < thresholds.xi1, 0, x))
