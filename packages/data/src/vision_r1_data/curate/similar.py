"""Pictures that look alike: duplicates among what is kept, and leaks from evaluation sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from vision_r1_data.curate.step import Context, Dropped
from vision_r1_data.sample import Sample

_BITS = 64
_UNLIKE = 20  # bits: unrelated pictures differ in 32 on average, one picture in two qualities in a few


class HashIndex:
    """Perceptual hashes that are looked up by near ones.

    Two hashes that differ in at most d of their bits are equal in at least one of d + 1 bands of bits, so
    only those of an equal band are compared.

    Args:
        distance: the most bits in which two hashes may differ.

    Example:
        >>> index = HashIndex(2)
        >>> index.add(0b1111, "cat.png")
        >>> index.find(0b1100), index.find(0b1000)
        ('cat.png', None)
    """

    def __init__(self, distance: int) -> None:
        if not 0 <= distance < _BITS:
            raise ValueError(f"distance must lie from 0 to {_BITS - 1} bits, got {distance}")
        self.distance = distance
        cuts = [_BITS * band // (distance + 1) for band in range(distance + 2)]
        self._bands = [
            (low, (1 << high - low) - 1, defaultdict[int, list[int]](list)) for low, high in pairwise(cuts)
        ]
        self._names: dict[int, str] = {}

    def add(self, fingerprint: int, name: str) -> None:
        """Add one; of equal hashes the first name stays."""
        if fingerprint not in self._names:
            self._names[fingerprint] = name
            for low, mask, band in self._bands:
                band[fingerprint >> low & mask].append(fingerprint)

    def find(self, fingerprint: int) -> str | None:
        """The name of one that is near enough, or None."""
        for low, mask, band in self._bands:
            for other in band.get(fingerprint >> low & mask, ()):
                if (other ^ fingerprint).bit_count() <= self.distance:
                    return self._names[other]
        return None


class Duplicates:
    """Leave out samples that were there before, and near duplicates of pictures that were.

    Samples that ask different things of one image are no duplicates: its `image_id` or its file tells. Memory
    grows by some hundred bytes a picture.

    Args:
        distance: the most bits in which the fingerprints of near duplicates differ; None compares none.
    """

    name = "duplicates"

    def __init__(self, distance: int | None = 4) -> None:
        self._samples: set[str] = set()
        self._images: set[str] = set()
        self._index = None if distance is None else HashIndex(distance)

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was, or dropped."""
        if sample.id in self._samples:
            return Dropped("same id twice")
        self._samples.add(sample.id)
        if self._index is None or sample.fingerprint is None:
            return sample
        names = {sample.image_id or sample.id}
        if isinstance(sample.image, Path):
            names.add(str(sample.image))
        if self._images.isdisjoint(names):
            if self._index.find(sample.fingerprint) is not None:
                return Dropped("near duplicate of another picture")
            self._index.add(sample.fingerprint, sample.image_id)
        self._images |= names
        return sample


class Leakage:
    """Leave out what an evaluation set holds too: by the id of its image, and by how it looks.

    An id does not count where both fingerprints are known and differ in more than 20 bits.

    Args:
        held_out: the samples of the evaluation sets.
        distance: the most bits in which the fingerprints of one picture differ; None compares none.
    """

    name = "leakage"

    def __init__(self, held_out: Iterable[Sample], distance: int | None = 4) -> None:
        self._images: dict[str, int | None] = {}
        self._index = None if distance is None else HashIndex(distance)
        self.unseen = 0
        """Samples that are known by their ids only, as their images could not be decoded."""
        for sample in held_out:
            self._images[sample.image_id] = sample.fingerprint
            if self._index is not None and sample.fingerprint is not None:
                self._index.add(sample.fingerprint, sample.image_id)
            elif self._index is not None:
                self.unseen += 1
        self._images.pop("", None)

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was, or dropped."""
        if sample.image_id in self._images and not self._are_unlike(sample):
            return Dropped("evaluated on, by its id")
        if self._index is None or sample.fingerprint is None:
            return sample
        alike = self._index.find(sample.fingerprint) is not None
        return Dropped("evaluated on, by its looks") if alike else sample

    def _are_unlike(self, sample: Sample) -> bool:
        """Whether two pictures of one id are certainly two: their files only happen to have one name."""
        known = self._images[sample.image_id]
        if known is None or sample.fingerprint is None:
            return False
        return (known ^ sample.fingerprint).bit_count() > _UNLIKE
