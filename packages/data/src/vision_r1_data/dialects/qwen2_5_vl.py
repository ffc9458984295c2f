"""Qwen2.5-VL: a fenced JSON list of boxes in the pixels of the resized image.

    ```json
    [
        {"bbox_2d": [38, 95, 113, 164], "label": "chair"}
    ]
    ```

Items of the other forms:

    points    {"point_2d": [75, 130], "label": "chair"}
    texts     {"bbox_2d": [38, 95, 113, 164], "text_content": "EXIT"}
    polygons  {"polygon_2d": [[38, 95], [113, 95], [75, 164]], "label": "chair"}

Source: the Qwen2.5-VL cookbooks; polygons, which they do not have, are written after their points.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from itertools import chain
from typing import Annotated, Any

import msgspec

from vision_r1_data.frame import Box, Frame
from vision_r1_data.prompts import Form, Message, image_question
from vision_r1_data.sample import Answer, Objects, Sample

_FENCE = "```"
_OPEN = "```json"
_CLOSE = re.compile(r"[]\n]```")  # not the ``` that a label may hold
# form -> the keys of an item: where it is, and what
_KEYS: dict[Form, tuple[str, str]] = {
    "boxes": ("bbox_2d", "label"),
    "points": ("point_2d", "label"),
    "texts": ("bbox_2d", "text_content"),
    "polygons": ("polygon_2d", "label"),
}
_DECODER = json.JSONDecoder()
# Ints of thousands of digits, which json refuses, are infinite as floats: so only their own item is bad.
_DECODER_OF_LONG_INTS = json.JSONDecoder(parse_int=lambda n: int(n) if len(n) < 20 else float(n))
_HUGE = 1e9  # pixels; no image is larger
_SEPARATOR = re.compile(r"\s*,?\s*")
# What follows the last whole item: at most one that is begun, with the list of its numbers.
_CUT_OFF = re.compile(r"\s*,?\s*(\{[^][{}]*(\[[^][{}]*(\][^][{}]*)?)?)?")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[][{}]', re.DOTALL)
_Coordinate = Annotated[float, msgspec.Meta(gt=-_HUGE, lt=_HUGE)]


class _Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One object as the dialect writes it."""

    bbox_2d: tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate]
    label: str


_ITEMS = msgspec.json.Decoder(list[_Item])


class Qwen25VL:
    """The Qwen2.5-VL dialect."""

    name = "qwen2_5_vl"
    forms = tuple(_KEYS)

    def encode(self, objects: Objects, frame: Frame, form: Form = "boxes") -> str:
        """The fenced list, coordinates rounded to whole pixels of the resized image, halves up.

        An object's point is the middle of its box, its polygon the box's four corners.
        """
        where, what = _KEYS[form]
        items = [
            f'\t{{"{where}": {_written(frame.to_model(box), form)}, '
            f'"{what}": {json.dumps(label, ensure_ascii=False)}}}'
            for box, label in zip(objects.boxes, objects.labels, strict=True)
        ]
        body = "[\n" + ",\n".join(items) + "\n]" if items else "[]"
        return f"{_OPEN}\n{body}\n{_FENCE}"

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample)

    def decode(self, text: str, frame: Frame, form: Form = "boxes") -> Answer:
        """Read what can be read; well formed is one fenced list of valid items and nothing else.

        Problems: no_json, bad_json, no_fence, extra_text, truncated (of the text), bad_item, bad_number,
        out_of_bounds, swapped_corners (of an item), and duplicate, which leaves an answer well formed.
        """
        if form == "boxes" and (answer := _typed(text, frame)) is not None:
            return answer
        problems: dict[str, None] = {}
        where, what = _KEYS[form]
        shapes: list[tuple[float, ...]] = []
        labels: list[str] = []
        for item in _items(text, problems):
            if not isinstance(item, dict) or set(item) != {where, what} or not isinstance(item[what], str):
                problems["bad_item"] = None
                continue
            shape = _corners(item[where], form)
            if shape is None:
                problems["bad_number"] = None
                continue
            right, bottom = max(shape[::2]), max(shape[1::2])
            if min(shape) < 0 or right > frame.model_width or bottom > frame.model_height:
                problems["out_of_bounds"] = None
            if len(shape) == 4 and (shape[0] >= shape[2] or shape[1] >= shape[3]):
                problems["swapped_corners"] = None
            shapes.append(shape)
            labels.append(item[what])
        if len(set(zip(shapes, labels, strict=True))) < len(shapes):
            problems["duplicate"] = None
        well_formed = problems.keys() <= {"duplicate"}  # saying a thing twice is no mistake of form
        boxes = frame.all_to_original([_bounds(shape) for shape in shapes])
        polygons = tuple(map(frame.polygon_to_original, shapes)) if form == "polygons" else ()
        truncated = "truncated" in problems
        return Answer(boxes, tuple(labels), well_formed, tuple(problems), truncated, polygons)


def _written(box: Box, form: Form) -> str:
    """The place of an item of that form, for an object with that box in the model's pixels."""
    x1, y1, x2, y2 = (math.floor(x + 0.5) for x in box)
    if form == "points":
        return f"[{math.floor((box[0] + box[2] + 1) / 2)}, {math.floor((box[1] + box[3] + 1) / 2)}]"
    if form == "polygons":
        return f"[[{x1}, {y1}], [{x2}, {y1}], [{x2}, {y2}], [{x1}, {y2}]]"
    return f"[{x1}, {y1}, {x2}, {y2}]"


def _typed(text: str, frame: Frame) -> Answer | None:
    """The answer of a text whose items are all faultless, several times as fast as item by item; else None.

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
        items = _ITEMS.decode(body.strip())
    except ValueError:  # also of half a surrogate pair, which has no UTF-8
        return None
    boxes = [item.bbox_2d for item in items]
    if len(set(boxes)) < len(boxes):  # perhaps with another label, which is no fault
        return None
    right, bottom = float(frame.model_width), float(frame.model_height)
    for x1, y1, x2, y2 in boxes:
        if not (0.0 <= x1 < x2 <= right and 0.0 <= y1 < y2 <= bottom):
            return None
    labels = tuple([item.label for item in items])
    return Answer(frame.all_to_original(boxes), labels, not problems, problems, bool(problems))


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


def _corners(place: Any, form: Form) -> tuple[float, ...] | None:
    """x, y, x, y, ... of one corner of a point, two of a box, three or more of a polygon.

    None for what is no such list of finite numbers.
    """
    if form == "polygons":
        corners = [_corners(corner, "points") for corner in place] if isinstance(place, list) else []
        whole = [corner for corner in corners if corner is not None]
        return tuple(chain.from_iterable(whole)) if 3 <= len(whole) == len(corners) else None
    if not isinstance(place, list) or len(place) != (2 if form == "points" else 4):
        return None
    for number in place:
        if type(number) not in (int, float) or not -_HUGE < number < _HUGE:  # NaN fails both
            return None
    return tuple(map(float, place))


def _bounds(shape: tuple[float, ...]) -> Box:
    """The two corners of a box as they are written, in order or not; one or more others are bounded."""
    if len(shape) == 4:
        return (shape[0], shape[1], shape[2], shape[3])
    xs, ys = shape[::2], shape[1::2]
    return (min(xs), min(ys), max(xs), max(ys))
