"""Answers and truths as padded tensors, and what a criterion makes of them.

Axes: N completions, M predicted, K true boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_r1_data import Box

Parts = dict[str, Float[Tensor, " n"]]


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
    """

    pred: Float[Tensor, "n m 4"]
    true: Float[Tensor, "n k 4"]
    n_pred: Int[Tensor, " n"]
    n_true: Int[Tensor, " n"]
    pred_labels: Int[Tensor, "n m"]
    true_labels: Int[Tensor, "n k"]
    well_formed: Bool[Tensor, " n"]

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


class Labelled(Protocol):
    """Boxes xyxy and their labels: an answer or a target."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes."""

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each."""


def make_scene(
    answers: Sequence[Labelled],
    targets: Sequence[Labelled],
    well_formed: Sequence[bool],
    same_label: Callable[[str], str],
) -> Scene:
    """Pad N answers and targets; two labels are equal, and have one id, if `same_label` makes them so."""
    told = chain.from_iterable(one.labels for one in (*answers, *targets))
    numbers: dict[str, int] = {}
    ids = {label: numbers.setdefault(same_label(label), len(numbers)) for label in dict.fromkeys(told)}
    pred, pred_labels, n_pred = _pad(answers, ids)
    true, true_labels, n_true = _pad(targets, ids)
    formed = torch.tensor(list(well_formed), dtype=torch.bool)
    return Scene(pred, true, n_pred, n_true, pred_labels, true_labels, formed)


def _pad(
    side: Sequence[Labelled], ids: dict[str, int]
) -> tuple[Float[Tensor, "n m 4"], Int[Tensor, "n m"], Int[Tensor, " n"]]:
    counts = np.fromiter((len(one.boxes) for one in side), np.int64, len(side))
    total, width = int(counts.sum()), int(counts.max(initial=0))
    boxes, labels = np.zeros((len(side), width, 4), np.float32), np.full((len(side), width), -1)
    filled = np.arange(width) < counts[:, None]
    # NumPy reads an iterator of numbers three times as fast as nested sequences.
    coordinates = chain.from_iterable(chain.from_iterable(one.boxes for one in side))
    boxes[filled] = np.fromiter(coordinates, np.float32, 4 * total).reshape(-1, 4)
    flat_ids = map(ids.__getitem__, chain.from_iterable(one.labels for one in side))
    labels[filled] = np.fromiter(flat_ids, np.int64, total)
    return torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(counts)
