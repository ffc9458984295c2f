import pytest
import torch

from vision_r1_grpo.advantages import group_advantages


def test_extremes_of_an_even_group():
    advantages, informative = group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]))
    assert advantages[0].tolist() == pytest.approx([-1.224445, 0, 0, 1.224445], abs=1e-6)
    assert informative.tolist() == [True]


def test_without_scaling():
    advantages, _ = group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]), scale=False)
    assert advantages[0].tolist() == [-0.5, 0, 0, 0.5]


def test_a_group_of_equal_rewards_says_nothing():
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.0, 1.0, 0.0]])  # the mean of three 0.1 is not exactly 0.1
    advantages, informative = group_advantages(rewards)
    assert informative.tolist() == [False, True]
    assert advantages[0].tolist() == [0, 0, 0]


def test_groups_do_not_mix():
    both, _ = group_advantages(torch.tensor([[0.0, 1.0], [5.0, 9.0]]))
    alone, _ = group_advantages(torch.tensor([[5.0, 9.0]]))
    assert torch.equal(both[1], alone[0])
