"""Rex-Omni: marks and numbers that are tokens, in 999ths of the image.

    <|object_ref_start|>dog<|object_ref_end|><|box_start|><0><35><980><987>, <646><0><999><940><|box_end|>

Points have two numbers in place of four. A category that is not there may be written with None for its boxes.

Source: IDEA-Research/Rex-Omni (rex_omni/parser.py, rex_omni/tasks.py,
finetuning/dataset/task_fns/grounding_task.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_TASK = "Detect {}. Output the bounding box coordinates in [x0, y0, x1, y1] format."
DIALECT = Tags(
    name="rex_omni",
    space=Space(scale=999, last=999),
    places={"boxes": "<{}><{}><{}><{}>", "points": "<{}><{}>", "texts": "<{}><{}><{}><{}>"},
    words=Words(
        {
            "detection": _TASK,
            "grounding": _TASK,
            "rec": _TASK,
            "pointing": "Point to {}.",
            "ocr": "Detect all text line and recognize them.",
        }
    ),
    label=("<|object_ref_start|>", "<|object_ref_end|>"),
    open="<|box_start|>",
    close="<|box_end|>",
    joint=", ",
    join=", ",
    needs_special_tokens=True,
)
