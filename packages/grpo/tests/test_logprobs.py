import pytest
import torch

from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs

TEMPERATURE = 0.8


@pytest.fixture
def completions():
    """Two prompts x three completions of 1 to 7 tokens."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(7) < torch.tensor([7, 1, 4, 2, 6, 3])[:, None]
    return torch.randint(20, 300, (6, 7), generator=generator), mask


def naive_logprobs(policy, prompts, tokens, mask):
    """One sequence per completion, its image computed again, positions left to the model."""
    model, rows = policy.model, []
    for n in range(len(tokens)):
        prompt = prompts[n // 3]
        ids = torch.cat([prompt.input_ids, tokens[n][mask[n]]])[None]
        logits = model(
            input_ids=ids,
            mm_token_type_ids=(ids == model.config.image_token_id).long(),
            **prompt.vision,
            use_cache=False,
        ).logits[0, len(prompt.input_ids) - 1 : -1]
        logits[:, policy.banned_token_ids] = -torch.inf
        logprobs = torch.log_softmax(logits / TEMPERATURE, dim=1).gather(1, tokens[n][mask[n]][:, None])[:, 0]
        rows.append(torch.nn.functional.pad(logprobs, (0, tokens.shape[1] - len(logprobs))))
    return torch.stack(rows)


@pytest.mark.parametrize("most_tokens", [40, 400_000], ids=["whole", "in chunks"])
def test_sharing_the_prompt_changes_neither_logprobs_nor_gradients(policy, prompts, completions, most_tokens):
    tokens, mask = completions
    weights = torch.linspace(-1, 1, tokens.numel()).view_as(tokens)
    results = []
    for compute in (
        lambda: naive_logprobs(policy, prompts, tokens, mask),
        lambda: completion_logprobs(
            TokenLogprobs(policy.model, most_tokens), policy, prompts, tokens, mask, temperature=TEMPERATURE
        ),
    ):
        policy.model.zero_grad()
        logprobs = compute()
        (logprobs * weights).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])
        results.append((logprobs.detach(), gradient.clone()))
    (naive, naive_gradient), (shared, shared_gradient) = results
    torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)
    assert naive_gradient.norm() > 1
    assert (shared_gradient - naive_gradient).norm() / naive_gradient.norm() < 1e-5


def test_padding_has_logprob_zero(policy, prompts, completions):
    tokens, mask = completions
    with torch.no_grad():
        logprobs = completion_logprobs(TokenLogprobs(policy.model, 1000), policy, prompts, tokens, mask)
    assert (logprobs[~mask] == 0).all()
    assert (logprobs[mask] < 0).all()


def test_what_stands_at_padding_changes_nothing(policy, prompts, completions):
    tokens, mask = completions
    with torch.no_grad():
        expected = completion_logprobs(TokenLogprobs(policy.model, 1000), policy, prompts, tokens, mask)
        poisoned = torch.where(mask, tokens, policy.banned_token_ids[0])
        assert torch.equal(
            completion_logprobs(TokenLogprobs(policy.model, 1000), policy, prompts, poisoned, mask), expected
        )
