"""An image as a data URL, so that a page needs no file beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from vision_r1_data.sample import upright

# Up to here pixels matter one by one: kept as they are, and shown enlarged without blur.
SMALL = 256
# Wider than a picture on the page ever is.
_LARGEST = 800
_EDGE = 40  # an edge is this part of a side


def load_picture(image: Image.Image | Path | str) -> Image.Image:
    """The image as RGB, upright.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    with Image.open(image) as file:
        return upright(file).convert("RGB")


def data_url(image: Image.Image, largest: int = _LARGEST) -> str:
    """PNG for small images, JPEG of at most `largest` pixels a side for others."""
    buffer = io.BytesIO()
    if max(image.size) <= SMALL:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        image = image.copy()
        image.thumbnail((largest, largest))
        image.save(buffer, "JPEG", quality=85, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def edge_colours(image: Image.Image, *, sideways: bool) -> tuple[str, str]:
    """The mean colours of two opposite edges of an RGB image, in CSS's words.

    Args:
        image: the picture.
        sideways: the left and the right edge; else the upper and the lower one.

    Example:
        >>> edge_colours(Image.new("RGB", (80, 40), "red"), sideways=True)
        ('rgb(255 0 0)', 'rgb(255 0 0)')
    """
    width, height = image.size
    if sideways:
        edge = width / _EDGE
        places = [(0.0, 0.0, edge, float(height)), (width - edge, 0.0, float(width), float(height))]
    else:
        edge = height / _EDGE
        places = [(0.0, 0.0, float(width), edge), (0.0, height - edge, float(width), float(height))]
    first, second = (_mean(image, place) for place in places)
    return first, second


def _mean(image: Image.Image, place: tuple[float, float, float, float]) -> str:
    red, green, blue = image.resize((1, 1), Image.Resampling.BOX, place).tobytes()
    return f"rgb({red} {green} {blue})"
