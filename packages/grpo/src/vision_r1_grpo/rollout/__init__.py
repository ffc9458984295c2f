"""Groups of completions sampled from the policy.

Axes: P prompts, G completions per prompt, N = P*G, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_grpo.policy import Prompt


@dataclass(frozen=True)
class Sampling:
    """How one call draws completions.

    Args:
        temperature: divides the logits; 0 takes the likeliest token.
        max_new_tokens: the longest completion.
        seed: the same seed and policy draw the same completions.
        top_p: only the likeliest tokens that together have this probability; 1 for all.
        top_k: only so many of the likeliest tokens; 0 for all.
        min_p: only tokens of at least this share of the likeliest one's probability; 0 for all.
        stop_token_ids: tokens that end a completion, beside the model's own.
    """

    temperature: float = 1.0
    max_new_tokens: int = 512
    seed: int = 0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rollout:
    """The completions of P prompts, those of one prompt side by side.

    Args:
        tokens: (N, T) token ids, padded on the right; the stop token is part of a completion.
        mask: (N, T) true at the tokens of a completion.
        logprobs: (N, T) log-probability of each token in the distribution that it was drawn from, which
            temperature, top-p, top-k and min-p shape; 0 at padding.
        texts: N texts without the stop token, special tokens kept.
        truncated: (N,) the completion reached max_new_tokens without a stop token.
    """

    tokens: Int[Tensor, "n t"]
    mask: Bool[Tensor, "n t"]
    logprobs: Float[Tensor, "n t"]
    texts: tuple[str, ...]
    truncated: Bool[Tensor, " n"]


class Sampler(Protocol):
    """Anything that samples completions."""

    def generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        """Draw `group_size` completions of each prompt."""
