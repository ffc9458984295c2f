"""From a scored rollout to optimiser steps.

Axes: P prompts, G completions per prompt, N = P*G, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_grpo.config import GRPOConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.logprobs import completion_logprobs
from vision_r1_grpo.losses import (
    importance_ratio,
    is_clipped,
    kl_divergence,
    policy_loss,
    sampler_weights,
    token_weights,
)
from vision_r1_grpo.policy import Policy, Prompt, evaluating


@dataclass(frozen=True)
class Experience:
    """Completions of P prompts, those of one prompt side by side, and what is to be learnt from them.

    Args:
        prompts: P prompts.
        tokens: (N, T) token ids, padded on the right.
        mask: (N, T) true at the tokens of a completion.
        sampled: (N, T) log-probabilities that the rollout engine drew from.
        advantages: (N,) one per completion.
        counted: (N,) whether the loss counts the completion.
        old: (N, T) log-probabilities of the policy before the first optimiser step on them; None where there
            is one step only, before which the policy is the old one.
        reference: (N, T) log-probabilities of the model that the policy is held to, or None.
    """

    prompts: Sequence[Prompt]
    tokens: Int[Tensor, "n t"]
    mask: Bool[Tensor, "n t"]
    sampled: Float[Tensor, "n t"]
    advantages: Float[Tensor, " n"]
    counted: Bool[Tensor, " n"]
    old: Float[Tensor, "n t"] | None = None
    reference: Float[Tensor, "n t"] | None = None

    @property
    def counted_tokens(self) -> Bool[Tensor, "n t"]:
        """(N, T) the tokens that the loss is a weighted sum of."""
        return self.mask & self.counted[:, None]

    def between(self, first: int, end: int) -> Experience:
        """That of the prompts from `first` on, before `end`."""
        g = len(self.tokens) // len(self.prompts)
        rows = slice(first * g, end * g)
        return Experience(
            self.prompts[first:end],
            self.tokens[rows],
            self.mask[rows],
            self.sampled[rows],
            self.advantages[rows],
            self.counted[rows],
            None if self.old is None else self.old[rows],
            None if self.reference is None else self.reference[rows],
        )

    def chunks(self, size: int) -> Iterator[Experience]:
        """In parts of `size` prompts."""
        for first in range(0, len(self.prompts), size):
            yield self.between(first, first + size)

    def split(self, parts: int) -> Iterator[Experience]:
        """In parts whose numbers of prompts differ by one at most; fewer where there are fewer prompts."""
        n = len(self.prompts)
        for part in range(min(parts, n)):
            yield self.between(part * n // min(parts, n), (part + 1) * n // min(parts, n))


class PolicyUpdate:
    """Moves the policy towards the completions of high advantage.

    Args:
        config: the run.
        policy: the model under the engine, and its processor.
        engine: runs the model and steps the optimiser.
        reference: the forward pass of the model that a KL divergence is measured from, on the engine's
            device; None where beta is 0.
    """

    def __init__(
        self, config: GRPOConfig, policy: Policy, engine: Engine, reference: Callable[..., Any] | None
    ) -> None:
        self.config, self.policy, self.engine, self.reference = config, policy, engine, reference

    def __call__(self, experience: Experience, learning_rate: float) -> dict[str, float]:
        """The optimiser steps of one rollout; every rank gives as many prompts.

        Returns:
            Means over the optimiser steps, the counted tokens and all ranks, by their names in metrics.jsonl:
            loss, grad_norm and optimizer_steps always, the rest where a token counts.
        """
        config = self.config
        if experience.prompts:
            experience = self._before_the_first_step(experience)
        steps = [
            measured
            for _ in range(config.epochs_per_rollout)
            for minibatch in experience.split(config.minibatches)
            if (measured := self._step(minibatch, learning_rate)) is not None
        ]
        mean = {name: sum(step[name] for step in steps) / len(steps) for name in (steps[0] if steps else ())}
        return {"loss": 0.0, "grad_norm": 0.0, **mean, "optimizer_steps": len(steps)}

    def _before_the_first_step(self, experience: Experience) -> Experience:
        """Add the log-probabilities that later ones are compared with."""
        if self.reference is not None:
            experience = replace(experience, reference=self._logprobs(self.reference, experience))
        if self.config.epochs_per_rollout * self.config.minibatches > 1:
            experience = replace(experience, old=self._logprobs(self.engine.forward, experience))
        return experience

    def _step(self, minibatch: Experience, learning_rate: float) -> dict[str, float] | None:
        """One optimiser step; None where nothing counts on any rank, as it would only repeat momentum."""
        counted = minibatch.counted_tokens
        totals = self.engine.sum(torch.stack([counted.sum(), counted.any(dim=1).sum()]).float())
        if totals[0] == 0:
            return None
        passes = [self._backward(part, *totals) for part in minibatch.chunks(self.config.prompts_per_forward)]
        grad_norm = self.engine.step(learning_rate)
        sums = self.engine.sum(torch.stack([torch.stack(list(one.values())) for one in passes]).sum(dim=0))
        measured = dict(zip(passes[0], sums.tolist(), strict=True))
        loss, tokens = measured.pop("loss"), totals[0].item()
        return {"loss": loss, "grad_norm": grad_norm, **{k: v / tokens for k, v in measured.items()}}

    def _backward(self, part: Experience, tokens: Tensor, completions: Tensor) -> dict[str, Tensor]:
        """One forward and backward pass; returns its share of the loss, and sums over its counted tokens."""
        losses, measures = self._losses(self._forward(self.engine.forward, part), part)
        weights = token_weights(
            part.counted_tokens,
            self.config.loss.objective.reduction,
            total_tokens=tokens,
            total_completions=completions,
            max_length=self.config.sampling.max_new_tokens,
        )
        loss = (losses * weights).sum()
        self.engine.backward(loss)
        sums = {name: each.detach()[part.counted_tokens].double().sum() for name, each in measures.items()}
        return {"loss": loss.detach().double(), **sums}

    def _losses(
        self, logprobs: Float[Tensor, "n t"], part: Experience
    ) -> tuple[Float[Tensor, "n t"], dict[str, Tensor]]:
        """The loss of each token, and what is logged of it."""
        settings, objective = self.config.loss, self.config.loss.objective
        old = logprobs.detach() if part.old is None else part.old
        ratio = importance_ratio(logprobs, old, part.mask, objective.ratio)
        losses = policy_loss(ratio, logprobs, part.advantages, objective, settings.dual_clip)
        low, high = is_clipped(ratio, part.advantages, objective)
        measures = {"ratio": ratio, "clipped_low": low, "clipped_high": high}
        measures["sampler_gap"] = (old - part.sampled).abs()
        if settings.importance_cap is not None:
            weights = sampler_weights(old, part.sampled, settings.importance_cap)
            measures |= {"importance": weights, "importance_capped": weights == settings.importance_cap}
            losses = losses * weights
        if part.reference is not None:
            measures["kl"] = kl_divergence(logprobs, part.reference, settings.kl or "k3")
            losses = losses + settings.beta * measures["kl"]
        return losses, measures

    def _forward(self, forward: Callable[..., Any], part: Experience) -> Float[Tensor, "n t"]:
        temperature = self.config.sampling.temperature
        return completion_logprobs(
            forward, self.policy, part.prompts, part.tokens, part.mask, temperature=temperature
        )

    @torch.no_grad()
    def _logprobs(self, forward: Callable[..., Any], experience: Experience) -> Float[Tensor, "n t"]:
        """Those of all completions, as they were sampled: without the dropout of adapters."""
        chunks = experience.chunks(self.config.prompts_per_forward)
        with evaluating(self.policy.model):
            return torch.cat([self._forward(forward, part) for part in chunks])
