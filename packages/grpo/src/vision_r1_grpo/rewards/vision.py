"""Text in, rewards out: parse once, match once, score. Axes: N completions, M predicted, K true boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_data import Answer, Box, Dialect, Frame, Sample, get_dialect
from vision_r1_grpo.rewards import presets
from vision_r1_grpo.rewards.refinement import Refinement


@dataclass(frozen=True)
class Target:
    """The ground truth of one prompt.

    Args:
        boxes: K boxes xyxy in original pixels.
        labels: K labels.
        categories: the labels asked for, present or absent.
        frame: how the image's pixels map to what the model sees.
    """

    boxes: tuple[Box, ...]
    labels: tuple[str, ...]
    categories: tuple[str, ...]
    frame: Frame

    @classmethod
    def of(cls, sample: Sample, frame: Frame) -> Target:
        """The truth of a sample; crowds are no single objects and are left out."""
        objects = sample.objects.without_crowd()
        return cls(objects.boxes, objects.labels, sample.categories, frame)


@dataclass(frozen=True)
class RewardBatch:
    """Scored completions.

    Args:
        total: (N,) the weighted sum of the parts.
        parts: name -> (N,) unweighted part.
        answers: the N decoded completions.
    """

    total: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class VisionReward:
    """Scores completions against annotated boxes.

    Args:
        preset: a key of `presets.PRESETS`: which parts there are and what they weigh.
        dialect: how completions write boxes.
        refinement: progress of the run -> thresholds.
        weights: part name -> weight, in place of the preset's.

    Raises:
        ValueError: the preset or a weighted part does not exist.

    Example:
        >>> reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
        >>> target = Target(((0, 0, 50, 50),), ("cat",), ("cat", "dog"), Frame(100, 100, 100, 100))
        >>> text = '```json\\n[{"bbox_2d": [0, 0, 50, 50], "label": "cat"}]\\n```'
        >>> reward([text], [target], progress=0.0).parts["format"]
        tensor([1.])
    """

    preset: str
    dialect: Dialect
    refinement: Refinement = field(default_factory=Refinement)
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.preset not in presets.PRESETS:
            raise ValueError(f"unknown reward preset {self.preset!r}; known are {', '.join(presets.PRESETS)}")
        known = presets.PRESETS[self.preset].weights
        for name in self.weights:
            if name not in known:
                raise ValueError(
                    f"preset {self.preset!r} has no part {name!r}; its parts are {', '.join(known)}"
                )

    @classmethod
    def from_preset(
        cls,
        name: str,
        dialect: str,
        *,
        refinement: Refinement | None = None,
        weights: dict[str, float] | None = None,
    ) -> VisionReward:
        """The reward of that name: "strict", where nothing is free, or "paper", Eq. 3-8 as published."""
        return cls(name, get_dialect(dialect), refinement or Refinement(), weights or {})

    def __call__(
        self, completions: Sequence[str], targets: Sequence[Target], *, progress: float
    ) -> RewardBatch:
        """Score N completions, each against its own target, at that progress of the run in [0, 1]."""
        answers = tuple(
            self.dialect.decode(text, target.frame) for text, target in zip(completions, targets, strict=True)
        )
        preset = presets.PRESETS[self.preset]
        parts = preset.criterion(_pad(answers, targets), self.refinement(progress))
        weights = preset.weights | self.weights
        total = sum((weights[name] * part for name, part in parts.items()), torch.zeros(len(answers)))
        return RewardBatch(total, parts, answers)


def _pad(answers: Sequence[Answer], targets: Sequence[Target]) -> presets.Scene:
    """Answers and targets as padded tensors; equal labels have equal ids."""
    ids: dict[str, int] = {}
    for labels in (*(answer.labels for answer in answers), *(target.labels for target in targets)):
        for label in labels:
            ids.setdefault(label, len(ids))
    pred, pred_labels, n_pred = _pad_side(answers, ids)
    true, true_labels, n_true = _pad_side(targets, ids)
    well_formed = torch.tensor([answer.well_formed for answer in answers], dtype=torch.bool)
    return presets.Scene(pred, true, n_pred, n_true, pred_labels, true_labels, well_formed)


def _pad_side(
    side: Sequence[Answer] | Sequence[Target], ids: dict[str, int]
) -> tuple[Float[Tensor, "n m 4"], Int[Tensor, "n m"], Int[Tensor, " n"]]:
    counts = torch.tensor([len(one.boxes) for one in side], dtype=torch.long)
    width = int(counts.max()) if len(side) else 0
    boxes, labels = torch.zeros(len(side), width, 4), torch.full((len(side), width), -1)
    filled: Bool[Tensor, "n m"] = torch.arange(width) < counts[:, None]
    flat = [box for one in side for box in one.boxes]
    boxes[filled] = torch.tensor(flat, dtype=torch.float32).reshape(-1, 4)
    labels[filled] = torch.tensor([ids[label] for one in side for label in one.labels], dtype=torch.long)
    return boxes, labels, counts
