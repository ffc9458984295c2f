"""Reward functions for verl, and for EasyR1, which grew out of it.

Both pass settings as keyword arguments: preset, dialect, refinement, weights and the preset's options, as
`VisionReward.from_preset` has them. Both pass one ground truth a completion, which `columns.ground_truth`
writes. Neither says how far the run has come, so the thresholds must be the same throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1_grpo.integrations.columns import read_ground_truth
from vision_r1_grpo.integrations.reward import make_reward


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, float]:
    """The reward of one completion, for verl's reward managers that take them one by one, such as naive.

    Args:
        data_source: of no concern.
        solution_str: the completion.
        ground_truth: of `columns.ground_truth`.
        extra_info: of no concern.
        settings: preset, dialect and so on.

    Returns:
        "score", and each part by its name.

    Raises:
        DataError: the ground truth is bad.
        ValueError: a setting is, or the thresholds are to change.

    Example:
        >>> truth = '{"solution": [], "width": 90, "height": 90, "model_width": 84, "model_height": 84}'
        >>> compute_score("photos", "```json\\n[]\\n```", truth, preset="strict", dialect="qwen2_5_vl")
        {'score': 3.0, 'format': 1.0, 'f_measure': 1.0}
    """
    return _scores("score", [solution_str], [ground_truth], settings)[0]


def compute_score_batch(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[str],
    extra_infos: Sequence[Mapping[str, Any]] | None = None,
    **settings: Any,
) -> list[dict[str, float]]:
    """`compute_score` of N completions in one call, for verl's reward manager batch."""
    return _scores("score", solution_strs, ground_truths, settings)


def easyr1_compute_score(
    reward_inputs: Sequence[Mapping[str, Any]], **settings: Any
) -> list[dict[str, float]]:
    """The rewards of N completions, for EasyR1's reward type batch.

    Args:
        reward_inputs: N times "response", the completion, and "ground_truth", of `columns.ground_truth`.
        settings: preset, dialect and so on.

    Returns:
        N times "overall", and each part by its name.

    Raises:
        DataError: a ground truth is bad.
        ValueError: a setting is, or the thresholds are to change.
    """
    texts = [one["response"] for one in reward_inputs]
    return _scores("overall", texts, [one["ground_truth"] for one in reward_inputs], settings)


def _scores(
    total: str, completions: Sequence[str], truths: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, float]]:
    reward = make_reward(**settings)  # each time, which takes microseconds
    rows = len(reward.refinement.thresholds)
    if rows > 1:
        raise ValueError(
            f"verl and EasyR1 do not tell a reward how far the run is: refinement must have 1 row, got {rows}"
        )
    targets = [read_ground_truth(truth, f"ground truth {number}") for number, truth in enumerate(truths)]
    scored = reward(completions, targets, progress=0.0)
    columns = {total: scored.total.tolist()} | {name: part.tolist() for name, part in scored.parts.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
