"""What one annotated image asks and knows, and what one completion answered."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from vision_r1_data.errors import DataError
from vision_r1_data.frame import Box, Polygon

# What Pillow raises for a damaged file; RuntimeError of a damaged AVIF.
UNREADABLE = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)

# The EXIF orientation -> what turns an image upright; the last four swap width and height.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


def upright(image: Image.Image) -> Image.Image:
    """The image turned upright by its EXIF orientation, of which it then says nothing more.

    ImageOps.exif_transpose writes the rest of the EXIF anew, and fails where that is damaged.
    """
    image.load()  # here Pillow turns a TIFF itself
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {key: value for key, value in turned.info.items() if key not in _EXIF}
    return turned


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened file once it is upright, as its head says."""
    # Pillow would decode a whole PNG to look for the metadata behind its pixels.
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    # the size of a TIFF is upright from the start
    return image.size[::-1] if turned and image.format != "TIFF" else image.size


@dataclass(frozen=True, slots=True)
class Objects:
    """The annotated objects of one image.

    Args:
        boxes: K boxes xyxy in original pixels.
        labels: K labels.
        crowd: K flags, true where a box covers a group that is not annotated one by one; all false if
            left out.
        segmentations: K masks as COCO writes them, in original pixels, or none at all: polygons as a list of
            flat lists [x1, y1, x2, y2, ...], or a run-length encoding as a dict with size and counts. None
            for an object without one.

    Raises:
        ValueError: they do not have one length.
    """

    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    crowd: tuple[bool, ...] = ()
    segmentations: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.crowd:
            object.__setattr__(self, "crowd", (False,) * len(self.boxes))
        if not len(self.boxes) == len(self.labels) == len(self.crowd):
            raise ValueError(
                "Objects needs one label and one crowd flag per box, "
                f"got {len(self.boxes)} boxes, {len(self.labels)} labels, {len(self.crowd)} crowd flags"
            )
        if len(self.segmentations) not in (0, len(self.boxes)):
            raise ValueError(
                "Objects needs one segmentation per box or none at all, "
                f"got {len(self.boxes)} boxes, {len(self.segmentations)} segmentations"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def without_crowd(self) -> Objects:
        """The objects that are annotated one by one."""
        keep = [k for k, is_crowd in enumerate(self.crowd) if not is_crowd]
        return Objects(
            tuple(self.boxes[k] for k in keep),
            tuple(self.labels[k] for k in keep),
            segmentations=tuple(self.segmentations[k] for k in keep) if self.segmentations else (),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, what is asked about it, and the annotated truth.

    Args:
        id: unique within its source.
        image: path of the image file, or its bytes.
        width: width in pixels, after the EXIF orientation is applied.
        height: height in pixels, likewise.
        task: what is asked, a name of `vision_r1_data.prompts.TASKS`.
        query: the text asked about the image; empty where the categories say it all.
        categories: the labels asked for, present or absent in the image.
        objects: the annotated objects.
        source: where the sample comes from, such as the name of its annotation file.
        image_id: what other sets call the same picture, such as "coco:391895"; the name of its file in its
            source where no other set has it.
        not_exhaustive: those of the categories of which not every instance in the image is annotated.
        stratum: the kind of sample that a mixture counts it as, such as "hard".
        fingerprint: a perceptual hash of the image, 64 bits: pictures that look alike differ in few of them.
        pass_rate: the mean reward that a policy earned on it, from 0 to 1.
        curriculum: its place in the order of training, from 0 on.
    """

    id: str
    image: Path | bytes
    width: int
    height: int
    task: str = "detection"
    query: str = ""
    categories: tuple[str, ...] = ()
    objects: Objects = field(default_factory=Objects)
    source: str = ""
    image_id: str = ""
    not_exhaustive: tuple[str, ...] = ()
    stratum: str = ""
    fingerprint: int | None = None
    pass_rate: float | None = None
    curriculum: int | None = None

    @property
    def image_name(self) -> str:
        """What an error calls the image: its path, or that it is held in the sample."""
        return f"the image of sample {self.id!r}" if isinstance(self.image, bytes) else str(self.image)

    def load_image(self) -> Image.Image:
        """The image as RGB, turned upright by its EXIF orientation.

        Raises:
            DataError: the file cannot be read, or its size is not the annotated one.
        """
        try:
            with Image.open(io.BytesIO(self.image) if isinstance(self.image, bytes) else self.image) as file:
                image = upright(file).convert("RGB")
        except UNREADABLE as error:
            raise DataError(
                f"{self.image_name}: cannot be read as an image ({error}); "
                f"replace the file or drop image {self.id!r}"
            ) from error
        if image.size != (self.width, self.height):
            raise DataError(
                f"{self.image_name}: is {image.width}x{image.height} pixels but its annotation says "
                f"{self.width}x{self.height}; correct width and height of image {self.id!r} in {self.source}"
            )
        return image


@dataclass(frozen=True, slots=True)
class Answer:
    """What one completion said, decoded. Text is data: a malformed completion is an answer too.

    Args:
        boxes: M boxes xyxy in original pixels; what could be read, in the order of the text. A point is a
            box without extent, and the box of a polygon bounds it.
        labels: M labels, or the M texts that were read in the image.
        well_formed: the text is exactly of the dialect's form, and every box is valid.
        problems: the kinds of what is wrong, each once, such as "no_json" or "out_of_bounds".
        truncated: the text ends before its form is complete.
        polygons: M outlines in original pixels, where outlines were asked for.
        count: the number that was said, where a number was asked for and one can be read.
    """

    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    well_formed: bool = False
    problems: tuple[str, ...] = ()
    truncated: bool = False
    polygons: tuple[Polygon, ...] = ()
    count: int | None = None

    def __len__(self) -> int:
        return len(self.boxes)
