"""What a step of curation is: a sample goes in, and it or another comes out, or the reason why none does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from vision_r1_data.sample import Objects, Sample

Reason = tuple[str, str]
"""A step, and why it leaves out."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sample that is left out, and why in a few words."""

    reason: str


@dataclass(slots=True)
class Context:
    """What a step has beside the sample.

    Args:
        rng: of this sample alone: its choices are the same in whatever order and process samples come.
        objects: counts annotated objects that are left out, by reason.
    """

    rng: random.Random
    objects: Counter[str] = field(default_factory=Counter)


class Step(Protocol):
    """A sample goes in; it, or another, or the reason why it is left out comes out."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """Do it to one sample."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag=str.lower):
    """The options of a step, as a recipe writes them."""

    @property
    def name(self) -> str:
        """What recipes and tables call it."""
        return type(self).__name__.lower()


def apply_steps(
    samples: Iterable[Sample],
    steps: Sequence[Step],
    *,
    seed: int,
    dropped: Counter[Reason],
    objects: Counter[Reason],
) -> Iterator[Sample]:
    """Send samples through the steps.

    Args:
        samples: a stream.
        steps: in their order.
        seed: of every random choice, together with a sample's source and id.
        dropped: counts the samples that are left out, by step and reason.
        objects: counts the annotated objects that are left out, likewise.

    Yields:
        The samples that are left, in their order.

    Example:
        >>> from vision_r1_data.curate.steps import Count
        >>> dropped = Counter()
        >>> sample = Sample("1", b"", 40, 30)
        >>> list(apply_steps([sample], [Count(least=1)], seed=0, dropped=dropped, objects=Counter()))
        []
        >>> dropped
        Counter({('count', 'fewer than 1 objects'): 1})
    """
    for sample in samples:
        context = Context(random.Random(f"{seed}:{sample.source}:{sample.id}"))
        result = sample
        for step in steps:
            outcome = step(result, context)
            objects.update({(step.name, reason): n for reason, n in context.objects.items() if n})
            context.objects.clear()
            if isinstance(outcome, Dropped):
                dropped[step.name, outcome.reason] += 1
                break
            result = outcome
        else:
            yield result


def keep_objects(sample: Sample, keep: Sequence[bool]) -> Sample:
    """The sample with those of its objects only."""
    if all(keep):
        return sample
    kept, objects = [k for k, wanted in enumerate(keep) if wanted], sample.objects
    columns = (objects.boxes, objects.labels, objects.crowd, objects.segmentations)
    left: list[Any] = [tuple([column[k] for k in kept]) if column else () for column in columns]
    return replace(sample, objects=Objects(*left))
