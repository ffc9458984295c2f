"""Signs that a policy games its reward, of every step, and when one is an alarm.

Axes: N completions, M predicted boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vision_r1_data import Answer
from vision_r1_grpo.rewards.scene import Target, make_scene
from vision_r1_ops import box_iou

_SAME_BOX, _WHOLE_IMAGE = 0.9, 0.9
_F1 = "eval/F1@50"
# monitor -> the two counts whose ratio it is
_RATIOS = {
    "boxes_per_true_box": ("boxes", "true_boxes"),
    "duplicates": ("duplicates", "boxes"),
    "box_area": ("area", "boxes"),
    "full_image": ("full_images", "boxes"),
    "too_few": ("too_few", "completions"),
    "labels_missed": ("labels_missed", "true_labels"),
    "unreadable": ("unreadable", "completions"),
    "ill_formed": ("ill_formed", "completions"),
}


@dataclass(frozen=True)
class Alarm:
    """When a monitor is too high.

    Args:
        threshold: on above it.
        above_start: the threshold is counted from the run's first step.
        meaning: what the monitor is, and what the policy may have found.
    """

    threshold: float
    above_start: bool
    meaning: str

    def limit(self, start: float) -> float:
        """The value above which it is on, for a monitor that began at `start`."""
        return start + self.threshold if self.above_start else self.threshold


ALARMS = {
    "boxes_per_true_box": Alarm(3.0, False, "Boxes per true box: guesses cost too little."),
    "duplicates": Alarm(0.1, False, "Share of boxes that repeat one of their answer: saying it twice pays."),
    "full_image": Alarm(0.2, True, "Share of boxes that cover their whole image: size stands in for place."),
    "too_few": Alarm(0.2, True, "Share of answers with under half of the boxes that are true: silence pays."),
    "labels_missed": Alarm(0.2, True, "Share of true labels that their answer never says: names are free."),
    "unreadable": Alarm(0.2, True, "Share of answers in which nothing can be read: the form is forgotten."),
    "f1_drop": Alarm(0.05, False, "F1 below its best while the reward is up: it pays for something else."),
}
"""Monitor -> its alarm; the other monitors have none."""


def count_signs(answers: Sequence[Answer], targets: Sequence[Target]) -> dict[str, float]:
    """Counts over N completions, always the same keys; those of several ranks add up.

    Two boxes of an answer are the same if their labels are equal and their IoU is at least .9. A box covers
    its image if at least .9 of the image lies in it. Boxes are cut at the image's edges for their area.

    Args:
        answers: N decoded completions.
        targets: N truths.

    Returns:
        What `monitors` makes ratios of.
    """
    scene = make_scene(answers, targets)
    same_label = scene.pred_labels[:, :, None] == scene.pred_labels[:, None, :]
    same = same_label & (box_iou(scene.pred, scene.pred) >= _SAME_BOX)
    sides = [(t.frame.width, t.frame.height, t.frame.width, t.frame.height) for t in targets]
    inside = (scene.pred.double() / torch.tensor(sides, dtype=torch.float64).view(-1, 1, 4)).clamp(0, 1)
    area = (inside[..., 2:] - inside[..., :2]).clamp(min=0).prod(dim=-1)  # (N, M)
    counts: dict[str, Tensor | int] = {
        "completions": len(answers),
        "boxes": scene.n_pred.sum(),
        "true_boxes": scene.n_true.sum(),
        "duplicates": same.tril(-1).any(dim=2).sum(),
        "area": area.sum(),
        "full_images": (area >= _WHOLE_IMAGE).sum(),
        "too_few": (2 * scene.n_pred < scene.n_true).sum(),
        "true_labels": sum(len(set(t.labels)) for t in targets),
        "labels_missed": sum(
            len(set(t.labels) - set(a.labels)) for a, t in zip(answers, targets, strict=True)
        ),
        "unreadable": (~scene.readable).sum(),
        "ill_formed": (~scene.well_formed).sum(),
    }
    return {name: float(count) for name, count in counts.items()}


def monitors(counts: Mapping[str, float]) -> dict[str, float]:
    """The monitors of a step; one that has nothing to divide by, such as a share of no boxes, is left out.

    Args:
        counts: of `count_signs`, summed over ranks.

    Returns:
        "monitor/<name>" -> value.
    """
    return {
        f"monitor/{name}": counts[part] / counts[whole]
        for name, (part, whole) in _RATIOS.items()
        if counts[whole]
    }


@dataclass(frozen=True)
class History:
    """What the rows of a run so far say that alarms go by.

    Args:
        start: the reward and the monitors, each at the first step that has it.
        best_f1: the highest F1 of its evaluations.
    """

    start: Mapping[str, float] = field(default_factory=dict)
    best_f1: float = -math.inf

    def after(self, row: Mapping[str, Any]) -> History:
        """The history with one more row of metrics.jsonl."""
        seen = {key: row[key] for key in row if key == "reward" or key.startswith("monitor/")}
        return History(seen | dict(self.start), max(self.best_f1, row.get(_F1, -math.inf)))


def judge(row: Mapping[str, Any], history: History) -> dict[str, Any]:
    """What is to be added to a row of metrics.jsonl, given the rows before it.

    Args:
        row: the step's metrics; those of an evaluation, if it has one, as "eval/...".
        history: of the rows before.

    Returns:
        "alarms", the names of those that are on; and where the step has an evaluation "monitor/f1_drop", how
        far F1 is below its best if the reward is above that of the first step, else 0.

    Example:
        >>> history = History().after({"step": 1, "reward": 1.2, "eval/F1@50": 0.7})
        >>> judge({"step": 2, "reward": 1.5, "eval/F1@50": 0.5, "monitor/duplicates": 0.0}, history)["alarms"]
        ['f1_drop']
    """
    added: dict[str, Any] = {}
    if _F1 in row and "reward" in row:
        risen = row["reward"] > history.start.get("reward", row["reward"])
        added["monitor/f1_drop"] = max(history.best_f1 - row[_F1], 0.0) if risen else 0.0
    values = {**row, **added}
    added["alarms"] = [
        name
        for name, alarm in ALARMS.items()
        if (key := f"monitor/{name}") in values
        and values[key] > alarm.limit(history.start.get(key, values[key]))
    ]
    return added
