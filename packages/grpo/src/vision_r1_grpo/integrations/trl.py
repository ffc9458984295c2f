"""A reward function for TRL's GRPOTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_r1_grpo.integrations.reward import Completion, make_reward, score
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.vision import VisionReward


def vision_reward(
    preset: str,
    dialect: str,
    *,
    refinement: Refinement | None = None,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> TRLReward:
    """A reward for `GRPOTrainer(reward_funcs=...)`, of data with the columns of `integrations.columns`.

    TRL logs it as `rewards/vision_<preset>/mean`. With it come the mean of each part, as
    `rewards/vision_<preset>/<part>`, and the parts of each completion in the table of completions.

    Args:
        preset: of `VisionReward.from_preset`, as all that follows.
        dialect: how completions write boxes.
        refinement: progress of the run -> thresholds; adaptive is refused.
        weights: part name -> weight.
        options: of the preset.

    Raises:
        ValueError: as `from_preset`, or the refinement is adaptive.

    Example:
        >>> reward = vision_reward("strict", "qwen2_5_vl")
        >>> text = '```json\\n[{"bbox_2d": [0, 0, 56, 56], "label": "cat"}]\\n```'
        >>> reward(
        ...     completions=[text, "A cat."],
        ...     solution=['[["cat", [0, 0, 50, 50]]]'] * 2,
        ...     width=[100] * 2, height=[100] * 2, model_width=[112] * 2, model_height=[112] * 2,
        ... )
        [3.0, 0.0]
    """
    return TRLReward(make_reward(preset, dialect, refinement=refinement, weights=weights, **options))


@dataclass(frozen=True)
class TRLReward:
    """What `vision_reward` makes: a callable that can be pickled, as TRL asks of rewards."""

    reward: VisionReward

    @property
    def __name__(self) -> str:
        """Under which TRL logs it."""
        return f"vision_{self.reward.preset}"

    def __call__(
        self,
        completions: Sequence[Completion],
        *,
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """The rewards of N completions; TRL gives every argument by name.

        Raises:
            DataError: a column is missing or bad.
        """
        scored = score(self.reward, completions, columns, trainer_state)
        for part, values in scored.parts.items():
            if log_metric is not None:
                log_metric(f"rewards/{self.__name__}/{part}", values.mean().item())
            if log_extra is not None:
                log_extra(f"{self.__name__}/{part}", values.tolist())
        return scored.total.tolist()
