import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data import Sample
from vision_r1_data.curate import Context, Dropped, Duplicates, HashIndex, Leakage

HASHES = st.integers(0, 2**64 - 1)


def flipped(fingerprint: int, *bits: int) -> int:
    for bit in bits:
        fingerprint ^= 1 << bit
    return fingerprint


def through(step, *samples: Sample) -> list[str]:
    """Of each sample "kept", or the reason why it is dropped."""
    outcomes = [step(sample, Context(random.Random(0))) for sample in samples]
    for sample, outcome in zip(samples, outcomes, strict=True):
        assert isinstance(outcome, Dropped) or outcome is sample
    return [outcome.reason if isinstance(outcome, Dropped) else "kept" for outcome in outcomes]


def sample(id: str, fingerprint: int | None = None, image_id: str = "") -> Sample:
    return Sample(id, b"", 40, 30, fingerprint=fingerprint, image_id=image_id)


# HashIndex


@given(
    distance=st.integers(0, 63),
    hashes=st.lists(HASHES, max_size=20),
    planted=st.lists(st.tuples(st.integers(0, 19), st.sets(st.integers(0, 63)))),
    strangers=st.lists(HASHES, max_size=5),
)
def test_an_index_finds_what_comparing_all_finds(distance: int, hashes, planted, strangers) -> None:
    index = HashIndex(distance)
    for number, fingerprint in enumerate(hashes):
        index.add(fingerprint, str(number))
    neighbours = [flipped(hashes[k], *bits) for k, bits in planted if k < len(hashes)]
    for wanted in (*hashes, *neighbours, *strangers):
        near = {str(k) for k, one in enumerate(hashes) if (one ^ wanted).bit_count() <= distance}
        found = index.find(wanted)
        assert (found in near) if near else found is None


@pytest.mark.parametrize("distance", range(64))
def test_an_index_finds_up_to_its_distance_and_no_further(distance: int) -> None:
    rng = random.Random(distance)
    index, fingerprint = HashIndex(distance), rng.getrandbits(64)
    index.add(fingerprint, "one")
    for _ in range(20):
        bits = rng.sample(range(64), distance + 1)
        assert index.find(flipped(fingerprint, *bits[:-1])) == "one"
        assert index.find(flipped(fingerprint, *bits)) is None


@given(HASHES)
def test_an_index_of_distance_0_knows_equal_ones(fingerprint: int) -> None:
    index = HashIndex(0)
    assert index.find(fingerprint) is None
    index.add(fingerprint, "one")
    assert index.find(fingerprint) == "one"


def test_of_equal_hashes_the_first_name_stays() -> None:
    index = HashIndex(1)
    index.add(7, "first")
    index.add(7, "second")
    assert index.find(7) == index.find(6) == "first"


@pytest.mark.parametrize("distance", [-1, 64])
def test_a_distance_beyond_the_bits(distance: int) -> None:
    with pytest.raises(ValueError, match=f"distance must lie from 0 to 63 bits, got {distance}"):
        HashIndex(distance)


# Duplicates


def test_an_id_that_was_there_before() -> None:
    assert through(Duplicates(), sample("a"), sample("b"), sample("a"), sample("a", 9)) == [
        "kept",
        "kept",
        "same id twice",
        "same id twice",
    ]


def test_near_duplicates_of_another_picture() -> None:
    looks = [0, flipped(0, 1, 9, 20, 63), flipped(0, 1, 9, 20, 63, 40), 2**64 - 1]
    samples = [sample(str(k), look) for k, look in enumerate(looks)]
    kept, near = "kept", "near duplicate of another picture"
    assert through(Duplicates(), *samples) == [kept, near, kept, kept]
    assert through(Duplicates(5), *samples) == [kept, near, near, kept]
    assert through(Duplicates(0), *samples) == [kept] * 4
    assert through(Duplicates(0), *samples, sample("x", 0)) == [kept] * 4 + [near]
    assert through(Duplicates(None), *samples, sample("0", 5)) == [kept] * 4 + ["same id twice"]


def test_one_image_asked_twice_is_no_duplicate() -> None:
    samples = [
        sample("a", 0, "coco:1"),
        sample("b", 0, "coco:1"),
        sample("c", 1, "coco:2"),
        sample("d", 1, "coco:2"),
    ]
    near = "near duplicate of another picture"
    assert through(Duplicates(), *samples) == ["kept", "kept", near, near]


def test_samples_without_fingerprint_or_image_id() -> None:
    samples = [sample("a"), sample("b"), sample("c", 0), sample("d", 0), sample("e", 0, "coco:1")]
    near = "near duplicate of another picture"
    assert through(Duplicates(), *samples) == ["kept", "kept", "kept", near, near]


def test_a_dropped_picture_makes_no_duplicates() -> None:
    step = range(0, 12, 4)  # each four bits from the one before
    samples = [sample(str(k), (1 << k) - 1) for k in step]
    near = "near duplicate of another picture"
    assert through(Duplicates(4), *samples) == ["kept", near, "kept"]


# Leakage

HELD_OUT = [
    sample("1", 0, "coco:1"),
    sample("2", 2**64 - 1, "coco:2"),
    sample("3", None, "coco:3"),
    sample("4"),
]


def test_leaks_by_the_id_of_the_image() -> None:
    samples = [
        sample("1", 99, "coco:1"),
        sample("x", None, "coco:3"),
        sample("y", None, "coco:4"),
        sample("4"),
    ]
    leak = "evaluated on, by its id"
    for distance in (4, None):
        assert through(Leakage(HELD_OUT, distance), *samples) == [leak, leak, "kept", "kept"]


def test_unlike_pictures_of_one_name_are_no_leak() -> None:
    """Files of twelve digits count as COCO's, also where they are not."""
    far, near = flipped(0, *range(21)), flipped(0, *range(20))
    samples = [sample("a", far, "coco:1"), sample("b", near, "coco:1")]
    assert through(Leakage(HELD_OUT), *samples) == ["kept", "evaluated on, by its id"]


def test_leaks_by_looks() -> None:
    near = flipped(0, 3, 17, 40, 62)
    samples = [
        sample("a", near),
        sample("b", flipped(near, 7), "mine:b"),
        sample("c", flipped(2**64 - 1, 5)),
        sample("d"),
    ]
    leak = "evaluated on, by its looks"
    assert through(Leakage(HELD_OUT), *samples) == [leak, "kept", leak, "kept"]
    assert through(Leakage(HELD_OUT, 5), *samples) == [leak, leak, leak, "kept"]
    assert through(Leakage(HELD_OUT, 0), *samples) == ["kept"] * 4
    assert through(Leakage(HELD_OUT, None), *samples) == ["kept"] * 4


def test_looks_of_a_held_out_picture_without_an_id() -> None:
    step = Leakage([replace(HELD_OUT[0], image_id="")])
    assert through(step, sample("a", 0), sample("b", 2**63 - 1), sample("c")) == [
        "evaluated on, by its looks",
        "kept",
        "kept",
    ]


def test_nothing_is_held_out() -> None:
    assert through(Leakage([]), sample("a", 0), sample("b", None, "coco:1")) == ["kept", "kept"]


def test_one_file_under_two_ids_is_no_duplicate() -> None:
    """As when a folder of images is read for two questions, under two names of sources."""
    samples = [
        replace(sample("asked/1", 7, "asked:1.png"), image=Path("1.png")),
        replace(sample("one/1", 7, "one:1.png"), image=Path("1.png")),
        replace(sample("other/1", 7, "other:1.png"), image=Path("2.png")),
    ]
    assert through(Duplicates(), *samples) == ["kept", "kept", "near duplicate of another picture"]
