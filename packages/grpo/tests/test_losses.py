"""Expectations are worked out by hand, or by loops over completions and tokens that follow the papers."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1_grpo.config import LossConfig
from vision_r1_grpo.losses import (
    OBJECTIVES,
    clipped_surrogate,
    importance_ratio,
    is_clipped,
    kl_divergence,
    policy_loss,
    sampler_weights,
    token_weights,
    weighted_likelihood,
)

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


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    reduction=st.sampled_from(["sequence_mean", "token_mean", "constant"]),
    seed=st.integers(0, 1000),
)
def test_the_mean_over_ranks_is_the_global_loss_for_any_split(lengths, cuts, reduction, seed):
    """What a rank backpropagates is its sum times the ranks, and gradients are averaged over ranks."""
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    losses = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    totals = {
        "total_tokens": mask.sum().float(),
        "total_completions": mask.any(dim=1).sum().float(),
        "max_length": 5,
    }
    edges = [0, *sorted(cuts), len(lengths)]
    parts = [slice(min(a, len(lengths)), b) for a, b in itertools.pairwise(edges)]
    ranks = len(parts)
    local = [(losses[p] * token_weights(mask[p], reduction, **totals)).sum() * ranks for p in parts]
    whole = (losses * token_weights(mask, reduction, **totals)).sum()
    assert sum(local).item() / ranks == pytest.approx(whole.item())


def test_a_batch_without_counted_tokens_weighs_nothing():
    zero = torch.tensor(0.0)
    for reduction in ("sequence_mean", "token_mean", "constant"):
        weights = token_weights(
            torch.zeros_like(MASK), reduction, total_tokens=zero, total_completions=zero, max_length=8
        )
        assert weights.sum() == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "dual_clip", "expected"),
    [
        (1.5, 1, None, -1.2),
        (0.5, 1, None, -0.5),
        (1.5, -1, None, 1.5),
        (0.5, -1, None, 0.8),
        (9.0, -1, 3.0, 3.0),
        (9.0, -2, 3.0, 6.0),
        (1.5, -1, 3.0, 1.5),
        (0.5, -1, 3.0, 0.8),
        (9.0, 1, 3.0, -1.2),
    ],
)
def test_clipped_surrogate(ratio, advantage, dual_clip, expected):
    advantages = torch.tensor([float(advantage)])
    loss = clipped_surrogate(torch.tensor([[ratio]]), advantages, 0.2, 0.2, dual_clip)
    assert loss.item() == pytest.approx(expected)


def test_the_bounds_are_each_their_own():
    ratio, one = torch.tensor([[0.5, 1.5]]), torch.ones(1)
    assert clipped_surrogate(ratio, one, 0.2, 0.28).tolist() == [pytest.approx([-0.5, -1.28])]
    assert clipped_surrogate(ratio, -one, 0.3, 0.28).tolist() == [pytest.approx([0.7, 1.5])]


def test_a_clipped_token_has_no_gradient_but_in_cispo():
    logprobs = torch.tensor([[1.5, 9.0]]).log().requires_grad_()
    ratio, one = logprobs.exp(), torch.ones(1)
    (clipped,) = torch.autograd.grad(clipped_surrogate(ratio, one, 0.2, 0.2).sum(), logprobs)
    assert clipped.tolist() == [[0, 0]]
    loss = weighted_likelihood(logprobs.exp(), logprobs, one, 1.0, 4.0)
    (weight,) = torch.autograd.grad(loss.sum(), logprobs)
    assert weight.tolist() == [pytest.approx([-1.5, -5.0])]


def test_a_sequence_ratio_is_the_geometric_mean_of_its_tokens():
    old = torch.zeros(2, 3)
    new = torch.tensor([[2.0, 8.0, 1.0], [3.0, 1.0, 1.0]]).log()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert importance_ratio(new, old, mask, "sequence").tolist() == [
        pytest.approx([4.0] * 3),
        pytest.approx([3.0] * 3),
    ]
    assert importance_ratio(new, old, mask, "token")[0].tolist() == pytest.approx([2.0, 8.0, 1.0])
    assert importance_ratio(new, old, torch.zeros_like(mask), "sequence").tolist() == [[1] * 3] * 2


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_on_policy_every_loss_has_the_policy_gradient(kind):
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    objective, mask = OBJECTIVES[kind], torch.ones(1, 2, dtype=bool)
    ratio = importance_ratio(logprobs, logprobs.detach(), mask, objective.ratio)
    policy_loss(ratio, logprobs, torch.tensor([0.7]), objective).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [pytest.approx([-0.7, -0.7])]


@pytest.mark.parametrize(("estimator", "expected"), [("k1", -0.5), ("k2", 0.125), ("k3", 0.148721)])
def test_kl_divergence(estimator, expected):
    policy, reference = torch.tensor([[-1.0]]), torch.tensor([[-0.5]])
    assert kl_divergence(policy, reference, estimator).item() == pytest.approx(expected, abs=1e-6)
    assert kl_divergence(policy, policy, estimator).item() == 0


def test_clipped_tokens_are_those_whose_bound_acts():
    ratio = torch.tensor([[0.5, 1.0, 1.25, 1.5]])
    shares = {}
    for kind in ("grpo", "dapo", "cispo"):
        for sign in (1.0, -1.0):
            both = is_clipped(ratio, torch.tensor([sign]), OBJECTIVES[kind])
            shares[kind, sign] = [where.sum().item() for where in both]
    assert shares["grpo", 1.0] == [0, 2]
    assert shares["dapo", 1.0] == [0, 1]
    assert shares["grpo", -1.0] == shares["dapo", -1.0] == [1, 0]
    assert shares["cispo", 1.0] == [0, 0]
    high = is_clipped(torch.tensor([[6.0]]), torch.tensor([-1.0]), OBJECTIVES["cispo"])[1]
    assert high.item(), "the weight of CISPO is bounded whatever the sign of the advantage"


def test_sampler_weights_are_cut_off_above_only():
    old, sampled = torch.tensor([[0.5, 0.9, 0.3]]).log(), torch.tensor([[1.0, 0.1, 0.3]]).log()
    assert sampler_weights(old, sampled, 2.0).tolist() == [pytest.approx([0.5, 2.0, 1.0])]


@pytest.mark.parametrize(
    ("kind", "ratio", "bounds", "reduction", "scale"),
    [
        ("grpo", "token", (0.2, 0.2), "sequence_mean", "group"),
        ("dr_grpo", "token", (0.2, 0.2), "constant", "none"),
        ("dapo", "token", (0.2, 0.28), "token_mean", "group"),
        ("gspo", "sequence", (3e-4, 4e-4), "sequence_mean", "group"),
        ("cispo", "token", (1.0, 4.0), "token_mean", "group"),
    ],
)
def test_a_kind_is_what_its_paper_says(kind, ratio, bounds, reduction, scale):
    objective = LossConfig(kind=kind).objective
    assert (objective.ratio, objective.reduction, objective.scale_advantages) == (ratio, reduction, scale)
    assert (objective.clip_low, objective.clip_high) == bounds


NAIVE = {
    "grpo": lambda rows: sum(sum(row) / len(row) for row in rows) / len(rows),
    "dr_grpo": lambda rows: sum(map(sum, rows)) / (len(rows) * 8),
    "dapo": lambda rows: sum(map(sum, rows)) / sum(map(len, rows)),
    "gspo": lambda rows: sum(sum(row) / len(row) for row in rows) / len(rows),
    "cispo": lambda rows: sum(map(sum, rows)) / sum(map(len, rows)),
}
BOUNDS = {
    "grpo": (0.8, 1.2),
    "dr_grpo": (0.8, 1.2),
    "dapo": (0.8, 1.28),
    "gspo": (1 - 3e-4, 1 + 4e-4),
    "cispo": (0, 5),
}


def naive_token_loss(kind, new, old, advantage, ratio, dual_clip):
    low, high = BOUNDS[kind]
    if kind == "cispo":
        return -max(low, min(ratio, high)) * advantage * new
    loss = max(-ratio * advantage, -max(low, min(ratio, high)) * advantage)
    return min(loss, dual_clip * -advantage) if dual_clip and advantage < 0 else loss


@pytest.mark.parametrize("kind", NAIVE)
@pytest.mark.parametrize(("beta", "dual_clip", "cap"), [(0, None, None), (0.1, 3.0, None), (0.2, None, 2.0)])
def test_losses_against_loops(kind, beta, dual_clip, cap):
    """Random numbers; ratios far enough from 1 for every bound to act."""
    dual_clip = None if kind == "cispo" else dual_clip
    random = torch.Generator().manual_seed(3)
    lengths = [3, 6, 1, 5]
    shape = (len(lengths), max(lengths))
    new, old, sampled, reference = (-2 * torch.rand(shape, generator=random).double() - 0.1 for _ in range(4))
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    advantages = torch.tensor([1.3, -0.9, 0.4, -0.8]).double()

    expected = []
    for n, length in enumerate(lengths):
        differences = [(new[n, t] - old[n, t]).item() for t in range(length)]
        row = []
        for t in range(length):
            ratio = math.exp(sum(differences) / length if kind == "gspo" else differences[t])
            loss = naive_token_loss(kind, new[n, t].item(), old, advantages[n].item(), ratio, dual_clip)
            if cap:
                loss *= min(math.exp((old[n, t] - sampled[n, t]).item()), cap)
            d = (reference[n, t] - new[n, t]).item()
            row.append(loss + beta * (math.exp(d) - d - 1))
        expected.append(row)

    objective = OBJECTIVES[kind]
    ratio = importance_ratio(new, old, mask, objective.ratio)
    losses = policy_loss(ratio, new, advantages, objective, dual_clip)
    if cap:
        losses = losses * sampler_weights(old, sampled, cap)
    losses = losses + beta * kl_divergence(new, reference)
    weights = token_weights(
        mask,
        objective.reduction,
        total_tokens=mask.sum().float(),
        total_completions=torch.tensor(4.0),
        max_length=8,
    )
    assert (losses * weights).sum().item() == pytest.approx(NAIVE[kind](expected))
