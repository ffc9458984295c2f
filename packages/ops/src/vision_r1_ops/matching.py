"""Which true box each predicted box stands for.

Axes: N completions, M predicted boxes, K true boxes, both padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from vision_r1_ops._backend import backend, kernels
from vision_r1_ops._checks import LARGEST, check_option, check_problems, checked_arrays

Cost = Literal["box", "released", "box_label"]
COSTS = ("box", "released", "box_label")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The true box of each prediction, and how well the two overlap.

    Args:
        index: (N, M) int64, the row of the true box, or -1 where unmatched or padding.
        iou: (N, M) IoU of the pair, 0 where unmatched.
        giou: (N, M) GIoU of the pair, 0 where unmatched.
    """

    index: Int[Tensor, "n m"]
    iou: Float[Tensor, "n m"]
    giou: Float[Tensor, "n m"]


def match_boxes(
    pred: Num[Tensor, "n m 4"],
    true: Num[Tensor, "n k 4"],
    n_pred: Int[Tensor, " n"],
    n_true: Int[Tensor, " n"],
    *,
    pred_labels: Int[Tensor, "n m"] | None = None,
    true_labels: Int[Tensor, "n k"] | None = None,
    cost: Cost = "box",
    validate: bool = True,
) -> Match:
    """Pair predictions with true boxes one to one at the least total cost.

    Every problem gets min(n_pred, n_true) pairs, by one of these costs of a pair:

        box        -GIoU                                    the paper's: boxes only
        box_label  -GIoU + [labels differ]
        released   L1 - [labels equal] - GIoU               what the released code does, L1 in the boxes' unit

    The paper asks for a cost about boxes only and leaves its form open. GIoU does not change with the scale
    of the image, follows the IoU that is rewarded where boxes overlap, and tells near from far where the IoU
    of all pairs is 0. A label that differs costs as much as an IoU of 1 is worth, so among boxes that overlap
    the one with the right label wins.

    Ties fall as SciPy's do. CUDA tensors of up to 512 boxes a side are matched where they are, without a
    tensor of all costs; wider ones on the CPU.

    Args:
        pred: (N, M, 4) boxes xyxy. float64 is computed in float64, everything else in float32.
        true: (N, K, 4) boxes xyxy in the same unit.
        n_pred: (N,) integers, how many rows of `pred` are valid. Padding is not read.
        n_true: (N,) integers, likewise for `true`.
        pred_labels: (N, M) integers; the costs released and box_label need them.
        true_labels: (N, K) integers.
        cost: "box", "box_label" or "released".
        validate: raise if values are invalid, for which a CUDA call waits for the device. If False it does
            not wait, and an invalid problem gets no pairs. Values on the CPU, and of problems that are too
            wide for a GPU, are always checked.

    Returns:
        The match, on the device of `pred`.

    Raises:
        ValueError: a valid coordinate is not finite or too large for areas to be, a count exceeds its
            padding, labels are missing, or shapes, devices or `cost` do not fit.
        TypeError: boxes are not numbers, or counts or labels are not integers.

    Example:
        >>> pred = torch.tensor([[[0, 0, 50, 100], [200, 200, 300, 300]]])
        >>> true = torch.tensor([[[210, 200, 310, 300], [0, 0, 100, 100], [9, 9, 20, 20]]])
        >>> match = match_boxes(pred, true, torch.tensor([2]), torch.tensor([3]))
        >>> match.index, match.iou
        (tensor([[1, 0]]), tensor([[0.5000, 0.8182]]))

    Source: Zhan et al. 2025 (arXiv 2503.18013), Eq. 3, box-prioritised matching.
    """
    check_option("cost", cost, COSTS)
    problems = check_problems(
        pred,
        true,
        n_pred,
        n_true,
        pred_labels,
        true_labels,
        labels_for=None if cost == "box" else f"cost {cost!r}",
    )
    if module := kernels(pred, pred.shape[1], true.shape[1]):
        *_, index, iou, giou, steps = module.localization_rewards(
            *problems, None, cost=cost, largest=LARGEST[problems.pred.dtype]
        )
        if validate and (steps == module.INVALID).any():
            checked_arrays(problems)  # raises, and says where
        return Match(index, iou, giou)
    arrays = backend().match_boxes(*checked_arrays(problems), cost=cost)
    return Match(*(torch.from_numpy(array).to(pred.device) for array in arrays))
