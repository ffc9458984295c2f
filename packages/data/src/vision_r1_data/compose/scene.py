"""One composed scene: cut-outs pasted on a photograph, with boxes and masks of what can be seen of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageStat

from vision_r1_data.compose.cutouts import OPAQUE, Cutout, load_upright, opaque_box
from vision_r1_data.masks import run_lengths
from vision_r1_data.sample import Objects

_PLACES = 20  # that are tried for a cut-out
_FEWEST_PIXELS = 64  # of an object; a thin one, made small, may have less
_MOST_ENLARGED = 2.0  # beyond, a cut-out is a blur
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class ComposeSettings:
    """How scenes are composed.

    Args:
        size: width and height of a scene in pixels.
        objects: the fewest and the most objects; a crowded scene holds fewer.
        scale: the least and the most of the longer side of a cut-out before it is turned, as a share of the
            shorter side of the scene. A cut-out is enlarged to twice its size at most, unless it would be
            smaller than the least.
        min_visible: the share of its pixels that an object keeps at least, under others and at the edges of
            the scene; of 1, nothing is hidden or cut off.
        brightness: the most by which the brightness of an object changes, as a share.
        contrast: the same of its contrast.
        saturation: the same of its saturation.
        hue: the most degrees by which its colours turn; none by default, as a name may tell a colour.
        flip: whether half of the objects and backgrounds are mirrored; not for what has writing on it.
        rotation: the most degrees by which an object is turned, either way.
        masks: whether objects have masks, which take little time but far more room than boxes.

    Raises:
        ValueError: a value is out of its range.
    """

    size: tuple[int, int] = (640, 480)
    objects: tuple[int, int] = (1, 8)
    scale: tuple[float, float] = (0.15, 0.5)
    min_visible: float = 0.6
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0
    flip: bool = True
    rotation: float = 10.0
    masks: bool = True

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"ComposeSettings.size must be positive, got {self.size}")
        if not 1 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"ComposeSettings.objects must be 1 <= fewest <= most, got {self.objects}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"ComposeSettings.scale must be 0 < least <= most <= 1, got {self.scale}")
        if not 0 < self.min_visible <= 1:
            raise ValueError(f"ComposeSettings.min_visible must be in (0, 1], got {self.min_visible}")
        for name in ("brightness", "contrast", "saturation", "hue", "rotation"):
            value, most = getattr(self, name), 180 if name in ("hue", "rotation") else 1
            if not 0 <= value <= most:
                raise ValueError(f"ComposeSettings.{name} must be from 0 to {most}, got {value}")


_DEFAULTS = ComposeSettings()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A cut-out as it is pasted, and which of its pixels are opaque, from `corner` on."""

    image: Image.Image
    corner: tuple[int, int]
    mask: npt.NDArray[np.bool_]


class _Canvas:
    """A scene in the making, and which object each of its pixels shows."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.owner = np.full((image.height, image.width), -1, dtype=np.int16)
        self.labels: list[str] = []
        self._whole = np.zeros(0, dtype=np.int64)  # pixels of every object
        self._seen = np.zeros(0, dtype=np.int64)  # those that can be seen

    def place(self, rng: random.Random, piece: _Piece, label: str, min_visible: float) -> bool:
        """Paste it where it and those below stay visible enough; false where no such place is found."""
        height, width = piece.mask.shape
        whole = np.append(self._whole, piece.mask.sum())
        for _ in range(_PLACES):
            x = _offset(rng, self.image.width, width, 1 - min_visible)
            y = _offset(rng, self.image.height, height, 1 - min_visible)
            below = self.owner[max(y, 0) : y + height, max(x, 0) : x + width]
            inside = piece.mask[max(-y, 0) :, max(-x, 0) :][: below.shape[0], : below.shape[1]]
            hidden = np.bincount(below[inside] + 1, minlength=len(whole))[1:]
            seen = np.append(self._seen - hidden, inside.sum())
            if (seen >= min_visible * whole).all():
                below[inside] = len(self.labels)
                self._whole, self._seen = whole, seen
                self.labels.append(label)
                self.image.paste(piece.image, (x - piece.corner[0], y - piece.corner[1]), piece.image)
                return True
        return False


def compose_scene(
    rng: random.Random,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Path],
    settings: ComposeSettings = _DEFAULTS,
) -> tuple[Image.Image, Objects]:
    """Paste cut-outs on a photograph, later ones over earlier ones.

    A scene draws some names, then for each object one of these and a cut-out of it, so that things come in
    ones and in several. As in COCO, box and mask are of what can be seen: a pixel belongs to the topmost
    object that is opaque there, and a box has the outer edges of its pixels.

    Args:
        rng: the source of every random choice; the same state composes the same scene.
        cutouts: what to paste.
        backgrounds: image files; a random part of the scene's shape is resized to its size.
        settings: how.

    Returns:
        An RGB image, and its objects from left to right, with masks as run-length encodings.

    Raises:
        DataError: an image cannot be read.
        ValueError: there are no cut-outs or no backgrounds.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGBA", (50, 50), "red").save(folder / "square.png")
        >>> Image.new("RGB", (64, 48), "white").save(folder / "wall.png")
        >>> settings = ComposeSettings(size=(320, 240), objects=(1, 1))
        >>> cutouts = [Cutout("square", folder / "square.png")]
        >>> image, objects = compose_scene(random.Random(0), cutouts, [folder / "wall.png"], settings)
        >>> image.size, objects.labels
        ((320, 240), ('square',))
    """
    if not cutouts or not backgrounds:
        raise ValueError(f"a scene needs cut-outs and backgrounds, got {len(cutouts)} and {len(backgrounds)}")
    canvas = _Canvas(_background(rng, rng.choice(backgrounds), settings))
    count = rng.randint(*settings.objects)
    named: dict[str, list[Cutout]] = {}
    for cutout in cutouts:
        named.setdefault(cutout.name, []).append(cutout)
    names = rng.sample(list(named), rng.randint(1, min(count, len(named))))
    for _ in range(2 * count):
        if len(canvas.labels) == count:
            break
        cutout = rng.choice(named[rng.choice(names)])
        piece = _piece(rng, cutout, settings)
        if piece is not None:
            canvas.place(rng, piece, cutout.name, settings.min_visible)
    return canvas.image, _objects(canvas, masks=settings.masks)


def _objects(canvas: _Canvas, *, masks: bool) -> Objects:
    found = []
    owner = np.asfortranarray(canvas.owner)  # encodings go down the columns
    for number, label in enumerate(canvas.labels):
        mask = owner == number
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        found.append((box, label, number, run_lengths(mask) if masks else None))
    found.sort(key=lambda one: one[:3])
    return Objects(
        tuple(box for box, *_ in found),
        tuple(label for _, label, *_ in found),
        segmentations=tuple(mask for *_, mask in found) if masks else (),
    )


def _background(rng: random.Random, path: Path, settings: ComposeSettings) -> Image.Image:
    width, height = settings.size
    image = load_upright(path, "RGB", least=max(settings.size))
    factor = min(image.width / width, image.height / height)
    part = (max(1, int(width * factor)), max(1, int(height * factor)))
    x, y = rng.randint(0, image.width - part[0]), rng.randint(0, image.height - part[1])
    image = image.resize(settings.size, Image.Resampling.BICUBIC, box=(x, y, x + part[0], y + part[1]))
    return ImageOps.mirror(image) if settings.flip and rng.random() < 0.5 else image


def _piece(rng: random.Random, cutout: Cutout, settings: ComposeSettings) -> _Piece | None:
    """The cut-out mirrored, resized, turned and recoloured; None where hardly a pixel stays opaque."""
    image = cutout.load()
    if settings.flip and rng.random() < 0.5:
        image = ImageOps.mirror(image)
    image = _resized(image, rng.uniform(*settings.scale) * min(settings.size), settings)
    if settings.rotation:
        # Its own edges are smooth when turned only if there is something transparent beyond them.
        image = ImageOps.expand(image, 2, (0, 0, 0, 0))
        angle = rng.uniform(-settings.rotation, settings.rotation)
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    opaque = np.asarray(image.getchannel("A")) >= OPAQUE
    if opaque.sum() < _FEWEST_PIXELS:
        return None
    left, top, right, bottom = opaque_box(image)
    image = _recoloured(rng, image, settings)
    return _Piece(image, (left, top), opaque[top:bottom, left:right])


def _resized(image: Image.Image, side: float, settings: ComposeSettings) -> Image.Image:
    left, top, right, bottom = opaque_box(image)
    own = max(right - left, bottom - top)
    side = min(side, max(_MOST_ENLARGED * own, settings.scale[0] * min(settings.size)))
    size = (max(1, round(image.width * side / own)), max(1, round(image.height * side / own)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _recoloured(rng: random.Random, image: Image.Image, settings: ComposeSettings) -> Image.Image:
    """Brightness, contrast about the mean of what is opaque, saturation and hue, as one matrix."""
    brightness, contrast, saturation = (
        1 + rng.uniform(-most, most) for most in (settings.brightness, settings.contrast, settings.saturation)
    )
    turned = _hue_matrix(math.radians(rng.uniform(-settings.hue, settings.hue)))
    colours, alpha = image.convert("RGB"), image.getchannel("A")
    mean = ImageStat.Stat(colours.convert("L"), alpha).mean[0]
    grey = np.tile(_LUMA, (3, 1))
    matrix = brightness * contrast * (grey + saturation * (np.eye(3) - grey)) @ turned
    offset = np.full((3, 1), brightness * (1 - contrast) * mean)
    colours = colours.convert("RGB", tuple(np.hstack([matrix, offset]).ravel().tolist()))
    colours.putalpha(alpha)
    return colours


def _hue_matrix(angle: float) -> npt.NDArray[np.float64]:
    """A turn of RGB about its grey axis."""
    third, side = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return math.cos(angle) * np.eye(3) + third + side * cross


def _offset(rng: random.Random, whole: int, part: int, beyond: float) -> int:
    """Where a part begins, of which that share may lie beyond either edge."""
    first, last = -int(beyond * part), whole - part + int(beyond * part)
    return rng.randint(min(first, last), max(first, last))
