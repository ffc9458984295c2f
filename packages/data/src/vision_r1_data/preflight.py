"""Whether boxes lie where a model sees them: found out before a run, not after it.

Pictures with markers in known boxes go through the real image processor. From what comes out, the picture
that the model sees is put together again, and the markers are found in it. There the dialect must write them,
and from there it must read them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vision_r1_data.dialects import Dialect, get_dialect, list_dialects
from vision_r1_data.dialects.space import Space, outline
from vision_r1_data.errors import DataError
from vision_r1_data.frame import Box, Frame
from vision_r1_data.markers import SMALLEST, TURNED, Picture, draw, find, join_patches
from vision_r1_data.processor import VisionProcessor, image_frame
from vision_r1_data.prompts import TASKS, Form, Message
from vision_r1_data.sample import Sample

SIZES = ((640, 480), (98, 70), (1001, 333), (9, 14), (1500, 60), (4800, 3600))
"""Ordinary, rounded much, odd, tiny, extreme, and larger than the limits that models come with."""

ASKED = SIZES[:3]
"""Those about which a model is asked."""

_TOLERANCE = 1.5  # pixels that the model sees, beside the dialect's own rounding
_FITS = 0.5  # the lowest fit of answers that are of a space
_BETTER = 0.1  # how much better another space must fit to be the right one
_OWN, _ORIGINAL = "its own space", "pixels of the original image"

Answerer = Callable[[Image.Image, list[Message]], str]
Framer = Callable[[Image.Image], Frame]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture whose markers were written and read where they are.

    Args:
        picture: what it is, such as "640x480".
        width: of what the model sees, in pixels.
        height: likewise.
        error: how far a corner was off at most, there or back, in pixels that the model sees.
        allowed: how far it may be.
    """

    picture: str
    width: int
    height: int
    error: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Preflight:
    """What `preflight` saw; printed, a table.

    Args:
        dialect: the name of the dialect.
        seen: the pictures.
        fits: space -> how well a model's answers fit it: the mean IoU with the markers, or of points the
            share of the markers that they hit. The dialect's own comes first. Empty if no model was asked.
    """

    dialect: str
    seen: tuple[Seen, ...]
    fits: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [("picture", "seen as", "worst error", "allowed")]
        rows += [
            (one.picture, f"{one.width}x{one.height}", f"{one.error:.2f} px", f"{one.allowed:.2f} px")
            for one in self.seen
        ]
        lines = [f"{self.dialect}: boxes lie where the model sees them"]
        lines += [f"{picture:22}{size:>10}{error:>14}{most:>12}" for picture, size, error, most in rows]
        lines += [f"answers fit {name}: {fit:.2f}" for name, fit in self.fits.items()]
        return "\n".join(lines)


def preflight(
    processor: Any,
    dialect: Dialect,
    *,
    frame: Framer | None = None,
    answer: Answerer | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> Preflight:
    """Check that boxes lie where the model sees them, through the image processor and back.

    It finds frames with width and height swapped, of other limits or of another patch size than the image
    processor's; images that are mirrored, turned, cropped or padded; and numbers of a padded square where
    nothing is padded. Whether the dialect is the model's own, only its answers tell: give `answer` for that.

    Args:
        processor: a `VisionProcessor`, or a transformers processor or image processor. It makes patches with
            image_grid_thw, as that of Qwen2-VL does, or pixels (1, 3, height, width).
        dialect: the one to train or evaluate with.
        frame: how the frame of an image is found, where it is not with `image_frame` from this processor.
        answer: a model: an image and the messages that ask for its markers -> a completion. It is asked about
            pictures of the sizes ASKED.
        sizes: widths and heights of the pictures; one should be larger than the image processor's limit.

    Raises:
        DataError: a box does not lie where the model sees it, the model's answers fit another space better or
            none at all, or what the processor makes cannot be put together to a picture.
        ValueError: there are no sizes, or a side is shorter than 8 pixels.

    Example:
        >>> def image_processor(images, return_tensors):
        ...     resized = [np.asarray(image.resize((336, 336))) for image in images]
        ...     return {"pixel_values": np.stack(resized).transpose(0, 3, 1, 2)}
        >>> print(preflight(image_processor, get_dialect("qwen3_vl"), sizes=[(640, 480)]))
        qwen3_vl: boxes lie where the model sees them
        picture                  seen as   worst error     allowed
        640x480                  336x336       0.34 px     1.67 px
        640x480, EXIF turn       336x336       0.34 px     1.67 px
    """
    if not sizes or min(map(min, sizes)) < SMALLEST:
        raise ValueError(f"sizes must be widths and heights of {SMALLEST} pixels or more, got {sizes}")
    route = _Route(processor, dialect, frame)
    seen = tuple(map(route.check, [*map(draw, sizes), draw(sizes[0], TURNED)]))
    return Preflight(dialect.name, seen, _fits(route, answer) if answer else {})


@dataclass(frozen=True, slots=True)
class _Route:
    """From the boxes of an image to what a model sees, and back."""

    processor: Any
    dialect: Dialect
    framer: Framer | None

    @property
    def form(self) -> Form:
        return self.dialect.forms[0]

    def messages(self, picture: Picture) -> list[Message]:
        """The question for the markers."""
        task = next(name for name, task in TASKS.items() if task.form == self.form)
        size, labels = picture.image.size, picture.markers.labels
        return self.dialect.prompt(Sample("preflight", b"", *size, task, categories=labels))

    def look(self, picture: Picture) -> tuple[Array, Frame]:
        """The picture (3, height, width) as the model sees it, and its frame."""
        image = picture.image
        resizer = getattr(self.processor, "image_processor", self.processor)
        if isinstance(self.processor, VisionProcessor):
            encoded = self.processor.encode(self.messages(picture), image)
            patches, grid = encoded.vision["pixel_values"], encoded.vision.get("image_grid_thw")
            if grid is None:
                pixels = self.processor.picture(encoded, image)
            else:
                pixels = join_patches(patches, grid, resizer, picture)
            return pixels, self.framer(image) if self.framer else encoded.frame
        vision = resizer(images=[image], return_tensors="np")
        values = np.asarray(vision.get("pixel_values", ()))
        if "image_grid_thw" in vision:
            pixels = join_patches(values, np.asarray(vision["image_grid_thw"]), resizer, picture)
            return pixels, self.framer(image) if self.framer else image_frame(image, resizer)
        if values.ndim != 4 or values.shape[:2] != (1, 3):
            raise DataError(
                f"{picture.where} becomes pixel_values of shape {values.shape} without image_grid_thw, in "
                "which it cannot be seen whole; give an image processor that makes (1, 3, height, width)"
            )
        whole = Frame(image.width, image.height, values.shape[3], values.shape[2])
        return values[0], self.framer(image) if self.framer else whole

    def check(self, picture: Picture) -> Seen:
        """Follow the markers to what the model sees, and back."""
        pixels, frame = self.look(picture)
        _, height, width = pixels.shape
        _check_sizes(picture, frame, width, height)
        space, name = self.dialect.space, self.dialect.name
        if space.square and width != height:
            raise DataError(
                f"{picture.where} is seen as {width}x{height}, but {name} writes numbers of the image padded "
                "to a square; let the image processor pad, or give a copy of the dialect without Space.square"
            )
        there = Frame(width, height, width, height)  # whose original pixels are those that the model sees
        seen = find(pixels, picture)
        true, found = self.places(picture.markers.boxes), self.places(seen)
        written = self.carry(picture, picture.markers.boxes, frame, there)
        back = self.carry(picture, seen, there, frame)
        step, own_step = (np.array(space.step(one) * 2) for one in (there, frame))
        allowed = _TOLERANCE + step / 2
        way_there, way_back = abs(written - found), abs(back - true) * step / own_step
        if (off := way_there > allowed).any():
            k = int(off.any(axis=1).argmax())
            raise DataError(
                f"{picture.where} is seen as {width}x{height}, its {picture.markers.labels[k]} there at "
                f"{_shown(found[k])} where {name} writes {_shown(written[k])}; "
                f"{_remedy(picture, seen, width, height, space.square)}"
            )
        if (off := way_back > allowed).any():
            k = int(off.any(axis=1).argmax())
            raise DataError(
                f"{picture.where} has its {picture.markers.labels[k]} at {_shown(true[k])}, but {name} reads "
                f"what it writes of it as {_shown(back[k])}; correct its encode or decode"
            )
        error = float(max(way_there.max(), way_back.max()))
        return Seen(picture.name, width, height, error, float(allowed.max()))

    def carry(self, picture: Picture, boxes: tuple[Box, ...], source: Frame, target: Frame) -> Array:
        """The places (K, 4) of boxes that are written in one frame and read in another."""
        text = self.dialect.encode(replace(picture.markers, boxes=boxes), source, self.form)
        answer = self.dialect.decode(text, target, self.form)
        if len(answer) != len(boxes):
            raise DataError(
                f"{picture.where}: {self.dialect.name} reads {len(answer)} of {len(boxes)} boxes in its own "
                f"text {text!r:.80}; correct its encode or decode"
            )
        return self.places(answer.boxes)

    def places(self, boxes: tuple[Box, ...]) -> Array:
        """(K, 4) corners; of points, the middle twice."""
        return np.array([(outline(box, self.form) * 2)[:4] for box in boxes])


def _shown(place: Array) -> str:
    return f"({', '.join(f'{x:.0f}' for x in place)})"


def _check_sizes(picture: Picture, frame: Frame, width: int, height: int) -> None:
    if (frame.width, frame.height) != picture.image.size:
        raise DataError(
            f"{picture.where} has a frame of {frame.width}x{frame.height}; make frames and boxes of upright "
            "images, as Sample.load_image gives them"
        )
    said = (frame.model_width, frame.model_height)
    if said == (width, height):
        return
    remedy = "take it from the model's image processor, with the same limits, as image_frame does"
    if said == (height, width):
        remedy = "swap its width and height: image_grid_thw is time, rows, columns"
    raise DataError(
        f"{picture.where} is seen as {width}x{height}, but its frame says {said[0]}x{said[1]}; {remedy}"
    )


def _remedy(picture: Picture, seen: tuple[Box, ...], width: int, height: int, is_square: bool) -> str:
    """What the image processor does to an image, and what to do about it, from where the markers are seen."""
    w, h = np.array(picture.image.size) / max(picture.image.size)
    (x, y), (u, v) = (
        np.array([outline(box, "points") for box in boxes]).T / np.array(size)[:, None]
        for boxes, size in ((picture.markers.boxes, picture.image.size), (seen, (width, height)))
    )
    ways = {
        "mirrors images: switch that off": [(1 - x, y), (x, 1 - y)],
        "turns images: give it upright ones, as Sample.load_image does": [
            (y, x),
            (1 - y, x),
            (y, 1 - x),
            (1 - y, 1 - x),
            (1 - x, 1 - y),
        ],
        "pads images to a square: switch that off, or give a dialect with Space.square": [
            (x * w + (1 - w) / 2, y * h + (1 - h) / 2),
            (x * w, y * h),
        ],
        "pads nothing: give a copy of the dialect without Space.square": [(x, y)] if is_square else [],
    }
    for remedy, places in ways.items():
        if any(np.allclose((u, v), place, atol=0.03) for place in places):
            return f"the image processor {remedy}"
    return "the image processor crops or moves images, which no frame can say: use one that only resizes"


def _fits(route: _Route, answer: Answerer) -> dict[str, float]:
    """How well a model's answers fit each space.

    Raises:
        DataError: they fit another better than the dialect's own, or none.
    """
    readings = _readings(route.dialect)
    fits: dict[str, list[float]] = {name: [] for name in readings}
    text = ""
    for picture in map(draw, ASKED):
        width, height = picture.image.size
        _, frame = route.look(picture)
        text = answer(picture.image, route.messages(picture))
        for name, dialect in readings.items():
            own = Frame(width, height, width, height) if name == _ORIGINAL else frame
            boxes = dialect.decode(text, own, route.form, picture.markers.labels).boxes
            fits[name].append(_fit(boxes, picture.markers.boxes, route.form))
    means = {name: float(np.mean(values)) for name, values in fits.items()}
    best, own_fit = max(means, key=means.__getitem__), means[_OWN]
    said = " ".join(text.split())[:100]
    if max(means.values()) < _FITS:
        raise DataError(
            f"preflight: answers such as {said!r} fit no space that is known, best {best} "
            f"({means[best]:.2f}); give the dialect that its model was taught, or a model that finds squares"
        )
    if own_fit < means[best] - _BETTER:
        remedy = f"give that dialect, or a copy of {route.dialect.name} with its Space"
        if best == _ORIGINAL:
            remedy = "let frames say that the model sees the image in its own size"
        raise DataError(
            f"preflight: answers such as {said!r} fit {best} ({means[best]:.2f}) better than "
            f"the space of {route.dialect.name} ({own_fit:.2f}); {remedy}"
        )
    return means


def _readings(dialect: Any) -> dict[str, Dialect]:
    """The dialect in its own space, and in each other that is known; those of its kin are named first.

    Only its own where it cannot have another, such as one that writes indices of cells.
    """
    readings: dict[str, Dialect] = {_OWN: dialect}
    if not is_dataclass(type(dialect)) or type(dialect.space) is not Space:
        return readings
    known = {_reading(dialect.space)}
    for other in sorted(map(get_dialect, list_dialects()), key=lambda one: type(one) is not type(dialect)):
        if type(other.space) is Space and _reading(other.space) not in known:
            known.add(_reading(other.space))
            readings[f"the space of {other.name}"] = replace(dialect, space=other.space)
    return {**readings, _ORIGINAL: replace(dialect, space=Space())}


def _reading(space: Space) -> Space:
    """What matters to reading: not how many digits are written."""
    return replace(space, decimals=0, digits=0, last=None)


def _fit(said: tuple[Box, ...], true: tuple[Box, ...], form: Form) -> float:
    """The mean over true boxes of the best IoU of any that was said; of points, of whether any hits it."""
    if not said:
        return 0.0
    a, b = np.array(said)[:, None], np.array(true)
    if form == "points":
        return float(((a >= b[:, [0, 1, 0, 1]]) & (a <= b[:, [2, 3, 2, 3]])).all(axis=2).any(axis=0).mean())
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(axis=2)
    areas = ((one[..., 2:] - one[..., :2]).clip(0).prod(axis=-1) for one in (a, b))
    return float((shared / (sum(areas) - shared)).max(axis=0).mean())
