"""Dialects that write every number as one token, with the label before or after: one reading for both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from typing import ClassVar

from vision_r1_data.dialects.space import HUGE, Shape, Space, to_answer
from vision_r1_data.dialects.tags import bare, cannot_write, named
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Form, Message, Words, image_question
from vision_r1_data.sample import Answer, Objects, Sample

_NUMBERS = re.compile(r"\d++", re.ASCII)
_MARKS = {"<", ";", "\n"}


@dataclass(frozen=True)
class Locations:
    """A family that writes boxes as runs of location tokens.

    Args:
        name: of the dialect.
        space: the numbers.
        token: what stands before a number; ">" ends it.
        words: how it is asked.
        join: what stands between two objects, where the label comes after its box; "" where it comes before.
            Then objects of one label that follow each other share it.
        needs_special_tokens: whether the locations are special tokens of the family's tokenizer.
    """

    name: str
    space: Space
    token: str
    words: Words
    join: str = ""
    needs_special_tokens: bool = False

    forms: ClassVar[tuple[Form, ...]] = ("boxes",)
    names_labels: ClassVar[bool] = True
    none: ClassVar[str] = "None"

    def encode(self, objects: Objects, frame: Frame, form: Form = "boxes") -> str:
        """The objects, numbers rounded as the family does.

        Raises:
            ValueError: a label holds what would end it.
        """
        records = []
        for (_, label), members in groupby(
            enumerate(zip(objects.boxes, objects.labels, strict=True)),
            lambda one: (one[0] if self.join else 0, one[1][1]),
        ):
            if label != bare(label) or not _MARKS.isdisjoint(label):
                raise cannot_write(self.name, label, sorted(_MARKS))
            numbers = [number for _, (box, _) in members for number in self.space.write(box, frame)]
            run = "".join(f"{self.token}{number}>" for number in numbers)
            records.append(f"{run} {label}" if self.join else label + run)
        return self.join.join(records) or self.none

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample, self.words, self.forms)

    def decode(
        self, text: str, frame: Frame, form: Form = "boxes", categories: tuple[str, ...] = ()
    ) -> Answer:
        """Read what can be read; well formed is a text of labels with four numbers each, or None.

        Problems: no_boxes, no_separator, extra_text, truncated (of the text), no_label, bad_number (not four
        to a box; left out), out_of_bounds, swapped_corners (of an item), and duplicate and unknown_label,
        which leave an answer well formed.

        Where the label comes after its box, one that is cut off cannot be told from a whole one.
        """
        body = bare(text)
        if body == self.none:
            return Answer(well_formed=True)
        problems: dict[str, None] = {}
        run, begun = _patterns(self.token)
        spans = [found.span() for found in run.finditer(body)]
        ends = [0, *(end for span in spans for end in span), len(body)]
        gaps = [body[start:end] for start, end in list(pairwise(ends))[::2]]
        cut = gaps[-1].rfind("<")
        is_cut_in_token = cut >= 0 and begun.fullmatch(gaps[-1], cut) is not None
        if is_cut_in_token:
            problems["truncated"] = None
            gaps[-1] = gaps[-1][:cut]
        if not spans:
            problems["no_boxes"] = None
            return to_answer((), (), problems, self.space, frame, form, categories)
        shapes: list[Shape] = []
        labels: list[str] = []
        told = self._labels_after(gaps, problems) if self.join else self._labels_before(gaps, problems)
        for (start, end), label in zip(spans, told, strict=True):
            numbers = [float(number) for number in _NUMBERS.findall(body, start, end)]
            if len(numbers) % 4 or max(numbers) >= HUGE:
                at_end = end == spans[-1][1] and not gaps[-1]
                problems["truncated" if at_end and max(numbers) < HUGE else "bad_number"] = None
            is_named = named(label, categories, True, problems)
            for k in range(0, len(numbers) - 3, 4):
                if max(numbers[k : k + 4]) < HUGE:
                    shapes.append(self.space.shape(numbers[k : k + 4]))
                    labels.append(is_named)
        return to_answer(shapes, labels, problems, self.space, frame, form, categories)

    def _labels_before(self, gaps: list[str], problems: dict[str, None]) -> list[str]:
        """The labels where each stands right before its boxes; a text that ends in another one is cut off."""
        rest = gaps[-1]
        if rest:
            problems["extra_text" if rest[0].isspace() else "truncated"] = None
        parts = [gap.rpartition("\n") for gap in gaps[:-1]]
        if any(others.strip() for others, _, _ in parts):
            problems["extra_text"] = None
        return [label.strip() for _, _, label in parts]

    def _labels_after(self, gaps: list[str], problems: dict[str, None]) -> list[str]:
        """The labels where each stands after its box and before what joins it to the next."""
        if gaps[0].strip():
            problems["extra_text"] = None
        mark, labels = self.join.strip(), []
        for k, gap in enumerate(gaps[1:], start=2):
            is_last = k == len(gaps)
            label, _, others = gap.strip().removesuffix(mark).strip().partition("\n")
            if others.strip():
                problems["extra_text"] = None
            if is_last and (gap.rstrip().endswith(mark) or not label):
                problems["truncated"] = None
            elif not is_last and not gap.rstrip().endswith(mark):
                problems["no_separator"] = None
            labels.append(label.strip())
        return labels


@cache
def _patterns(token: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A run of tokens, and one that is begun."""
    begun = "|".join(re.escape(token[:k]) for k in range(1, len(token)))
    whole = re.escape(token)
    return re.compile(rf"(?:{whole}\d++>)++", re.ASCII), re.compile(rf"{begun}|{whole}\d*+", re.ASCII)
