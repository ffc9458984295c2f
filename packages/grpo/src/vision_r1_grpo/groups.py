"""Scored groups: drawn in rounds until enough of them say something, and shared out to the update.

Axes: P prompts, G completions per prompt, N = P*G, T tokens; R ranks, D groups drawn by each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from vision_r1_data import Sample
from vision_r1_grpo.policy import Prompt
from vision_r1_grpo.rewards import RewardBatch, Target
from vision_r1_grpo.rollout import Rollout


@dataclass(frozen=True)
class ScoredGroups:
    """The completions of P prompts and what they are worth, those of one prompt side by side.

    Args:
        samples: P samples.
        prompts: their prompts.
        targets: N, the truth of each completion.
        rollout: the completions.
        scored: their rewards.
        rewards: (P, G) the total, less the penalty of long completions if there is one.
        counted: (P, G) whether the loss counts it: the rewards of its group differ, and it is not masked.
    """

    samples: list[Sample]
    prompts: list[Prompt]
    targets: list[Target]
    rollout: Rollout
    scored: RewardBatch
    rewards: Float[Tensor, "p g"]
    counted: Bool[Tensor, "p g"]


def join(rounds: Sequence[ScoredGroups]) -> ScoredGroups:
    """The groups of several rounds, in their order."""
    if len(rounds) == 1:
        return rounds[0]
    return ScoredGroups(
        [sample for each in rounds for sample in each.samples],
        [prompt for each in rounds for prompt in each.prompts],
        [target for each in rounds for target in each.targets],
        _join_rollouts([each.rollout for each in rounds]),
        _join_rewards([each.scored for each in rounds]),
        torch.cat([each.rewards for each in rounds]),
        torch.cat([each.counted for each in rounds]),
    )


def _join_rollouts(rollouts: Sequence[Rollout]) -> Rollout:
    longest = max(rollout.tokens.shape[1] for rollout in rollouts)

    def joined(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([pad(tensor, (0, longest - tensor.shape[1])) for tensor in tensors])

    return Rollout(
        joined([rollout.tokens for rollout in rollouts]),
        joined([rollout.mask for rollout in rollouts]),
        joined([rollout.logprobs for rollout in rollouts]),
        tuple(text for rollout in rollouts for text in rollout.texts),
        torch.cat([rollout.truncated for rollout in rollouts]),
    )


def _join_rewards(batches: Sequence[RewardBatch]) -> RewardBatch:
    return RewardBatch(
        torch.cat([batch.total for batch in batches]),
        {name: torch.cat([batch.parts[name] for batch in batches]) for name in batches[0].parts},
        tuple(answer for batch in batches for answer in batch.answers),
        torch.cat([batch.matched for batch in batches]),
        torch.cat([batch.saturated for batch in batches]),
        {task: torch.cat([batch.by_task[task] for batch in batches]) for task in batches[0].by_task},
    )


def share_out(
    informative: Bool[Tensor, "r d"], rank: int, wanted: int
) -> tuple[Int[Tensor, " k"], Bool[Tensor, " k"]]:
    """Choose the first `wanted` informative groups of all ranks, and give each rank its own of them.

    The ranks draw in turns, so that group d of rank r is number d * R + r in the order of the data: the
    choice does not depend on how many ranks share it. A rank with fewer of them than another takes others
    along that do not count, because every rank must run as many forward passes.

    Args:
        informative: (R, D) whether the loss counts a completion of the group.
        rank: whose groups are asked for.
        wanted: groups over all ranks.

    Returns:
        (K,) numbers of the rank's groups, with K the same on all ranks, and (K,) whether they count.

    Source: dynamic sampling, DAPO, arXiv 2503.14476, Sec. 3.2.

    Example:
        >>> informative = torch.tensor([[True, True, True], [False, False, True]])
        >>> share_out(informative, rank=0, wanted=3)
        (tensor([0, 1, 2]), tensor([True, True, True]))
        >>> share_out(informative, rank=1, wanted=3)
        (tensor([0, 1, 2]), tensor([False, False, False]))
    """
    in_order = informative.T.flatten()
    chosen = (in_order & (in_order.cumsum(0) <= wanted)).view_as(informative.T)
    own = chosen[:, rank]
    those_that_count_first = own.int().argsort(descending=True, stable=True)
    groups = those_that_count_first[: int(chosen.sum(dim=0).max())]
    return groups, own[groups]
