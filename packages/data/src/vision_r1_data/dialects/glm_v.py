"""GLM-4.1V, 4.5V and 4.6V: boxes alone, in thousandths of the image.

    <|begin_of_box|>[[100, 200, 300, 400], [500, 600, 700, 800]]<|end_of_box|>

Brackets vary, `[[...]]`, `[...]`, `(...)` or `<...>`, and are all well formed; so is a text whose two marks
were dropped with the special tokens. It names no labels: `decode` gives the one category that was asked for,
or "" where there are several or none. So ask for one category at a time where labels are compared.

Source: zai-org/GLM-V (README.md).
"""

from __future__ import annotations

from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import Tags
from vision_r1_data.prompts import Words

_TASK = (
    "Please pinpoint the bounding box [[x1,y1,x2,y2], \u2026] in the image as per the given description. {}"
)
DIALECT = Tags(
    name="glm_v",
    space=Space(scale=1000),
    places={"boxes": "[{}, {}, {}, {}]"},
    words=Words(
        {
            "detection": _TASK,
            "grounding": _TASK,
            "rec": "Help me to locate {} in the image and give me its bounding boxes.",
        }
    ),
    label=None,
    open="<|begin_of_box|>",
    close="<|end_of_box|>",
    around=("[", "]"),
    joint=", ",
    any_brackets=True,
)
