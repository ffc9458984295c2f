"""Pictures with coloured markers in known places, and where they are in what a model sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from vision_r1_data.errors import DataError
from vision_r1_data.frame import Box
from vision_r1_data.sample import Objects

SMALLEST = 8
"""Pixels of a side in which two markers have room."""

UPRIGHT, TURNED = 1, 6  # EXIF orientations
_COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}


class Picture(NamedTuple):
    """A picture and its markers.

    Args:
        name: what it is, such as "640x480".
        image: black but for the markers.
        markers: one near each corner, each of another colour: no turning or mirroring leaves them alone.
    """

    name: str
    image: Image.Image
    markers: Objects

    @property
    def where(self) -> str:
        """What an error calls it."""
        return f"preflight: an image of {self.name}"


def draw(size: tuple[int, int], orientation: int = UPRIGHT) -> Picture:
    """The picture of that width and height, with an EXIF orientation that it does not need.

    Example:
        >>> draw((640, 480)).markers.boxes[3], draw((640, 480)).markers.labels[3]
        ((480, 264, 600, 384), 'yellow square')
    """
    width, height = size
    x1, y1 = max(1, width // 16), max(1, height // 5)  # unlike, so that x and y cannot be swapped unseen
    x2, y2 = x1 + max(2, width * 3 // 16), y1 + max(2, height // 4)
    boxes = (
        (x1, y1, x2, y2),
        (width - x2, y1, width - x1, y2),
        (x1, height - y2, x2, height - y1),
        (width - x2, height - y2, width - x1, height - y1),
    )
    image = Image.new("RGB", size)
    for box, (red, green, blue) in zip(boxes, _COLOURS.values(), strict=True):
        image.paste((255 * red, 255 * green, 255 * blue), box)
    name = f"{width}x{height}"
    if orientation != UPRIGHT:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = orientation
        image.info["exif"] = exif.tobytes()
        name += ", EXIF turn"
    return Picture(name, image, Objects(boxes, tuple(f"{colour} square" for colour in _COLOURS)))


def join_patches(
    patches: npt.NDArray[Any], grid: npt.NDArray[Any], image_processor: Any, picture: Picture
) -> npt.NDArray[Any]:
    """What a Qwen2-VL image processor cut into patches, which come cell by cell: (3, height, width).

    Args:
        patches: (patches, patch_dim).
        grid: (1, 3) patches in time, height and width.
        image_processor: the one that cut it.
        picture: what it cut.

    Raises:
        DataError: its patches are not of the sizes that it says.
    """
    patch, merge = image_processor.patch_size, image_processor.merge_size
    times = image_processor.temporal_patch_size
    _, rows, columns = grid[0].tolist()
    expected = (rows * columns, 3 * times * patch**2)
    if patches.shape != expected:
        raise DataError(
            f"{picture.where} becomes pixel_values of shape {patches.shape} with image_grid_thw "
            f"{grid.tolist()}, but {expected} is what the image processor's patch_size {patch} and "
            f"temporal_patch_size {times} would make; correct these"
        )
    cells = patches.reshape(rows // merge, columns // merge, merge, merge, 3, times, patch, patch)
    first = cells[:, :, :, :, :, 0]  # an image is the same at all times
    return first.transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * patch, columns * patch)


def find(pixels: npt.NDArray[Any], picture: Picture) -> tuple[Box, ...]:
    """Where the markers are in (3, height, width) pixels, normalised in any way.

    Raises:
        DataError: one is not there.
    """
    # Every channel of the picture reaches from nothing to full.
    low, high = (limit(pixels, axis=(1, 2), keepdims=True) for limit in (np.min, np.max))
    channels = (pixels - low) / np.maximum(high - low, 1e-9)
    boxes: list[Box] = []
    for (name, colour), true in zip(_COLOURS.items(), picture.markers.boxes, strict=True):
        likeness = np.minimum.reduce([x if on else 1 - x for x, on in zip(channels, colour, strict=True)])
        y, x = np.unravel_index(likeness.argmax(), likeness.shape)
        if likeness[y, x] <= 0.5:
            raise DataError(
                f"{picture.where} is seen without its {name} square at {true}; the image processor cuts it "
                "off or blanks it, which no frame can say: use one that only resizes"
            )
        (x1, x2), (y1, y2) = _run(likeness[y], int(x)), _run(likeness[:, x], int(y))
        boxes.append((x1, y1, x2, y2))
    return tuple(boxes)


def _run(line: npt.NDArray[Any], at: int) -> tuple[float, float]:
    """From where to where the values around a place are above a half."""
    others = np.flatnonzero(line <= 0.5)
    k = int(np.searchsorted(others, at))
    return float(others[k - 1] + 1) if k else 0.0, float(others[k]) if k < len(others) else float(len(line))
