"""Qwen2-VL: marks that are special tokens, in thousandths of the image.

    <|object_ref_start|>dog<|object_ref_end|><|box_start|>(176,106),(232,160)<|box_end|>

Source: the Qwen2-VL cookbooks and ms-swift, whose questions mark what they ask for likewise.
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_TASK = "Detect {} in the image and give the bounding boxes."
DIALECT = Tags(
    name="qwen2_vl",
    space=Space(scale=1000),
    places={"boxes": "({},{}),({},{})"},
    words=Words(
        {"detection": _TASK, "grounding": _TASK, "rec": _TASK},
        each="<|object_ref_start|>{}<|object_ref_end|>",
    ),
    label=("<|object_ref_start|>", "<|object_ref_end|>"),
    open="<|box_start|>",
    close="<|box_end|>",
    needs_special_tokens=True,
)
