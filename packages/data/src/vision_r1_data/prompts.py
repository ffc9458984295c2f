"""The words in which boxes are asked for."""

from __future__ import annotations

from typing import Any

from vision_r1_data.sample import Sample

Message = dict[str, Any]
"""A chat message as transformers' chat templates read it: a role and a list of image and text parts."""


def detection_text(categories: tuple[str, ...]) -> str:
    """The question for every object of the categories, as the Vision-R1 evaluation asks it.

    Source: the released code of arXiv 2503.18013 (prompt forms for Qwen2.5-VL).

    Example:
        >>> detection_text(("cat",))
        'Locate every cat in the image and output the coordinates in JSON format.'
        >>> detection_text(("cat", "dog"))[-40:]
        'mat. The category set includes cat, dog.'
    """
    if not categories:
        return "Locate every object in the image and output the coordinates in JSON format."
    if len(categories) == 1:
        return f"Locate every {categories[0]} in the image and output the coordinates in JSON format."
    return (
        "Locate every item from the category list in the image and output the coordinates in JSON format. "
        f"The category set includes {', '.join(categories)}."
    )


def image_question(sample: Sample) -> list[Message]:
    """One user message: the image, then the sample's query, or the question for its categories."""
    text = sample.query or detection_text(sample.categories)
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
