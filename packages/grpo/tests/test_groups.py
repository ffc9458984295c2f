import torch
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_grpo.groups import share_out


@given(
    ranks=st.integers(1, 4),
    groups=st.lists(st.booleans(), min_size=12, max_size=24),
    wanted=st.integers(1, 16),
)
def test_ranks_share_the_first_informative_groups(ranks, groups, wanted):
    groups = groups[: len(groups) // ranks * ranks]
    informative = torch.tensor(groups).view(-1, ranks).T
    shares = [share_out(informative, rank, wanted) for rank in range(ranks)]
    assert len({len(own) for own, _ in shares}) == 1, "every rank runs as many forward passes"
    counted = sorted(
        d * ranks + rank
        for rank, (own, counts) in enumerate(shares)
        for d, counts_too in zip(own.tolist(), counts.tolist(), strict=True)
        if counts_too
    )
    assert counted == [number for number, tells in enumerate(groups) if tells][:wanted]
    assert all(len(set(own.tolist())) == len(own) for own, _ in shares)
    longest = max(int(counts.sum()) for _, counts in shares)
    assert len(shares[0][0]) == longest, "and none more than the busiest needs"


def test_where_nothing_says_anything_no_group_is_shared_out():
    groups, counts = share_out(torch.zeros(2, 4, dtype=bool), 1, 4)
    assert len(groups) == len(counts) == 0
