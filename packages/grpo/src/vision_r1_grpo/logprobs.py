"""Log-probabilities of completions, a group's prompt and image computed once.

A prompt and the completions of its group are packed into one sequence. Completions attend to the prompt and
to themselves, never to each other, and each continues the prompt's positions: a tree of depth one.

Axes: P prompts, G completions per prompt, N = P*G, T tokens, L prompt tokens, S packed completion tokens,
M tokens that count, V vocabulary, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vision_r1_grpo.attention import SharedPrefix
from vision_r1_grpo.policy import Policy, Prompt, PromptBatch, collate, positions_for

_CHUNK = 2**24  # logits that exist at a time


class TokenLogprobs(torch.nn.Module):
    """A model that gives the log-probabilities of tokens in place of logits.

    The logits of a chunk of tokens exist at a time, and again when its gradient is computed: of N completions
    of T tokens there is never a tensor of N * T * V.

    Args:
        model: of transformers, with a language-model head.
        most_tokens: that one call scores. The number of chunks follows from it and not from the tokens at
            hand, because under ZeRO-3 ranks that call the head more often than others would wait for ever.
    """

    def __init__(self, model: Any, most_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.chunks = -(-most_tokens * model.config.get_text_config().vocab_size // _CHUNK)

    def forward(
        self,
        inputs: Mapping[str, Any],
        predictors: tuple[Int[Tensor, " m"], Int[Tensor, " m"]],
        tokens: Int[Tensor, " m"],
        banned: Int[Tensor, " b"],
        temperature: float,
    ) -> Float[Tensor, " m"]:
        """The log-probability of each token.

        Args:
            inputs: of the model without its head.
            predictors: row and column of the token before each token.
            tokens: (M,) those to score.
            banned: token ids that take no probability.
            temperature: divides the logits.
        """
        body, head = self.model.base_model, self.model.get_output_embeddings()
        hidden = body(**inputs, use_cache=False).last_hidden_state[predictors]

        def score(some: Float[Tensor, "m c"], chosen: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
            logits = head(some).float().index_fill(1, banned, -torch.inf) / temperature
            scored: Tensor = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(dim=1)
            return scored

        if self.chunks == 1:
            return score(hidden, tokens)
        parts = zip(hidden.tensor_split(self.chunks), tokens.tensor_split(self.chunks), strict=True)
        return torch.cat([checkpoint(score, *part, use_reentrant=False) for part in parts])


def completion_logprobs(
    forward: Callable[..., Tensor],
    policy: Policy,
    prompts: Sequence[Prompt],
    tokens: Int[Tensor, "n t"],
    mask: Bool[Tensor, "n t"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, "n t"]:
    """The log-probability of each completion token, with gradient; 0 at padding.

    Args:
        forward: `TokenLogprobs` of the policy's model, or the engine that wraps it.
        policy: names the tokens that sampling never draws; they take no probability here either.
        prompts: P prompts.
        tokens: (N, T) completions, those of one prompt side by side, padded on the right.
        mask: (N, T) true at the tokens of a completion.
        temperature: the one that sampled.

    Returns:
        (N, T) log-probabilities, equal to those of N separate sequences within rounding.
    """
    device = policy.model.device
    batch = collate(prompts, policy.processor.tokenizer.pad_token_id, device)
    packed = _pack(tokens, mask, batch, policy.family.bidirectional_prompt)
    inputs = {
        "input_ids": torch.cat([batch.input_ids, packed.tokens], dim=1),
        "position_ids": positions_for(torch.cat([batch.position_ids, packed.positions], dim=2)),
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),  # the layout says it all
        "layout": packed.layout,
        **batch.vision,
    }
    banned = torch.tensor(policy.banned_token_ids, dtype=torch.long, device=device)
    scored = forward(inputs, packed.predictors, tokens[mask], banned, temperature)
    return torch.zeros(mask.shape, dtype=scored.dtype, device=device).masked_scatter(mask, scored)


@dataclass(frozen=True)
class _Packed:
    """The completions of each prompt one after the other.

    Args:
        tokens: (P, S), padded on the right.
        positions: (D, P, S), which go on from the prompt's.
        predictors: row and column, in sequences of L + S, of the token before each of M tokens.
        layout: how they attend.
    """

    tokens: Int[Tensor, "p s"]
    positions: Int[Tensor, "d p s"]
    predictors: tuple[Int[Tensor, " m"], Int[Tensor, " m"]]
    layout: SharedPrefix


def _pack(
    tokens: Int[Tensor, "n t"], mask: Bool[Tensor, "n t"], batch: PromptBatch, bidirectional: bool
) -> _Packed:
    (p, length), (n, t) = batch.input_ids.shape, mask.shape
    group, device = n // p, tokens.device
    completion, step = mask.nonzero(as_tuple=True)  # of the M tokens, in packed order
    row = completion // group
    lengths = mask.sum(dim=1)
    before = (
        lengths.view(p, group).cumsum(dim=1).flatten() - lengths
    )  # tokens of the group before a completion
    column = before[completion] + step
    shape = (p, int(lengths.view(p, group).sum(dim=1).max()))

    def packed(values: Tensor) -> Tensor:
        return torch.zeros(shape, dtype=torch.long, device=device).index_put((row, column), values)

    place = torch.zeros(n, t, dtype=torch.long, device=device).masked_scatter(mask, column)
    slot = packed((completion % group) * t + step)
    positions = packed(batch.next_position[row] + step).expand(len(batch.position_ids), -1, -1)
    # The prompt's last token, which stands at L - 1, predicts the first token of every completion.
    predictor = torch.where(step == 0, length - 1, length + column - 1)
    layout = SharedPrefix(batch.mask, place, slot, bidirectional)
    return _Packed(packed(tokens[mask]), positions, (row, predictor), layout)
