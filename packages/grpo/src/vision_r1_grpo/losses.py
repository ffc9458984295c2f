"""The GRPO loss as pure functions. Axes: N completions, T tokens."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def policy_loss(
    logprobs: Float[Tensor, "n t"], old_logprobs: Float[Tensor, "n t"], advantages: Float[Tensor, " n"]
) -> Float[Tensor, "n t"]:
    """The policy gradient loss of each token: -exp(logprob - old_logprob) * A.

    Args:
        logprobs: (N, T) of the policy, with gradient.
        old_logprobs: (N, T) of the policy that sampled.
        advantages: (N,) one per completion.

    Source: arXiv 2503.18013, Eq. 1.
    """
    return -torch.exp(logprobs - old_logprobs) * advantages[:, None]


def kl_divergence(
    logprobs: Float[Tensor, "n t"], reference_logprobs: Float[Tensor, "n t"]
) -> Float[Tensor, "n t"]:
    """The k3 estimate of KL(policy || reference) at each token: e^d - d - 1, d = reference - policy.

    Source: http://joschu.net/blog/kl-approx.html; arXiv 2402.03300, Eq. 4.

    Example:
        >>> round(kl_divergence(torch.tensor([[-1.0]]), torch.tensor([[-0.5]])).item(), 6)
        0.148721
    """
    difference = reference_logprobs - logprobs
    return torch.exp(difference) - difference - 1


def token_weights(
    mask: Bool[Tensor, "n t"],
    reduction: Literal["token_mean", "sequence_mean", "constant"],
    *,
    total_tokens: Float[Tensor, ""],
    total_completions: Float[Tensor, ""],
    max_length: int,
) -> Float[Tensor, "n t"]:
    """The weight of each token in the loss of a global batch; the loss is the weighted sum.

    The totals count the whole batch, over all ranks and forward passes, so that the sum over any split of it
    is the same.

    Args:
        mask: (N, T) true at the tokens that count.
        reduction: "token_mean": 1 / total tokens. "sequence_mean": 1 / (completions * tokens of this
            completion). "constant": 1 / (completions * max_length).
        total_tokens: tokens that count in the global batch.
        total_completions: completions that count in the global batch.
        max_length: the longest that a completion can be.

    Source: DAPO (arXiv 2503.14476), GRPO (arXiv 2402.03300), Dr. GRPO (arXiv 2503.20783).
    """
    if reduction == "token_mean":
        return mask / total_tokens.clamp(min=1)
    if reduction == "sequence_mean":
        return mask / (total_completions.clamp(min=1) * mask.sum(dim=1, keepdim=True).clamp(min=1))
    return mask / (total_completions.clamp(min=1) * max_length)
