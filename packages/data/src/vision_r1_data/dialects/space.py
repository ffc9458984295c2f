"""The numbers in which dialects write places, and the pixels that they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from vision_r1_data.frame import Box, Frame, Polygon
from vision_r1_data.prompts import Form
from vision_r1_data.sample import Answer

HUGE = 1e9  # no image is larger and no scale is finer
Shape = tuple[float, ...]
"""x, y, x, y, ... as they are written: one corner of a point, two of a box, three or more of a polygon."""

_T = TypeVar("_T")
# Saying a thing twice, or one that was not asked for, is no mistake of form.
_NO_FAULTS_OF_FORM = {"duplicate", "unknown_label"}


@dataclass(frozen=True, slots=True)
class Space:
    """How places are written. By default a number is a place, in pixels of the resized image.

    Args:
        scale: the number of the right and of the bottom edge; None for the size of the resized image.
        decimals: how many are written; a step is one unit of the last.
        digits: how many are written at least, with zeros in front.
        last: the highest number that there is a token for; what lies beyond it in the image is written as
            it. None if every number can be written.
        centre: a number q is the bin from q to q + 1, and is read as its centre; else it is the place itself.
        yx: y is written before x.
        square: the numbers are of the image padded to a square, with the image in the middle.

    Example:
        >>> thousandths = Space(scale=1000, yx=True)
        >>> frame = Frame(640, 480, 644, 476)
        >>> thousandths.write((320, 120, 640, 480), frame)
        ['250', '500', '1000', '1000']
        >>> thousandths.boxes([(500, 250, 1000, 1000)], frame)
        ((320.0, 120.0, 640.0, 480.0),)
    """

    scale: int | None = None
    decimals: int = 0
    digits: int = 0
    last: int | None = None
    centre: bool = False
    yx: bool = False
    square: bool = False

    def write(self, places: Sequence[float], frame: Frame) -> list[str]:
        """x, y, x, y, ... in original pixels as they are written, rounded halves up."""
        sides, edges, shifts = self._seen(frame)
        factors = (edges[0] / sides[0], edges[1] / sides[1])
        steps = 10**self.decimals
        numbers = []
        for k, pixels in enumerate(places):
            number = (pixels + shifts[k % 2]) * factors[k % 2]
            step = math.floor(number * steps + (0 if self.centre else 0.5))
            if self.last is not None and step > self.last and number <= edges[k % 2] + 1e-9:
                step = self.last
            number_text = f"{step / steps:.{self.decimals}f}" if self.decimals else str(step)
            numbers.append(number_text.zfill(self.digits))
        return list(self.in_order(numbers))

    def step(self, frame: Frame) -> tuple[float, float]:
        """Width and height, in original pixels, of one unit of the last digit.

        Example:
            >>> frame = Frame(640, 480, 320, 120)
            >>> Space().step(frame), Space(scale=1, decimals=2).step(frame)
            ((2.0, 4.0), (6.4, 4.8))
        """
        (width, height), (right, bottom), _ = self._seen(frame)
        units = 10**self.decimals
        return width / right / units, height / bottom / units

    def in_order(self, numbers: Sequence[_T]) -> tuple[_T, ...]:
        """From x, y, x, y, ... to the order of the text, or back."""
        if not self.yx:
            return tuple(numbers)
        return tuple(numbers[k ^ 1] for k in range(len(numbers)))

    def shape(self, numbers: Sequence[float]) -> Shape:
        """x, y, x, y, ... of what is written for one place."""
        return self.in_order(numbers)

    def bounds(self, frame: Frame) -> Box:
        """The lowest x and y, and the highest, of a place in the image."""
        if self.square:  # as its edges are written
            left, top, right, bottom = map(float, self.write((0, 0, frame.width, frame.height), frame))
            return (left, top, right, bottom)
        if self.last is not None:
            return (0.0, 0.0, float(self.last), float(self.last))
        _, (right, bottom), _ = self._seen(frame)
        return (0.0, 0.0, float(right), float(bottom))

    def boxes(self, boxes: Sequence[Box], frame: Frame) -> tuple[Box, ...]:
        """Two written corners each, in original pixels."""
        (width, height), (right, bottom), (dx, dy) = self._seen(frame)
        x, y = width / right, height / bottom
        if not (dx or dy or self.centre):  # faster
            return tuple([(x1 * x, y1 * y, x2 * x, y2 * y) for x1, y1, x2, y2 in boxes])
        half = 0.5 if self.centre else 0.0
        return tuple(
            [
                ((x1 + half) * x - dx, (y1 + half) * y - dy, (x2 + half) * x - dx, (y2 + half) * y - dy)
                for x1, y1, x2, y2 in boxes
            ]
        )

    def _seen(self, frame: Frame) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """The sides of the image, or of its square, in pixels and in written numbers; where it lies there."""
        if self.scale is None:
            return (frame.width, frame.height), (frame.model_width, frame.model_height), (0, 0)
        if not self.square:
            return (frame.width, frame.height), (self.scale, self.scale), (0, 0)
        side = max(frame.width, frame.height)
        shifts = ((side - frame.width) // 2, (side - frame.height) // 2)
        return (side, side), (self.scale, self.scale), shifts


def outline(box: Box, form: Form) -> tuple[float, ...]:
    """x, y, x, y, ... of what stands for an object with that box: its middle, its two or its four corners."""
    x1, y1, x2, y2 = box
    if form == "points":
        return ((x1 + x2) / 2, (y1 + y2) / 2)
    return (x1, y1, x2, y1, x2, y2, x1, y2) if form == "polygons" else box


def to_answer(
    shapes: Sequence[Shape],
    labels: Sequence[str],
    problems: dict[str, None],
    space: Space,
    frame: Frame,
    form: Form,
    categories: tuple[str, ...],
) -> Answer:
    """What was read, in original pixels; adds what is wrong with the places and labels to `problems`."""
    left, top, right, bottom = space.bounds(frame)
    for shape in shapes:
        x1, y1, x2, y2 = _bounds(shape)
        if min(x1, x2) < left or min(y1, y2) < top or max(x1, x2) > right or max(y1, y2) > bottom:
            problems["out_of_bounds"] = None
        if len(shape) == 4 and (shape[0] >= shape[2] or shape[1] >= shape[3]):
            problems["swapped_corners"] = None
    if len(set(zip(shapes, labels, strict=True))) < len(shapes):
        problems["duplicate"] = None
    if categories and not set(categories).issuperset(labels):
        problems["unknown_label"] = None
    well_formed = problems.keys() <= _NO_FAULTS_OF_FORM
    boxes = space.boxes([_bounds(shape) for shape in shapes], frame)
    polygons = tuple(_polygon(shape, space, frame) for shape in shapes) if form == "polygons" else ()
    return Answer(boxes, tuple(labels), well_formed, tuple(problems), "truncated" in problems, polygons)


def _bounds(shape: Shape) -> Box:
    """The two corners of a box as they are written, in order or not; one or more others are bounded."""
    if len(shape) == 4:
        return (shape[0], shape[1], shape[2], shape[3])
    xs, ys = shape[::2], shape[1::2]
    return (min(xs), min(ys), max(xs), max(ys))


def _polygon(shape: Shape, space: Space, frame: Frame) -> Polygon:
    corners = [(x, y, x, y) for x, y in zip(shape[::2], shape[1::2], strict=True)]
    return tuple((x, y) for x, y, _, _ in space.boxes(corners, frame))
