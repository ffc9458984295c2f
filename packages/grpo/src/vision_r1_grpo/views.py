"""What a model sees of an image: the size of it, and the picture put together again from the model's input.

Image processors resize an image to patches, to one square, or to tiles on a canvas. Boxes are in the frame of
the resized whole. Beside it some models see a small copy in one tile, stretched from the same image.

Axes: H, W pixels that the model sees; K tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Arrays = Mapping[str, npt.NDArray[Any]]


class View:
    """How an image processor lays out an image."""

    def rows(self, vision: Arrays) -> Arrays:
        """The same with a row for each tile, so that images of unequal numbers of tiles can be joined."""
        return vision

    def size(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        """Width and height of what the model sees."""
        raise NotImplementedError

    def picture(self, image: Image.Image, vision: Arrays, image_processor: Any) -> npt.NDArray[Any]:
        """(3, H, W) what the model sees, normalised, for the data's preflight, which joins patches itself."""
        raise NotImplementedError


@dataclass(frozen=True)
class Patches(View):
    """Patches of an image that is resized to whole cells of them; image_grid_thw counts them.

    Args:
        frames: the image processor's limits of size count each pixel this often.
    """

    frames: int = 1

    def size(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        """Width and height of what the model sees."""
        _, rows, columns = vision["image_grid_thw"][0].tolist()
        return columns * image_processor.patch_size, rows * image_processor.patch_size


@dataclass(frozen=True)
class Whole(View):
    """The image stretched to one square."""

    def size(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        """Width and height of what the model sees."""
        height, width = vision["pixel_values"].shape[-2:]
        return width, height

    def picture(self, image: Image.Image, vision: Arrays, image_processor: Any) -> npt.NDArray[Any]:
        """(3, H, W) what the model sees, normalised."""
        whole: npt.NDArray[Any] = vision["pixel_values"][0]
        return whole


@dataclass(frozen=True)
class Canvas(View):
    """The image stretched to a canvas of tiles, and after it a copy in one tile.

    Args:
        rule: which canvas an image gets: "tiles" as InternVL, "splits" as Idefics3.
    """

    rule: Literal["tiles", "splits"]

    def rows(self, vision: Arrays) -> Arrays:
        """Of Idefics3, which has its tiles along the second axis, a row for each."""
        if self.rule == "tiles":
            return vision
        return {name: values.swapaxes(0, 1) for name, values in vision.items()}

    def size(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        """Width and height of what the model sees."""
        height, width = vision["pixel_values"].shape[-2:]
        rows, columns = self._grid(image, vision, image_processor)
        return columns * width, rows * height

    def picture(self, image: Image.Image, vision: Arrays, image_processor: Any) -> npt.NDArray[Any]:
        """(3, H, W) what the model sees, normalised."""
        rows, columns = self._grid(image, vision, image_processor)
        return _join(vision["pixel_values"][: rows * columns], rows, columns)

    def _grid(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        if len(vision["pixel_values"]) == 1:
            return 1, 1
        if self.rule == "splits":
            _, rows, columns = image_processor.get_number_of_image_patches(image.height, image.width)
            return rows, columns
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

        columns, rows = get_optimal_tiled_canvas(
            (image.height, image.width),
            vision["pixel_values"].shape[-2:],
            image_processor.min_patches,
            image_processor.max_patches,
        )
        return rows, columns


@dataclass(frozen=True)
class Padded(View):
    """A copy in one tile, and after it the image in its own proportions amid a canvas of tiles.

    The model drops the features of the padding, so its frame is the image's own part of the canvas.
    """

    def rows(self, vision: Arrays) -> Arrays:
        """A row for each tile; the model knows from image_sizes how many an image has."""
        return {**vision, "pixel_values": vision["pixel_values"][0]}

    def size(self, image: Image.Image, vision: Arrays, image_processor: Any) -> tuple[int, int]:
        """Width and height of what the model sees."""
        from transformers.image_processing_utils import get_patch_output_size

        shape = np.empty((3, image.height, image.width), dtype=np.bool_)
        height, width = get_patch_output_size(shape, self._canvas(image, image_processor), "channels_first")
        return width, height

    def picture(self, image: Image.Image, vision: Arrays, image_processor: Any) -> npt.NDArray[Any]:
        """(3, H, W) what the model sees, normalised."""
        height, width = self._canvas(image, image_processor)
        tiles = vision["pixel_values"][1:]
        canvas = _join(tiles, height // tiles.shape[-2], width // tiles.shape[-1])
        own_width, own_height = self.size(image, vision, image_processor)
        left, top = (width - own_width) // 2, (height - own_height) // 2
        return canvas[:, top : top + own_height, left : left + own_width]

    def _canvas(self, image: Image.Image, image_processor: Any) -> tuple[int, int]:
        from transformers.image_processing_utils import select_best_resolution

        height, width = select_best_resolution(
            (image.height, image.width), image_processor.image_grid_pinpoints
        )
        return height, width


def _join(tiles: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Tiles (K, ..., 3, h, w), row by row, to a canvas (3, rows * h, columns * w)."""
    height, width = tiles.shape[-2:]
    grid = tiles.reshape(rows, columns, 3, height, width)
    return grid.transpose(2, 0, 3, 1, 4).reshape(3, rows * height, columns * width)
