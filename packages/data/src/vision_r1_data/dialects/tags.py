"""Dialects that write records, each a label and its places between marks: one reading for all.

A record is `label[0] label label[1] open around[0] place joint place ... around[1] close`, such as

    <ref>cat</ref><box>[[100, 200, 300, 400], [5, 6, 7, 8]]</box>

The scan goes from one `open` to the next, so its work grows with the length of the text alone. What a family
writes for no objects is "None" where its source has no words for it: an empty text is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

from vision_r1_data.dialects.space import HUGE, Shape, Space, outline, to_answer
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Form, Message, Words, image_question
from vision_r1_data.sample import Answer, Objects, Sample

NUMBER = r"-?\d++(?:\.\d++)?+"
_NUMBERS = re.compile(NUMBER, re.ASCII)
# What tokenizers put around an answer, for texts that are decoded with their special tokens.
_STARTS = re.compile(r"(?:\s*+(?:<s>|</s>|<bos>))*+\s*+")
_ENDS = (
    *("</s>", "<eos>", "<pad>", "<end_of_turn>", "<|im_end|>", "<|endoftext|>", "<|user|>"),
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)


@dataclass(frozen=True)
class Tags:
    """A family that writes records of marks, labels and places.

    Args:
        name: of the dialect.
        space: the numbers.
        places: form -> how one place is written, with {} for a number.
        words: how it is asked.
        open: what stands before the places of a record.
        close: what stands after them.
        label: what stands before and after a label; None for a family that names none. Where both are blank,
            a label is the line before its places.
        around: what stands around the places, within `open` and `close`.
        joint: what stands between two places of a record; None where each place has its own record.
        join: what stands between two records.
        end: what stands after the last.
        none: the answer that there is nothing.
        any_brackets: whether brackets may be of another kind, and those around all places be missing.
        needs_special_tokens: whether marks are special tokens of the family's tokenizer.
    """

    name: str
    space: Space
    places: Mapping[Form, str]
    words: Words
    open: str
    close: str
    label: tuple[str, str] | None = ("", "")
    around: tuple[str, str] = ("", "")
    joint: str | None = None
    join: str = ""
    end: str = ""
    none: str = "None"
    any_brackets: bool = False
    needs_special_tokens: bool = False

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those that it has places for."""
        return tuple(self.places)

    @property
    def names_labels(self) -> bool:
        """Whether its records have labels."""
        return self.label is not None

    def encode(self, objects: Objects, frame: Frame, form: Form = "boxes") -> str:
        """The records, numbers rounded halves up; an object's point is the middle of its box.

        A label that is empty reads as no_label.

        Raises:
            ValueError: a label holds what would end it.
        """
        records = []
        # Objects of one label that follow each other share a record where it may have several places.
        shared = groupby(
            enumerate(zip(objects.boxes, objects.labels, strict=True)),
            lambda one: (one[0] if self.joint is None else 0, one[1][1] if self.names_labels else ""),
        )
        for (_, label), members in shared:
            places = [
                self.places[form].format(*self.space.write(outline(box, form), frame))
                for _, (box, _) in members
            ]
            inner = self.around[0] + (self.joint or "").join(places) + self.around[1]
            records.append(self._labelled(label) + self.open + inner + self.close)
        return self.join.join(records) + self.end if records else self.none

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample, self.words, self.forms)

    def decode(
        self, text: str, frame: Frame, form: Form = "boxes", categories: tuple[str, ...] = ()
    ) -> Answer:
        """Read what can be read; well formed is a text of whole records and nothing else, or `none`.

        Problems: no_boxes, no_points or no_texts (there is no record), no_separator, extra_text, truncated
        (of the text), no_label, bad_item (a record that is not closed, left out), bad_number (a place that
        is none, left out), out_of_bounds, swapped_corners (of an item), and duplicate and unknown_label,
        which leave an answer well formed.
        """
        body = bare(text)
        if body == self.none:
            return Answer(well_formed=True)
        if self.any_brackets and self.open not in body and body[:1] in tuple("[({<"):
            body = self.open + body + (self.close if body[-1] in "])}>" else "")
        patterns = _patterns(self.places[form], self.joint, self.around, self.any_brackets)
        problems: dict[str, None] = {}
        shapes: list[Shape] = []
        labels: list[str] = []
        at, end, start = 0, 0, body.find(self.open)
        while start >= 0:
            first = start + len(self.open)
            following = body.find(self.open, first)
            if 0 <= end < first:
                end = body.find(self.close, first)
            if following >= 0 and not first <= end < following:
                problems["bad_item"] = None
                at, start = first, following
                continue
            inner = body[first : end if end >= 0 else None]
            found = patterns.place.findall(inner)
            if end < 0:
                problems["truncated"] = None
                if found and inner.endswith(found[-1]) and found[-1][-1].isdigit():
                    found.pop()  # its last digits may be missing
            elif inner.strip() != self.none and not patterns.places.fullmatch(inner):
                problems["bad_number"] = None
            label = self._label(body[at:start], not at, problems)
            label = named(label, categories, self.names_labels, problems)
            for place in found:
                numbers = [float(number) for number in _NUMBERS.findall(place)]
                if max(map(abs, numbers)) >= HUGE:
                    problems["bad_number"] = None
                else:
                    shapes.append(self.space.shape(numbers))
                    labels.append(label)
            at = end + len(self.close) if end >= 0 else len(body)
            start = following
        if not at:
            problems[f"no_{form}"] = None
        if "truncated" not in problems:
            self._rest(body[at:].strip(), bool(at), problems)
        return to_answer(shapes, labels, problems, self.space, frame, form, categories)

    def _labelled(self, label: str) -> str:
        if self.label is None:
            return ""
        marks = [mark for mark in (*map(str.strip, self.label), self.open) if mark]
        ends = ""
        if self._has_lines:
            marks.append("\n")
            ends = self.join
        is_bare = label == (bare(label).strip(ends) if self._has_lines else label.strip())
        if not is_bare or any(mark in label for mark in marks):
            raise cannot_write(self.name, label, marks, ends)
        return self.label[0] + label + self.label[1]

    @property
    def _has_lines(self) -> bool:
        """Whether only the line's end sets a label apart from words before it."""
        return self.label is not None and not "".join(self.label).strip()

    def _label(self, gap: str, is_first: bool, problems: dict[str, None]) -> str:
        """The label in what stands between two lists of places; "" if there is none."""
        gap = gap.strip()
        if not is_first and self.join:
            if self._has_lines and not gap.startswith(self.join.strip()):
                problems["no_separator"] = None
            gap = gap.removeprefix(self.join.strip()).strip()
        if self._has_lines:
            others, _, label = gap.rpartition("\n")
        elif self.label is None:
            others, label = gap, ""
        else:
            opening, closing = map(str.strip, self.label)
            opened = gap.rfind(opening)
            closed = gap.find(closing, opened) if opened >= 0 else -1
            if closed >= 0:
                label = gap[opened + len(opening) : closed]
                others = gap[:opened] + gap[closed + len(closing) :]
            else:
                others, label = gap, ""
        if others.strip(" \t\r\n,;."):
            problems["extra_text"] = None
        return label.strip()

    def _rest(self, rest: str, is_after: bool, problems: dict[str, None]) -> None:
        """What is wrong with the text after the last record, or with one that has none."""
        if is_after and self.end:
            if not rest.startswith(self.end):
                problems["truncated"] = None
            rest = rest.removeprefix(self.end).strip()
        if not rest:
            return
        join = self.join.strip()
        if self._has_lines:
            begins = is_after and (rest.startswith(join) if join != self.end else rest[-1] not in ".!?")
        else:
            begun = rest.removeprefix(join).strip() if is_after else rest
            mark = self.label[0].strip() if self.label else self.open
            begins = begun.startswith(mark) or mark.startswith(begun)
        if begins:
            problems["truncated"] = None
        elif is_after:
            problems["extra_text"] = None


def cannot_write(name: str, label: str, marks: Iterable[str], ends: str = "") -> ValueError:
    """The error of a label that would not read as itself."""
    return ValueError(
        f"dialect {name!r} cannot write the label {label!r}: a label has no {' '.join(map(repr, marks))} in "
        f"it, and no white space{f' or {ends!r}' if ends else ''} around it; rename it"
    )


def bare(text: str) -> str:
    """The text without white space and special tokens around it."""
    start, end = _STARTS.match(text), len(text)
    assert start is not None  # the pattern matches the empty string
    while end > start.end():
        if text[end - 1].isspace():
            end -= 1
        elif text.endswith(_ENDS, start.end(), end):
            end = text.rindex("<", 0, end)
        else:
            break
    return text[start.end() : end]


def named(label: str, categories: tuple[str, ...], names_labels: bool, problems: dict[str, None]) -> str:
    """The label; where none is said, the one that was asked for, or else ""."""
    if not label and len(categories) == 1:
        return categories[0]
    if not label and names_labels:
        problems["no_label"] = None
    return label


class _Patterns(NamedTuple):
    place: re.Pattern[str]  # one, within others
    places: re.Pattern[str]  # nothing but whole ones


@cache
def _patterns(template: str, joint: str | None, around: tuple[str, str], any_brackets: bool) -> _Patterns:
    """How places are found. No search begins at two characters of one number, so it takes linear time."""
    one = NUMBER.join(_spaced(part, any_brackets) for part in template.split("{}"))
    between = _spaced(joint, any_brackets) if joint else "(?!)"
    opening, closing = (_spaced(mark, any_brackets) for mark in around)
    if any_brackets:
        opening, closing = f"(?:{opening})?", f"(?:{closing})?"
    places = rf"\s*+{opening}{one}(?:{between}{one})*+{closing}\s*+"
    if template.startswith("{}"):  # then only what is between them sets places apart
        mark = re.escape(joint.strip()) if joint else "(?!)"
        one = rf"(?:\A|(?<={mark}))\s*+{one}(?=\s*+(?:{mark}|\Z))"
    return _Patterns(re.compile(one.removeprefix(r"\s*+"), re.ASCII), re.compile(places, re.ASCII))


def _spaced(mark: str, any_brackets: bool) -> str:
    """A pattern for the mark with any white space in and around it."""
    if mark and not mark.strip():
        return r"\s++"
    signs = [re.escape(sign) for sign in mark if not sign.isspace()]
    if any_brackets:
        signs = [{r"\[": r"[\[({<]", r"\]": r"[\])}>]"}.get(sign, sign) for sign in signs]
    return r"\s*+" + "".join(sign + r"\s*+" for sign in signs) if signs else ""
