from types import SimpleNamespace

import pytest
import torch

from vision_r1_grpo.attention import SharedPrefix, shared_prefix_attention
from vision_r1_grpo.rollout.cache import RoomyLayer

LENGTHS = torch.tensor([[3, 1, 2], [4, 4, 1]])  # of the completions of two prompts
PROMPT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
MODULE = SimpleNamespace(num_key_value_groups=2, is_causal=True)


def packed(bidirectional=False):
    """Two prompts of 3 and 5 tokens x three completions of 1 to 4, one after the other behind each prompt."""
    group, longest, size = 3, 4, 9
    place, slot = torch.zeros(6, longest, dtype=torch.long), torch.zeros(2, size, dtype=torch.long)
    completion = torch.full((2, size), -1)
    for p, lengths in enumerate(LENGTHS.tolist()):
        at = 0
        for g, length in enumerate(lengths):
            for t in range(length):
                place[p * group + g, t], slot[p, at], completion[p, at] = at, g * longest + t, g
                at += 1
    return SharedPrefix(PROMPT, place, slot, bidirectional), completion


def tree_mask(completion, bidirectional=False):
    """(P, 1, L+S, L+S), token by token."""
    owner = torch.cat([torch.where(PROMPT, -2, -9), torch.where(completion < 0, -9, completion)], dim=1)
    p, size = owner.shape
    mask = torch.zeros(p, 1, size, size, dtype=torch.bool)
    for row in range(p):
        for q in range(size):
            for k in range(size):
                of_q, of_k = owner[row, q], owner[row, k]
                if of_k == -9 or of_q == -9:
                    mask[row, 0, q, k] = q == k
                elif of_q == -2:
                    mask[row, 0, q, k] = of_k == -2 and (bidirectional or k <= q)
                else:
                    mask[row, 0, q, k] = of_k == -2 or (of_k == of_q and k <= q)
    return mask


def states(heads, keys, length=14, queries=None):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, h, n, 8, generator=generator, requires_grad=True)
        for h, n in ((heads, queries or length), (keys, length), (keys, length))
    ]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("keys", [4, 2], ids=["one head each", "shared heads"])
def test_completions_see_the_prompt_and_themselves(keys, bidirectional):
    layout, completion = packed(bidirectional)
    mask = tree_mask(completion, bidirectional)
    counts = torch.cat([PROMPT, completion >= 0], dim=1)
    results = []
    for attend in (
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, *(x.repeat_interleave(4 // keys, dim=1) for x in (k, v)), attn_mask=mask
        ).transpose(1, 2),
        lambda q, k, v: shared_prefix_attention(MODULE, q, k, v, None, layout=layout)[0],
    ):
        qkv = states(4, keys)
        output = attend(*qkv)[counts]
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        results.append([output.detach(), *(x.grad for x in qkv)])
    for mine, naive in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, naive, atol=1e-6, rtol=1e-5)


def test_heads_that_share_keys_decode_without_copies():
    query, key, value = states(4, 2, queries=3)
    mask = torch.rand(2, 1, 3, 14, generator=torch.Generator().manual_seed(1)) > 0.3
    output, _ = shared_prefix_attention(MODULE, query, key, value, mask)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, *(x.repeat_interleave(2, dim=1) for x in (key, value)), attn_mask=mask
    )
    torch.testing.assert_close(output, expected.transpose(1, 2))


@pytest.mark.parametrize(
    ("option", "message"), [({"sliding_window": 8}, "sees 8 tokens back"), ({"softcap": 50.0}, "caps its")]
)
def test_an_attention_that_cannot_share_is_refused(option, message):
    layout, _ = packed()
    with pytest.raises(ValueError, match=message):
        shared_prefix_attention(MODULE, *states(4, 4), None, layout=layout, **option)


def test_a_cache_with_room_holds_what_was_appended():
    layer, generator = RoomyLayer(), torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 2, n, 4, generator=generator) for n in (5, 1, 1, 7, 1)]
    for part in parts:
        keys, values = layer.update(part, -part)
    assert torch.equal(keys, torch.cat(parts, dim=2))
    assert torch.equal(values, -keys)
    assert layer.get_seq_length() == 15
    layer.batch_select_indices(torch.tensor([2, 0]))
    more = torch.randn(2, 2, 1, 4, generator=generator)
    keys, _ = layer.update(more, more)
    assert torch.equal(keys, torch.cat([torch.cat(parts, dim=2)[[2, 0]], more], dim=2))
