"""MiniCPM-V 2.6, 4 and 4.5: marks that are special tokens, in thousandths of the image.

    <ref>book</ref><box>10 20 300 400</box>

Asked for one thing, the model may leave out what it is; then `decode` gives the category that was asked for.
Texts are written with what they say in place of the label.

Source: OpenBMB/MiniCPM-V, issues 185, 772 and 982.
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

DIALECT = Tags(
    name="minicpm_v",
    space=Space(scale=1000),
    places={"boxes": "{} {} {} {}", "texts": "{} {} {} {}"},
    words=Words(
        {
            "detection": "Please provide the bounding box coordinates of every {} in the image.",
            "grounding": "Please provide the bounding box coordinates of {} in the image.",
            "rec": "Please provide the bounding box coordinate of the region this sentence describes: {}",
            "ocr": "Please read every line of text in the image and provide its bounding box coordinate.",
        },
        each="<ref>{}</ref>",
    ),
    label=("<ref>", "</ref>"),
    open="<box>",
    close="</box>",
    needs_special_tokens=True,
)
