"""Masks as run-length encodings, which pycocotools compares without drawing their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vision_r1_data import Box, Frame


def draw_mask(segmentation: Any, box: Box, frame: Frame) -> Any:
    """The mask of an object, or of its box filled where it has none.

    Args:
        segmentation: polygons or a run-length encoding, see `vision_r1_data.masks.is_mask`; or None.
        box: xyxy in pixels of the original image.
        frame: of the image.
    """
    if segmentation is None:
        x1, y1, x2, y2 = box
        segmentation = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if not isinstance(segmentation, Mapping):
        return draw_polygons(segmentation, frame)
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, *segmentation["size"])
    return segmentation


def draw_polygons(rings: Sequence[Any], frame: Frame) -> Any:
    """One mask of all rings [x1, y1, x2, y2, ...].

    Corners are moved to the image's edges, without which a far one would cost memory by its distance.
    """
    sides = np.array([frame.width, frame.height], dtype=np.float64)
    inside = [np.clip(np.reshape(ring, (-1, 2)), 0, sides).ravel().tolist() for ring in rings]
    return coco_mask.merge(coco_mask.frPyObjects(inside, frame.height, frame.width))
