"""LLaVA-1.5: boxes alone, two decimals of the image's width and height.

    [0.10, 0.20, 0.30, 0.40]

It names no labels: `decode` gives the one category that was asked for, or "" where there are several or none.
So ask for one category at a time where labels are compared. The numbers are of the image as it is, as the
benchmark asks for them, though the model sees it padded; `Space(square=True)` reads them as of the square.

Source: EvolvingLMMs-Lab/lmms-eval (lmms_eval/tasks/refcoco/utils_rec.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_FORMAT = (
    "Bounding box coordinates are specified in the format (top-left x, top-left y, bottom-right x, "
    "bottom-right y). All values are floating point numbers bounded between 0 and 1. "
)
_EVERY = _FORMAT + "Please provide the bounding box coordinates of every {} in the image."
DIALECT = Tags(
    name="llava",
    space=Space(scale=1, decimals=2),
    places={"boxes": "{}, {}, {}, {}"},
    words=Words(
        {
            "detection": _EVERY,
            "grounding": _EVERY,
            "rec": _FORMAT
            + "Please provide the bounding box coordinate of the region this sentence describes: {}",
        }
    ),
    label=None,
    open="[",
    close="]",
    join=", ",
)
