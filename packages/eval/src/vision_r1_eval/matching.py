"""Which predicted box is which true one: right, missed and invented, without scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vision_r1_data import Answer, Objects
from vision_r1_eval.boxes import Floats, box_array, overlaps

# Share of a predicted box that must lie in a crowd for the box to be left out of the count.
_IN_CROWD = 0.5


@dataclass(frozen=True, slots=True)
class Counts:
    """How many boxes are right, missed and invented; counts of several images add up.

    With nothing to find and nothing found, precision, recall and F1 are 1: the answer is right. With only
    one of the two empty they are 0.

    Example:
        >>> counts = Counts(right=2, missed=1, invented=0) + Counts(right=1, missed=0, invented=2)
        >>> counts.precision, counts.recall, round(counts.f1, 3)
        (0.6, 0.75, 0.667)
    """

    right: int = 0
    missed: int = 0
    invented: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.missed + other.missed, self.invented + other.invented)

    @property
    def precision(self) -> float:
        """right / predicted."""
        return self._share(self.right, self.right + self.invented)

    @property
    def recall(self) -> float:
        """right / true."""
        return self._share(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """2 right / (predicted + true)."""
        return self._share(2 * self.right, 2 * self.right + self.missed + self.invented)

    def _share(self, part: int, whole: int) -> float:
        return part / whole if whole else float(self == Counts())


@dataclass(frozen=True, slots=True)
class Matching:
    """What became of every box of one image.

    Args:
        pairs: (predicted, true) indices of the right boxes.
        missed: indices of true boxes, crowds left out, that nothing matches.
        invented: indices of predicted boxes that match nothing.
        ignored: indices of predicted boxes that match nothing but lie in a crowd of their label.
    """

    pairs: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    invented: tuple[int, ...]
    ignored: tuple[int, ...]

    @property
    def counts(self) -> Counts:
        """Right, missed and invented; ignored boxes are none of them."""
        return Counts(len(self.pairs), len(self.missed), len(self.invented))


def match_objects(objects: Objects, answer: Answer, threshold: float) -> Matching:
    """The one-to-one matching with the most pairs of one label at IoU >= threshold.

    Among those with the most pairs, the one with the largest sum of IoU. It does not depend on the order
    of the boxes in the answer, save for exact ties.

    Args:
        objects: the K true boxes of an image.
        answer: the M predicted boxes.
        threshold: the least IoU of a pair, in (0, 1].

    Raises:
        ValueError: the threshold is not in (0, 1].

    Example:
        >>> truth = Objects(((0, 0, 10, 10), (20, 0, 30, 10)), ("cat", "cat"))
        >>> found = Answer(((0, 0, 10, 9), (50, 50, 60, 60)), ("cat", "cat"))
        >>> match_objects(truth, found, 0.5)
        Matching(pairs=((0, 0),), missed=(1,), invented=(1,), ignored=())
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    pred_labels = np.asarray(answer.labels, dtype=object)
    true_labels = np.asarray(objects.labels, dtype=object)
    crowd = np.asarray(objects.crowd, dtype=bool)
    same_label = pred_labels[:, None] == true_labels[None, :]
    overlap = same_label * overlaps(box_array(answer.boxes), box_array(objects.boxes), objects.crowd)
    pairs = _most_pairs(np.where(crowd[None, :], 0.0, overlap), threshold)
    matched_pred, matched_true = {m for m, _ in pairs}, {k for _, k in pairs}
    unmatched = [m for m in range(len(answer)) if m not in matched_pred]
    in_crowd = ((overlap >= _IN_CROWD) & crowd[None, :]).any(axis=1)
    return Matching(
        pairs=pairs,
        missed=tuple(k for k in range(len(objects)) if k not in matched_true and not crowd[k]),
        invented=tuple(m for m in unmatched if not in_crowd[m]),
        ignored=tuple(m for m in unmatched if in_crowd[m]),
    )


def _most_pairs(iou: Floats, threshold: float) -> tuple[tuple[int, int], ...]:
    """Pairs at IoU >= threshold, first as many as can be, then with the largest sum of IoU."""
    hit = iou >= threshold
    # The IoUs of a whole matching sum to less than one more pair.
    weight = hit * (1 + iou / (min(iou.shape) + 1))
    rows, columns = linear_sum_assignment(weight, maximize=True)
    return tuple((int(m), int(k)) for m, k in zip(rows, columns, strict=True) if hit[m, k])
