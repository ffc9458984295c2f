"""The tasks, and the words in which each is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from vision_r1_data.sample import Sample

Form = Literal["boxes", "points", "polygons", "texts", "number"]
"""What an answer is made of. Texts are boxes with what is written in them."""

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


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked.

    Args:
        form: what the answer is made of.
        question: the labels asked for -> the words that ask for them.
    """

    form: Form
    question: Callable[[tuple[str, ...]], str]


def _any_of(categories: tuple[str, ...]) -> str:
    return " or ".join(categories) or "object"


TASKS = {
    "detection": Task("boxes", detection_text),
    "grounding": Task(
        "boxes",
        lambda phrases: (
            "Locate everything that these phrases describe in the image and output the coordinates in JSON "
            f"format, with the phrase as label: {', '.join(phrases)}."
        ),
    ),
    "rec": Task(
        "boxes",
        lambda expression: (
            f"Locate {_any_of(expression)} in the image and output the coordinates in JSON format."
        ),
    ),
    "pointing": Task(
        "points",
        lambda categories: (
            f"Point to every {_any_of(categories)} in the image and output the coordinates in JSON format."
        ),
    ),
    "segmentation": Task(
        "polygons",
        lambda categories: (
            f"Outline every {_any_of(categories)} in the image with a polygon and output the coordinates in "
            "JSON format."
        ),
    ),
    "ocr": Task(
        "texts",
        lambda _: "Locate every line of text in the image, read it, and output both in JSON format.",
    ),
    "counting": Task(
        "number",
        lambda categories: f"Count every {_any_of(categories)} in the image and answer with one number.",
    ),
}
"""The tasks by their names; "rec" is a referring expression, whose one category is the expression."""


def image_question(sample: Sample) -> list[Message]:
    """One user message: the image, then the sample's query, or the question of its task.

    Raises:
        ValueError: there is no such task.
    """
    if sample.task not in TASKS:
        raise ValueError(f"sample {sample.id!r} has task {sample.task!r}; known are {', '.join(TASKS)}")
    text = sample.query or TASKS[sample.task].question(sample.categories)
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
