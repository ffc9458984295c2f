"""The tasks, and the words in which each is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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


@dataclass(frozen=True, slots=True)
class Words:
    """How a model family is asked, where it has its own words.

    Args:
        templates: task -> question, with {} for the labels that are asked for.
        each: how one label is written.
        join: what is written between two.

    Example:
        >>> words = Words({"rec": "Where is {}?"}, each="<ref>{}</ref>")
        >>> words.question("rec", ("the red cat",))
        'Where is <ref>the red cat</ref>?'
    """

    templates: Mapping[str, str] = field(default_factory=dict)
    each: str = "{}"
    join: str = ", "

    def question(self, task: str, labels: tuple[str, ...]) -> str:
        """The question of a task; in the words of all where the family has none of its own."""
        if task not in self.templates:
            return TASKS[task].question(labels)
        named = self.join.join(self.each.replace("{}", label) for label in labels or ("object",))
        return self.templates[task].replace("{}", named)


_NO_WORDS = Words()


def image_question(
    sample: Sample, words: Words = _NO_WORDS, forms: tuple[Form, ...] = get_args(Form)
) -> list[Message]:
    """One user message: the image, then the sample's query, or the question of its task.

    Raises:
        ValueError: there is no such task, or its answer has a form that is not among `forms`.
    """
    if sample.task not in TASKS:
        raise ValueError(f"sample {sample.id!r} has task {sample.task!r}; known are {', '.join(TASKS)}")
    form = TASKS[sample.task].form
    if form not in (*forms, "number"):
        raise ValueError(
            f"sample {sample.id!r} has task {sample.task!r}, whose answer is {form}; "
            f"the dialect writes {', '.join(forms)}"
        )
    text = sample.query or words.question(sample.task, sample.categories)
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
