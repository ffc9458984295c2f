"""Qwen3-VL: the JSON list of Qwen2.5-VL, in thousandths of the image.

Source: the Qwen3-VL repository (cookbooks/spatial_understanding.ipynb, evaluation/ODinW-13/run_odinw.py);
texts and polygons are those of Qwen2.5-VL.
"""

from __future__ import annotations

from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.dialects.qwen2_5_vl import KEYS
from vision_r1_data.dialects.space import Space

DIALECT = JsonList("qwen3_vl", KEYS, Space(scale=1000))
