"""Ferret: boxes in the running text, of a virtual image of 1000 by 1000.

    a cat [120, 200, 450, 800]. a dog [0, 0, 500, 1000].

The text ends in a full stop. A label is what stands before its box, so words on the same line would belong to
it.

Source: apple/ml-ferret (ferret/eval/eval_refexp.py, model_refcoco.py, model_flickr.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

DIALECT = Tags(
    name="ferret",
    space=Space(scale=1000),
    places={"boxes": "{}, {}, {}, {}"},
    words=Words(
        {
            "detection": "What are the locations of {}?",
            "grounding": "What are the locations of {}?",
            "rec": "What is the location of {} in the image?",
        }
    ),
    label=("", " "),
    open="[",
    close="]",
    join=". ",
    end=".",
)
