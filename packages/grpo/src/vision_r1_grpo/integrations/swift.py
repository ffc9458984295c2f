"""Reward functions for ms-swift, which it calls outcome reward models, or ORMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1_grpo.integrations.reward import Completion, make_reward, score
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.vision import VisionReward


class VisionORM:
    """A reward, or one part of it, as ms-swift makes and calls it; its base class ORM would add nothing."""

    reward: VisionReward
    part: str | None = None

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        pass

    def __call__(
        self, completions: Sequence[Completion], *, trainer_state: Any = None, **columns: Any
    ) -> list[float]:
        """The rewards of N completions.

        Raises:
            DataError: a column is missing or bad.
        """
        scored = score(self.reward, completions, columns, trainer_state)
        values = scored.total if self.part is None else scored.parts[self.part]
        return values.tolist()


def vision_orms(
    preset: str,
    dialect: str,
    *,
    name: str = "vision_r1",
    refinement: Refinement | None = None,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> dict[str, type[VisionORM]]:
    """The reward as `name`, and each of its parts as `name_part`; a plugin puts them among ms-swift's `orms`.

    ms-swift logs what a reward function returns, and nothing else that it says. So a part is logged by asking
    for it with weight 0: `--reward_funcs vision_r1 vision_r1_format --reward_weights 1 0`.

    Args:
        preset: of `VisionReward.from_preset`, as all that follows but `name`.
        dialect: how completions write boxes.
        name: of the reward.
        refinement: progress of the run -> thresholds; adaptive is refused.
        weights: part name -> weight.
        options: of the preset.

    Raises:
        ValueError: as `from_preset`, or the refinement is adaptive.

    Example:
        >>> list(vision_orms("strict", "qwen2_5_vl"))
        ['vision_r1', 'vision_r1_format', 'vision_r1_f_measure']
    """
    reward = make_reward(preset, dialect, refinement=refinement, weights=weights, **options)
    named = {name: None} | {f"{name}_{part}": part for part in reward.weights}
    # A class each, because the name of its class is what ms-swift logs.
    return {key: type(key, (VisionORM,), {"reward": reward, "part": part}) for key, part in named.items()}
