"""COCO's twelve numbers, by pycocotools.

Answers carry no scores, so all scores are equal and ties decide the precision-recall curve. The rule:
within an image the order of emission, across images the order of the samples. pycocotools keeps it because
its sorts are stable (mergesort) and images are numbered in the order of the samples.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1_data import Answer, Box, Sample
from vision_r1_eval.boxes import box_array
from vision_r1_eval.protocol import DEFAULT, Protocol

_SCORE = 1.0
# pycocotools ignores a wrong box above this area, as one outside of the size range "all".
_LARGEST_AREA = 1e10
_AREAS = ("", "s", "m", "l")


def coco_metrics(
    samples: Sequence[Sample], answers: Sequence[Answer], protocol: Protocol = DEFAULT
) -> dict[str, float]:
    """COCO's average precision and recall.

    A category without a true box in the whole set has no AP and leaves the mean alone, so boxes of its
    label cost nothing here (they do cost in the score-free F1). Sizes are those of the boxes, not of masks.

    Args:
        samples: the images; those without objects count too.
        answers: one per sample. A label that is not among the sample's categories is no detection.
        protocol: how scores and ties are made, and how many boxes count.

    Returns:
        mAP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; NaN where there is no true box of
        that size. AR100 is the recall at the protocol's `max_dets`.

    Raises:
        ValueError: there is not one answer per sample.

    Example:
        >>> from pathlib import Path
        >>> from vision_r1_data import Objects
        >>> objects = Objects(((0, 0, 10, 10),), ("cat",))
        >>> sample = Sample("1", Path("1.png"), 64, 64, categories=("cat",), objects=objects)
        >>> miss, hit = (40, 40, 50, 50), (0, 0, 10, 10)
        >>> round(coco_metrics([sample], [Answer((hit, miss, miss), ("cat",) * 3)])["mAP"], 3)
        1.0
        >>> round(coco_metrics([sample], [Answer((miss, miss, hit), ("cat",) * 3)])["mAP"], 3)
        0.333
    """
    labels = dict.fromkeys(label for sample in samples for label in _asked(sample))
    category_ids = {label: number for number, label in enumerate(labels, start=1)}
    # pycocotools reports its progress on stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _coco(len(samples), category_ids, _truth(samples, category_ids))
        detections = _coco(len(samples), category_ids, _detections(samples, answers, category_ids))
        evaluation = COCOeval(truth, detections, "bbox")
        evaluation.params.maxDets = [*(min(n, protocol.max_dets) for n in (1, 10)), protocol.max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
    return _twelve(evaluation.eval["precision"], evaluation.eval["recall"])


def count_unknown(sample: Sample, answer: Answer) -> int:
    """How many boxes of an answer have a label that the sample does not ask for."""
    known = set(_asked(sample))
    return sum(label not in known for label in answer.labels)


def _asked(sample: Sample) -> tuple[str, ...]:
    """The labels that a sample asks for; one that is annotated is asked for."""
    return sample.categories + sample.objects.labels


def _coco(images: int, category_ids: dict[str, int], annotations: Iterable[dict[str, Any]]) -> COCO:
    """An index as pycocotools reads it; unlike its `loadRes`, it takes an empty list."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(1, images + 1)],
        "categories": [{"id": number, "name": label} for label, number in category_ids.items()],
        # From 1: pycocotools takes a match with annotation 0 for no match.
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco


def _truth(samples: Sequence[Sample], category_ids: dict[str, int]) -> Iterable[dict[str, Any]]:
    for image, sample in enumerate(samples, start=1):
        objects = sample.objects
        entries = zip(_shapes(objects.boxes), objects.labels, objects.crowd, strict=True)
        for shape, label, crowd in entries:
            yield {"image_id": image, "category_id": category_ids[label], "iscrowd": int(crowd), **shape}


def _detections(
    samples: Sequence[Sample], answers: Sequence[Answer], category_ids: dict[str, int]
) -> Iterable[dict[str, Any]]:
    for image, (sample, answer) in enumerate(zip(samples, answers, strict=True), start=1):
        known = set(_asked(sample))
        for shape, label in zip(_shapes(answer.boxes), answer.labels, strict=True):
            if label in known:
                category = category_ids[label]
                yield {
                    "image_id": image,
                    "category_id": category,
                    "iscrowd": 0,
                    "score": _SCORE,
                    **shape,
                }


def _shapes(boxes: Sequence[Box]) -> Iterable[dict[str, Any]]:
    for x1, y1, x2, y2 in box_array(boxes).tolist():
        width, height = x2 - x1, y2 - y1
        yield {"bbox": [x1, y1, width, height], "area": min(width * height, _LARGEST_AREA)}


def _twelve(precision: Any, recall: Any) -> dict[str, float]:
    """The means that COCO reports.

    Args:
        precision: (IoU threshold, recall threshold, category, area, maxDets); -1 where undefined.
        recall: (IoU threshold, category, area, maxDets); likewise.
    """
    numbers = {
        "mAP": precision[:, :, :, 0, -1],
        "AP50": precision[0, :, :, 0, -1],
        "AP75": precision[5, :, :, 0, -1],
        **{f"AP{area}": precision[:, :, :, a, -1] for a, area in enumerate(_AREAS) if area},
        **{f"AR{n}": recall[:, :, 0, place] for place, n in enumerate((1, 10, 100))},
        **{f"AR{area}": recall[:, :, a, -1] for a, area in enumerate(_AREAS) if area},
    }
    return {name: _mean(values[values > -1]) for name, values in numbers.items()}


def _mean(values: Any) -> float:
    return float(np.mean(values)) if values.size else float("nan")
