"""Dialects that answer with a fenced JSON list: what a family declares, and one reading for all.

```json
[
    {"bbox_2d": [38, 95, 113, 164], "label": "chair"}
]
```
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Annotated, Any, ClassVar

import msgspec

from vision_r1_data.dialects.space import HUGE, Shape, Space, outline, to_answer
from vision_r1_data.frame import Box, Frame
from vision_r1_data.prompts import Form, Message, Words, image_question
from vision_r1_data.sample import Answer, Objects, Sample

_FENCE = "```"
_OPEN = "```json"
_CLOSE = re.compile(r"[]\n]```")  # not the ``` that a label may hold
_DECODER = json.JSONDecoder()
# Ints of thousands of digits, which json refuses, are infinite as floats: so only their own item is bad.
_DECODER_OF_LONG_INTS = json.JSONDecoder(parse_int=lambda n: int(n) if len(n) < 20 else float(n))
_SEPARATOR = re.compile(r"\s*,?\s*")
# What follows the last whole item: at most one that is begun, with the list of its numbers.
_CUT_OFF = re.compile(r"\s*,?\s*(\{[^][{}]*(\[[^][{}]*(\][^][{}]*)?)?)?")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[][{}]', re.DOTALL)
_Coordinate = Annotated[float, msgspec.Meta(gt=-HUGE, lt=HUGE)]
_Corners = tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate]


@dataclass(frozen=True)
class JsonList:
    """A family that answers with a fenced JSON list.

    Args:
        name: of the dialect.
        keys: form -> the keys of an item: where it is, and what.
        space: the numbers.
        words: how it is asked, where not in the words of all.
    """

    name: str
    keys: Mapping[Form, tuple[str, str]]
    space: Space
    words: Words = field(default_factory=Words)

    needs_special_tokens: ClassVar[bool] = False
    names_labels: ClassVar[bool] = True

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those that it has keys for."""
        return tuple(self.keys)

    def encode(self, objects: Objects, frame: Frame, form: Form = "boxes") -> str:
        """The fenced list, numbers rounded halves up.

        An object's point is the middle of its box, its polygon the box's four corners.
        """
        where, what = self.keys[form]
        items = [
            f'\t{{"{where}": {self._written(box, frame, form)}, '
            f'"{what}": {json.dumps(label, ensure_ascii=False)}}}'
            for box, label in zip(objects.boxes, objects.labels, strict=True)
        ]
        body = "[\n" + ",\n".join(items) + "\n]" if items else "[]"
        return f"{_OPEN}\n{body}\n{_FENCE}"

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample, self.words, self.forms)

    def decode(
        self, text: str, frame: Frame, form: Form = "boxes", categories: tuple[str, ...] = ()
    ) -> Answer:
        """Read what can be read; well formed is one fenced list of valid items and nothing else.

        Problems: no_json, bad_json, no_fence, extra_text, truncated (of the text), bad_item, bad_number,
        out_of_bounds, swapped_corners (of an item), and duplicate and unknown_label, which leave an answer
        well formed.
        """
        if form == "boxes" and (answer := self._typed(text, frame, categories)) is not None:
            return answer
        problems: dict[str, None] = {}
        where, what = self.keys[form]
        shapes: list[Shape] = []
        labels: list[str] = []
        for item in _items(text, problems):
            if not isinstance(item, dict) or set(item) != {where, what} or not isinstance(item[what], str):
                problems["bad_item"] = None
                continue
            numbers = _numbers(item[where], form)
            if numbers is None:
                problems["bad_number"] = None
                continue
            shapes.append(self.space.shape(numbers))
            labels.append(item[what])
        return to_answer(shapes, labels, problems, self.space, frame, form, categories)

    def _written(self, box: Box, frame: Frame, form: Form) -> str:
        """The place of an item of that form, for an object with that box."""
        numbers = self.space.write(outline(box, form), frame)
        if form == "polygons":
            numbers = [f"[{x}, {y}]" for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        return f"[{', '.join(numbers)}]"

    def _typed(self, text: str, frame: Frame, categories: tuple[str, ...]) -> Answer | None:
        """The answer of a text whose items are all faultless, several times as fast as one by one; else None.

        The text may break off after any item.
        """
        body = text.strip()
        if not body.startswith(_OPEN):
            return None
        problems: tuple[str, ...] = ()
        body = body[len(_OPEN) :]
        if body.endswith(_FENCE):
            body = body[: -len(_FENCE)]
        elif (end := body.rfind("}") + 1) and _CUT_OFF.fullmatch(body, end):
            body, problems = body[:end] + "]", ("no_fence", "truncated")
        else:
            return None
        try:
            items = _typed_items(*self.keys["boxes"]).decode(body.strip())
        except ValueError:  # also of half a surrogate pair, which has no UTF-8
            return None
        boxes = [item.where for item in items]
        if len(set(boxes)) < len(boxes):  # perhaps with another label, which is no fault
            return None
        if self.space.yx:
            boxes = [(x1, y1, x2, y2) for y1, x1, y2, x2 in boxes]
        left, top, right, bottom = self.space.bounds(frame)
        for x1, y1, x2, y2 in boxes:
            if not (left <= x1 < x2 <= right and top <= y1 < y2 <= bottom):
                return None
        labels = tuple([item.what for item in items])
        if categories and not set(categories).issuperset(labels):
            return None
        return Answer(self.space.boxes(boxes, frame), labels, not problems, problems, bool(problems))


@cache
def _typed_items(where: str, what: str) -> msgspec.json.Decoder[Any]:
    """A reader of lists of objects with exactly these two keys, a box and a text."""
    item = msgspec.defstruct(
        "Item",
        [("where", _Corners), ("what", str)],
        rename={"where": where, "what": what},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[item])  # type: ignore[valid-type]


def _items(text: str, problems: dict[str, None]) -> list[Any]:
    """The items of the text's list; what is wrong with its form goes into `problems`."""
    body = text.strip()
    if body.startswith(_OPEN) and body.endswith(_FENCE) and len(body) >= len(_OPEN + _FENCE):
        body = body[len(_OPEN) : -len(_FENCE)].strip()
    else:
        problems["no_fence"] = None
        if body.startswith(_OPEN) and _CLOSE.search(body) is None:
            problems["truncated"] = None
            body = body.removesuffix("`").removesuffix("`")
        body = body.removeprefix(_OPEN).strip()
    try:
        value = _json(body)
    except (ValueError, RecursionError):
        return _salvage(body, problems)
    if not isinstance(value, list):
        problems["no_json"] = None
        return []
    return value


def _salvage(text: str, problems: dict[str, None]) -> list[Any]:
    """The items that can be read, one after the other, from the first list of objects in the text."""
    start = re.search(r"\[\s*(?=[{\]])", text)
    if start is None:
        problems["no_json"] = None
        return []
    if text[: start.start()].strip():
        problems["extra_text"] = None
    items: list[Any] = []
    at = start.end()
    are_whole = True  # all items so far
    while at < len(text) and text[at] == "{":
        item, end = None, None
        if are_whole:
            try:
                item, end = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError):
                are_whole = False
        if end is None:
            end = _closing_bracket(text, at)
            if end is None:
                break
            # Only the item itself: an error counts the lines before it, quadratic in a whole text of errors.
            with contextlib.suppress(ValueError, RecursionError):
                item = _json(text[at:end])
        items.append(item)
        separator = _SEPARATOR.match(text, end)
        assert separator is not None  # the pattern matches the empty string
        at = separator.end()
    if at < len(text) and text[at] == "]":
        if text[at + 1 :].strip():
            problems["extra_text"] = None
    elif at < len(text) and text[at] != "{":
        problems["extra_text"] = None
    else:
        problems["truncated"] = None
    if not problems.keys() & {"extra_text", "truncated"} and None not in items:
        problems["bad_json"] = None  # such as a comma that is missing or one too many
    return items


def _json(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODER_OF_LONG_INTS.decode(text)


def _closing_bracket(text: str, at: int) -> int | None:
    """The place after the bracket that closes the one at `at`, or None where the text ends before it."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, at):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _numbers(place: Any, form: Form) -> tuple[float, ...] | None:
    """The numbers of one corner of a point, two of a box, three or more of a polygon.

    None for what is no such list of finite numbers.
    """
    if form == "polygons":
        corners = [_numbers(corner, "points") for corner in place] if isinstance(place, list) else []
        whole = [corner for corner in corners if corner is not None]
        return tuple(chain.from_iterable(whole)) if 3 <= len(whole) == len(corners) else None
    if not isinstance(place, list) or len(place) != (2 if form == "points" else 4):
        return None
    for number in place:
        if type(number) not in (int, float) or not -HUGE < number < HUGE:  # NaN fails both
            return None
    return tuple(map(float, place))
