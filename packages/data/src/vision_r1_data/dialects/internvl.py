"""InternVL 2, 2.5 and 3: marks that are special tokens, in thousandths of the image.

    <ref>cat</ref><box>[[100, 200, 300, 400]]</box>

Source: OpenGVLab/InternVL (streamlit_demo/app.py, internvl_chat/eval/refcoco/evaluate_grounding.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

DIALECT = Tags(
    name="internvl",
    space=Space(scale=1000),
    places={"boxes": "[{}, {}, {}, {}]"},
    words=Words(
        {
            "detection": "Detect every {} in the image with its bounding box.",
            "grounding": "Detect {} in the image with its bounding box.",
            "rec": "Please provide the bounding box coordinate of the region this sentence describes: {}",
        },
        each="<ref>{}</ref>",
    ),
    label=("<ref>", "</ref>"),
    open="<box>",
    close="</box>",
    around=("[", "]"),
    joint=", ",
    needs_special_tokens=True,
)
