import math
import random
from collections import Counter
from itertools import combinations, pairwise

import hypothesis
import pytest
from hypothesis import strategies as st

from vision_r1_data import DataError, Sample
from vision_r1_data.curate import Mixture, Take, mixture


def samples(source: str, count: int, **fields) -> list[Sample]:
    return [Sample(f"{source}/{k}", b"", 40, 30, source=source, **fields) for k in range(count)]


def drawn(takes: list[Take], offered: list[Sample], seed: int = 0) -> list[str]:
    """The ids that a mixture takes, in the order of the samples."""
    mix = Mixture(takes, seed)
    for sample in offered:
        mix.offer(sample)
    mix.settle()
    return [sample.id for sample in offered if mix.takes(sample)]


# Kinds


def test_a_kind_is_named_by_what_matters() -> None:
    assert str(Take("coco", 5)) == "coco"
    assert str(Take("coco", 5, "counting", "hard")) == "coco counting hard"
    assert str(Take("coco", stratum="hard")) == "coco hard"


def test_what_fits_a_kind() -> None:
    sample = Sample("1", b"", 40, 30, source="coco", task="counting", stratum="hard")
    fitting = [Take("coco"), Take("coco", 0, "counting"), Take("coco", None, None, "hard")]
    assert all(take.fits(sample) for take in fitting)
    others = [
        Take("odinw"),
        Take("coco", 1, "detection"),
        Take("coco", 1, "counting", "easy"),
        Take("coco", 1, None, ""),
    ]
    assert not any(take.fits(sample) for take in others)


# Counts


@pytest.mark.parametrize("count", [0, 1, 2, 50, 99, 100])
def test_counts_are_exact(count: int) -> None:
    assert len(drawn([Take("coco", count)], samples("coco", 100))) == count


def test_without_a_count_all_are_taken() -> None:
    assert len(drawn([Take("coco")], samples("coco", 100))) == 100
    assert drawn([Take("coco")], []) == []


def test_counts_of_a_stream_that_is_sorted_out_many_times() -> None:
    offered = samples("coco", 20_000)
    taken = drawn([Take("coco", 100)], offered)
    assert len(taken) == 100
    assert taken[::-1] == drawn([Take("coco", 100)], offered[::-1])


@hypothesis.given(st.randoms(use_true_random=False), st.integers(0, 30), st.integers(0, 10))
def test_the_order_changes_nothing(rng: random.Random, count: int, seed: int) -> None:
    offered = samples("coco", 30)
    taken = drawn([Take("coco", count)], offered, seed)
    rng.shuffle(offered)
    assert sorted(drawn([Take("coco", count)], offered, seed)) == sorted(taken)


def test_what_else_there_is_changes_nothing() -> None:
    coco = samples("coco", 50)
    others = [
        Sample(f"other/{k}", b"", 40, 30, source=source, stratum="hard")
        for k, source in enumerate(("coco", "odinw") * 50)
    ]
    alone = drawn([Take("coco", 10)], coco)
    takes = [Take("odinw", 20), Take("coco", 5, stratum="hard"), Take("coco", 10)]
    among = drawn(takes, others[:30] + coco + others[30:])
    assert [id for id in among if not id.startswith("other")] == alone
    assert len(among) == 35


def test_more_are_a_superset_of_fewer() -> None:
    offered = samples("coco", 50)
    taken = [set(drawn([Take("coco", count)], offered)) for count in range(51)]
    assert all(fewer < more for fewer, more in pairwise(taken))


def test_every_subset_is_as_likely() -> None:
    offered, seeds = samples("coco", 12), 3000
    subsets = [drawn([Take("coco", 4)], offered, seed) for seed in range(seeds)]
    singles = Counter(id for subset in subsets for id in subset)
    pairs = Counter(pair for subset in subsets for pair in combinations(subset, 2))
    for counts, number, share in ((singles, 12, 4 / 12), (pairs, 66, 4 * 3 / (12 * 11))):
        assert len(counts) == number
        expected = seeds * share
        chi_square = sum((n - expected) ** 2 for n in counts.values()) / (expected * (1 - share))
        assert chi_square < number + 4 * math.sqrt(2 * number)


# Several kinds


def test_a_sample_belongs_to_the_first_kind_that_it_fits() -> None:
    offered = samples("coco", 20, stratum="hard") + [
        Sample(f"easy/{k}", b"", 40, 30, source="coco", stratum="easy") for k in range(20)
    ]
    narrow_first = drawn([Take("coco", 3, stratum="hard"), Take("coco", 20)], offered)
    assert Counter(id.split("/")[0] for id in narrow_first) == {"coco": 3, "easy": 20}
    wide_first = [Take("coco", 40), Take("coco", 1, stratum="hard")]
    with pytest.raises(DataError, match=r"too few samples of 1 kind \(coco hard: 0 of 1\)"):
        drawn(wide_first, offered)


def test_kinds_by_source_task_and_stratum() -> None:
    offered = [
        Sample(f"{source} {task} {stratum} {k}", b"", 40, 30, source=source, task=task, stratum=stratum)
        for source in ("coco", "odinw")
        for task in ("detection", "counting")
        for stratum in ("easy", "hard")
        for k in range(10)
    ]
    takes = [
        Take("coco", 2, "detection", "hard"),
        Take("coco", 3, "detection"),
        Take("odinw", None, "counting"),
        Take("coco", 0, "counting"),
        Take("odinw", 4, stratum="easy"),
    ]
    taken = Counter(id.rsplit(" ", 1)[0] for id in drawn(takes, offered))
    assert taken == {
        "coco detection hard": 2,
        "coco detection easy": 3,
        "odinw counting easy": 10,
        "odinw counting hard": 10,
        "odinw detection easy": 4,
    }


def test_a_sample_of_no_kind() -> None:
    mix = Mixture([Take("coco", 1, "counting"), Take("coco", 0)], 0)
    (stranger,), (unwanted,) = samples("odinw", 1), samples("coco", 1)
    assert not mix.has(stranger)
    assert mix.has(unwanted)
    counted = Sample("c", b"", 40, 30, source="coco", task="counting")
    assert mix.has(counted)
    for sample in (stranger, unwanted, counted):
        mix.offer(sample)
    mix.settle()
    assert not mix.takes(stranger)
    assert not mix.takes(unwanted)


def test_too_few_are_an_error_that_names_every_kind() -> None:
    takes = [Take("coco", 5, "detection", "hard"), Take("coco", 4), Take("odinw", 2), Take("refs")]
    with pytest.raises(DataError) as caught:
        drawn(takes, samples("coco", 3, stratum="hard") + samples("odinw", 1) + samples("coco", 4))
    assert str(caught.value) == (
        "mix: there are too few samples of 2 kinds (coco detection hard: 3 of 5; odinw: 1 of 2); "
        "lower their counts, add data, or relax the steps that drop them"
    )


# Groups


def test_groups_are_counted_as_they_are_taken() -> None:
    mix = Mixture([Take("coco", 10), Take("odinw"), Take("refs", 0)], 0)
    groups = {
        0: samples("coco", 30),
        1: samples("odinw", 7),
        500: samples("coco/2", 0),
        2: samples("refs", 3),
    }
    more = [Sample(f"more/{k}", b"", 40, 30, source="coco") for k in range(30)]
    for group, offered in {**groups, 3: more}.items():
        for sample in offered:
            mix.offer(sample, group)
    mix.settle()
    taken = {group: sum(map(mix.takes, offered)) for group, offered in {**groups, 3: more}.items()}
    assert {group: mix.taken(group) for group in taken} == taken
    assert taken[0] + taken[3] == 10
    assert (taken[1], taken[2], taken[500]) == (7, 0, 0)


@hypothesis.given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3)), unique_by=lambda pair: pair[0], max_size=60
    ),
    st.integers(0, 20),
    st.integers(1, 5),
)
def test_the_lowest_keys_are_those_that_sorting_gives(keys, count: int, room: int) -> None:
    count = min(count, len(keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "_ROOM", room)
        lowest = mixture._Lowest(count)
        for key, group in keys:
            lowest.add(key, group)
        lowest.settle()
    expected = sorted(keys)[:count]
    assert lowest.offered == len(keys)
    assert [key for key, _ in sorted(keys) if key <= lowest.limit] == [key for key, _ in expected]
    assert +lowest.groups == Counter(group for _, group in expected)


@pytest.mark.parametrize("count", [1, 2, None])
def test_keys_of_all_sizes_are_kept(count: int | None) -> None:
    lowest = mixture._Lowest(count)
    for key in (2**64 - 1, 2**63, 0):
        lowest.add(key, 0)
    lowest.settle()
    taken = [key for key in (0, 2**63, 2**64 - 1) if key <= lowest.limit]
    assert taken == [0, 2**63, 2**64 - 1][:count]
