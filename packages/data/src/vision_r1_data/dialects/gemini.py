"""Gemini 2.0 and 2.5: a JSON list in thousandths of the image, y before x.

    boxes   {"box_2d": [y1, x1, y2, x2], "label": "chair"}
    points  {"point": [y, x], "label": "chair"}

Source: roboflow/supervision (detection/vlm.py, from_google_gemini_2_0); the words and the points are those of
Google's documentation of the models.
"""

from __future__ import annotations

from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.dialects.space import Space
from vision_r1_data.prompts import Words

_LIST = (
    'Output a JSON list where each entry contains the 2D bounding box in the key "box_2d" and the text label '
    'in the key "label".'
)
DIALECT = JsonList(
    "gemini",
    {"boxes": ("box_2d", "label"), "points": ("point", "label")},
    Space(scale=1000, yx=True),
    Words(
        {
            "detection": f"Detect every {{}} in the image. {_LIST}",
            "grounding": f"Detect {{}} in the image. {_LIST}",
            "rec": f"Detect {{}} in the image. {_LIST}",
            "pointing": (
                "Point to every {} in the image. Output a JSON list where each entry contains the point as "
                '[y, x], normalized to 0-1000, in the key "point" and the text label in the key "label".'
            ),
        }
    ),
)
