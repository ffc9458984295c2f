import pytest
import torch

from vision_r1_grpo.losses import kl_divergence, policy_loss, token_weights

MASK = torch.tensor([[True, True, False, False], [True, True, True, True]])
LOSSES = torch.tensor([[1.0, 1.0, 9.0, 9.0], [2.0, 2.0, 2.0, 2.0]])


def weighted(reduction):
    weights = token_weights(
        MASK,
        reduction,
        total_tokens=torch.tensor(6.0),
        total_completions=torch.tensor(2.0),
        max_length=8,
    )
    return (LOSSES * weights).sum().item()


@pytest.mark.parametrize(
    ("reduction", "expected"), [("sequence_mean", 1.5), ("token_mean", 10 / 6), ("constant", 0.625)]
)
def test_reductions(reduction, expected):
    assert weighted(reduction) == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "constant"])
def test_any_split_of_a_batch_sums_to_the_whole(reduction):
    totals = {"total_tokens": torch.tensor(6.0), "total_completions": torch.tensor(2.0), "max_length": 8}
    parts = [(LOSSES[i : i + 1] * token_weights(MASK[i : i + 1], reduction, **totals)).sum() for i in (0, 1)]
    assert sum(parts).item() == pytest.approx(weighted(reduction))


def test_a_batch_without_counted_tokens_weighs_nothing():
    zero = torch.tensor(0.0)
    for reduction in ("sequence_mean", "token_mean", "constant"):
        weights = token_weights(
            torch.zeros_like(MASK), reduction, total_tokens=zero, total_completions=zero, max_length=8
        )
        assert weights.sum() == 0


def test_policy_loss_is_the_ratio_times_the_advantage():
    loss = policy_loss(torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log(), torch.tensor([3.0]))
    assert loss.item() == pytest.approx(-6.0)


def test_policy_loss_on_policy_has_the_policy_gradient():
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    policy_loss(logprobs, logprobs.detach(), torch.tensor([0.7])).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [pytest.approx([-0.7, -0.7])]


def test_kl_k3():
    assert kl_divergence(torch.tensor([[-1.0]]), torch.tensor([[-0.5]])).item() == pytest.approx(
        0.148721, abs=1e-6
    )
    assert kl_divergence(torch.tensor([[-1.0]]), torch.tensor([[-1.0]])).item() == 0
