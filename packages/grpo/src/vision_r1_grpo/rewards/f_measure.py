"""The F-measure that our criteria share: a missed object and an invented one both cost.

Axes: N completions, M predicted, K true objects.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vision_r1_grpo.rewards.scene import Scene, Scores
from vision_r1_ops import Thresholds, box_iou, linear_sum_assignment

BETA = 2
"""How much more recall weighs than precision.

Exploration needs it. Of two objects, the second box pays if it is right one time in nine; with 1 it is one in
three, and a policy that is not there yet learns to give one box and has no way back.
"""


def refine(overlap: Float[Tensor, "*n"], thresholds: Thresholds) -> Float[Tensor, "*n"]:
    """What an overlap is worth: 0 below xi0, else f of Eq. 8, which is 1 from xi2 on and 0 below xi1."""
    worth = torch.where(overlap >= thresholds.xi2, 1.0, overlap)
    return worth * (overlap >= max(thresholds.xi0, thresholds.xi1))


def box_quality(scene: Scene, thresholds: Thresholds) -> Float[Tensor, "n m k"]:
    """What the IoU of two boxes is worth, and 0 where their labels differ, as in most pairs they do."""
    same_label = scene.same_label
    n, m, k = same_label.nonzero(as_tuple=True)
    iou = box_iou(scene.pred[n, m, None], scene.true[n, k, None]).flatten()
    return torch.zeros(same_label.shape).index_put_((n, m, k), refine(iou, thresholds))


def pair(scene: Scene, quality: Float[Tensor, "n m k"]) -> tuple[Int[Tensor, "n m"], Float[Tensor, "n m"]]:
    """The one-to-one pairs with the largest sum of quality.

    A matching by overlap alone may trade a hit for two near misses, and then an object that hits nothing
    could bring the hit back and raise the reward.

    Returns:
        The true object of each prediction, -1 for none; and the quality of their pair, 0 for none.
    """
    index = linear_sum_assignment(quality, scene.n_pred, scene.n_true, maximize=True)
    found = quality.gather(2, index.clamp(min=0)[:, :, None]).squeeze(2)
    return index, found * (index >= 0)


def f_measure(scene: Scene, quality: Float[Tensor, "n m k"]) -> Scores:
    """The parts format and f_measure: (1 + beta^2) * sum of q over pairs / (M + beta^2 * K).

    1 where nothing is there and nothing was said.
    """
    index, found = pair(scene, quality)
    objects = scene.n_pred + BETA**2 * scene.n_true
    measure = torch.where(objects > 0, (1 + BETA**2) * found.sum(dim=1) / objects.clamp(min=1), 1.0)
    return scores(scene, index, found, f_measure=measure)


def scores(
    scene: Scene, index: Int[Tensor, "n m"], found: Float[Tensor, "n m"], **content: Float[Tensor, " n"]
) -> Scores:
    """The parts: the format, and the content, which is 0 where nothing can be read."""
    parts = {"format": scene.well_formed.float()}
    parts |= {name: part * scene.readable for name, part in content.items()}
    return Scores(parts, (index >= 0).sum(dim=1), (found == 1).sum(dim=1))
