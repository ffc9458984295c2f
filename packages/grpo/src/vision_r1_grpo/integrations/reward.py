"""What the adapters share: a preset from plain settings, and scores from completions and columns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from vision_r1_grpo.integrations.columns import read_rows
from vision_r1_grpo.rewards.names import known_names
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.vision import RewardBatch, VisionReward

Completion = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation, whose last one is the answer."""


def make_reward(
    preset: str,
    dialect: str,
    *,
    refinement: Refinement | Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> VisionReward:
    """`VisionReward.from_preset`, with a refinement that may come from YAML.

    Raises:
        ValueError: as `from_preset`, or the refinement is adaptive or has a setting that does not exist.
        TypeError: as `from_preset`, or the refinement is neither.
    """
    if isinstance(refinement, Mapping):
        known = [setting.name for setting in fields(Refinement)]
        if odd := [key for key in refinement if key not in known]:
            raise ValueError(f"refinement has no {odd[0]!r}; its settings are {known_names(known, odd[0])}")
        rows = {key: tuple(refinement[key]) for key in ("begins", "thresholds") if key in refinement}
        refinement = Refinement(**{**refinement, **rows})
    if not isinstance(refinement, Refinement | None):
        raise TypeError(
            f"refinement must be a Refinement or a mapping of its settings, got {refinement!r:.80}"
        )
    reward = VisionReward.from_preset(preset, dialect, refinement=refinement, weights=weights, **options)
    if reward.dialect.needs_special_tokens:
        warnings.warn(
            f"dialect {dialect!r} marks boxes with special tokens: have the trainer decode completions with "
            "skip_special_tokens=False, or no answer can be read",
            UserWarning,
            stacklevel=3,
        )
    if reward.refinement.kind == "adaptive":
        raise ValueError(
            "refinement.kind adaptive needs a state that processes share and checkpoints hold, which only "
            "this package's trainer has; choose staged, linear or cosine"
        )
    return reward


def score(
    reward: VisionReward,
    completions: Sequence[Completion],
    columns: Mapping[str, Any],
    trainer_state: Any,
) -> RewardBatch:
    """Score N completions by their rows of the data set.

    Args:
        reward: of `make_reward`.
        completions: N texts or conversations.
        columns: column -> N values, as `columns` says.
        trainer_state: transformers' TrainerState; global_step / max_steps is the progress of the run.

    Raises:
        DataError: the columns are not what they should be.
        ValueError: there is no trainer_state, and the thresholds depend on it.
    """
    texts = [answer_text(completion) for completion in completions]
    return reward(texts, read_rows(columns), progress=_progress(reward.refinement, trainer_state))


def answer_text(completion: Completion) -> str:
    """The text of a completion.

    Example:
        >>> answer_text([{"role": "assistant", "content": [{"type": "text", "text": "[]"}]}])
        '[]'
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] or ""  # None where a message only calls tools
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _progress(refinement: Refinement, trainer_state: Any) -> float:
    if len(refinement.thresholds) == 1:
        return 0.0  # one row of thresholds holds throughout
    if trainer_state is None:
        raise ValueError(
            f"refinement has {len(refinement.thresholds)} rows of thresholds, and the trainer passes no "
            "trainer_state that says which one is due; use a newer trainer, or one row"
        )
    # max_steps is 0 in an evaluation before training.
    return float(min(trainer_state.global_step / max(trainer_state.max_steps, 1), 1))
