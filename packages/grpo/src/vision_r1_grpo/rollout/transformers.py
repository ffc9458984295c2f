"""Sampling with transformers: one prefill per prompt, its cache shared out to the group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from vision_r1_grpo.policy import Policy, Prompt, collate
from vision_r1_grpo.rollout import Rollout, Sampling

# Finished completions leave the batch once they are this share of it; leaving costs a copy of the cache.
_FINISHED_SHARE = 0.2


class TransformersSampler:
    """Samples from the policy's own model."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @torch.no_grad()
    def generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        """Draw `group_size` completions of each prompt; each image and prompt is computed once."""
        model, tokenizer = self.policy.model, self.policy.processor.tokenizer
        training = model.training
        model.eval()
        generator = torch.Generator(model.device).manual_seed(sampling.seed)
        banned = torch.tensor(self.policy.banned_token_ids, device=model.device)
        stop = torch.tensor(self.policy.stop_token_ids, device=model.device)
        batch = collate(prompts, tokenizer.pad_token_id, model.device)
        cache = DynamicCache(config=model.config.get_text_config())
        # Prompts of one length need no mask, and attention is faster without.
        mask = None if bool(batch.mask.all()) else batch.mask.repeat_interleave(group_size, dim=0)
        logits = model(
            input_ids=batch.input_ids,
            attention_mask=None if mask is None else batch.mask,
            position_ids=batch.position_ids,
            **batch.vision,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        cache.batch_repeat_interleave(group_size)
        logits = logits.repeat_interleave(group_size, dim=0)
        position = batch.next_position.repeat_interleave(group_size)

        n = len(prompts) * group_size
        tokens = torch.full((n, sampling.max_new_tokens), tokenizer.pad_token_id, device=model.device)
        logprobs = torch.zeros(n, sampling.max_new_tokens, device=model.device)
        lengths = torch.full((n,), sampling.max_new_tokens, device=model.device)
        truncated = torch.ones(n, dtype=torch.bool, device=model.device)
        rows = torch.arange(n, device=model.device)  # the completion that each row of the cache belongs to
        for t in range(sampling.max_new_tokens):
            token, logprob = _draw(logits, sampling.temperature, banned, generator)
            going = truncated[rows]
            tokens[rows[going], t] = token[going]
            logprobs[rows[going], t] = logprob[going]
            stopped = rows[going & torch.isin(token, stop)]
            truncated[stopped], lengths[stopped] = False, t + 1
            going = truncated[rows]
            if t + 1 == sampling.max_new_tokens or not going.any():
                break
            if (~going).float().mean() > _FINISHED_SHARE:
                keep = going.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                rows, token, position = rows[keep], token[keep], position[keep]
                mask = None if mask is None else mask[keep]
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            logits = model(
                input_ids=token[:, None],
                attention_mask=mask,
                position_ids=(position + t)[None, :, None].expand(3, -1, 1),
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
        model.train(training)
        longest = int(lengths.max())
        texts = _texts(tokenizer, tokens, lengths, truncated)
        within = torch.arange(longest, device=model.device) < lengths[:, None]
        return Rollout(tokens[:, :longest], within, logprobs[:, :longest], texts, truncated)


def _draw(
    logits: Float[Tensor, "b v"], temperature: float, banned: Int[Tensor, " k"], generator: torch.Generator
) -> tuple[Int[Tensor, " b"], Float[Tensor, " b"]]:
    """One token per row and its log-probability."""
    logits = logits.float().index_fill(1, banned, -torch.inf)
    if temperature == 0:
        token = logits.argmax(dim=1)
        return token, torch.zeros_like(token, dtype=torch.float32)
    logprobs = torch.log_softmax(logits / temperature, dim=1)
    token = torch.multinomial(logprobs.exp(), 1, generator=generator)
    return token[:, 0], logprobs.gather(1, token)[:, 0]


def _texts(
    tokenizer: Any, tokens: Int[Tensor, "n t"], lengths: Int[Tensor, " n"], truncated: Bool[Tensor, " n"]
) -> tuple[str, ...]:
    ends = lengths - (~truncated).long()  # the stop token is no part of the text
    return tuple(
        tokenizer.decode(row[:end], skip_special_tokens=False)
        for row, end in zip(tokens.tolist(), ends.tolist(), strict=True)
    )
