"""DeepSeek-VL2: marks that are special tokens, in 999ths of the image.

    <|ref|>giraffe<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>

Source: deepseek-ai/DeepSeek-VL2 (README.md, web_demo.py, deepseek_vl2/serve/app_modules/utils.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

DIALECT = Tags(
    name="deepseek_vl2",
    space=Space(scale=999),
    places={"boxes": "[{}, {}, {}, {}]"},
    words=Words(
        {"detection": "Find all the {}.", "grounding": "Find all the {}.", "rec": "{}."},
        each="<|ref|>{}<|/ref|>",
    ),
    label=("<|ref|>", "<|/ref|>"),
    open="<|det|>",
    close="<|/det|>",
    around=("[", "]"),
    joint=", ",
    needs_special_tokens=True,
)
