"""What can be said of a stream of any length in memory that does not grow with it."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import Generic, TypeVar

T = TypeVar("T")
_HASHES = 2.0**64


class Histogram:
    """Counts of values between fixed edges.

    Args:
        names: of the bins, one more than edges.
        edges: from low to high; a value on an edge is in the bin above it.

    Example:
        >>> sizes = Histogram(("small", "large"), (10,))
        >>> for size in (3, 10, 99):
        ...     sizes.add(size)
        >>> sizes.bars()
        [('small', 1), ('large', 2)]
    """

    def __init__(self, names: Sequence[str], edges: Sequence[float]) -> None:
        self.names, self.edges = names, edges
        self.counts = [0] * len(names)

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_right(self.edges, value)] += 1

    def name(self, value: float) -> str:
        """The bin that a value falls into."""
        return self.names[bisect_right(self.edges, value)]

    def bars(self) -> list[tuple[str, int]]:
        """(name, count) of each bin."""
        return list(zip(self.names, self.counts, strict=True))


class Reservoir(Generic[T]):
    """A random choice out of all that goes by; each has the same chance.

    Args:
        most: how many to choose.
        seed: the same seed chooses the same out of the same stream.

    Example:
        >>> chosen = Reservoir(3, seed=0)
        >>> for n in range(1000):
        ...     chosen.add(n)
        >>> len(chosen.chosen()), chosen.chosen() == sorted(chosen.chosen())
        (3, True)
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most, self._rng = most, random.Random(seed)
        self._seen = 0
        self._kept: list[tuple[int, T]] = []

    def add(self, value: T) -> None:
        """Let one go by."""
        if len(self._kept) < self.most:
            self._kept.append((self._seen, value))
        elif (place := self._rng.randrange(self._seen + 1)) < self.most:
            self._kept[place] = (self._seen, value)
        self._seen += 1

    def chosen(self) -> list[T]:
        """The choice, in the order of the stream."""
        return [value for _, value in sorted(self._kept, key=lambda kept: kept[0])]


class Distinct:
    """How many different texts there are.

    The smallest hashes are kept; how far they reach tells how many there are. Exact as long as all are kept,
    then within about one part in the square root of `room`.

    Args:
        room: how many hashes are kept.

    Example:
        >>> names = Distinct()
        >>> for name in ("cat", "dog", "cat"):
        ...     names.add(name)
        >>> names.count, names.exact
        (2, True)
    """

    def __init__(self, room: int = 2**17) -> None:
        self.room, self.exact = room, True
        self._largest_first: list[int] = []
        self._kept: set[int] = set()

    def add(self, value: str) -> None:
        """Count one, unless it was there before."""
        digest = blake2b(value.encode("utf-8", errors="surrogatepass"), digest_size=8).digest()
        key = int.from_bytes(digest, "big")
        if key in self._kept:
            return
        self._kept.add(key)
        if len(self._kept) <= self.room:
            heappush(self._largest_first, -key)
        else:
            self.exact = False
            self._kept.remove(-heappushpop(self._largest_first, -key))

    @property
    def count(self) -> int:
        """How many there are, or about how many."""
        if self.exact:
            return len(self._kept)
        return round((self.room - 1) * _HASHES / -self._largest_first[0])

    def __str__(self) -> str:
        return f"{self.count:,}" if self.exact else f"about {float(f'{self.count:.3g}'):,.0f}"


class Frequent(Generic[T]):
    """How often each value comes, for those that come often.

    Exact until there are more than twice `room` different values; then the rarest half is forgotten.

    Args:
        room: how many values are kept for sure.

    Example:
        >>> labels = Frequent()
        >>> for label in ("cat", "dog", "cat"):
        ...     labels.add(label)
        >>> labels.most_common(1), labels.missed
        ([('cat', 2)], 0)
    """

    def __init__(self, room: int = 2**16) -> None:
        self.room = room
        self.missed = 0
        """By how much a count may be too low."""
        self._counts: Counter[T] = Counter()

    def add(self, value: T) -> None:
        """Count one."""
        self._counts[value] += 1
        if len(self._counts) > 2 * self.room:
            kept = self._counts.most_common(self.room + 1)
            # What is forgotten was counted at most as often as the first that is.
            self.missed += kept.pop()[1]
            self._counts = Counter(dict(kept))

    def most_common(self, most: int) -> list[tuple[T, int]]:
        """(value, count) from the most frequent down; of equals, the first that came."""
        return self._counts.most_common(most)
