"""From samples and answers to numbers that can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from vision_r1_data import Answer, Sample
from vision_r1_eval.coco import coco_metrics, count_unknown
from vision_r1_eval.matching import Counts, match_objects
from vision_r1_eval.protocol import DEFAULT, Protocol


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a number is called, what it says, and which way it should go."""

    key: str
    text: str
    better: Literal["higher", "lower", "neither"]


def _means(key: str, better: Literal["higher", "lower", "neither"], text: str) -> dict[str, Any]:
    return {"meaning": Meaning(key, text, better)}


@dataclass(frozen=True, slots=True)
class Metrics:
    """The numbers of one evaluation, and the protocol that they stand on.

    `as_dict` names them as papers do; `meanings` says what each one is.
    """

    protocol: Protocol
    mean_ap: float = field(
        metadata=_means(
            "mAP", "higher", "COCO average precision: mean over categories and IoU thresholds .50 to .95."
        )
    )
    ap50: float = field(
        metadata=_means("AP50", "higher", "COCO average precision at IoU .50: roughly the right place.")
    )
    ap75: float = field(
        metadata=_means("AP75", "higher", "COCO average precision at IoU .75: tightly the right place.")
    )
    ar100: float = field(
        metadata=_means("AR100", "higher", "COCO average recall over IoU .50 to .95, at maxDets boxes.")
    )
    f1_50: float = field(
        metadata=_means(
            "F1@50",
            "higher",
            "2 right / (predicted + true) at IoU .50 with the right label; needs no scores.",
        )
    )
    f1_75: float = field(
        metadata=_means("F1@75", "higher", "2 right / (predicted + true) at IoU .75 with the right label.")
    )
    precision_50: float = field(
        metadata=_means("precision@50", "higher", "Share of predicted boxes that are right at IoU .50.")
    )
    recall_50: float = field(
        metadata=_means("recall@50", "higher", "Share of true boxes that are found at IoU .50.")
    )
    boxes_per_answer: float = field(
        metadata=_means(
            "boxes_per_answer", "neither", "Mean number of predicted boxes; compare with boxes_per_image."
        )
    )
    boxes_per_image: float = field(
        metadata=_means("boxes_per_image", "neither", "Mean number of true boxes, crowds left out.")
    )
    well_formed: float = field(
        metadata=_means("well_formed", "higher", "Share of answers in exactly the dialect's form.")
    )
    unknown_labels: float = field(
        metadata=_means(
            "unknown_labels", "lower", "Share of predicted boxes with a label that was not asked for."
        )
    )
    truncated: float = field(
        metadata=_means("truncated", "lower", "Share of answers that end before their form is complete.")
    )

    def as_dict(self) -> dict[str, float]:
        """The numbers by name, in the order of `meanings`; NaN where the set has no true box to measure."""
        return {f.metadata["meaning"].key: getattr(self, f.name) for f in fields(self) if f.metadata}


def meanings() -> tuple[Meaning, ...]:
    """What each number of `Metrics.as_dict` means, in its order."""
    return tuple(f.metadata["meaning"] for f in fields(Metrics) if f.metadata)


def evaluate(samples: Sequence[Sample], answers: Sequence[Answer], protocol: Protocol = DEFAULT) -> Metrics:
    """Score the answers of a model.

    COCO's AP and AR come from pycocotools (see `coco_metrics`). F1, precision and recall need no scores:
    per image and label, the one-to-one matching with the most pairs at the IoU, counted over the whole set.
    A box with an unknown label counts as predicted and is never right. Crowds are not counted as true, and
    a box that matches nothing but lies in a crowd of its label is not counted as predicted.

    Args:
        samples: the images and their annotated objects; at least one.
        answers: one per sample, in the same order.
        protocol: the choices that change the numbers.

    Raises:
        ValueError: there are no samples, not as many answers, or two samples have one id.

    Example:
        >>> from pathlib import Path
        >>> from vision_r1_data import Objects
        >>> objects = Objects(((0, 0, 10, 10), (20, 20, 40, 40)), ("cat", "dog"))
        >>> sample = Sample("1", Path("1.png"), 64, 64, categories=("cat", "dog"), objects=objects)
        >>> metrics = evaluate([sample], [Answer(((0, 0, 10, 10),), ("cat",), well_formed=True)])
        >>> round(metrics.mean_ap, 3), metrics.recall_50, metrics.precision_50
        (0.5, 0.5, 1.0)
    """
    _check(samples, answers)
    coco = coco_metrics(samples, answers, protocol)
    at_50, at_75 = (_counts(samples, answers, threshold) for threshold in (0.5, 0.75))
    boxes = sum(map(len, answers))
    unknown = sum(count_unknown(sample, answer) for sample, answer in zip(samples, answers, strict=True))
    return Metrics(
        protocol=protocol,
        mean_ap=coco["mAP"],
        ap50=coco["AP50"],
        ap75=coco["AP75"],
        ar100=coco["AR100"],
        f1_50=at_50.f1,
        f1_75=at_75.f1,
        precision_50=at_50.precision,
        recall_50=at_50.recall,
        boxes_per_answer=boxes / len(answers),
        boxes_per_image=(at_50.right + at_50.missed) / len(samples),
        well_formed=sum(answer.well_formed for answer in answers) / len(answers),
        unknown_labels=unknown / boxes if boxes else 0.0,
        truncated=sum(answer.truncated for answer in answers) / len(answers),
    )


def comparison_table(before: Metrics, after: Metrics) -> str:
    """Both evaluations side by side as aligned plain text, and the protocol below.

    Raises:
        ValueError: the two were not made under one protocol.
    """
    if before.protocol != after.protocol:
        raise ValueError(
            f"before and after must have one protocol, got '{before.protocol}' and '{after.protocol}'"
        )
    rows = [("metric", "before", "after", "change", "ratio")]
    for key, old, new in zip(
        before.as_dict(), before.as_dict().values(), after.as_dict().values(), strict=True
    ):
        rows.append((key, number(old), number(new), change(old, new), ratio(old, new)))
    lines = [f"{name:<16}" + "".join(f"{cell:>9}" for cell in cells) for name, *cells in rows]
    return "\n".join([*lines, f"protocol: {before.protocol}"])


def number(value: float) -> str:
    """Three decimals, or a dash for NaN."""
    return f"{value:.3f}" if math.isfinite(value) else "-"


def change(before: float, after: float) -> str:
    """after - before with its sign."""
    difference = after - before
    if not math.isfinite(difference):
        return "-"
    return "0.000" if abs(difference) < 0.0005 else f"{difference:+.3f}"


def ratio(before: float, after: float) -> str:
    """after / before, or a dash where there is nothing to divide by."""
    return f"{after / before:.2f}x" if before > 0 and math.isfinite(after) else "-"


def _check(samples: Sequence[Sample], answers: Sequence[Answer]) -> None:
    if not samples:
        raise ValueError("samples must hold at least one sample, got none")
    if len(answers) != len(samples):
        raise ValueError(
            f"answers must hold one answer per sample, got {len(answers)} for {len(samples)} samples"
        )
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise ValueError(f"samples must have distinct ids, got {sample.id!r} more than once")
        seen.add(sample.id)


def _counts(samples: Sequence[Sample], answers: Sequence[Answer], threshold: float) -> Counts:
    pairs = zip(samples, answers, strict=True)
    matchings = (match_objects(sample.objects, answer, threshold) for sample, answer in pairs)
    return sum((matching.counts for matching in matchings), start=Counts())
