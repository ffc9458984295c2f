"""From a scored rollout to an optimiser step.

Axes: P prompts, G completions per prompt, N = P*G, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vision_r1_grpo.config import GRPOConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.logprobs import completion_logprobs
from vision_r1_grpo.losses import kl_divergence, policy_loss, token_weights
from vision_r1_grpo.policy import Policy, Prompt
from vision_r1_grpo.rollout import Rollout


class PolicyUpdate:
    """Moves the policy towards the completions of high advantage.

    Args:
        config: the run.
        policy: the model under the engine, and its processor.
        engine: runs the model and steps the optimiser.
        reference: the starting model that a KL divergence is measured from; None where beta is 0.
    """

    def __init__(self, config: GRPOConfig, policy: Policy, engine: Engine, reference: Any | None) -> None:
        self.config, self.policy, self.engine = config, policy, engine
        self.reference = None if reference is None else reference.to(engine.device)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        rollout: Rollout,
        advantages: Float[Tensor, " n"],
        informative: Bool[Tensor, " p"],
        learning_rate: float,
    ) -> tuple[float, float]:
        """One optimiser step; returns the loss over all ranks and the gradient norm."""
        config, g, size = self.config, self.config.sampling.group_size, self.config.prompts_per_forward
        device = rollout.tokens.device
        advantages = advantages.to(device)
        counted = rollout.mask & informative.to(device).repeat_interleave(g)[:, None]
        tokens, completions = self.engine.sum(torch.stack([counted.sum(), counted.any(dim=1).sum()]).float())
        weights = token_weights(
            counted,
            config.loss.reduction,
            total_tokens=tokens,
            total_completions=completions,
            max_length=config.sampling.max_new_tokens,
        )
        if tokens == 0:  # no group says anything; an optimiser step would only repeat its momentum
            return 0.0, 0.0
        total = torch.zeros(1, device=device)
        for first in range(0, len(prompts), size):
            some, rows = prompts[first : first + size], slice(first * g, (first + size) * g)
            arguments = (self.policy, some, rollout.tokens[rows], rollout.mask[rows])
            temperature = config.sampling.temperature
            logprobs = completion_logprobs(self.engine.forward, *arguments, temperature=temperature)
            # One update per rollout: the policy that sampled is the policy itself.
            losses = policy_loss(logprobs, logprobs.detach(), advantages[rows])
            if self.reference is not None:
                with torch.no_grad():
                    anchor = completion_logprobs(self.reference, *arguments, temperature=temperature)
                losses = losses + config.loss.beta * kl_divergence(logprobs, anchor)
            loss = (losses * weights[rows]).sum()
            self.engine.backward(loss)
            total += loss.detach()
        grad_norm = self.engine.step(learning_rate)
        return self.engine.sum(total).item(), grad_norm
