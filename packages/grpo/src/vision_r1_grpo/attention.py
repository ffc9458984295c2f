"""Attention in which the completions of a group share their prompt.

Axes: P prompts, G completions per prompt, N = P*G, T tokens of the longest completion, L prompt tokens,
S packed completion tokens, H heads, D channels of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared_prefix"


@dataclass(frozen=True)
class SharedPrefix:
    """Sequences that each hold a prompt, padded on the left to L, and the completions of its group behind it.

    A completion attends to the prompt and to itself, never to another. So its queries meet the L + T keys of
    a sequence of its own; the keys of the prompt are computed once and lent to the whole group.

    Args:
        prompt: (P, L) true at the tokens of a prompt.
        place: (N, T) where in the S packed tokens of its prompt's sequence a completion's token stands; at
            padding any place.
        slot: (P, S) which of the G*T places of its group's (G, T) grid a packed token has; at padding any.
        bidirectional: prompt tokens attend to all of the prompt, as in PaliGemma, not only to earlier ones.
    """

    prompt: Bool[Tensor, "p l"]
    place: Int[Tensor, "n t"]
    slot: Int[Tensor, "p s"]
    bidirectional: bool = False

    def attend(
        self,
        query: Float[Tensor, "p h l+s d"],
        key: Float[Tensor, "p k l+s d"],
        value: Float[Tensor, "p k l+s d"],
        scale: float | None,
    ) -> Float[Tensor, "p h l+s d"]:
        """The attention of all L + S tokens of each sequence."""
        (p, length), (n, t) = self.prompt.shape, self.place.shape
        padded = not bool(self.prompt.all())
        # Padding sees padding, so that no row of the mask is empty.
        seen = self.prompt[:, None, None, :] == self.prompt[:, None, :, None] if padded else None
        causal = not self.bidirectional
        if seen is not None and causal:
            seen, causal = seen & _lower(length, length, query.device), False
        q, k, v = (x[:, :, :length] for x in (query, key, value))
        prompts = _sdpa(q, k, v, seen, causal, scale)

        queries, *own = (self._grid(x[:, :, length:]) for x in (query, key, value))
        lent = (x.repeat_interleave(n // p, dim=0) for x in (k, v))
        keys, values = (torch.cat(pair, dim=2) for pair in zip(lent, own, strict=True))
        mask = _lower(t, length + t, query.device)
        if padded:
            before = torch.nn.functional.pad(self.prompt, (0, t), value=True)
            mask = mask & before.repeat_interleave(n // p, dim=0)[:, None, None, :]
        completions = _sdpa(queries, keys, values, mask, False, scale)
        return torch.cat([prompts, self._pack(completions)], dim=2)

    def _grid(self, packed: Float[Tensor, "p h s d"]) -> Float[Tensor, "n h t d"]:
        """Each completion in a row of its own."""
        p, _, s, _ = packed.shape
        (n, t), first = self.place.shape, torch.arange(p, device=packed.device) * s
        rows = (self.place.view(p, -1) + first[:, None]).flatten()
        tokens = packed.transpose(1, 2).flatten(0, 1).index_select(0, rows)
        return tokens.view(n, t, *tokens.shape[1:]).transpose(1, 2)

    def _pack(self, grid: Float[Tensor, "n h t d"]) -> Float[Tensor, "p h s d"]:
        """The inverse of `_grid`."""
        (p, s), (n, _, t, _) = self.slot.shape, grid.shape
        first = torch.arange(p, device=grid.device) * (n // p) * t
        rows = (self.slot + first[:, None]).flatten()
        tokens = grid.transpose(1, 2).flatten(0, 1).index_select(0, rows)
        return tokens.view(p, s, *tokens.shape[1:]).transpose(1, 2)


def shared_prefix_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "b h q d"],
    key: Float[Tensor, "b k s d"],
    value: Float[Tensor, "b k s d"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    layout: SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "b q h d"], None]:
    """Attention as transformers calls it; without a layout it is its own `sdpa`.

    Raises:
        ValueError: the model's attention is cut to a window shorter than the sequence, or caps its scores.
    """
    if layout is not None:
        _check(module, query.shape[2], kwargs)
        return layout.attend(query, key, value, scaling).transpose(1, 2).contiguous(), None
    if attention_mask is not None and query.shape[2] < key.shape[2]:  # decoding
        _check(module, key.shape[2], kwargs)
        return _sdpa(query, key, value, attention_mask, False, scaling).transpose(1, 2).contiguous(), None
    result: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **kwargs
    )
    return result


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _sdpa(
    query: Float[Tensor, "b h q d"],
    key: Float[Tensor, "b k s d"],
    value: Float[Tensor, "b k s d"],
    mask: Bool[Tensor, "b 1 q s"] | None,
    causal: bool,
    scale: float | None,
) -> Float[Tensor, "b h q d"]:
    """Attention that copies no keys: with a mask, heads that share keys become queries of one head."""
    groups = query.shape[1] // key.shape[1]
    if mask is None or groups == 1:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=groups > 1
        )
    b, h, q, d = query.shape
    folded = query.reshape(b, h // groups, groups * q, d)
    repeated = mask.repeat(1, 1, groups, 1)
    output = scaled_dot_product_attention(folded, key, value, attn_mask=repeated, scale=scale)
    return output.reshape(b, h, q, value.shape[3])


def _lower(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """Causal, the last query seeing all keys."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _check(module: torch.nn.Module, length: int, options: dict[str, Any]) -> None:
    window, cap = options.get("sliding_window"), options.get("softcap")
    if cap is not None:
        raise ValueError(f"{type(module).__name__} caps its attention scores, and shared prompts cannot")
    if window is not None and window < length:
        raise ValueError(
            f"{type(module).__name__} sees {window} tokens back and the sequence has {length}; give shorter "
            "prompts, smaller images or fewer completions"
        )
