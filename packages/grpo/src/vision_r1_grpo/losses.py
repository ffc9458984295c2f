"""The losses of the GRPO family as pure functions. Axes: N completions, T tokens.

A loss is the weighted sum over tokens of a surrogate of the policy gradient and a KL divergence. `OBJECTIVES`
says what each named loss is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Reduction = Literal["token_mean", "sequence_mean", "constant"]
Scale = Literal["group", "batch", "none"]
Estimator = Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class Objective:
    """What a named loss is made of.

    Args:
        surrogate: "clipped" bounds what a token's ratio can gain, "weight" the weight of its log-probability.
        ratio: "token" compares the probabilities of each token, "sequence" those of the whole completion.
        clip_low: ratios below 1 - clip_low are clipped.
        clip_high: ratios above 1 + clip_high are clipped.
        reduction: how tokens are weighed, see `token_weights`.
        scale_advantages: what advantages are divided by, see `group_advantages`.
    """

    surrogate: Literal["clipped", "weight"]
    ratio: Literal["token", "sequence"]
    clip_low: float
    clip_high: float
    reduction: Reduction
    scale_advantages: Scale


# Sources: arXiv 2402.03300; 2503.20783; 2503.14476; 2507.18071, Sec. 5.1; 2506.13585, which sets no lower
# bound and does not publish the upper one: weights of at most 5 are those of 2510.13786.
OBJECTIVES = {
    "grpo": Objective("clipped", "token", 0.2, 0.2, "sequence_mean", "group"),
    "dr_grpo": Objective("clipped", "token", 0.2, 0.2, "constant", "none"),
    "dapo": Objective("clipped", "token", 0.2, 0.28, "token_mean", "group"),
    "gspo": Objective("clipped", "sequence", 3e-4, 4e-4, "sequence_mean", "group"),
    "cispo": Objective("weight", "token", 1.0, 4.0, "token_mean", "group"),
}


def importance_ratio(
    logprobs: Float[Tensor, "n t"],
    old_logprobs: Float[Tensor, "n t"],
    mask: Bool[Tensor, "n t"],
    level: Literal["token", "sequence"],
) -> Float[Tensor, "n t"]:
    """How much likelier the policy has made what was sampled.

    Args:
        logprobs: (N, T) of the policy, with gradient.
        old_logprobs: (N, T) of the policy before the first optimiser step on this rollout.
        mask: (N, T) true at the tokens of a completion.
        level: "token": exp(logprob - old) of each token. "sequence": exp of the mean of that difference over
            the completion, the same at all of its tokens.

    Source: arXiv 2402.03300, Eq. 3; GSPO, arXiv 2507.18071, Eq. 7.

    Example:
        >>> old = torch.tensor([[0.5, 0.5]]).log()
        >>> new = torch.tensor([[0.5, 0.125]]).log()
        >>> importance_ratio(new, old, torch.ones(1, 2, dtype=bool), "sequence")
        tensor([[0.5000, 0.5000]])
    """
    difference = logprobs - old_logprobs
    if level == "sequence":
        length = mask.sum(dim=1, keepdim=True).clamp(min=1)
        difference = ((difference * mask).sum(dim=1, keepdim=True) / length).expand_as(difference)
    return torch.exp(difference)


def clipped_surrogate(
    ratio: Float[Tensor, "n t"],
    advantages: Float[Tensor, " n"],
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> Float[Tensor, "n t"]:
    """The loss of PPO at each token: -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A).

    Args:
        ratio: (N, T) with gradient.
        advantages: (N,) one per completion.
        clip_low: how far a ratio may fall below 1.
        clip_high: how far it may rise above 1; more than clip_low lets unlikely tokens grow (clip-higher).
        dual_clip: c; where A < 0 the loss is at most c * |A|.

    Source: PPO, arXiv 1707.06347, Eq. 7; DAPO, arXiv 2503.14476, Eq. 10; dual clip, arXiv 1912.09729.

    Example:
        >>> ratio, one = torch.tensor([[0.5, 1.5]]), torch.ones(1)
        >>> clipped_surrogate(ratio, one, 0.2, 0.2), clipped_surrogate(ratio, -one, 0.2, 0.2)
        (tensor([[-0.5000, -1.2000]]), tensor([[0.8000, 1.5000]]))
    """
    advantages = advantages[:, None]
    loss = -torch.min(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.min(loss, -dual_clip * advantages), loss)


def weighted_likelihood(
    ratio: Float[Tensor, "n t"],
    logprobs: Float[Tensor, "n t"],
    advantages: Float[Tensor, " n"],
    clip_low: float,
    clip_high: float,
) -> Float[Tensor, "n t"]:
    """The loss of CISPO at each token: -w * A * logprob, w = clip(ratio, 1 - clip_low, 1 + clip_high).

    No gradient flows through w, so every token keeps one, that of a clipped ratio too.

    Args:
        ratio: (N, T).
        logprobs: (N, T) of the policy, with gradient.
        advantages: (N,) one per completion.
        clip_low: 1 sets no lower bound.
        clip_high: the weight is at most 1 + clip_high.

    Source: MiniMax-M1, arXiv 2506.13585, Eq. 4-5.

    Example:
        >>> ratio, logprobs = torch.tensor([[0.5, 9.0]]), torch.tensor([[-1.0, -1.0]])
        >>> weighted_likelihood(ratio, logprobs, torch.ones(1), 1.0, 4.0)
        tensor([[0.5000, 5.0000]])
    """
    return -ratio.detach().clamp(1 - clip_low, 1 + clip_high) * advantages[:, None] * logprobs


def policy_loss(
    ratio: Float[Tensor, "n t"],
    logprobs: Float[Tensor, "n t"],
    advantages: Float[Tensor, " n"],
    objective: Objective,
    dual_clip: float | None = None,
) -> Float[Tensor, "n t"]:
    """The surrogate of the objective at each token: `clipped_surrogate` or `weighted_likelihood`."""
    bounds = (objective.clip_low, objective.clip_high)
    if objective.surrogate == "clipped":
        return clipped_surrogate(ratio, advantages, *bounds, dual_clip)
    return weighted_likelihood(ratio, logprobs, advantages, *bounds)


def is_clipped(
    ratio: Float[Tensor, "n t"], advantages: Float[Tensor, " n"], objective: Objective
) -> tuple[Bool[Tensor, "n t"], Bool[Tensor, "n t"]]:
    """Where the lower and the upper bound change the loss.

    The clipped surrogate heeds the lower bound only where A < 0 and the upper one only where A > 0; the
    weight of CISPO heeds them everywhere.
    """
    low, high = ratio < 1 - objective.clip_low, ratio > 1 + objective.clip_high
    if objective.surrogate == "weight":
        return low, high
    return low & (advantages < 0)[:, None], high & (advantages > 0)[:, None]


def kl_divergence(
    logprobs: Float[Tensor, "n t"], reference_logprobs: Float[Tensor, "n t"], estimator: Estimator = "k3"
) -> Float[Tensor, "n t"]:
    """An estimate of KL(policy || reference) at each token, with d = reference - policy.

    Args:
        logprobs: (N, T) of the policy, with gradient.
        reference_logprobs: (N, T) of the model that the policy is held to.
        estimator: "k1": -d, whose gradient is zero in expectation, so that as a loss it holds nothing.
            "k2": d^2 / 2, whose gradient is that of the divergence. "k3": e^d - d - 1, never negative.

    Source: http://joschu.net/blog/kl-approx.html; arXiv 2402.03300, Eq. 4.

    Example:
        >>> policy, reference = torch.tensor([[-1.0]]), torch.tensor([[-0.5]])
        >>> [round(kl_divergence(policy, reference, k).item(), 6) for k in ("k1", "k2", "k3")]
        [-0.5, 0.125, 0.148721]
    """
    difference = reference_logprobs - logprobs
    if estimator == "k1":
        return -difference
    if estimator == "k2":
        return difference.square() / 2
    return torch.exp(difference) - difference - 1


def sampler_weights(
    old_logprobs: Float[Tensor, "n t"], sampled_logprobs: Float[Tensor, "n t"], cap: float
) -> Float[Tensor, "n t"]:
    """Corrects for completions that another engine sampled: min(exp(old - sampled), cap).

    Args:
        old_logprobs: (N, T) of the policy, as the trainer computes them.
        sampled_logprobs: (N, T) as the rollout engine drew from them.
        cap: the largest weight.

    Source: truncated importance sampling, https://fengyao.notion.site/off-policy-rl.

    Example:
        >>> sampler_weights(torch.tensor([[0.5, 0.9]]).log(), torch.tensor([[1.0, 0.1]]).log(), cap=2.0)
        tensor([[0.5000, 2.0000]])
    """
    return torch.exp(old_logprobs - sampled_logprobs).clamp(max=cap)


def token_weights(
    mask: Bool[Tensor, "n t"],
    reduction: Reduction,
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
