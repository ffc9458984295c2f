from types import SimpleNamespace

import pytest
import torch

from vision_r1_data import Sample
from vision_r1_grpo import ConfigError, GRPOConfig
from vision_r1_grpo.feed import Feed

LENGTHS = [5, 9, 5, 12, 5, 5, 9]  # of the prompts of seven samples
SAMPLES = [Sample(str(n), f"{n}.png", 10, 10) for n in range(7)]


def feed(limit, rank=0, world_size=1, told=lambda values: values, lengths=LENGTHS):
    """A feed of one rank, whose exchange with the others is `told`."""
    engine = SimpleNamespace(rank=rank, world_size=world_size, sum=told)

    def encode(sample):
        return SimpleNamespace(input_ids=torch.zeros(lengths[int(sample.id)]), id=sample.id)

    return Feed(GRPOConfig(max_prompt_tokens=limit), SAMPLES, encode, engine)


def ids(samples):
    return [sample.id for sample in samples]


def test_every_epoch_has_its_own_order():
    drawn = feed(None)
    orders = [ids(drawn.draw(7 * epoch, 7).samples) for epoch in range(3)]
    assert [sorted(order) for order in orders] == [list("0123456")] * 3
    assert orders[0] != orders[1] != orders[2]


def test_without_a_limit_nothing_is_left_out():
    drawn = feed(None).draw(3, 4)
    assert (drawn.drawn, drawn.dropped, len(drawn.prompts)) == (7, (), 4)


def test_the_next_sample_takes_the_place_of_a_prompt_that_is_too_long():
    order = [feed(None).sample(place).id for place in range(14)]
    short = [one for one in order if LENGTHS[int(one)] <= 8]
    drawn = feed(8).draw(0, 3)
    assert ids(drawn.samples) == short[:3]
    assert [prompt.id for prompt in drawn.prompts] == short[:3]
    assert order[drawn.drawn - 1] == short[2], "no further than it has to"
    assert list(drawn.dropped) == [one for one in order[: drawn.drawn] if one not in short]
    assert len(drawn.dropped) > 0


def test_steps_follow_each_other_without_a_gap():
    whole = feed(8).draw(0, 8)
    first = feed(8).draw(0, 4)
    second = feed(8).draw(first.drawn, 4)
    assert ids(first.samples + second.samples) == ids(whole.samples)
    assert first.dropped + second.dropped == whole.dropped


def test_a_prompt_of_just_the_limit_stays():
    assert feed(12).draw(0, 7).dropped == ()


class Told:
    """The sum over two ranks: adds the flags that the other rank would send."""

    def __init__(self, place, rank):
        self.place, self.rank = place, rank

    def __call__(self, flags):
        theirs = torch.zeros(len(flags))
        for n in range(1 - self.rank, len(flags), 2):
            theirs[n] = LENGTHS[int(feed(8).sample(self.place + n).id)] > 8
        assert not flags[1 - self.rank :: 2].any(), "a rank tells of its own share only"
        self.place += len(flags)
        return flags + theirs


@pytest.mark.parametrize("start", [0, 3])
def test_ranks_share_what_one_rank_would_read(start):
    """Each rank knows the lengths of its own share only, and is told those of the other."""
    alone = feed(8).draw(start, 4)
    shares = [feed(8, rank, 2, Told(start, rank)).draw(start, 4) for rank in (0, 1)]
    assert [ids(share.samples) for share in shares] == [ids(alone.samples)[0::2], ids(alone.samples)[1::2]]
    assert all(ids(share.samples) == [prompt.id for prompt in share.prompts] for share in shares)
    assert all((share.drawn, share.dropped) == (alone.drawn, alone.dropped) for share in shares)


def test_prompts_that_are_all_too_long_are_an_error():
    with pytest.raises(
        ConfigError, match="max_prompt_tokens 4: every prompt has more, such as that of sample"
    ):
        feed(4).draw(0, 2)
