"""What the readers share that stand on the library globox: Pascal VOC, LabelMe, YOLO, CVAT and Open Images.

globox stops at the first thing that is wrong, with one of many exceptions. So every file, image or line is
handed to it alone, and whatever it raises is one fault with the place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from globox import Annotation, ParsingError
from PIL import Image

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box
from vision_r1_data.readers._parts import checked_box, find_image, image_id, is_file, is_size
from vision_r1_data.sample import Objects, Sample, upright_size

T = TypeVar("T")

# What globox, the parsers below it and Pillow raise for what is damaged.
_UNREADABLE = (
    ParsingError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    SyntaxError,
    OSError,
    RecursionError,
    Image.DecompressionBombError,
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".webp", ".bmp", ".tif", ".tiff")


class Boxed(NamedTuple):
    """One object; corners x1, y1, x2, y2 in pixels, not yet checked."""

    place: str
    label: str
    corners: Box
    is_crowd: bool = False


class Annotated(NamedTuple):
    """One image with its objects; `name` is that of its file in the folder of images."""

    id: str
    file: Path
    name: str
    size: tuple[int, int]
    objects: list[Boxed]


Read = Callable[[Faults], Iterator[Annotated]]
"""Reads the set once, and tells what is wrong with it."""


def samples(
    read: Read, labels: Iterable[str] | None, task: str, source: str, faults: Faults | None
) -> Iterator[Sample]:
    """One sample per image, which asks for the labels.

    Args:
        read: called once; twice where no labels are given.
        labels: None for those that the objects have, in the order of the alphabet.
        task: what the samples ask.
        source: what they name as their source.
        faults: told what cannot be used.

    Raises:
        DataError: there are no labels, or something is bad and not to be skipped.
    """
    if labels is None:
        # What is wrong is told when the set is read again.
        labels = sorted({boxed.label for image in read(Faults(skip=True)) for boxed in image.objects} - {""})
    categories, faults = tuple(dict.fromkeys(labels)), faults or Faults()
    if not categories:
        raise DataError(f"{source}: no object has a label; give the labels that are asked for")
    known = frozenset(categories)
    for image in read(faults):
        objects, lost = _objects(image, known, faults)
        yield Sample(
            id=image.id,
            image=image.file,
            width=image.size[0],
            height=image.size[1],
            task=task,
            categories=categories,
            objects=objects,
            source=source,
            image_id=image_id(image.name, source),
            not_exhaustive=lost,
        )


def _objects(image: Annotated, known: frozenset[str], faults: Faults) -> tuple[Objects, tuple[str, ...]]:
    """The objects, and the labels of those that are left out as bad."""
    kept, lost = [], dict[str, None]()
    for place, label, corners, is_crowd in image.objects:
        box = checked_box(corners, *image.size)
        if label not in known:
            tell_unknown(label, place, faults)
        elif box is None:
            lost[label] = None
            faults.add(
                "bad_box",
                f"{place} has the box {corners} in pixels, which does not lie with an area inside its image "
                f"({image.size[0]}x{image.size[1]}); correct it",
            )
        else:
            kept.append((box, label, is_crowd))
    boxes, labels, crowd = zip(*kept, strict=True) if kept else ((), (), ())
    return Objects(boxes, labels, crowd), tuple(lost)


def tell_unknown(label: str, place: str, faults: Faults) -> None:
    """A label that nobody asks for is a fault."""
    faults.add(
        "unknown_category",
        f"{place} has the label {label!r:.80}, which is not among those that are asked for; add or remove it",
    )


def guarded(parse: Callable[[], T], kind: str, place: str, what: str, faults: Faults) -> T | None:
    """What `parse` makes of the place; None is a fault.

    Args:
        parse: hands the place to globox or Pillow.
        kind: of the fault.
        place: where it is.
        what: it should have been.
        faults: told what is raised.
    """
    try:
        return parse()
    except _UNREADABLE as error:
        words = " ".join(str(error).split())
        faults.add(kind, f"{place}: is not {what} ({words:.200}); correct or remove it")
        return None


def sized(annotation: Annotation) -> Annotation:
    """The annotation, whose size must be one.

    Raises:
        ValueError: it is not.
    """
    if not is_size(*annotation.image_size):
        raise ValueError("no image is that large")
    return annotation


def boxed(annotation: Annotation, place: str) -> list[Boxed]:
    """The objects of an annotation of globox."""
    return [Boxed(place, box.label, box.ltrb) for box in annotation.boxes]


def annotation_folder(folder: Path | str, suffix: str) -> Path:
    """The folder, which must hold files with that suffix.

    Raises:
        DataError: it is missing or does not.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give the folder that holds the {suffix} files")
    if next(files(folder, suffix), None) is None:
        raise DataError(f"{folder}: holds no {suffix} files; give the folder that does")
    return folder


def files(folder: Path, suffix: str | tuple[str, ...]) -> Iterator[Path]:
    """The files of a folder and of those in it, in order; the names of one folder at a time are held."""
    for inner, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(suffix) and not name.startswith("."):
                yield Path(inner, name)


def bare_name(file: Path, folder: Path) -> str:
    """The path of a file in the folder, without the suffix."""
    return file.relative_to(folder).with_suffix("").as_posix()


def with_suffix(images: Path, name: str) -> str:
    """The name with the suffix of the image that is there, if it lacks one."""
    return next((name + suffix for suffix in _SUFFIXES if is_file(images / (name + suffix))), name)


def sized_image(images: Path, name: str, place: str, faults: Faults) -> tuple[Path, tuple[int, int]] | None:
    """The image of that name, and its upright size for formats that do not say it; None is a fault."""
    file = find_image(images, name, place, faults)
    if file is None:
        return None
    size = guarded(lambda: _upright_size(file), "bad_image", str(file), "an image", faults)
    return None if size is None else (file, size)


def _upright_size(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return upright_size(image)
