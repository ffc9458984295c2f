"""A mixture with exact counts, drawn evenly from streams of any length."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from vision_r1_data.errors import DataError
from vision_r1_data.sample import Sample


class Take(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many samples of a kind a mixture has.

    Args:
        source: theirs.
        count: how many; left out, all there are.
        task: theirs, if it matters.
        stratum: theirs, if it matters, such as "hard".
    """

    source: str
    count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    task: str | None = None
    stratum: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.source, self.task, self.stratum)))

    def fits(self, sample: Sample) -> bool:
        """Whether the sample is of the kind."""
        return (
            self.source == sample.source
            and self.task in (None, sample.task)
            and self.stratum in (None, sample.stratum)
        )


# Keys beyond twice the count, so that a small count is not sorted out at every key.
_ROOM = 1024


class Mixture:
    """Which samples are taken: of each kind those with the lowest keys, and a key is a hash of seed and id.

    So every subset of the size is equally likely, and neither the order of the samples nor what else there is
    changes which are taken. `offer` is told all samples, then `takes` says of each whether it is in. Memory
    is that of the keys that are taken, 20 bytes each, however many are offered. Counts are exact where no id
    is offered twice, which `Duplicates` sees to.

    Args:
        takes: a sample belongs to the first kind that it fits.
        seed: of the choice.

    Example:
        >>> samples = [Sample(str(k), b"", 40, 30, source="coco") for k in range(100)]
        >>> mixture = Mixture([Take("coco", 3)], seed=0)
        >>> for sample in samples:
        ...     mixture.offer(sample)
        >>> mixture.settle()
        >>> sum(mixture.takes(sample) for sample in samples)
        3
    """

    def __init__(self, takes: Sequence[Take], seed: int) -> None:
        self._takes = tuple(takes)
        self._seed = seed
        self._lowest = [_Lowest(take.count) for take in self._takes]

    def has(self, sample: Sample) -> bool:
        """Whether the sample is of a kind that the mixture has."""
        return self._kind(sample) is not None

    def offer(self, sample: Sample, group: int = 0) -> None:
        """Tell it of one sample, which does not matter if it is of no kind.

        Args:
            sample: any.
            group: a number under which `taken` counts it.
        """
        kind = self._kind(sample)
        if kind is not None:
            kind.add(self._key(sample), group)

    def settle(self) -> None:
        """Choose, after all samples were offered.

        Raises:
            DataError: there are fewer samples of a kind than it should have.
        """
        if short := self.short():
            kinds = "1 kind" if len(short) == 1 else f"{len(short)} kinds"
            counts = "; ".join(f"{take}: {offered} of {take.count}" for take, offered in short.items())
            raise DataError(
                f"mix: there are too few samples of {kinds} ({counts}); lower their counts, add data, or "
                "relax the steps that drop them"
            )
        for kind in self._lowest:
            kind.settle()

    def short(self) -> dict[Take, int]:
        """The kinds of which there are too few samples, and how many there are."""
        return {
            take: kind.offered
            for take, kind in zip(self._takes, self._lowest, strict=True)
            if take.count is not None and kind.offered < take.count
        }

    def takes(self, sample: Sample) -> bool:
        """Whether the sample is in."""
        kind = self._kind(sample)
        return kind is not None and self._key(sample) <= kind.limit

    def taken(self, group: int) -> int:
        """How many of the group are in."""
        return sum(kind.groups[group] for kind in self._lowest)

    def _kind(self, sample: Sample) -> _Lowest | None:
        """Of the first kind that the sample fits."""
        return next(
            (low for take, low in zip(self._takes, self._lowest, strict=True) if take.fits(sample)), None
        )

    def _key(self, sample: Sample) -> int:
        """64 bits by which samples are in random order."""
        text = f"{self._seed}:{sample.id}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class _Lowest:
    """The lowest so many of a stream of keys, or all of them, and how many are of each group."""

    def __init__(self, count: int | None) -> None:
        self.offered = 0
        self.groups = Counter[int]()
        self.limit = 2**64 if count is None else -1
        self._count, self._size = count, 0
        self._room = 0 if count is None else 2 * count + _ROOM
        self._keys: npt.NDArray[np.uint64] = np.empty(self._room, dtype=np.uint64)
        self._groups: npt.NDArray[np.uint16] = np.empty(self._room, dtype=np.uint16)

    def add(self, key: int, group: int) -> None:
        self.offered += 1
        if self._count is None:
            self.groups[group] += 1
            return
        self._keys[self._size], self._groups[self._size] = key, group
        self._size += 1
        if self._size == self._room:
            self._shrink(self._count)

    def settle(self) -> None:
        if self._count:
            self._shrink(self._count)
            self.limit = int(self._keys[: self._size].max())
            self.groups = Counter(self._groups[: self._size].tolist())

    def _shrink(self, count: int) -> None:
        if self._size > count > 0:
            lowest = np.argpartition(self._keys[: self._size], count - 1)[:count]
            self._keys[:count], self._groups[:count] = self._keys[lowest], self._groups[lowest]
        self._size = min(self._size, count)
