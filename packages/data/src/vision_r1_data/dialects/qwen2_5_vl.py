"""Qwen2.5-VL: a fenced JSON list of boxes in the pixels of the resized image.

Items of its forms:

    boxes     {"bbox_2d": [38, 95, 113, 164], "label": "chair"}
    points    {"point_2d": [75, 130], "label": "chair"}
    texts     {"bbox_2d": [38, 95, 113, 164], "text_content": "EXIT"}
    polygons  {"polygon_2d": [[38, 95], [113, 95], [75, 164]], "label": "chair"}

Source: the Qwen2.5-VL cookbooks; polygons, which they do not have, are written after their points.
"""

from __future__ import annotations

from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.dialects.space import Space
from vision_r1_data.prompts import Form

KEYS: dict[Form, tuple[str, str]] = {
    "boxes": ("bbox_2d", "label"),
    "points": ("point_2d", "label"),
    "texts": ("bbox_2d", "text_content"),
    "polygons": ("polygon_2d", "label"),
}
DIALECT = JsonList("qwen2_5_vl", KEYS, Space())
