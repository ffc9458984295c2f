"""Sampling with transformers: a prompt and the completions of its group in one row of the cache.

Axes: P prompts, G completions per prompt, N = P*G, T tokens, A completions of a prompt that are drawn side by
side, S places of the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vision_r1_grpo.policy import Policy, Prompt, PromptBatch, collate, evaluating, positions_for
from vision_r1_grpo.rollout import Rollout, Sampling
from vision_r1_grpo.rollout.cache import roomy_cache

# Places of finished completions are given up once they are this share of all; before, moving costs more.
_FINISHED_SHARE = 0.2
_PADDING, _PROMPT = -2, -1  # whose a place of the cache is, where it is no completion's


class TransformersSampler:
    """Samples from the policy's own model."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @torch.no_grad()
    def generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        """Draw `group_size` completions of each prompt; each image and prompt is computed and kept once."""
        with evaluating(self.policy.model):
            return self._generate(prompts, group_size, sampling)

    def _generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        model, tokenizer = self.policy.model, self.policy.processor.tokenizer
        generator = torch.Generator(model.device).manual_seed(sampling.seed)
        batch = collate(prompts, tokenizer.pad_token_id, model.device)
        group = _Group(self.policy, batch, group_size)
        draw = _Draw(self.policy, sampling, generator)
        stop = torch.tensor([*self.policy.stop_token_ids, *sampling.stop_token_ids], device=model.device)

        n, longest = len(prompts) * group_size, sampling.max_new_tokens
        tokens = torch.full((n, longest), tokenizer.pad_token_id, device=model.device)
        logprobs = torch.zeros(n, longest, device=model.device)
        lengths = torch.full((n,), longest, device=model.device)
        truncated = torch.ones(n, dtype=torch.bool, device=model.device)
        logits = group.logits
        for t in range(longest):
            token, logprob = draw(logits)
            going = truncated[group.owner]
            who = group.owner[going]
            tokens[who, t], logprobs[who, t] = token[going], logprob[going]
            stopped = group.owner[going & torch.isin(token, stop)]
            truncated[stopped], lengths[stopped] = False, t + 1
            going = truncated[group.owner]
            if t + 1 == longest or not going.any():
                break
            if going.float().mean() < 1 - _FINISHED_SHARE:
                token = group.give_up(going, token)
            logits = group.extend(token, t)
        longest = int(lengths.max())
        texts = _texts(tokenizer, tokens, lengths, truncated)
        within = torch.arange(longest, device=model.device) < lengths[:, None]
        return Rollout(tokens[:, :longest], within, logprobs[:, :longest], texts, truncated)


class _Group:
    """The completions that are being drawn, each token of them a column of its prompt's row.

    The tokens of one step stand side by side, behind those of the steps before. Each sees the prompt and the
    places of its own completion. So the keys of a prompt are read once for all of its completions.

    Args:
        policy: whose model it is.
        batch: P prompts.
        size: G.
    """

    def __init__(self, policy: Policy, batch: PromptBatch, size: int) -> None:
        self.model, self.cache = policy.model, roomy_cache()
        self.position = batch.next_position
        self.dims = len(batch.position_ids)
        p, device = len(batch.input_ids), batch.input_ids.device
        self.owner = torch.arange(p * size, device=device).view(p, size)
        self.places = torch.where(batch.mask, _PROMPT, _PADDING)
        padded = not bool(batch.mask.all())
        logits = self.model(
            input_ids=batch.input_ids,
            attention_mask=batch.mask if padded else None,
            position_ids=positions_for(batch.position_ids),
            **batch.vision,
            **policy.prompt_arguments(batch.input_ids),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        self.logits = logits.expand(-1, size, -1)

    def extend(self, token: Int[Tensor, "p a"], t: int) -> Float[Tensor, "p a v"]:
        """Give each completion its token number t, and return the logits of the next."""
        self.places = torch.cat([self.places, self.owner], dim=1)
        places = self.places[:, None, None, :]
        seen = (places == _PROMPT) | (places == self.owner[:, None, :, None])
        position = (self.position + t)[None, :, None].expand(self.dims, -1, token.shape[1])
        logits: Tensor = self.model(
            input_ids=token,
            attention_mask=seen,
            position_ids=positions_for(position),
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        return logits

    def give_up(self, going: Bool[Tensor, "p a"], token: Int[Tensor, "p a"]) -> Int[Tensor, "p a"]:
        """Drop the rows where all have finished, and columns as far as every row can spare them."""
        rows = going.any(dim=1).nonzero()[:, 0]
        width = int(going.sum(dim=1).max())
        if len(rows) < len(going):
            self.cache.batch_select_indices(rows)
            self.position, self.places = self.position[rows], self.places[rows]
        kept = going[rows].int().argsort(dim=1, descending=True, stable=True)[:, :width]
        self.owner = self.owner[rows].gather(1, kept)
        return token[rows].gather(1, kept)


class _Draw:
    """Draws a token from logits, by the rules of a sampling."""

    def __init__(self, policy: Policy, sampling: Sampling, generator: torch.Generator) -> None:
        device = policy.model.device
        self.banned = torch.tensor(policy.banned_token_ids, dtype=torch.long, device=device)
        self.temperature, self.generator = sampling.temperature, generator
        self.cut = LogitsProcessorList()
        if sampling.top_k:
            self.cut.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self.cut.append(TopPLogitsWarper(sampling.top_p))
        if sampling.min_p:
            self.cut.append(MinPLogitsWarper(sampling.min_p))

    def __call__(self, logits: Float[Tensor, "p a v"]) -> tuple[Int[Tensor, "p a"], Float[Tensor, "p a"]]:
        """One token for each completion, and its log-probability."""
        flat = logits.flatten(0, 1).float().index_fill(1, self.banned, -torch.inf)
        if self.temperature == 0:
            token = flat.argmax(dim=1)
            return token.view(logits.shape[:2]), torch.zeros(logits.shape[:2], device=logits.device)
        logprobs = torch.log_softmax(self.cut(None, flat / self.temperature), dim=1)
        token = torch.multinomial(logprobs.exp(), 1, generator=self.generator)
        return token.view(logits.shape[:2]), logprobs.gather(1, token).view(logits.shape[:2])


def _texts(
    tokenizer: Any, tokens: Int[Tensor, "n t"], lengths: Int[Tensor, " n"], truncated: Bool[Tensor, " n"]
) -> tuple[str, ...]:
    ends = lengths - (~truncated).long()  # the stop token is no part of the text
    return tuple(
        tokenizer.decode(row[:end], skip_special_tokens=False)
        for row, end in zip(tokens.tolist(), ends.tolist(), strict=True)
    )
