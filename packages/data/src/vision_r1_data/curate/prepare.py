"""The first pass of curation: sources through steps to Parquet parts, in parallel."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain, count, islice
from pathlib import Path

import msgspec
from rich.progress import Progress

from vision_r1_data.curate.recipe import Recipe, Source
from vision_r1_data.curate.step import Reason, Step, apply_steps
from vision_r1_data.curate.steps import Fingerprint
from vision_r1_data.curate.waterfall import Course
from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.sample import Sample
from vision_r1_data.shard import is_shard, read_notes, read_shard, write_shard

_CHUNK = 512  # samples of a part: what a kill may lose, for each worker


@dataclass
class Prepared:
    """A source after the steps: its parts, and what became of its samples."""

    name: str
    parts: list[Path]
    course: Course

    def samples(self) -> Iterator[Sample]:
        """What is left, in the order of the source."""
        return chain.from_iterable(map(read_shard, self.parts))


@dataclass
class Preparer:
    """Sends sources through steps, chunk by chunk, to parts that a stopped run finds again."""

    recipe: Recipe
    work: Path
    pool: ProcessPoolExecutor | None
    workers: int
    progress: Progress

    def __call__(self, name: str, source: Source, *, held_out: bool = False) -> Prepared:
        """Read a source and send it through its own steps or the recipe's; of what is held out, its own."""
        own = source.steps if source.steps is not None else [] if held_out else self.recipe.steps
        steps = self._needed(own, held_out=held_out)
        readable = re.sub(r"[^\w-]", "_", name)
        folder = self.work / f"{readable}-{self._digest(name, source, steps)}"
        folder.mkdir(parents=True, exist_ok=True)
        course = Course()
        faults = Faults(skip=self.recipe.bad_records == "skip", option="bad_records=skip")
        task = self.progress.add_task(f"preparing {name}", total=None)
        parts = []
        for part in self._parts(source.read(name, faults), folder, steps, course):
            notes = read_notes(part)
            course.dropped.update({(step, reason): n for step, reason, n in notes["dropped"]})
            course.objects.update({(step, reason): n for step, reason, n in notes["objects"]})
            parts.append(part)
            self.progress.update(task, completed=course.read)
        if not course.read:
            raise DataError(f"{name}: has no sample that can be used: {faults}")
        self.progress.update(task, total=course.read)
        course.faults, course.told = faults.counts, faults.told
        course.dropped = in_order(course.dropped, steps)
        course.objects.update({("read", kind): n for kind, n in faults.ruled.items()})
        course.objects = in_order(course.objects, steps)
        return Prepared(name, parts, course)

    def _parts(
        self, samples: Iterator[Sample], folder: Path, steps: Sequence[Step], course: Course
    ) -> Iterator[Path]:
        """The parts in their order, with some chunks on their way to the workers, but never all of them."""
        waiting: deque[tuple[Path, Future[None] | None]] = deque()
        for number in count():
            if not (chunk := list(islice(samples, _CHUNK))):
                break
            course.read += len(chunk)
            part = folder / f"{number:06d}-{_chunk_digest(chunk)}.parquet"
            if is_shard(part):
                waiting.append((part, None))
            elif self.pool is None:
                _prepare(chunk, steps, self.recipe.seed, part)
                waiting.append((part, None))
            else:
                waiting.append((part, self.pool.submit(_prepare, chunk, steps, self.recipe.seed, part)))
            if len(waiting) > 2 * self.workers:
                yield _done(*waiting.popleft())
        for entry in waiting:
            yield _done(*entry)

    def _needed(self, steps: Sequence[Step], *, held_out: bool) -> list[Step]:
        """The steps, with a fingerprint at their end where fingerprints are compared and none has it yet."""
        similar = [self.recipe.duplicates, self.recipe.leakage if self.recipe.held_out else None]
        compared = any(one is not None and one.distance is not None for one in similar)
        there = any(isinstance(step, Fingerprint) for step in steps)
        return [*steps, Fingerprint(unreadable=held_out)] if compared and not there else list(steps)

    def _digest(self, name: str, source: Source, steps: Sequence[Step]) -> str:
        """What the parts of a source depend on, beside their samples."""
        what = [version("vision-r1-data"), name, source, list(steps), self.recipe.seed]
        return hashlib.sha256(msgspec.json.encode(what, enc_hook=_file)).hexdigest()[:16]


def _chunk_digest(samples: Sequence[Sample]) -> str:
    """Another one where a sample or the file of its image has changed, so that no part is mistaken for it."""
    digest, asked = hashlib.sha256(), None
    for sample in samples:
        # A set may have thousands of categories, which most of its samples share.
        shared, asked = sample.categories == asked, sample.categories
        one = [replace(sample, categories=()), None if shared else asked]
        try:
            digest.update(msgspec.json.encode(one, enc_hook=_file))
        except UnicodeEncodeError as error:
            raise DataError(
                f"{sample.source}: sample {sample.id!a} of image {sample.image_name!a} has a name or a text "
                "that is not Unicode; rename or remove it"
            ) from error
    return digest.hexdigest()[:16]


def _file(path: Path) -> list[str | int]:
    """A file by its name, size and time."""
    try:
        stat = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _prepare(samples: Sequence[Sample], steps: Sequence[Step], seed: int, part: Path) -> None:
    """One chunk through the steps; runs in a worker."""
    dropped, objects = Counter[Reason](), Counter[Reason]()
    kept = list(apply_steps(samples, steps, seed=seed, dropped=dropped, objects=objects))
    counts = {"dropped": dropped, "objects": objects}
    write_shard(kept, part, {name: [[*key, n] for key, n in one.items()] for name, one in counts.items()})


def _done(part: Path, future: Future[None] | None) -> Path:
    if future is not None:
        future.result()
    return part


def in_order(counts: Counter[Reason], steps: Sequence[Step]) -> Counter[Reason]:
    """In the order of the steps, and by reason: parts meet reasons in any order."""
    names = ["read", *(step.name for step in steps), "mix"]
    return Counter(dict(sorted(counts.items(), key=lambda item: (names.index(item[0][0]), item[0][1]))))
