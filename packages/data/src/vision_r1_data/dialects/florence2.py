"""Florence-2: a label, then its boxes as tokens of 1000 bins that are read at their centres.

    car<loc_52><loc_332><loc_932><loc_774>

The locations are special tokens. Words after the last box are the next label, begun, unless they stand apart.

Source: transformers (models/florence2/processing_florence2.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.locations import Locations
from vision_r1_data.dialects.space import Space
from vision_r1_data.prompts import Words

DIALECT = Locations(
    name="florence2",
    space=Space(scale=1000, last=999, centre=True),
    token="<loc_",
    words=Words(
        {
            "detection": "Locate {} in the image.",
            "grounding": "Locate the phrases in the caption: {}",
            "rec": "Locate the phrases in the caption: {}",
        }
    ),
    needs_special_tokens=True,
)
