"""An image as a data URL, so that a page needs no file beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

# Up to here pixels matter one by one: kept as they are, and shown enlarged without blur.
SMALL = 256
# Wider than a picture on the page ever is.
_LARGEST = 800


def load_picture(image: Image.Image | Path | str) -> Image.Image:
    """The image as RGB, upright.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    with Image.open(image) as file:
        return ImageOps.exif_transpose(file).convert("RGB")


def data_url(image: Image.Image) -> str:
    """PNG for small images, JPEG of at most 800 pixels a side for others."""
    buffer = io.BytesIO()
    if max(image.size) <= SMALL:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        image = image.copy()
        image.thumbnail((_LARGEST, _LARGEST))
        image.save(buffer, "JPEG", quality=85, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
