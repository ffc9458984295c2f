"""Referring expressions that are true of exactly the objects they name.

Every relation is true, false, or None where one could argue about it. An expression is made only where none
of its relations is None, so a picture has one reading of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_r1_data.frame import Box

MARGIN = 0.05
"""How far the centres of two objects must be apart to be in order, as a share of the image's side."""
FACTOR = 2.0
"""How many times the area of the next the largest object must have: one half hidden is no smaller one."""

SIDES = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
"""The sides of an image, and the words for what lies towards them."""
ORDINALS = ("second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class Reference:
    """An expression and what it names.

    Args:
        kind: only, extreme, ordinal, size, relation, or relations for several objects.
        text: such as "the leftmost apple".
        objects: the numbers of all objects it is true of.
    """

    kind: str
    text: str
    objects: tuple[int, ...]


def find_references(boxes: Sequence[Box], labels: Sequence[str], size: tuple[int, int]) -> list[Reference]:
    """Every expression that is true and unambiguous.

    Args:
        boxes: K boxes xyxy in pixels, of all the objects that bear their labels.
        labels: K labels.
        size: width and height of the image in pixels.

    Returns:
        The references, in an order that depends on nothing but the arguments.

    Example:
        >>> boxes = [(10, 40, 30, 60), (40, 40, 60, 60), (80, 40, 90, 60)]
        >>> found = find_references(boxes, ["apple", "apple", "dog"], (100, 100))
        >>> [one.text for one in found if one.kind in ("extreme", "only")]
        ['the leftmost apple', 'the rightmost apple', 'the only dog']
        >>> [(one.text, one.objects) for one in found if one.kind == "relations"]
        [('every apple to the left of the dog', (0, 1))]
    """
    groups = {name: [k for k, label in enumerate(labels) if label == name] for name in unmistakable(labels)}
    found = []
    for name, group in groups.items():
        found += _among(name, group, boxes, size)
        for anchor, (other, *more) in groups.items():
            if anchor != name and not more:
                found += _beside(name, group, anchor, other, boxes, size)
    return found


def unmistakable(labels: Sequence[str]) -> list[str]:
    """The labels that no other could be meant by, in order: with an apple and a red apple, neither is."""
    names = sorted(set(labels))
    return [name for name in names if not any(is_mistakable(name, other) for other in names)]


def is_mistakable(name: str, other: str) -> bool:
    """Whether of two different names, one has all the words of the other.

    Example:
        >>> is_mistakable("apple", "red apple"), is_mistakable("red apple", "red cup")
        (True, False)
    """
    words, others = set(name.casefold().split()), set(other.casefold().split())
    return name != other and (words <= others or others <= words)


def _among(name: str, group: list[int], boxes: Sequence[Box], size: tuple[int, int]) -> list[Reference]:
    """What sets one of a group apart."""
    if len(group) == 1:
        return [Reference("only", f"the only {name}", (group[0],))]
    found = []
    for side in SIDES:
        order = clear_order([boxes[k] for k in group], side, size)
        if order:
            found.append(Reference("extreme", f"the {side}most {name}", (group[order[0]],)))
        for ordinal, place in zip(ORDINALS, order[1:], strict=False):
            found.append(Reference("ordinal", f"the {ordinal} {name} from the {side}", (group[place],)))
    by_area = sorted(group, key=lambda k: _area(boxes[k]))
    if _area(boxes[by_area[1]]) >= FACTOR * _area(boxes[by_area[0]]):
        found.append(Reference("size", f"the smallest {name}", (by_area[0],)))
    if _area(boxes[by_area[-1]]) >= FACTOR * _area(boxes[by_area[-2]]):
        found.append(Reference("size", f"the largest {name}", (by_area[-1],)))
    return found


def _beside(
    name: str, group: list[int], anchor: str, other: int, boxes: Sequence[Box], size: tuple[int, int]
) -> list[Reference]:
    """Those of a group on each side of an object that is the only one of its name."""
    found = []
    for side, words in SIDES.items():
        truths = {k: is_towards(boxes[k], boxes[other], side, size) for k in group}
        named = tuple(k for k, truth in truths.items() if truth)
        if named and None not in truths.values():
            kind, article = ("relation", "the") if len(named) == 1 else ("relations", "every")
            found.append(Reference(kind, f"{article} {name} {words} the {anchor}", named))
    return found


def is_towards(box: Box, other: Box, side: str, size: tuple[int, int]) -> bool | None:
    """Whether a box lies on that side of another: wholly beyond it, and further that way than any other way.

    Returns:
        False where its centre is not even nearer to the side, None between the two.

    Example:
        >>> [is_towards((x, 40, x + 20, 60), (40, 40, 60, 60), "left", (100, 100)) for x in (10, 30, 50)]
        [True, None, False]
    """
    start, end = _span(box, side, size)
    other_start, other_end = _span(other, side, size)
    gap = (other_start + other_end - start - end) / 2
    if gap <= 0:
        return False
    cross = 1 - _axis(side)
    aside = abs(box[cross] + box[cross + 2] - other[cross] - other[cross + 2]) / 2
    clear = end <= other_start and gap >= MARGIN * size[_axis(side)] and gap >= aside
    return True if clear else None


def clear_order(boxes: Sequence[Box], side: str, size: tuple[int, int]) -> list[int]:
    """The numbers of the boxes from that side on, up to where their order is no longer clear.

    Two are in order if the centre and both edges of one come before those of the other, the centre by MARGIN.

    Example:
        >>> clear_order([(50, 0, 60, 9), (0, 0, 10, 9), (51, 0, 61, 9)], "left", (100, 100))
        [1]
    """
    spans = [_span(box, side, size) for box in boxes]
    order = sorted(range(len(boxes)), key=lambda k: sum(spans[k]))
    margin = MARGIN * size[_axis(side)]
    for place, k in enumerate(order):
        (start, end), later = spans[k], [spans[j] for j in order[place + 1 :]]
        if not all(start < s and end < e and (s + e - start - end) / 2 >= margin for s, e in later):
            return order[:place]
    return order


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _axis(side: str) -> int:
    return 0 if side in ("left", "right") else 1


def _span(box: Box, side: str, size: tuple[int, int]) -> tuple[float, float]:
    """Where a box starts and ends, counted from that side of the image."""
    axis = _axis(side)
    if side in ("left", "top"):
        return box[axis], box[axis + 2]
    return size[axis] - box[axis + 2], size[axis] - box[axis]
