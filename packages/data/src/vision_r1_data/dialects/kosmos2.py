"""Kosmos-2: pairs of cells in a grid of 32 by 32 over the image.

    <phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>

A box goes from the centre of its first cell to the centre of its last; if both lie in one row or column,
from the first's upper left corner to the last's lower right one, so that a box thinner than a cell has an
extent. The marks are tokens of the vocabulary, not special ones. Asked for one phrase, the model goes on
after it; then `decode` gives the category that was asked for.

Source: transformers (models/kosmos2/processing_kosmos2.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vision_r1_data.dialects.space import Shape, Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Words

_SIDE = 32


class _Cells(Space):
    """Boxes as the indices of two cells, row by row."""

    def write(self, places: Sequence[float], frame: Frame) -> list[str]:
        """The cells that hold the two corners; 1024, which is none, for a corner beyond the image."""
        x1, y1, x2, y2 = (
            pixels * _SIDE / size
            for pixels, size in zip(places, (frame.width, frame.height) * 2, strict=True)
        )
        first = _cell(math.floor(x1), math.floor(y1))
        return [first, _cell(math.ceil(x2) - 1, math.ceil(y2) - 1)]

    def shape(self, numbers: Sequence[float]) -> Shape:
        """The box from one cell to the other, in cells."""
        (y1, x1), (y2, x2) = (divmod(index, _SIDE) for index in numbers)
        if x1 == x2 or y1 == y2:
            return (x1, y1, x2 + 1, y2 + 1)
        return (x1 + 0.5, y1 + 0.5, x2 + 0.5, y2 + 0.5)


def _cell(x: int, y: int) -> str:
    is_there = 0 <= x < _SIDE and 0 <= y < _SIDE
    return f"{y * _SIDE + x if is_there else _SIDE**2:04d}"


_TASK = "<grounding> Where is {}?"
DIALECT = Tags(
    name="kosmos2",
    space=_Cells(scale=_SIDE),
    places={"boxes": "<patch_index_{}><patch_index_{}>"},
    words=Words(
        {"detection": _TASK, "grounding": _TASK, "rec": "<grounding>{}"}, each="<phrase> {}</phrase>"
    ),
    label=("<phrase> ", "</phrase>"),
    open="<object>",
    close="</object>",
    joint="</delimiter_of_multi_objects/>",
)
