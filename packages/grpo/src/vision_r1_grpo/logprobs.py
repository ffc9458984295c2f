"""Log-probabilities of completions, a group's prompt and image computed once.

A prompt and the completions of its group are packed into one sequence. Completions attend to the prompt and
to themselves, never to each other, and each continues the prompt's positions: a tree of depth one.

Axes: P prompts, G completions per prompt, N = P*G, T tokens, L prompt tokens, S packed completion tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_grpo.policy import Policy, Prompt, PromptBatch, collate


def completion_logprobs(
    forward: Callable[..., Any],
    policy: Policy,
    prompts: Sequence[Prompt],
    tokens: Int[Tensor, "n t"],
    mask: Bool[Tensor, "n t"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, "n t"]:
    """The log-probability of each completion token, with gradient; 0 at padding.

    Args:
        forward: the model, or the engine that wraps it.
        policy: names the tokens that sampling never draws; they take no probability here either.
        prompts: P prompts.
        tokens: (N, T) completions, those of one prompt side by side, padded on the right.
        mask: (N, T) true at the tokens of a completion.
        temperature: the one that sampled.

    Returns:
        (N, T) log-probabilities, equal to those of N separate sequences within rounding.
    """
    model = policy.model
    batch = collate(prompts, policy.processor.tokenizer.pad_token_id, model.device)
    packed = _pack(tokens, mask, len(prompts), batch)
    length = batch.input_ids.shape[1]
    logits = forward(
        input_ids=torch.cat([batch.input_ids, packed.tokens], dim=1),
        attention_mask=_attention_mask(batch.mask, packed.segment, model),
        position_ids=torch.cat([batch.position_ids, packed.position.expand(3, -1, -1)], dim=2),
        **batch.vision,
        use_cache=False,
        logits_to_keep=packed.tokens.shape[1]
        + 1,  # from the last prompt token on: it predicts the first token
    ).logits
    assert logits.shape[1] == packed.tokens.shape[1] + 1, f"prompt of {length} tokens, logits {logits.shape}"
    banned = torch.tensor(policy.banned_token_ids, device=logits.device)
    logits = logits.float().index_fill(2, banned, -torch.inf) / temperature
    row = torch.arange(len(prompts), device=logits.device)[:, None]
    chosen = logits[row, packed.predictor, packed.tokens]
    logprobs = chosen - logits.logsumexp(dim=2).gather(1, packed.predictor)
    return torch.zeros_like(mask, dtype=logprobs.dtype).masked_scatter(mask, logprobs[packed.segment > 0])


@dataclass(frozen=True)
class _Packed:
    """Completions of each prompt one after the other.

    tokens (P, S); segment (P, S): 1..G, 0 at padding; position (P, S); predictor (P, S): which of the S + 1
    places, the first being the prompt's last token, predicts the token.
    """

    tokens: Int[Tensor, "p s"]
    segment: Int[Tensor, "p s"]
    position: Int[Tensor, "p s"]
    predictor: Int[Tensor, "p s"]


def _pack(tokens: Tensor, mask: Tensor, n_prompts: int, batch: PromptBatch) -> _Packed:
    group = len(tokens) // n_prompts
    sizes = mask.view(n_prompts, -1).sum(dim=1)
    packed = [
        torch.zeros(n_prompts, int(sizes.max()), dtype=torch.long, device=tokens.device) for _ in range(4)
    ]
    for p in range(n_prompts):
        own = slice(p * group, (p + 1) * group)
        completion, t = mask[own].nonzero(as_tuple=True)  # in packed order
        place = torch.arange(len(t), device=tokens.device)
        columns = (tokens[own][mask[own]], completion + 1, batch.next_position[p] + t, place * (t > 0))
        for target, values in zip(packed, columns, strict=True):
            target[p, : len(t)] = values
    return _Packed(*packed)


def _attention_mask(prompt_mask: Bool[Tensor, "p l"], segment: Int[Tensor, "p s"], model: Any) -> Tensor:
    """(P, 1, L+S, L+S): each token sees the prompt and its own completion, up to itself."""
    place = torch.cat(
        [prompt_mask.long() - 1, torch.where(segment > 0, segment, -1)], dim=1
    )  # padding -1, prompt 0
    earlier = torch.ones(place.shape[1], place.shape[1], dtype=torch.bool, device=place.device).tril()
    key, query = place[:, None, :], place[:, :, None]
    allowed = earlier & (
        ((key == 0) & (query >= 0)) | (key == query)
    )  # padding sees padding, so no row is empty
    allowed = allowed[:, None]
    attention = model.config._attn_implementation
    if attention == "sdpa":
        return allowed
    if attention == "eager":  # adds the mask to the scores, so a boolean one would be silently wrong
        return torch.zeros_like(allowed, dtype=model.dtype).masked_fill(
            ~allowed, torch.finfo(model.dtype).min
        )
    raise ValueError(
        f"the model's attention must be sdpa or eager to share a prompt in a group, got {attention!r}"
    )
