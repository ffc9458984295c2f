"""Answers and truths as padded tensors, and what a criterion makes of them.

Axes: N completions, M predicted, K true boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_data import Answer, Box, Frame, Sample
from vision_r1_data.masks import is_mask
from vision_r1_grpo.rewards.masks import draw_mask

Parts = dict[str, Float[Tensor, " n"]]


@dataclass(frozen=True)
class Target:
    """The ground truth of one prompt.

    Args:
        boxes: K boxes xyxy in original pixels.
        labels: K labels; the texts of an OCR task.
        categories: the labels asked for, present or absent.
        frame: how the image's pixels map to what the model sees.
        segmentations: K masks as COCO writes them, in original pixels, or none at all: polygons as a list of
            flat lists [x1, y1, x2, y2, ...], or a run-length encoding as a dict with size and counts. None
            for an object without one.
        task: what was asked, a name of `vision_r1_data.prompts.TASKS`; `TaskRewards` goes by it.

    Raises:
        ValueError: there is not one label for each box, or not one segmentation, or one is no mask of the
            image (see `vision_r1_data.masks.is_mask`).
    """

    boxes: tuple[Box, ...]
    labels: tuple[str, ...]
    categories: tuple[str, ...]
    frame: Frame
    segmentations: tuple[Any, ...] = ()
    task: str = "detection"

    def __post_init__(self) -> None:
        masks = len(self.segmentations)
        if len(self.labels) != len(self.boxes) or masks not in (0, len(self.boxes)):
            raise ValueError(
                "Target needs one label per box, and one segmentation per box or none at all, "
                f"got {len(self.boxes)} boxes, {len(self.labels)} labels, {masks} segmentations"
            )
        width, height = self.frame.width, self.frame.height
        for mask in self.segmentations:
            if mask is not None and not is_mask(mask, width, height):
                raise ValueError(
                    "segmentation must be polygons [x1, y1, x2, y2, ...] of three or more corners, or a "
                    f"run-length encoding of height {height} and width {width}, got {mask!r:.80}"
                )

    @cached_property
    def masks(self) -> list[Any]:
        """K run-length encodings, drawn once for all completions of a prompt."""
        drawn = self.segmentations or (None,) * len(self.boxes)
        return [draw_mask(mask, box, self.frame) for mask, box in zip(drawn, self.boxes, strict=True)]

    @classmethod
    def of(cls, sample: Sample, frame: Frame) -> Target:
        """The truth of a sample; crowds are no single objects and are left out."""
        objects = sample.objects.without_crowd()
        boxes, labels, masks = objects.boxes, objects.labels, objects.segmentations
        return cls(boxes, labels, sample.categories, frame, masks, sample.task)


@dataclass(frozen=True)
class Scene:
    """Answers and ground truth as padded tensors.

    Args:
        pred: (N, M, 4) predicted boxes xyxy.
        true: (N, K, 4) true boxes xyxy.
        n_pred: (N,) how many of the M are there.
        n_true: (N,) how many of the K are there.
        pred_labels: (N, M) label ids, -1 in the padding.
        true_labels: (N, K) label ids, likewise.
        well_formed: (N,) whether the text has the form that is asked for.
        answers: the N answers, for what is no box.
        targets: the N targets, likewise.
    """

    pred: Float[Tensor, "n m 4"]
    true: Float[Tensor, "n k 4"]
    n_pred: Int[Tensor, " n"]
    n_true: Int[Tensor, " n"]
    pred_labels: Int[Tensor, "n m"]
    true_labels: Int[Tensor, "n k"]
    well_formed: Bool[Tensor, " n"]
    answers: Sequence[Answer]
    targets: Sequence[Target]

    @property
    def same_label(self) -> Bool[Tensor, "n m k"]:
        """Which predictions are called what which true object is called; padding is called nothing."""
        same = self.pred_labels[:, :, None] == self.true_labels[:, None, :]
        return same & (self.true_labels >= 0)[:, None, :]

    @property
    def readable(self) -> Bool[Tensor, " n"]:
        """Something was said: boxes, or well formed that there are none."""
        return self.well_formed | (self.n_pred > 0)


@dataclass(frozen=True)
class Scores:
    """What a criterion makes of a scene.

    Args:
        parts: name -> (N,) part of the reward.
        matched: (N,) pairs of a predicted and a true box.
        saturated: (N,) those of them at or above xi2, which the thresholds have nothing more to ask of.
    """

    parts: Parts
    matched: Int[Tensor, " n"]
    saturated: Int[Tensor, " n"]


def make_scene(
    answers: Sequence[Answer], targets: Sequence[Target], same_label: Callable[[str], str] = str
) -> Scene:
    """Pad N answers and targets; two labels are equal, and have one id, if `same_label` makes them so."""
    told = (label for side in (answers, targets) for one in side for label in one.labels)
    numbers: dict[str, int] = {}
    ids = {label: numbers.setdefault(same_label(label), len(numbers)) for label in dict.fromkeys(told)}
    pred, pred_labels, n_pred = _pad(answers, ids)
    true, true_labels, n_true = _pad(targets, ids)
    formed = torch.tensor([answer.well_formed for answer in answers], dtype=torch.bool)
    return Scene(pred, true, n_pred, n_true, pred_labels, true_labels, formed, answers, targets)


def _pad(
    side: Sequence[Answer] | Sequence[Target], ids: dict[str, int]
) -> tuple[Float[Tensor, "n m 4"], Int[Tensor, "n m"], Int[Tensor, " n"]]:
    counts = np.fromiter((len(one.boxes) for one in side), np.int64, len(side))
    total, width = int(counts.sum()), int(counts.max(initial=1))  # 1, so that there is something to gather
    boxes, labels = np.zeros((len(side), width, 4), np.float32), np.full((len(side), width), -1)
    filled = np.arange(width) < counts[:, None]
    # NumPy reads an iterator of numbers three times as fast as nested sequences.
    coordinates = chain.from_iterable(chain.from_iterable(one.boxes for one in side))
    boxes[filled] = np.fromiter(coordinates, np.float32, 4 * total).reshape(-1, 4)
    flat_ids = map(ids.__getitem__, chain.from_iterable(one.labels for one in side))
    labels[filled] = np.fromiter(flat_ids, np.int64, total)
    return torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(counts)
