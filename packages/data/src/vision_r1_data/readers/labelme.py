"""Annotations as LabelMe writes them, one JSON file per image: https://github.com/wkentaro/labelme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from globox import Annotation

from vision_r1_data.faults import Faults
from vision_r1_data.readers._globox import (
    Annotated,
    annotation_folder,
    bare_name,
    boxed,
    files,
    guarded,
    samples,
)
from vision_r1_data.readers._parts import Pixels, find_image, image_folder
from vision_r1_data.sample import Sample

_WHAT = "LabelMe with imagePath, imageWidth, imageHeight and shapes"
_WITH_BOXES = ("rectangle", "polygon")


class _Shape(msgspec.Struct):
    label: str
    shape_type: str


class _File(msgspec.Struct, rename="camel"):
    image_path: str
    image_width: Pixels
    image_height: Pixels
    shapes: list[_Shape]


def read_labelme(
    folder: Path | str,
    images: Path | str,
    *,
    labels: Sequence[str] | None = None,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set in the form of LabelMe.

    Rectangles are objects, and so are polygons, with the box that bounds them. Other shapes are faults.

    Args:
        folder: that holds the .json files, also in folders of its own.
        images: the folder that holds the images under their `imagePath` or an ending of it.
        labels: the labels asked for; by default all of the set in the order of the alphabet, for which every
            file is read once more before the first sample.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the folder.
        faults: told what cannot be used, such as a damaged file, which is left out whole, a box that lies
            outside its image, or a label that is not asked for; by default that is an error.

    Yields:
        One sample per file, in the order of their paths; its id is the path of the file without the suffix.

    Raises:
        DataError: a folder is missing or has no such files, or something is bad and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "a.png")
        >>> shape = {"label": "cat", "shape_type": "polygon", "points": [[1, 2], [30, 2], [9, 20]]}
        >>> content = {"imagePath": "a.png", "imageWidth": 40, "imageHeight": 20, "shapes": [shape]}
        >>> _ = (folder / "a.json").write_bytes(msgspec.json.encode(content))
        >>> next(read_labelme(folder, folder)).objects.boxes
        ((1.0, 2.0, 30.0, 20.0),)
    """
    folder, images = annotation_folder(folder, ".json"), image_folder(images)
    return samples(partial(_read, folder, images), labels, task, source or folder.name, faults)


def _read(folder: Path, images: Path, faults: Faults) -> Iterator[Annotated]:
    for file in files(folder, ".json"):
        parsed = guarded(partial(_parse, file), "bad_file", str(file), _WHAT, faults)
        if parsed is None:
            continue
        annotation, shapes = parsed
        image = find_image(images, annotation.image_id, str(file), faults, moved=True)
        if image is None:
            continue
        for number, shape in enumerate(shapes):
            if shape.shape_type not in _WITH_BOXES:
                faults.add(
                    "bad_shape",
                    f"{file}: shapes[{number}] is a {shape.shape_type!r:.80}, not a rectangle or a polygon; "
                    "draw it as one or remove it",
                )
        yield Annotated(
            bare_name(file, folder),
            image,
            annotation.image_id,
            annotation.image_size,
            boxed(annotation, str(file)),
        )


def _parse(file: Path) -> tuple[Annotation, list[_Shape]]:
    """The types come first, as globox takes whatever can be made text or a number, and passes over shapes."""
    shapes = msgspec.json.decode(file.read_bytes(), type=_File).shapes
    return Annotation.from_labelme(file, include_poly=True), shapes
