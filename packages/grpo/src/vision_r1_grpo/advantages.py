"""From the rewards of a group to advantages. Axes: P prompts, G completions per prompt, N = P*G."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_grpo.losses import Scale

_EPSILON = 1e-4


def group_advantages(
    rewards: Float[Tensor, "p g"],
    scale: Scale = "group",
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda values: values,
) -> Float[Tensor, "p g"]:
    """Compare each completion with the others of its group: A = (r - mean) / (std + 1e-4).

    Args:
        rewards: (P, G) total rewards.
        scale: "group": std is the unbiased standard deviation of the group's rewards. "batch": that of the
            rewards of all ranks. "none": no division, as in Dr. GRPO.
        sum_over_ranks: the element-wise sum over ranks; by default there is one.

    Returns:
        (P, G) advantages; zero in groups that say nothing.

    Source: arXiv 2503.18013, Eq. 1-2; arXiv 2402.03300 (GRPO); arXiv 2503.20783 (Dr. GRPO); arXiv 2508.08221
        (batch).

    Example:
        >>> group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]))
        tensor([[-1.2244,  0.0000,  0.0000,  1.2244]])
    """
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "group":
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + _EPSILON)
    elif scale == "batch":
        advantages = advantages / (_batch_std(rewards, sum_over_ranks) + _EPSILON)
    return advantages * informative_groups(rewards)[:, None]


def informative_groups(rewards: Float[Tensor, "p g"]) -> Bool[Tensor, " p"]:
    """(P,) whether the group's rewards differ.

    A group whose rewards are all equal says nothing about which answer is better, and the loss leaves it out.

    Example:
        >>> informative_groups(torch.tensor([[0.1, 0.1, 0.1], [0.0, 1.0, 0.0]]))
        tensor([False,  True])
    """
    return (rewards != rewards[:, :1]).any(dim=1)


def _batch_std(
    rewards: Float[Tensor, "p g"], sum_over_ranks: Callable[[Tensor], Tensor]
) -> Float[Tensor, ""]:
    """The unbiased standard deviation over all ranks; two passes, so that a large mean costs no digits."""
    values = rewards.double()
    count, total = sum_over_ranks(torch.stack([values.new_tensor(values.numel()), values.sum()]))
    squares = sum_over_ranks((values - (total / count).to(values.device)).square().sum())
    std: Tensor = (squares / (count - 1)).sqrt()
    return std.to(rewards)


def overlong_penalty(lengths: Int[Tensor, " n"], max_length: int, buffer: int) -> Float[Tensor, " n"]:
    """A reward for not running into the limit: 0 until `buffer` tokens before it, then linear down to -1.

    Args:
        lengths: (N,) tokens of each completion, at most max_length.
        max_length: where a completion is cut off.
        buffer: how many tokens before it the penalty begins.

    Source: soft overlong punishment, DAPO, arXiv 2503.14476, Eq. 13.

    Example:
        >>> overlong_penalty(torch.tensor([8, 12, 14, 16]), max_length=16, buffer=4)
        tensor([ 0.0000,  0.0000, -0.5000, -1.0000])
    """
    return ((max_length - buffer - lengths) / buffer).clamp(-1, 0)
