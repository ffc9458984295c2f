"""What readers of referring expressions share: one sample of one expression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision_r1_data.frame import Box
from vision_r1_data.sample import Objects, Sample


def rec_sample(
    expression: str,
    boxes: Sequence[Box],
    *,
    id: str,
    image: Path | bytes,
    size: tuple[int, int],
    source: str,
    image_id: str,
    crowd: Sequence[bool] = (),
    exhaustive: bool = True,
) -> Sample:
    """A sample that asks for what one expression refers to.

    Args:
        expression: the one category, and the label of every box.
        boxes: K boxes xyxy in original pixels.
        id: the sample's.
        image: path of the image file, or its bytes.
        size: width and height in pixels.
        source: where the sample comes from.
        image_id: what other sets call the same picture.
        crowd: K flags, or none if all are false.
        exhaustive: whether the boxes are all that the expression refers to.
    """
    return Sample(
        id=id,
        image=image,
        width=size[0],
        height=size[1],
        task="rec",
        categories=(expression,),
        objects=Objects(tuple(boxes), (expression,) * len(boxes), tuple(crowd)),
        source=source,
        image_id=image_id,
        not_exhaustive=() if exhaustive else (expression,),
    )
