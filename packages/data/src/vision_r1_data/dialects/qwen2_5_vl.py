"""Qwen2.5-VL: a fenced JSON list of boxes in the pixels of the resized image.

    ```json
    [
        {"bbox_2d": [38, 95, 113, 164], "label": "chair"}
    ]
    ```

Source: the Qwen2.5-VL cookbooks.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Annotated, Any

import msgspec

from vision_r1_data.frame import Box, Frame
from vision_r1_data.prompts import Message, image_question
from vision_r1_data.sample import Answer, Objects, Sample

_FENCE = "```"
_OPEN = "```json"
_CLOSE = re.compile(r"[]\n]```")  # not the ``` that a label may hold
_KEYS = {"bbox_2d", "label"}
_DECODER = json.JSONDecoder()
# Ints of thousands of digits, which json refuses, are infinite as floats: so only their own item is bad.
_DECODER_OF_LONG_INTS = json.JSONDecoder(parse_int=lambda n: int(n) if len(n) < 20 else float(n))
_HUGE = 1e9  # pixels; no image is larger
_SEPARATOR = re.compile(r"\s*,?\s*")
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

    def encode(self, objects: Objects, frame: Frame) -> str:
        """The fenced list, coordinates rounded to whole pixels of the resized image, halves up."""
        items = [
            f'\t{{"bbox_2d": [{", ".join(str(math.floor(x + 0.5)) for x in frame.to_model(box))}], '
            f'"label": {json.dumps(label, ensure_ascii=False)}}}'
            for box, label in zip(objects.boxes, objects.labels, strict=True)
        ]
        body = "[\n" + ",\n".join(items) + "\n]" if items else "[]"
        return f"{_OPEN}\n{body}\n{_FENCE}"

    def prompt(self, sample: Sample) -> list[Message]:
        """The image, then the sample's question."""
        return image_question(sample)

    def decode(self, text: str, frame: Frame) -> Answer:
        """Read what can be read; well formed is one fenced list of valid boxes and nothing else.

        Problems: no_json, bad_json, no_fence, extra_text, truncated (of the form), bad_item, bad_number,
        out_of_bounds, swapped_corners (of an item), and duplicate, which leaves an answer well formed.
        """
        faultless = _faultless(text, frame)
        if faultless is not None:
            return faultless
        problems: dict[str, None] = {}
        items = _items(text, problems)
        boxes: list[Box] = []
        labels: list[str] = []
        seen: set[tuple[Box, str]] = set()
        for item in items:
            if not isinstance(item, dict) or set(item) != _KEYS or not isinstance(item["label"], str):
                problems["bad_item"] = None
                continue
            box = _box(item["bbox_2d"])
            if box is None:
                problems["bad_number"] = None
                continue
            right, bottom = max(box[0], box[2]), max(box[1], box[3])
            if min(box) < 0 or right > frame.model_width or bottom > frame.model_height:
                problems["out_of_bounds"] = None
            if box[0] >= box[2] or box[1] >= box[3]:
                problems["swapped_corners"] = None
            if (box, item["label"]) in seen:
                problems["duplicate"] = None
            seen.add((box, item["label"]))
            boxes.append(box)
            labels.append(item["label"])
        well_formed = problems.keys() <= {"duplicate"}  # saying a thing twice is no mistake of form
        read = frame.all_to_original(boxes)
        return Answer(read, tuple(labels), well_formed, tuple(problems), "truncated" in problems)


def _faultless(text: str, frame: Frame) -> Answer | None:
    """The answer of a text without any problem, several times as fast as with a look for them; else None."""
    body = text.strip()
    if not (body.startswith(_OPEN) and body.endswith(_FENCE)):
        return None
    try:
        items = _ITEMS.decode(body[len(_OPEN) : -len(_FENCE)].strip())
    except ValueError:  # also of half a surrogate pair, which has no UTF-8
        return None
    boxes = [item.bbox_2d for item in items]
    if len(set(boxes)) < len(boxes):  # perhaps with another label, which is none
        return None
    right, bottom = float(frame.model_width), float(frame.model_height)
    for x1, y1, x2, y2 in boxes:
        if not (0.0 <= x1 < x2 <= right and 0.0 <= y1 < y2 <= bottom):
            return None
    return Answer(frame.all_to_original(boxes), tuple([item.label for item in items]), well_formed=True)


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


def _box(value: Any) -> Box | None:
    """Four finite numbers, or None."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    for number in value:
        if type(number) not in (int, float) or not -_HUGE < number < _HUGE:  # NaN fails both
            return None
    return (float(value[0]), float(value[1]), float(value[2]), float(value[3]))
