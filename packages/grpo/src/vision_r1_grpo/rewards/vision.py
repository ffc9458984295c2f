"""Text in, rewards out: parse once, match once, score. Axes: N completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vision_r1_data import Answer, Dialect, Frame, get_dialect
from vision_r1_data.dialects.number import decode_number
from vision_r1_data.prompts import TASKS, Form
from vision_r1_grpo.rewards.names import known_names
from vision_r1_grpo.rewards.presets import PRESETS, Criterion, Preset
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.released import Released
from vision_r1_grpo.rewards.scene import Target, make_scene
from vision_r1_ops import Thresholds

Part = Callable[[Sequence[str], Sequence[Target]], Sequence[float]]
"""N completions and N targets -> N floats: a part of one's own."""


@dataclass(frozen=True)
class RewardBatch:
    """Scored completions.

    Args:
        total: (N,) the weighted sum of the parts.
        parts: name -> (N,) unweighted part, also those of weight 0; NaN where the preset of a completion's
            task has no such part.
        answers: the N decoded completions.
        matched: (N,) pairs of a predicted and a true box.
        saturated: (N,) those of them at or above xi2; their share is what an adaptive refinement goes by.
        by_task: task -> (N,) total, NaN for completions of other tasks; empty where one preset scores all.
    """

    total: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]]
    answers: tuple[Answer, ...]
    matched: Int[Tensor, " n"]
    saturated: Int[Tensor, " n"]
    by_task: dict[str, Float[Tensor, " n"]] = field(default_factory=dict)


@dataclass(frozen=True)
class VisionReward:
    """Scores completions against annotated boxes; `from_preset` builds it.

    Args:
        preset: the name of its preset.
        dialect: how completions write boxes.
        criterion: a preset's criterion with its options.
        refinement: progress of the run -> thresholds.
        weights: part name -> weight in the total.
        added: name -> part that is not the criterion's.

    Example:
        >>> reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
        >>> target = Target(((0, 0, 50, 50),), ("cat",), ("cat", "dog"), Frame(100, 100, 100, 100))
        >>> text = '```json\\n[{"bbox_2d": [0, 0, 50, 50], "label": "cat"}]\\n```'
        >>> reward([text], [target], progress=0.0).parts["format"]
        tensor([1.])
    """

    preset: str
    dialect: Dialect
    criterion: Criterion
    refinement: Refinement
    weights: dict[str, float]
    added: Mapping[str, Part] = field(default_factory=dict)

    @classmethod
    def from_preset(
        cls,
        name: str,
        dialect: str,
        *,
        refinement: Refinement | None = None,
        weights: Mapping[str, float] | None = None,
        added: Mapping[str, Part] | None = None,
        **options: Any,
    ) -> VisionReward:
        """The reward of that name.

        Args:
            name: "strict", where nothing is free; "paper", Eq. 3-8 as published; "released", what the
                released code computes; or the name of a task beside detection, whose criterion is as strict:
                "grounding", "rec", "pointing", "segmentation", "ocr" or "counting".
            dialect: how completions write boxes.
            refinement: progress of the run -> thresholds; by default the preset's own.
            weights: part name -> weight, in place of the preset's; a part of weight 0 is only logged.
            added: name -> part of one's own, of weight 1 if `weights` does not say another.
            options: of the preset: `denominator` of paper ("predicted" or "matched"), `adaptive` of released.

        Raises:
            ValueError: a preset, dialect, option, part or value does not exist, or they do not go together.
            TypeError: an added part is not callable.
        """
        if name not in PRESETS:
            raise ValueError(f"unknown reward preset {name!r}; known are {known_names(PRESETS, name)}")
        preset = PRESETS[name]
        added = dict(added or {})
        _check(name, preset, dialect, options, weights or {}, added)
        criterion = preset.criterion(**options)
        if isinstance(criterion, Released):
            if refinement is not None:
                raise ValueError(
                    "preset 'released' has its own thresholds; leave refinement out, or set option adaptive"
                )
            refinement = criterion.refinement
        written = get_dialect(dialect)
        weighed = preset.weights | dict.fromkeys(added, 1.0) | dict(weights or {})
        return cls(name, written, criterion, refinement or Refinement(), weighed, added)

    def __call__(
        self,
        completions: Sequence[str],
        targets: Sequence[Target],
        *,
        progress: float | None = None,
        thresholds: Thresholds | None = None,
    ) -> RewardBatch:
        """Score N completions, each against its own target.

        Args:
            completions: N texts.
            targets: N truths.
            progress: of the run, in [0, 1]; the refinement gives the thresholds for it.
            thresholds: in place of progress, such as those of an adaptive refinement at its present state.

        Raises:
            ValueError: there is not one target for each completion, not one of progress and thresholds is
                given, or an added part does not return one finite number for each completion.
        """
        if (progress is None) == (thresholds is None):
            raise ValueError(f"give either progress or thresholds, got {progress} and {thresholds}")
        check_lengths(completions, targets)
        if thresholds is None:
            assert progress is not None
            thresholds = self.refinement(progress)
        answers = tuple(self._read(text, target) for text, target in zip(completions, targets, strict=True))
        scene = make_scene(answers, targets, PRESETS[self.preset].same_label)
        scores = self.criterion(scene, thresholds)
        parts = scores.parts | {
            name: _tensor(name, part(completions, targets), len(answers)) for name, part in self.added.items()
        }
        total = sum((self.weights[name] * part for name, part in parts.items()), torch.zeros(len(answers)))
        return RewardBatch(total, parts, answers, scores.matched, scores.saturated)

    @property
    def form(self) -> Form:
        """What answers are made of."""
        return TASKS[PRESETS[self.preset].task].form

    @property
    def most(self) -> float:
        """The most that a completion can earn."""
        return sum(max(weight, 0.0) for weight in self.weights.values()) or 1.0

    def of(self, task: str) -> VisionReward:
        """The reward that scores the answers of a task, which is this one.

        Raises:
            ValueError: there is no such task, or its answers have another form.
        """
        if task not in TASKS:
            raise ValueError(f"there is no task {task!r}; known are {known_names(TASKS, task)}")
        if TASKS[task].form != self.form:
            raise ValueError(
                f"preset {self.preset!r} scores {self.form}, and task {task!r} asks for {TASKS[task].form}"
            )
        return self

    def read(self, text: str, frame: Frame, categories: tuple[str, ...] = ()) -> Answer:
        """A completion as this reward reads it; `categories` as `Dialect.decode` takes them."""
        if self.form == "number":
            return decode_number(text)
        if read := PRESETS[self.preset].readers.get(self.dialect.name):
            return read(text, frame)
        return self.dialect.decode(text, frame, self.form, categories)

    def _read(self, text: str, target: Target) -> Answer:
        """A completion for its target; where the dialect names no labels, with the one that was asked for.

        Raises:
            ValueError: several were asked for, and the criterion compares labels.
        """
        if self.dialect.names_labels:
            return self.read(text, target.frame)
        if len(target.categories) > 1 and PRESETS[self.preset].compares_labels:
            raise ValueError(
                f"preset {self.preset!r} compares labels and dialect {self.dialect.name!r} names none; ask "
                f"for one category at a time in place of {len(target.categories)}"
            )
        return self.read(text, target.frame, target.categories)


def check_lengths(completions: Sequence[str], targets: Sequence[Target]) -> None:
    """There is one target for each completion."""
    if isinstance(completions, str) or len(completions) != len(targets):
        came = "one text" if isinstance(completions, str) else f"{len(completions)} and {len(targets)}"
        raise ValueError(f"completions and targets must be lists of one length, got {came}")


def _check(
    name: str,
    preset: Preset,
    dialect: str,
    options: Mapping[str, Any],
    weights: Mapping[str, float],
    added: Mapping[str, Part],
) -> None:
    """A preset has its own options and parts, and may have its own reading of some dialects."""
    known = {
        "option": (options, [option.name for option in fields(preset.criterion)]),
        "part": (weights, [*preset.weights, *added]),
        "dialect": ([dialect] if preset.readers else [], preset.readers),
    }
    form, written = TASKS[preset.task].form, get_dialect(dialect).forms
    if form not in (*written, "number"):
        raise ValueError(f"preset {name!r} needs {form}; dialect {dialect!r} writes {', '.join(written)}")
    for kind, (given, there) in known.items():
        for one in given:
            if one not in there:
                raise ValueError(
                    f"preset {name!r} has no {kind} {one!r}; its {kind}s are {known_names(there, one)}"
                )
    for part, function in added.items():
        if not callable(function):
            raise TypeError(f"part {part!r} must be a function f(completions, targets), got {function!r:.80}")
        if part in preset.weights:
            raise ValueError(
                f"preset {name!r} has a part {part!r} of its own; give the added one another name"
            )
    for part, weight in weights.items():
        if not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ValueError(f"the weight of part {part!r} must be a finite number, got {weight!r}")


def _tensor(name: str, values: Sequence[float], count: int) -> Float[Tensor, " n"]:
    """What an added part returned, checked."""
    scored = torch.as_tensor(values, dtype=torch.float32)
    if scored.shape != (count,) or not scored.isfinite().all():
        raise ValueError(
            f"part {name!r} must return one finite number for each of {count} completions, got {values!r:.80}"
        )
    return scored
