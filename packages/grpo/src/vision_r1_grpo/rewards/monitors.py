"""Signs that a policy games its reward, of every step, and when one is an alarm.

Axes: N completions, M predicted, K true boxes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vision_r1_data import Answer
from vision_r1_data.prompts import TASKS
from vision_r1_grpo.rewards.scene import Target, make_scene
from vision_r1_ops import box_iou

_SAME_BOX, _WHOLE_IMAGE, _ON_OBJECT = 0.9, 0.9, 0.5
_WINDOW = 10  # one step of a few prompts is too noisy to go by
_F1 = "eval/F1@50"
# monitor -> the two counts whose ratio it is
_RATIOS = {
    "boxes_per_true_box": ("boxes", "true_boxes"),
    "duplicates": ("duplicates", "boxes"),
    "box_area": ("area", "true_area"),
    "full_image": ("full_images", "boxes"),
    "too_few": ("too_few", "placed"),
    "label_entropy_lost": ("entropy_lost", "entropies"),
    "labels_wrong": ("labels_wrong", "on_object"),
    "unreadable": ("unreadable", "completions"),
    "ill_formed": ("ill_formed", "completions"),
}


@dataclass(frozen=True)
class Alarm:
    """When a monitor is too high.

    Args:
        threshold: on above it.
        above_start: the threshold is counted from the monitor's mean over its first `window` values.
        measure: what the monitor is.
        sign: what the policy may have found.
        window: it goes by the mean of as many values, the last ones.
    """

    threshold: float
    above_start: bool
    measure: str
    sign: str
    window: int = _WINDOW


# The README says why of each.
ALARMS = {
    "boxes_per_true_box": Alarm(3.0, False, "Boxes per true box", "guesses cost too little"),
    "duplicates": Alarm(0.1, False, "Share of boxes that repeat one of their answer", "saying it twice pays"),
    "box_area": Alarm(0.5, True, "Area of a box, in true boxes of its image", "size makes up for place"),
    "full_image": Alarm(0.2, True, "Share of boxes that cover their whole image", "size stands in for place"),
    "too_few": Alarm(
        0.2, True, "Share of answers with under half of the boxes that are true", "silence pays"
    ),
    "label_entropy_lost": Alarm(0.2, True, "Share of the variety of labels that is lost", "a few names do"),
    "labels_wrong": Alarm(0.12, True, "Share of boxes on an object that misname it", "names are free"),
    "unreadable": Alarm(0.2, True, "Share of answers in which nothing can be read", "the form is forgotten"),
    "ill_formed": Alarm(0.2, True, "Share of answers that break the form", "it costs too little"),
    "f1_drop": Alarm(
        0.08, False, "F1 below its best while the reward is up", "it pays for something else", 1
    ),
}
"""Monitor -> its alarm."""


def count_signs(answers: Sequence[Answer], targets: Sequence[Target]) -> dict[str, float]:
    """Counts over N completions, always the same keys; those of several ranks add up.

    Two boxes of an answer are the same if their labels are equal and their IoU is at least .9. A box covers
    its image if at least .9 of the image lies in it, and is on an object from IoU .5 on. Boxes are cut at the
    image's edges for their area. The variety of labels is exp(H), how many equally frequent ones have the
    entropy H = -sum p ln p of all labels together; 1 - exp(H_said - H_true), or 0 if more are said than are
    true, is lost of it. Summed over ranks, this becomes the mean of the ranks that have labels. What asks for
    a number has no boxes to go by, and counts only among completions, unreadable and ill formed ones.

    Args:
        answers: N decoded completions.
        targets: N truths.

    Returns:
        What `monitors` makes ratios of.
    """
    completions = len(answers)
    unreadable = sum(not (one.well_formed or one.boxes or one.count is not None) for one in answers)
    ill_formed = sum(not answer.well_formed for answer in answers)
    placed = [n for n, target in enumerate(targets) if TASKS[target.task].form != "number"]
    answers, targets = [answers[n] for n in placed], [targets[n] for n in placed]
    scene = make_scene(answers, targets)
    same_label = scene.pred_labels[:, :, None] == scene.pred_labels[:, None, :]
    same = same_label & (box_iou(scene.pred, scene.pred) >= _SAME_BOX)
    on_object = box_iou(scene.pred, scene.true) >= _ON_OBJECT  # (N, M, K)
    named = on_object & (scene.pred_labels[:, :, None] == scene.true_labels[:, None, :])
    area, true_area = _area(scene.pred, targets), _area(scene.true, targets)
    # What its boxes would cover if each were as large as the mean true one; nothing to go by without truth.
    expected = scene.n_pred * true_area.sum(dim=1) / scene.n_true.clamp(min=1)
    said, true = (Counter(label for one in side for label in one.labels) for side in (answers, targets))
    counts: dict[str, Tensor | float] = {
        "completions": completions,
        "placed": len(placed),
        "boxes": scene.n_pred.sum(),
        "true_boxes": scene.n_true.sum(),
        "duplicates": same.tril(-1).any(dim=2).sum(),
        "area": area[scene.n_true > 0].sum(),
        "true_area": expected.sum(),
        "full_images": (area >= _WHOLE_IMAGE).sum(),
        "too_few": (2 * scene.n_pred < scene.n_true).sum(),
        "entropies": bool(said and true),
        "entropy_lost": max(1 - _variety(said) / _variety(true), 0) if said and true else 0,
        "on_object": on_object.any(dim=2).sum(),
        "labels_wrong": (on_object.any(dim=2) & ~named.any(dim=2)).sum(),
        "unreadable": unreadable,
        "ill_formed": ill_formed,
    }
    return {name: float(count) for name, count in counts.items()}


def _area(boxes: Float[Tensor, "n m 4"], targets: Sequence[Target]) -> Float[Tensor, "n m"]:
    """Of the part of each box that lies in its image, as a share of the image."""
    sides = [(t.frame.width, t.frame.height, t.frame.width, t.frame.height) for t in targets]
    inside = (boxes.double() / torch.tensor(sides, dtype=torch.float64).view(-1, 1, 4)).clamp(0, 1)
    return (inside[..., 2:] - inside[..., :2]).clamp(min=0).prod(dim=-1)


def _variety(labels: Counter[str]) -> float:
    """exp(H), the perplexity: how many equally frequent labels have as much entropy."""
    total = labels.total()
    return math.exp(-sum(n / total * math.log(n / total) for n in labels.values()))


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
        first: the reward and the monitors, each with its first values, at most 10.
        last: likewise its last values.
        best_f1: the highest F1 of its evaluations.
    """

    first: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    last: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    best_f1: float = -math.inf

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> History:
        """The history of rows of metrics.jsonl."""
        return reduce(cls.after, rows, cls())

    def after(self, row: Mapping[str, Any]) -> History:
        """The history with one more row."""
        seen = {key: row[key] for key in row if key == "reward" or key.startswith("monitor/")}
        first = {key: (*self.first.get(key, ()), value)[:_WINDOW] for key, value in seen.items()}
        last = {key: (*self.last.get(key, ()), value)[-_WINDOW:] for key, value in seen.items()}
        best_f1 = max(self.best_f1, row.get(_F1, -math.inf))
        return History({**self.first, **first}, {**self.last, **last}, best_f1)

    def level(self, name: str) -> float:
        """What the monitor's alarm goes by: the mean of its last values."""
        return fmean(self.last[f"monitor/{name}"][-ALARMS[name].window :])

    def limit(self, name: str) -> float:
        """What the monitor's alarm is on above; it settles when the first values are there."""
        alarm = ALARMS[name]
        first = self.first[f"monitor/{name}"][: alarm.window]
        return alarm.threshold + (fmean(first) if alarm.above_start else 0.0)


def judge(row: Mapping[str, Any], history: History) -> dict[str, Any]:
    """What is to be added to a row of metrics.jsonl, given the rows before it.

    Args:
        row: the step's metrics; those of an evaluation, if it has one, as "eval/...".
        history: of the rows before.

    Returns:
        "alarms", each that is on with the level that is too high; and where the step has an evaluation
        "monitor/f1_drop", how far F1 is below its best if the reward is above its start, else 0.

    Example:
        >>> history = History.of([{"step": n, "reward": 1.2, "eval/F1@50": 0.75} for n in range(10)])
        >>> judge({"step": 11, "reward": 1.5, "eval/F1@50": 0.5, "monitor/duplicates": 0.0}, history)
        {'monitor/f1_drop': 0.25, 'alarms': {'f1_drop': 0.25}}
    """
    added: dict[str, Any] = {}
    after = history.after(row)
    if _F1 in row and "reward" in row:
        risen = fmean(after.last["reward"]) > fmean(after.first["reward"])
        added["monitor/f1_drop"] = max(history.best_f1 - row[_F1], 0.0) if risen else 0.0
        after = after.after(added)
    added["alarms"] = {
        name: after.level(name)
        for name in ALARMS
        if f"monitor/{name}" in {**row, **added} and after.level(name) > after.limit(name)
    }
    return added
