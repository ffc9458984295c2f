"""PaliGemma 1 and 2: boxes as tokens of 1024 bins, y before x, then the label.

    <loc0256><loc0128><loc0768><loc0512> cat ; <loc0000><loc0000><loc1023><loc1023> dog

The locations are tokens of the vocabulary, not special ones. There is none for the right and the bottom edge
itself, so what lies within half a bin of them comes back up to a whole bin inside. Numbers are 1024ths, as
supervision reads them; big_vision's own transfers write 1023rds, which is `Space(scale=1023, last=1023,
digits=4, yx=True)`.

Source: roboflow/supervision (detection/vlm.py, from_paligemma), google-research/big_vision
(big_vision/configs/proj/paligemma/README.md, big_vision/pp/proj/paligemma/segmentation.py).
"""

from __future__ import annotations

from vision_r1_data.dialects.locations import Locations
from vision_r1_data.dialects.space import Space
from vision_r1_data.prompts import Words

DIALECT = Locations(
    name="paligemma",
    space=Space(scale=1024, last=1023, digits=4, yx=True),
    token="<loc",
    words=Words({"detection": "detect {}", "grounding": "detect {}", "rec": "detect {}"}, join=" ; "),
    join=" ; ",
)
