"""The second pass of curation: what is left when samples are compared, and what the mixture takes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from random import Random
from typing import TypeVar

import msgspec
import numpy as np
from rich.progress import Progress

from vision_r1_data.curate.mixture import Mixture
from vision_r1_data.curate.prepare import Prepared, in_order
from vision_r1_data.curate.recipe import Recipe
from vision_r1_data.curate.similar import Duplicates, Leakage
from vision_r1_data.curate.step import Context, Dropped, Reason, Step, apply_steps
from vision_r1_data.errors import DataError
from vision_r1_data.sample import Sample

T = TypeVar("T")


class Selection:
    """Which of the prepared samples are in the result, and in which order."""

    def __init__(
        self, recipe: Recipe, held_out: Sequence[Prepared], sources: Sequence[Prepared], progress: Progress
    ) -> None:
        self._recipe, self._sources = recipe, sources
        takes = [
            msgspec.structs.replace(take, count=take.count and round(take.count * recipe.scale))
            for take in recipe.mix
        ]
        self._mixture = Mixture(takes, recipe.seed) if takes else None
        self._left = [bytearray() for _ in sources]  # a byte a sample: whether it is left before the mixture
        steps = self._steps(held_out)
        for number, source in enumerate(sources):
            task = progress.add_task(f"selecting of {source.name}", total=source.course.kept)
            dropped = Counter[Reason]()
            for sample in source.samples():
                self._left[number].append(self._look(number, sample, steps, dropped))
                progress.advance(task)
            source.course.dropped.update(in_order(dropped, steps))
        self._sizes = [source.course.kept for source in sources]
        if self._mixture is not None:
            self._settle(self._mixture)
            self._sizes = [self._mixture.taken(number) for number in range(len(sources))]
            for source, size in zip(sources, self._sizes, strict=True):
                if surplus := source.course.kept - size:
                    source.course.dropped["mix", "more than it needs"] = surplus
        self.size = sum(self._sizes)

    def samples(self) -> Iterator[Sample]:
        """The selected samples, the sources interleaved."""
        if self._recipe.curriculum is None:
            return (replace(sample, curriculum=None) for sample in self._chosen())
        ease = [self._ease(sample) for sample in self._chosen()]
        ranks = np.argsort(np.argsort(ease, kind="stable"), kind="stable")
        numbered = zip(self._chosen(), ranks.tolist(), strict=True)
        return (replace(sample, curriculum=rank) for sample, rank in numbered)

    def _steps(self, held_out: Sequence[Prepared]) -> list[Step]:
        """The steps that compare samples with others."""
        steps: list[Step] = []
        if held_out:
            evaluated = chain.from_iterable(one.samples() for one in held_out)
            leakage = Leakage(evaluated, self._recipe.leakage.distance)
            if leakage.unseen:
                warnings.warn(
                    f"held_out: {leakage.unseen:,} images cannot be decoded; only their ids are known",
                    UserWarning,
                    stacklevel=4,
                )
            steps.append(leakage)
        if self._recipe.difficulty is not None:
            steps.append(self._recipe.difficulty)
        if self._recipe.duplicates is not None:
            steps.append(Duplicates(self._recipe.duplicates.distance))
        return steps

    def _look(self, number: int, sample: Sample, steps: Sequence[Step], dropped: Counter[Reason]) -> bool:
        """Whether the mixture has a use for a sample, and it is left after the steps."""
        if self._mixture is not None and not self._mixture.has(sample):
            dropped["mix", f"of no kind that it has: {sample.task} {sample.stratum}".rstrip()] += 1
            return False
        for _ in apply_steps([sample], steps, seed=0, dropped=dropped, objects=Counter()):
            if self._mixture is not None:
                self._mixture.offer(sample, number)
            return True
        return False

    def _settle(self, mixture: Mixture) -> None:
        """Choose; where there are too few, the error says what became of their sources."""
        try:
            mixture.settle()
        except DataError as error:
            short = {take.source for take in mixture.short()}
            told = [f"of {one.name}, {one.course}" for one in self._sources if one.name in short]
            raise DataError("; ".join([str(error), *told])) from error

    def _chosen(self) -> Iterator[Sample]:
        return interleave([self._of(number) for number in range(len(self._sources))], self._sizes)

    def _of(self, number: int) -> Iterator[Sample]:
        for sample, left in zip(self._sources[number].samples(), self._left[number], strict=True):
            if left and (self._mixture is None or self._mixture.takes(sample)):
                yield self._scored(sample)

    def _scored(self, sample: Sample) -> Sample:
        if self._recipe.difficulty is None:
            return sample
        scored = self._recipe.difficulty(sample, Context(Random(0)))
        assert not isinstance(scored, Dropped)
        return scored

    def _ease(self, sample: Sample) -> float:
        if self._recipe.curriculum == "objects":
            return len(sample.objects)
        return 1.0 if sample.pass_rate is None else -sample.pass_rate


def interleave(streams: Sequence[Iterator[T]], sizes: Sequence[int]) -> Iterator[T]:
    """One stream in which every part has its even share of each.

    Example:
        >>> list(interleave([iter("aaaa"), iter("bb")], [4, 2]))
        ['a', 'b', 'a', 'a', 'b', 'a']
    """
    done = [0] * len(sizes)
    for _ in range(sum(sizes)):
        behind = min((k for k, size in enumerate(sizes) if size), key=lambda k: (done[k] + 0.5) / sizes[k])
        done[behind] += 1
        yield next(streams[behind])
