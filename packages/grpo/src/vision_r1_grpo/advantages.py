"""From the rewards of a group to advantages. Axes: P prompts, G completions per prompt."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

_EPSILON = 1e-4


def group_advantages(
    rewards: Float[Tensor, "p g"], *, scale: bool = True
) -> tuple[Float[Tensor, "p g"], Bool[Tensor, " p"]]:
    """Compare each completion with the others of its group: A = (r - mean) / (std + 1e-4).

    Args:
        rewards: (P, G) total rewards.
        scale: divide by the unbiased standard deviation of the group; Dr. GRPO does not.

    Returns:
        (P, G) advantages, and (P,) whether the group's rewards differ. A group whose rewards are all equal
        says nothing about which answer is better: its advantages are zero, and the loss leaves it out.

    Source: arXiv 2503.18013, Eq. 1-2; arXiv 2402.03300 (GRPO); arXiv 2503.20783 (Dr. GRPO).

    Example:
        >>> import torch
        >>> group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]))[0]
        tensor([[-1.2244,  0.0000,  0.0000,  1.2244]])
    """
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    std = rewards.std(dim=1, keepdim=True)
    informative = (rewards != rewards[:, :1]).any(dim=1)
    if scale:
        advantages = advantages / (std + _EPSILON)
    return advantages * informative[:, None], informative
