"""Griffon and Griffon-G: plain text, three decimals of the image's width and height.

    person-[0.001,0.345,0.111,0.678]&dog-[0.250,0.500,0.750,1.000]

Nothing is None. A label is what stands before its box, so words on the same line would belong to it.

Source: jefferyZhan/Griffon (griffon/coor_utils.py, docs/README_v1.md, griffon/datasets/templates).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_FORMAT = (
    "The output format for each detected object is class-name-[top-left coordinate, bottom-right coordinate] "
    "e.g. person-[0.001,0.345,0.111,0.678]. Concatenate them with &."
)
DIALECT = Tags(
    name="griffon",
    space=Space(scale=1, decimals=3),
    places={"boxes": "{},{},{},{}"},
    words=Words(
        {
            "detection": (
                "Examine the image for any objects from the category set. Report the coordinates of each "
                f"detected object. The category set includes {{}}. {_FORMAT}"
            ),
            "grounding": f"Locate {{}} in the image and report the coordinates. {_FORMAT}",
            "rec": "Can you point out {} in the image and provide the coordinates of its location?",
        }
    ),
    open="-[",
    close="]",
    join="&",
)
