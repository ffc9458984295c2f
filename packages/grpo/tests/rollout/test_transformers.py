from dataclasses import replace

import pytest
import torch

from vision_r1_grpo import Policy
from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler

SAMPLING = Sampling(temperature=1.3, max_new_tokens=12, seed=7)


def test_greedy_equals_generate(policy, prompts):
    rollout = TransformersSampler(policy).generate(prompts, 1, Sampling(0.0, 12))
    for row, prompt in enumerate(prompts):
        ids = prompt.input_ids[None]
        expected = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == policy.model.config.image_token_id).long(),
            **prompt.vision,
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=policy.banned_token_ids,
        )[0, ids.shape[1] :]
        assert rollout.tokens[row][rollout.mask[row]].tolist() == expected.tolist()


def test_sampling_logprobs_are_those_of_the_policy(policy, prompts):
    rollout = TransformersSampler(policy).generate(prompts, 3, SAMPLING)
    with torch.no_grad():
        expected = completion_logprobs(
            TokenLogprobs(policy.model, 1000), policy, prompts, rollout.tokens, rollout.mask, temperature=1.3
        )
    torch.testing.assert_close(rollout.logprobs, expected, atol=1e-5, rtol=1e-5)


def test_same_seed_same_completions(policy, prompts):
    sampler = TransformersSampler(policy)
    assert sampler.generate(prompts, 4, SAMPLING).texts == sampler.generate(prompts, 4, SAMPLING).texts
    other = Sampling(1.3, 12, seed=8)
    assert sampler.generate(prompts, 4, SAMPLING).texts != sampler.generate(prompts, 4, other).texts


def test_a_vocabulary_without_image_tokens_is_sampled_and_scored(policy, prompts):
    """As where they stand beyond the outputs of the model."""
    own = Policy(policy.model, policy.processor)
    own.__dict__["banned_token_ids"] = []
    rollout = TransformersSampler(own).generate(prompts, 2, SAMPLING)
    with torch.no_grad():
        scored = completion_logprobs(
            TokenLogprobs(own.model, 1000), own, prompts, rollout.tokens, rollout.mask, temperature=1.3
        )
    torch.testing.assert_close(rollout.logprobs, scored, atol=1e-5, rtol=1e-5)


def test_vision_tokens_are_never_sampled(policy, prompts):
    hot = Sampling(temperature=100.0, max_new_tokens=40, seed=0)
    rollout = TransformersSampler(policy).generate(prompts, 16, hot)
    assert not torch.isin(rollout.tokens, torch.tensor(policy.banned_token_ids)).any()


def test_finished_completions_leave_and_the_others_go_on(policy, prompts):
    """At a high temperature completions stop at many lengths; each must read as if it were alone."""
    hot = Sampling(temperature=30.0, max_new_tokens=400, seed=1)
    rollout = TransformersSampler(policy).generate(prompts, 16, hot)
    lengths = rollout.mask.sum(dim=1)
    assert len(set(lengths.tolist())) > 8
    stop = torch.isin(rollout.tokens, torch.tensor(policy.stop_token_ids)) & rollout.mask
    assert torch.equal(stop.any(dim=1), ~rollout.truncated)
    assert (stop.sum(dim=1) <= 1).all()
    with torch.no_grad():
        expected = completion_logprobs(
            TokenLogprobs(policy.model, 1000), policy, prompts, rollout.tokens, rollout.mask, temperature=30.0
        )
    torch.testing.assert_close(rollout.logprobs, expected, atol=1e-5, rtol=1e-5)


def test_texts_leave_out_the_stop_token(policy, prompts):
    rollout = TransformersSampler(policy).generate(prompts, 16, Sampling(30.0, 400, seed=1))
    for text, truncated in zip(rollout.texts, rollout.truncated.tolist(), strict=True):
        assert truncated or not text.endswith("<|im_end|>")


@pytest.mark.parametrize(
    "cut", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.3}], ids=["top-k", "top-p", "min-p"]
)
def test_unlikely_tokens_are_left_out(policy, prompts, cut):
    """Each token is among those that may be drawn, and its log-probability is that among them."""
    rollout = TransformersSampler(policy).generate(prompts, 4, Sampling(1.3, 8, seed=3, **cut))
    for n in range(8):
        prompt, own = prompts[n // 4], rollout.tokens[n][rollout.mask[n]]
        ids = torch.cat([prompt.input_ids, own])[None]
        with torch.no_grad():
            logits = policy.model(
                input_ids=ids,
                mm_token_type_ids=(ids == policy.model.config.image_token_id).long(),
                **prompt.vision,
            ).logits[0, len(prompt.input_ids) - 1 : -1]
        logits[:, policy.banned_token_ids] = -torch.inf
        p = torch.softmax(logits / 1.3, dim=1)
        if "top_k" in cut:
            allowed = torch.zeros_like(p).scatter(1, p.topk(3).indices, 1).bool()
        elif "top_p" in cut:
            ordered = p.sort(descending=True)
            allowed = torch.zeros_like(p).scatter(
                1, ordered.indices, ordered.values.cumsum(1) - ordered.values
            )
            allowed = allowed < 0.5
        else:
            allowed = p >= 0.3 * p.amax(dim=1, keepdim=True)
        assert allowed.gather(1, own[:, None]).all()
        expected = (p / (p * allowed).sum(dim=1, keepdim=True)).gather(1, own[:, None])[:, 0].log()
        torch.testing.assert_close(rollout.logprobs[n][rollout.mask[n]], expected, atol=1e-4, rtol=1e-4)


def test_further_tokens_can_end_a_completion(policy, prompts):
    plain = TransformersSampler(policy).generate(prompts, 4, SAMPLING)
    token = int(plain.tokens[0, 3])
    stopped = TransformersSampler(policy).generate(prompts, 4, replace(SAMPLING, stop_token_ids=(token,)))
    assert not stopped.truncated[0]
    assert stopped.tokens[0][stopped.mask[0]][-1] == token
    assert (stopped.tokens == token).sum(dim=1).max() == 1
