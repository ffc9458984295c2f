"""Masks as COCO writes them: polygons or run-length encodings, in pixels of the original image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_HUGE = 1e9  # pixels; no image is larger


def is_mask(segmentation: Any, width: int, height: int) -> bool:
    """Whether it is a mask of an image of that size, which pycocotools can draw: others may crash it.

    Args:
        segmentation: polygons as a list of flat lists [x1, y1, x2, y2, ...] of three or more corners; or a
            dict with size [height, width] and counts, a list of run lengths or their compressed text.
        width: of the image in pixels.
        height: likewise.

    Example:
        >>> is_mask([[0, 0, 9, 0, 9, 9]], 20, 10), is_mask({"size": [10, 20], "counts": [50, 150]}, 20, 10)
        (True, True)
        >>> is_mask([[0, 0, 9, 9]], 20, 10), is_mask({"size": [20, 10], "counts": [200]}, 20, 10)
        (False, False)
    """
    if isinstance(segmentation, Mapping):
        counts = segmentation.get("counts")
        if isinstance(counts, list):
            whole = all(type(run) is int and run >= 0 for run in counts) and sum(counts) == width * height
        else:
            whole = isinstance(counts, str | bytes)
        return whole and list(segmentation.get("size", ())) == [height, width]
    return isinstance(segmentation, list | tuple) and bool(segmentation) and all(map(_is_ring, segmentation))


def run_lengths(mask: npt.NDArray[np.bool_]) -> dict[str, list[int]]:
    """A mask as COCO's uncompressed run-length encoding: column by column, from a run of what is outside.

    Args:
        mask: height x width, true inside.

    Example:
        >>> run_lengths(np.array([[False, True, True], [False, False, True]]))
        {'size': [2, 3], 'counts': [2, 1, 1, 2]}
        >>> run_lengths(np.array([[True, False]]))
        {'size': [1, 2], 'counts': [0, 1, 1]}
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=flat.size).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _is_ring(ring: Any) -> bool:
    if isinstance(ring, np.ndarray):
        ring = ring.tolist()
    return (
        isinstance(ring, list | tuple)
        and len(ring) >= 6
        and len(ring) % 2 == 0
        and all(type(x) in (int, float) and -_HUGE < x < _HUGE for x in ring)
    )
