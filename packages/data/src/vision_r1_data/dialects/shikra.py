"""Shikra: boxes alone, three decimals of the image padded to a square.

    [0.100,0.200,0.300,0.400;0.500,0.600,0.700,0.800]

It names no labels: `decode` gives the one category that was asked for, or "" where there are several or none.
So ask for one category at a time where labels are compared.

Source: shikras/shikra (mllm/dataset/process_function/box_process_function.py,
mllm/dataset/utils/transform.py, config/_base_/dataset/template/REC.json).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_TASK = "Where is {} in the image? answer in [x0,y0,x1,y1] format."
DIALECT = Tags(
    name="shikra",
    space=Space(scale=1, decimals=3, square=True),
    places={"boxes": "{},{},{},{}"},
    words=Words({"detection": _TASK, "grounding": _TASK, "rec": _TASK}),
    label=None,
    open="[",
    close="]",
    joint=";",
)
