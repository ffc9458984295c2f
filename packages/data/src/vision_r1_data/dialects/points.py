"""Dialects that point with elements, whose attributes hold the points of one label: one reading for all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from vision_r1_data.dialects.space import HUGE, Shape, Space, outline, to_answer
from vision_r1_data.dialects.tags import bare, cannot_write, named
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Form, Message, Words, image_question
from vision_r1_data.sample import Answer, Objects, Sample

_ELEMENT = re.compile(r"<points?+\s++([^<>]*+)>([^<>]*+)(</points?+>)?+")
_ENDS_BEGUN = {end[:k] for end in ("</point>", "</points>") for k in range(len(end) + 1)}
_LONGEST = len("</points>") + 1
_MARKS = {"<", ">", '"'}
_WORDS = Words({"pointing": "Point to {}."})


@dataclass(frozen=True)
class Points:
    """A family that points with elements, such as `<point x="61.5" y="40.4" alt="dog">dog</point>`.

    Args:
        name: of the dialect.
        space: the numbers.
        write: the points of one label, as written numbers x and y, and the label -> the element.
        read: the attributes of an element, which may be cut off -> x, y, x, y, ... of its whole points, and
            whether they are attributes of the family's form and nothing else.
    """

    name: str
    space: Space
    write: Callable[[Sequence[tuple[str, str]], str], str]
    read: Callable[[str], tuple[list[float], bool]]

    forms: ClassVar[tuple[Form, ...]] = ("points",)
    needs_special_tokens: ClassVar[bool] = False
    names_labels: ClassVar[bool] = True
    none: ClassVar[str] = "There are none."

    def encode(self, objects: Objects, frame: Frame, form: Form = "points") -> str:
        """The elements, one for the objects of one label that follow each other; a point is a box's middle.

        Raises:
            ValueError: a label holds what would end it.
        """
        elements = []
        for label, members in groupby(zip(objects.labels, objects.boxes, strict=True), lambda one: one[0]):
            if label != label.strip() or not _MARKS.isdisjoint(label):
                raise cannot_write(self.name, label, sorted(_MARKS))
            points = [self.space.write(outline(box, form), frame) for _, box in members]
            elements.append(self.write([(x, y) for x, y in points], label))
        return " ".join(elements) or self.none

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample, _WORDS, self.forms)

    def decode(
        self, text: str, frame: Frame, form: Form = "points", categories: tuple[str, ...] = ()
    ) -> Answer:
        """Read what can be read; well formed is a text of whole elements and nothing else, or `none`.

        Problems: no_points, extra_text, truncated (of the text), no_label, bad_item (an element that is not
        closed, left out), bad_number (attributes of another form; their points are read), out_of_bounds (of a
        point), and duplicate and unknown_label, which leave an answer well formed.

        The whole points of an element that is cut off are read; their label, which comes last, is "".
        """
        body = bare(text)
        if body == self.none:
            return Answer(well_formed=True)
        problems: dict[str, None] = {}
        shapes: list[Shape] = []
        labels: list[str] = []

        def take(numbers: list[float], label: str) -> None:
            for x, y in zip(numbers[::2], numbers[1::2], strict=True):
                if max(abs(x), abs(y)) < HUGE:
                    shapes.append((x, y))
                    labels.append(label)
                else:
                    problems["bad_number"] = None

        asked = categories[0] if len(categories) == 1 else ""
        at = 0
        others = []
        for element in _ELEMENT.finditer(body):
            others.append(body[at : element.start()])
            at = element.end()
            numbers, is_whole = self.read(element[1])
            if not is_whole:
                problems["bad_number"] = None
            if element[3]:
                take(numbers, named(element[2].strip(), categories, True, problems))
            elif body[at : at + _LONGEST] in _ENDS_BEGUN:  # the rest of the text, if it is that short
                problems["truncated"] = None
                label = element[2].strip() if at < len(body) else asked
                take(numbers, label)
                at = len(body)
            else:
                problems["bad_item"] = None
        rest = body[at:]
        cut = rest.rfind("<")
        if cut >= 0 and (rest.startswith("<point", cut) or "<point".startswith(rest[cut:])):
            problems["truncated"] = None
            take(self.read(rest[cut:].partition(" ")[2])[0], asked)
            rest = rest[:cut]
        if not (at or shapes):
            problems["no_points"] = None
        elif any(other.strip(" \t\r\n,;.") for other in (*others, rest)):
            problems["extra_text"] = None
        return to_answer(shapes, labels, problems, self.space, frame, form, categories)
