"""The criteria, each a small composition over ops. Axes: N completions, M predicted, K true boxes.

Empty cases, the same in every preset:

    ground truth | prediction            | recall, precision, F-measure
    none         | none, well formed     | 1: a correct rejection
    none         | some                  | 0: hallucination
    some         | none, well formed     | 0: silence
    any          | nothing can be read   | 0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_ops import Thresholds, box_iou, linear_sum_assignment, localization_rewards

_BETA = 2

Parts = dict[str, Float[Tensor, " n"]]


@dataclass(frozen=True)
class Scene:
    """Answers and ground truth as padded tensors.

    Args:
        pred: (N, M, 4) predicted boxes xyxy.
        true: (N, K, 4) true boxes xyxy.
        n_pred: (N,) how many of the M are there.
        n_true: (N,) how many of the K are there.
        pred_labels: (N, M) label ids.
        true_labels: (N, K) label ids.
        well_formed: (N,) whether the text has exactly the dialect's form.
    """

    pred: Float[Tensor, "n m 4"]
    true: Float[Tensor, "n k 4"]
    n_pred: Int[Tensor, " n"]
    n_true: Int[Tensor, " n"]
    pred_labels: Int[Tensor, "n m"]
    true_labels: Int[Tensor, "n k"]
    well_formed: Bool[Tensor, " n"]

    @property
    def readable(self) -> Bool[Tensor, " n"]:
        """Something was said: boxes, or well formed that there are none."""
        return self.well_formed | (self.n_pred > 0)


def paper(scene: Scene, thresholds: Thresholds) -> Parts:
    """Format, recall and precision as published; boxes are matched and scored whatever their labels.

    M of Eq. 6 counts every prediction, the reading under which junk boxes cost. Two holes stay, whatever the
    reading: a wrong label costs nothing, and one sure box alone has full precision, which pays for silence.

    Source: arXiv 2503.18013, Eq. 3-8.
    """
    rewards = localization_rewards(scene.pred, scene.true, scene.n_pred, scene.n_true, thresholds)
    return {
        "format": scene.well_formed.float(),
        "recall": rewards.recall * scene.readable,
        "precision": rewards.precision * scene.readable,
    }


def strict(scene: Scene, thresholds: Thresholds) -> Parts:
    """Format, and an F-measure in which a missed object and an invented one both cost.

    F = 5 * sum_m q_m / (M + 4 * K), the F-measure with beta = 2. q_m is the quality of a matched pair: 0 if
    the labels differ or IoU < xi0; else f(IoU) of Eq. 8: 1 from xi2 on, 0 below xi1, IoU between. The pairs
    are those with the largest sum of q: a matching by overlap alone may trade a hit for two near misses, and
    then a box that hits nothing could bring the hit back and raise F.

    Recall weighs more than precision because exploration needs it. Of two objects, the second box pays if it
    is right one time in nine; under beta = 1 it is one in three, and a policy that is not there yet learns to
    give one box and has no way back.
    """
    iou = box_iou(scene.pred, scene.true)
    same_label = scene.pred_labels[:, :, None] == scene.true_labels[:, None, :]
    hit = same_label & (iou >= max(thresholds.xi0, thresholds.xi1))
    quality = torch.where(iou >= thresholds.xi2, 1.0, iou) * hit
    index = linear_sum_assignment(quality, scene.n_pred, scene.n_true, maximize=True)
    matched = index[:, :, None] == torch.arange(quality.shape[2])
    found = (quality * matched).sum(dim=(1, 2))
    boxes = scene.n_pred + _BETA**2 * scene.n_true
    f_measure = torch.where(boxes > 0, (1 + _BETA**2) * found / boxes.clamp(min=1), 1.0)
    return {"format": scene.well_formed.float(), "f_measure": f_measure * scene.readable}


@dataclass(frozen=True)
class Preset:
    """A criterion, and the weight of each of its parts in the total."""

    criterion: Callable[[Scene, Thresholds], Parts]
    weights: dict[str, float]


PRESETS = {
    "strict": Preset(strict, {"format": 1.0, "f_measure": 2.0}),
    "paper": Preset(paper, {"format": 1.0, "recall": 1.0, "precision": 1.0}),
}
