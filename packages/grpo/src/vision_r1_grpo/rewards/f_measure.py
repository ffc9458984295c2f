"""The F-measure that our criteria share: a missed object and an invented one both cost.

Axes: N completions, M predicted, K true objects.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vision_r1_grpo.rewards.scene import Scene, Scores
from vision_r1_ops import Thresholds, linear_sum_assignment

BETA = 2
"""How much more recall weighs than precision.

Exploration needs it. Of two objects, the second box pays if it is right one time in nine; with 1 it is one in
three, and a policy that is not there yet learns to give one box and has no way back.
"""


def refine(overlap: Float[Tensor, "*n"], thresholds: Thresholds) -> Float[Tensor, "*n"]:
    """What an overlap is worth: 0 below xi0, else f of Eq. 8, which is 1 from xi2 on and 0 below xi1."""
    worth = torch.where(overlap >= thresholds.xi2, 1.0, overlap)
    return worth * (overlap >= max(thresholds.xi0, thresholds.xi1))


def pair(quality: Float[Tensor, "n m k"], scene: Scene) -> Bool[Tensor, "n m k"]:
    """The one-to-one pairs with the largest sum of quality.

    A matching by overlap alone may trade a hit for two near misses, and then an object that hits nothing
    could bring the hit back and raise the reward.
    """
    index = linear_sum_assignment(quality, scene.n_pred, scene.n_true, maximize=True)
    return index[:, :, None] == torch.arange(quality.shape[2])


def f_measure(scene: Scene, quality: Float[Tensor, "n m k"]) -> Scores:
    """The parts format and f_measure: (1 + beta^2) * sum of q over pairs / (M + beta^2 * K).

    1 where nothing is there and nothing was said.
    """
    pairs = pair(quality, scene)
    objects = scene.n_pred + BETA**2 * scene.n_true
    found = (1 + BETA**2) * (quality * pairs).sum(dim=(1, 2))
    measure = torch.where(objects > 0, found / objects.clamp(min=1), 1.0)
    return scores(scene, quality, pairs, f_measure=measure)


def scores(
    scene: Scene,
    quality: Float[Tensor, "n m k"],
    pairs: Bool[Tensor, "n m k"],
    **content: Float[Tensor, " n"],
) -> Scores:
    """The parts: the format, and the content, which is 0 where nothing can be read."""
    parts = {"format": scene.well_formed.float()}
    parts |= {name: part * scene.readable for name, part in content.items()}
    saturated = pairs & (quality == 1)
    return Scores(parts, pairs.sum(dim=(1, 2)), saturated.sum(dim=(1, 2)))
