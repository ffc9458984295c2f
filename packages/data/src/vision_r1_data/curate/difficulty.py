"""Difficulty by pass rate: what a policy already always or never answers teaches it nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec

from vision_r1_data.curate.step import Context, Dropped, Options
from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import lines
from vision_r1_data.sample import Sample


class _Line(msgspec.Struct):
    sample: str
    reward: float


class Difficulty(Options, frozen=True):
    """Keep samples whose sampled rewards vary.

    GRPO learns from differences within a group: equal rewards give no advantage.

    Args:
        scores: a JSONL file with a line for each sampled answer, such as the completions.jsonl of a run:
            `{"sample": id, "reward": number}`, where other keys do not matter.
        full: the highest reward there is, to which the pass rate is relative: 3 for strict.
        least: samples with a lower pass rate than this are left out.
        most: and those with a higher one.
        unscored: keep samples that the file says nothing about.
    """

    scores: Path
    full: Annotated[float, msgspec.Meta(gt=0)]
    least: float = 0.0
    most: float = 1.0
    unscored: bool = False

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample with its pass rate, or dropped."""
        changed = self.scores.stat().st_mtime_ns if self.scores.exists() else 0
        scored = _scores(self.scores, changed).get(sample.id)
        if scored is None:
            return sample if self.unscored else Dropped("not scored")
        if scored.low == scored.high:
            return Dropped("rewards do not vary")
        pass_rate = scored.sum / scored.count / self.full
        if pass_rate < self.least:
            return Dropped("too hard")
        return Dropped("too easy") if pass_rate > self.most else replace(sample, pass_rate=pass_rate)


@dataclass(slots=True)
class _Scores:
    count: int = 0
    sum: float = 0.0
    low: float = math.inf
    high: float = -math.inf


@lru_cache(maxsize=1)
def _scores(path: Path, changed: int) -> dict[str, _Scores]:
    """Sample id -> what its answers earned, in the file as it was changed last."""
    found: dict[str, _Scores] = defaultdict(_Scores)
    faults = Faults(skip=True)
    for _, line in lines(path, _Line, "a JSONL file with a sample and a reward on each line", faults):
        one = found[line.sample]
        one.count, one.sum = one.count + 1, one.sum + line.reward
        one.low, one.high = min(one.low, line.reward), max(one.high, line.reward)
    if faults.told:
        raise DataError(faults.told[0])
    return dict(found)
