"""Updates of the tiny model under the real engine, by gradient descent: weights move by the gradient."""

import copy
from dataclasses import replace

import pytest
import torch

from vision_r1_grpo import GRPOConfig, Policy
from vision_r1_grpo.config import LoraConfig, LossConfig, OptimizerConfig, SamplingConfig, TrainableConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs
from vision_r1_grpo.losses import OBJECTIVES
from vision_r1_grpo.policy import evaluating
from vision_r1_grpo.trainable import choose_trainable
from vision_r1_grpo.update import Experience, PolicyUpdate

GROUP, LIMIT, RATE = 2, 6, 0.01
DESCENT = {"optimizer": {"type": "SGD"}, "zero_allow_untested_optimizer": True}


@pytest.fixture(scope="module")
def experience(policy, prompts):
    """Three groups of two completions of unequal length, one of which does not count."""
    random = torch.Generator().manual_seed(5)
    lengths = torch.tensor([3, 6, 1, 4, 5, 2])
    mask = torch.arange(LIMIT) < lengths[:, None]
    tokens = torch.randint(20, 200, mask.shape, generator=random) * mask
    return Experience(
        [*prompts, prompts[0]],
        tokens,
        mask,
        torch.full(mask.shape, -5.0) * mask,
        torch.tensor([1.0, -1.0, 0.7, -0.7, 1.2, -1.2]),
        torch.tensor([True, True, True, False, True, True]),
    )


@pytest.fixture(scope="module")
def old(policy, experience):
    """Log-probabilities of a policy that differs, so that some tokens are clipped and others are not."""
    with torch.no_grad():
        now = logprobs(policy, experience)
    return now + 0.4 * torch.randn(now.shape, generator=torch.Generator().manual_seed(1)) * experience.mask


def logprobs(policy, part):
    return completion_logprobs(scorer(policy), policy, part.prompts, part.tokens, part.mask)


def scorer(policy):
    return TokenLogprobs(policy.model, 1000)


def moved(policy, experience, loss=None, reference=None, **settings):
    """What the update reports, and by how much it moved each weight."""
    policy = Policy(copy.deepcopy(policy.model), policy.processor)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    engine = Engine(scorer(policy), OptimizerConfig(max_grad_norm=1e9), DESCENT)
    sampling = SamplingConfig(group_size=GROUP, max_new_tokens=LIMIT)
    config = GRPOConfig(sampling=sampling, loss=loss or LossConfig(), **settings)
    learnt = PolicyUpdate(config, policy, engine, reference)(experience, RATE)
    return learnt, {name: value - before[name] for name, value in policy.model.state_dict().items()}


def assert_same(moves, expected):
    for name, move in moves.items():
        torch.testing.assert_close(move, expected[name], atol=2e-6, rtol=1e-3)


def still(moves):
    return all(not move.any() for move in moves.values())


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_gradient_does_not_depend_on_the_forward_passes(policy, experience, old, kind):
    given, loss = replace(experience, old=old), LossConfig(kind, beta=0.1)
    reference = copy.deepcopy(scorer(policy))
    learnt, expected = moved(policy, given, loss, reference, prompts_per_forward=3)
    assert not still(expected)
    for size in (1, 2):
        again, moves = moved(policy, given, loss, reference, prompts_per_forward=size)
        assert again == pytest.approx(learnt, rel=1e-4, abs=1e-6)
        assert_same(moves, expected)


@pytest.mark.parametrize("masked", ["groups", "nothing drawn"])
def test_nothing_to_learn_from_takes_no_step(policy, experience, masked):
    if masked == "groups":
        nothing = replace(experience, counted=torch.zeros(6, dtype=bool))
    else:
        nothing = experience.between(0, 0)
    learnt, moves = moved(policy, nothing, LossConfig(beta=0.1), copy.deepcopy(scorer(policy)), minibatches=2)
    assert learnt == {"loss": 0, "grad_norm": 0, "optimizer_steps": 0}
    assert still(moves)


def test_a_group_that_does_not_count_changes_nothing(policy, experience):
    reference = copy.deepcopy(scorer(policy))
    with torch.no_grad():
        next(reference.parameters()).add_(0.1)
    counted = torch.tensor([True, True, True, True, False, False])
    masked = moved(policy, replace(experience, counted=counted), LossConfig(beta=0.2), reference)
    absent = moved(
        policy, replace(experience, counted=counted).between(0, 2), LossConfig(beta=0.2), reference
    )
    assert masked[0] == pytest.approx(absent[0], rel=1e-4, abs=1e-6)
    assert masked[0]["kl"] > 0
    assert_same(masked[1], absent[1])


def test_epochs_and_minibatches_are_steps_against_the_policy_that_came_in(policy, experience):
    """The same steps by hand: PPO's loss as a mean over tokens, and gradient descent."""
    learnt, moves = moved(policy, experience, LossConfig("dapo"), epochs_per_rollout=2, minibatches=2)
    by_hand = Policy(copy.deepcopy(policy.model), policy.processor)
    start = {name: value.clone() for name, value in by_hand.model.state_dict().items()}
    with torch.no_grad():
        old = logprobs(by_hand, experience)
    ratios = []
    for prompts in [slice(0, 1), slice(1, 3)] * 2:
        rows = slice(prompts.start * GROUP, prompts.stop * GROUP)
        part = experience.between(prompts.start, prompts.stop)
        counted = part.mask & part.counted[:, None]
        ratio = (logprobs(by_hand, part) - old[rows]).exp()
        gain = torch.minimum(
            ratio * part.advantages[:, None], ratio.clamp(0.8, 1.28) * part.advantages[:, None]
        )
        by_hand.model.zero_grad()
        (-gain[counted].mean()).backward()
        with torch.no_grad():
            for parameter in by_hand.model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(RATE * parameter.grad)
        ratios.append(ratio[counted].mean().item())
    expected = {name: value - start[name] for name, value in by_hand.model.state_dict().items()}
    assert_same(moves, expected)
    assert learnt["optimizer_steps"] == 4
    assert learnt["ratio"] == pytest.approx(sum(ratios) / 4, rel=1e-4)
    assert ratios[2] != pytest.approx(1, abs=1e-3), "the second epoch is off-policy"


def test_one_step_needs_no_old_logprobs_and_clips_nothing(policy, experience):
    learnt, _ = moved(policy, experience)
    assert learnt["ratio"] == 1
    assert learnt["clipped_low"] == learnt["clipped_high"] == 0
    assert {"kl", "importance"}.isdisjoint(learnt)


def test_shares_of_clipped_tokens(policy, experience, old):
    learnt, _ = moved(policy, replace(experience, old=old))
    with torch.no_grad():
        ratio = (logprobs(policy, experience) - old).exp()
    counted = experience.mask & experience.counted[:, None]
    good = (experience.advantages > 0)[:, None]
    low, high = (ratio < 0.8) & ~good, (ratio > 1.28) & good
    assert learnt["clipped_low"] == pytest.approx(low[counted].double().mean().item())
    assert learnt["clipped_high"] == pytest.approx(high[counted].double().mean().item())
    assert learnt["clipped_low"] > 0 < learnt["clipped_high"]


def test_a_sequence_is_compared_over_its_own_tokens(policy, experience, old):
    learnt, _ = moved(policy, replace(experience, old=old), LossConfig("gspo"))
    with torch.no_grad():
        difference = logprobs(policy, experience) - old
    ratios = [difference[n][experience.mask[n]].mean().exp().item() for n in range(6)]
    tokens = (experience.mask.sum(dim=1) * experience.counted).tolist()
    expected = sum(ratio * t for ratio, t in zip(ratios, tokens, strict=True)) / sum(tokens)
    assert learnt["ratio"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("dual_clip", "loss"), [(None, 9.0), (3.0, 3.0)])
def test_the_dual_clip_bounds_the_loss(policy, experience, dual_clip, loss):
    with torch.no_grad():
        old = (logprobs(policy, experience) - torch.tensor(9.0).log()) * experience.mask
    bad = replace(experience, old=old, advantages=-torch.ones(6))
    assert moved(policy, bad, LossConfig(dual_clip=dual_clip))[0]["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_foreign_sampler_is_measured_and_corrected(policy, experience):
    """Half of what it drew, it drew with a third of the policy's probability, the rest with twice of it."""
    counted = experience.mask & experience.counted[:, None]
    with torch.no_grad():
        own = logprobs(policy, experience)
    rarely = torch.arange(LIMIT) % 2 == 0
    factor = torch.where(rarely, 1 / 3, 2.0)
    foreign = replace(experience, sampled=(own + factor.log()) * experience.mask)
    uncorrected, free = moved(policy, foreign)
    gap = factor.log().abs().expand_as(own)[counted].mean().item()
    assert uncorrected["sampler_gap"] == pytest.approx(gap, rel=1e-4)
    learnt, moves = moved(policy, foreign, LossConfig(importance_cap=2.0))
    share = rarely.expand_as(counted)[counted].float().mean().item()
    assert learnt["importance"] == pytest.approx(share * 2 + (1 - share) * 0.5, rel=1e-4)
    assert learnt["importance_capped"] == pytest.approx(share)
    same, unchanged = moved(policy, replace(experience, sampled=own), LossConfig(importance_cap=2.0))
    assert same["importance"] == pytest.approx(1, rel=1e-5)
    assert same["sampler_gap"] == pytest.approx(0, abs=1e-5)
    assert_same(unchanged, free)
    assert any((moves[name] - free[name]).abs().max() > 1e-4 for name in moves)


def test_the_policy_that_sampled_had_no_dropout(policy, experience):
    own = Policy(copy.deepcopy(policy.model), policy.processor)
    choose_trainable(own, TrainableConfig(lora=LoraConfig(rank=2, dropout=0.5)))
    with evaluating(own.model), torch.no_grad():
        for name, value in own.model.named_parameters():
            if "lora_B" in name:
                value.fill_(0.05)
        sampled = logprobs(own, experience)
    learnt, _ = moved(own, replace(experience, sampled=sampled), epochs_per_rollout=2)
    assert learnt["sampler_gap"] == pytest.approx(0, abs=1e-5)
    assert learnt["ratio"] != pytest.approx(1, abs=1e-3), "the update has"


def test_the_reference_is_any_forward_pass(policy, experience):
    calls = []

    def reference(*inputs):
        calls.append(inputs)
        return scorer(policy)(*inputs)

    settings = {"epochs_per_rollout": 2, "prompts_per_forward": 1}
    first, _ = moved(policy, experience, LossConfig(beta=0.1), reference)
    calls.clear()
    learnt, _ = moved(policy, experience, LossConfig(beta=0.1), reference, **settings)
    assert len(calls) == 3, "once for each prompt, whatever the epochs"
    assert first["kl"] == pytest.approx(0, abs=1e-9)
    assert learnt["kl"] > 0, "the first step has led away from it"
