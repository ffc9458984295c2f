"""Criteria of tasks beside detection: phrases, one expression, points, outlines, texts and counts.

Each has what it takes for feedback to be definitive: one form of answer, one-to-one pairs, and a price for
what is missing, invented or said twice. Axes: N completions, M predicted, K true objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from torch import Tensor

from vision_r1_data import Answer
from vision_r1_grpo.rewards.f_measure import BETA, box_quality, f_measure, pair, refine, scores
from vision_r1_grpo.rewards.masks import draw_polygons
from vision_r1_grpo.rewards.scene import Scene, Scores, Target
from vision_r1_ops import Thresholds, box_iou

_SIMILAR = 0.5  # texts that have less in common are different texts


@dataclass(frozen=True)
class Grounding:
    """Format, and the F-measure of each phrase, averaged over the phrases.

    A phrase's boxes are compared with its own objects, and a phrase of one object counts as one of ten.

        mean F = sum of F over the P phrases that are there / (P + U / (1 + beta^2))

    U counts the boxes of phrases that are not there. They cost what a box too many costs a phrase of one
    object. Quality is that of strict.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        index, found = pair(scene, box_quality(scene, thresholds))
        objects = _alike(scene.true_labels).sum(dim=1)  # (N, K): of an object's phrase
        boxes = scene.same_label.sum(dim=1)  # (N, K): likewise
        share = (1 + BETA**2) / (boxes + BETA**2 * objects).clamp(min=1)  # (N, K): of an object in its F
        total = (found * share.gather(1, index.clamp(min=0))).sum(dim=1)
        phrases = torch.where(objects > 0, 1 / objects.clamp(min=1), 0.0).sum(dim=1)
        astray = scene.n_pred - scene.same_label.any(dim=2).sum(dim=1)
        asked = phrases + astray / (1 + BETA**2)
        return scores(scene, index, found, mean_f=torch.where(asked > 0, total / asked.clamp(min=0.1), 1.0))


@dataclass(frozen=True)
class Rec:
    """Format, and the quality of the one box that a referring expression asks for.

    Labels are not compared: the question names the object. The quality is divided by the number of boxes, so
    two guesses earn half. Where the expression fits K objects, of which P are paired with a quality above 0,
    accuracy = sum of q / (M + K - P), so that a guess too many costs as well.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        index, found = pair(scene, refine(box_iou(scene.pred, scene.true), thresholds))
        either = scene.n_pred + scene.n_true - (found > 0).sum(dim=1)
        accuracy = torch.where(either > 0, found.sum(dim=1) / either.clamp(min=1), 1.0)
        return scores(scene, index, found, accuracy=accuracy)


@dataclass(frozen=True)
class Pointing:
    """Format, and the F-measure of points; q is 1 for a point in an object of its label, else 0.

    In an object means in its mask where there is one, else in its box.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        return f_measure(scene, _padded(scene, _inside) * scene.same_label)


@dataclass(frozen=True)
class Segmentation:
    """Format, and the F-measure of outlines; q is that of strict with the IoU of masks.

    Corners beyond the image are moved to its edge. An object without a mask counts as its box filled.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        return f_measure(scene, refine(_padded(scene, _mask_iou), thresholds) * scene.same_label)


@dataclass(frozen=True)
class Ocr:
    """Format, and the F-measure of texts with their boxes.

    q = f(IoU) * s, where s = 1 - edit distance / length of the longer text, and 0 below one half. Texts are
    compared as they are, letter case and spaces included.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        quality = refine(box_iou(scene.pred, scene.true), thresholds) * _padded(scene, _similarity)
        return f_measure(scene, quality)


@dataclass(frozen=True)
class Counting:
    """Format, and how near the number is to the number of objects.

    count = min(said, true) / max(said, true), the IoU of two heaps, and 0 below xi0. Thresholds do not make
    it 1: only the right number is right.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        said = torch.tensor([-1 if a.count is None else a.count for a in scene.answers], dtype=torch.float64)
        less, more = torch.minimum(said.clamp(min=0), scene.n_true), torch.maximum(said, scene.n_true)
        ratio = torch.where(more > 0, less / more.clamp(min=1), 1.0)
        count = torch.where((said >= 0) & (ratio >= thresholds.xi0), ratio, 0.0).float()
        parts = {"format": scene.well_formed.float(), "count": count}
        return Scores(parts, (count > 0).long(), (count == 1).long())


def _alike(labels: Int[Tensor, "n k"]) -> Bool[Tensor, "n k k"]:
    """Which objects have one label; padding has none."""
    return (labels[:, :, None] == labels[:, None, :]) & (labels >= 0)[:, :, None]


def _padded(
    scene: Scene, compare: Callable[[Answer, Target], NDArray[np.floating | np.bool_]]
) -> Float[Tensor, "n m k"]:
    """`compare` gives the (M, K) values of one answer and its target."""
    values = torch.zeros(len(scene.answers), scene.pred.shape[1], scene.true.shape[1])
    for row, answer, target in zip(values, scene.answers, scene.targets, strict=True):
        m, k = len(answer.boxes), len(target.boxes)
        if m and k:
            row[:m, :k] = torch.as_tensor(compare(answer, target))
    return values


def _similarity(answer: Answer, target: Target) -> NDArray[np.floating]:
    scorer = Levenshtein.normalized_similarity
    return cdist(answer.labels, target.labels, scorer=scorer, score_cutoff=_SIMILAR, dtype=np.float64)


def _inside(answer: Answer, target: Target) -> NDArray[np.bool_]:
    """A point is a box without extent; one on the edge of a box is inside, a mask holds whole pixels."""
    points = np.array([box[:2] for box in answer.boxes])
    (x, y), (x1, y1, x2, y2) = points.T[:, :, None], np.array(target.boxes).T
    in_box: NDArray[np.bool_] = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    if not target.segmentations:
        return in_box
    frame = target.frame
    pixels = np.floor(points)
    in_image = ((pixels >= 0) & (pixels < [frame.width, frame.height])).all(axis=1)
    pixels[~in_image] = 0
    drawn = coco_mask.frPyObjects(np.hstack([pixels, np.ones_like(pixels)]), frame.height, frame.width)
    in_mask = (coco_mask.iou(drawn, target.masks, [0] * len(target.masks)) > 0) & in_image[:, None]
    inside: NDArray[np.bool_] = np.where([m is not None for m in target.segmentations], in_mask, in_box)
    return inside


def _mask_iou(answer: Answer, target: Target) -> NDArray[np.float64]:
    outlines = [draw_polygons([np.ravel(polygon)], target.frame) for polygon in answer.polygons]
    iou: NDArray[np.float64] = coco_mask.iou(outlines, target.masks, [0] * len(target.masks))
    return iou
