import pytest
import torch

from vision_r1_grpo.advantages import group_advantages, informative_groups, overlong_penalty


def test_extremes_of_an_even_group():
    advantages = group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]))
    assert advantages[0].tolist() == pytest.approx([-1.224445, 0, 0, 1.224445], abs=1e-6)


def test_without_scaling():
    assert group_advantages(torch.tensor([[0.0, 0.5, 0.5, 1.0]]), "none")[0].tolist() == [-0.5, 0, 0, 0.5]


def test_a_group_of_equal_rewards_says_nothing():
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.0, 1.0, 0.0]])  # the mean of three 0.1 is not exactly 0.1
    assert informative_groups(rewards).tolist() == [False, True]
    for scale in ("group", "batch", "none"):
        assert group_advantages(rewards, scale)[0].tolist() == [0, 0, 0]


def test_groups_do_not_mix():
    both = group_advantages(torch.tensor([[0.0, 1.0], [5.0, 9.0]]))
    alone = group_advantages(torch.tensor([[5.0, 9.0]]))
    assert torch.equal(both[1], alone[0])


def test_the_batch_scale_is_the_deviation_of_all_rewards():
    advantages = group_advantages(torch.tensor([[0.0, 2.0], [4.0, 6.0]]), "batch")
    std = (20 / 3) ** 0.5  # of 0, 2, 4, 6
    assert advantages.flatten().tolist() == pytest.approx([-1 / std, 1 / std] * 2, rel=1e-4)


def test_the_batch_scale_counts_the_rewards_of_all_ranks():
    """Another rank has the rewards 4 and 6: two, of sum 10, and squares of 1 + 9 around the mean of 3."""
    of_the_other = iter([torch.tensor([2.0, 10.0]), torch.tensor(10.0)])
    advantages = group_advantages(torch.tensor([[0.0, 2.0]]), "batch", lambda own: own + next(of_the_other))
    std = (20 / 3) ** 0.5
    assert advantages[0].tolist() == pytest.approx([-1 / std, 1 / std], rel=1e-4)


def test_the_penalty_falls_from_the_buffer_on():
    lengths = torch.tensor([0, 12, 13, 14, 15, 16])
    assert overlong_penalty(lengths, max_length=16, buffer=4).tolist() == [0, 0, -0.25, -0.5, -0.75, -1]
    assert overlong_penalty(lengths, max_length=16, buffer=16)[1].item() == -0.75
