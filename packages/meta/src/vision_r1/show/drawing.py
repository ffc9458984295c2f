"""A sample's picture with its objects drawn on it, as HTML that the page's styles size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vision_r1_data import Box, Sample
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.picture import SMALL

MOST_DRAWN = 300
"""Objects; more are a carpet."""

_MOST_NAMED, _MOST_NAMED_SMALL = 40, 4  # in a picture that is enlarged, and in one that is not
_GOLDEN = 137.508  # degrees: neighbours in the order are far apart on the wheel
_SHADES = ((58, 0.2), (64, 0.16), (50, 0.2))  # lightness in per cent, and chroma


def label_colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label; those that stand close in the order differ most.

    Example:
        >>> label_colours(["cat", "dog"])
        {'cat': 'oklch(58% 0.2 255)', 'dog': 'oklch(64% 0.16 33)'}
    """
    colours = {}
    for place, label in enumerate(dict.fromkeys(labels)):
        lightness, chroma = _SHADES[place % len(_SHADES)]
        colours[label] = f"oklch({lightness}% {chroma} {(255 + _GOLDEN * place) % 360:.0f})"
    return colours


@dataclass(frozen=True, slots=True)
class _Object:
    box: Box
    label: str
    crowd: bool
    segmentation: Any

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def drawn_objects(sample: Sample) -> list[_Object]:
    """What of a sample is drawn: boxes that can be, large ones first, as small ones may lie inside them."""
    objects = sample.objects
    segmentations = objects.segmentations or (None,) * len(objects)
    columns = zip(objects.boxes, objects.labels, objects.crowd, segmentations, strict=True)
    finite = [_Object(*one) for one in columns if all(map(math.isfinite, one[0]))]
    return sorted(finite, key=lambda one: -one.area)[:MOST_DRAWN]


def drawing(sample: Sample, picture: str, colours: Mapping[str, str]) -> str:
    """The picture, outlines in original pixels, and names. Strokes and names keep their size in any frame.

    Args:
        sample: whose objects to draw.
        picture: data URL of its image, of any size; empty for an empty canvas.
        colours: of the labels.
    """
    objects = drawn_objects(sample)
    image = tag("image", href=picture, width=sample.width, height=sample.height) if picture else ""
    svg = tag(
        "svg",
        image,
        *(_outline(one, colours[one.label]) for one in objects),
        viewBox=f"0 0 {sample.width} {sample.height}",
        class_="pixels" if max(sample.width, sample.height) <= SMALL else None,
        role="img",
        aria_label=f"{sample.id}: {len(sample.objects)} objects",
    )
    names = [_name(one, sample, colours[one.label]) for one in objects]
    return tag(
        "div",
        svg,
        *(names if len(names) <= _MOST_NAMED else []),
        class_="picture" if len(names) <= _MOST_NAMED_SMALL else "picture many",
        style=f"--ratio:{sample.width / sample.height:.4f}",
    )


def _outline(one: _Object, colour: str) -> str:
    """The polygons of one object, and its box over a halo that sets it off from any picture."""
    x1, y1, x2, y2 = map(float, one.box)
    place = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    point = f"M{x1:.2f} {y1:.2f}h0"
    if x1 == x2 and y1 == y2:
        shape = tag("path", class_="halo", d=point) + tag("path", class_="point", d=point)
    elif one.crowd:
        shape = tag("rect", class_="crowd", **place)
    else:
        shape = tag("rect", class_="halo", **place) + tag("rect", class_="box", **place)
    rings = one.segmentation if isinstance(one.segmentation, list | tuple) and not one.crowd else ()
    size = f"{x2 - x1:.6g} \N{MULTIPLICATION SIGN} {y2 - y1:.6g} pixels"
    return tag(
        "g",
        tag("title", text(f"{'crowd: ' * one.crowd}{one.label}, {size}")),
        *(tag("polygon", points=" ".join(f"{x:.6g}" for x in ring)) for ring in rings),
        shape,
        data_label=one.label,
        style=f"--colour:{colour}",
    )


def _name(one: _Object, sample: Sample, colour: str) -> str:
    """The label at the upper left corner of the box."""
    left, top = (
        100 * min(max(at / size, 0), 1)
        for at, size in zip(one.box[:2], (sample.width, sample.height), strict=True)
    )
    style = f"left:{left:.2f}%;top:{top:.2f}%;--colour:{colour}"
    return tag("span", text(one.label), class_="name", data_label=one.label, style=style)
