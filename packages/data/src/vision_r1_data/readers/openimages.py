"""Annotations as Open Images writes them, one CSV file of boxes: https://storage.googleapis.com/openimages/web."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from globox import AnnotationSet, BoundingBox

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._globox import (
    Annotated,
    Boxed,
    guarded,
    samples,
    sized_image,
    tell_unknown,
    with_suffix,
)
from vision_r1_data.readers._parts import image_folder, input_file, opened
from vision_r1_data.sample import Sample

_FILE = "an Open Images CSV file of boxes"
_NAMES = "a CSV file of labels and their names, such as class-descriptions-boxable.csv"
_CORNERS = ("XMin", "YMin", "XMax", "YMax")
_COLUMNS = ("ImageID", "LabelName", *_CORNERS)

_Row = tuple[int, dict[str, str]]
"""The number of a line, and its columns."""


def read_openimages(
    path: Path | str,
    images: Path | str,
    *,
    names: Path | str | None = None,
    labels: Sequence[str] | None = None,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set in the form of Open Images. The file streams: memory does not grow with it.

    Every sample asks for all labels, but Open Images has boxes only for those that were verified to be in the
    image: a label without boxes may be there. Boxes of groups are crowds.

    Args:
        path: the CSV file, sorted by image, such as `oidv6-train-annotations-bbox.csv`.
        images: the folder that holds the images under their `ImageID`, which may lack the suffix. The size of
            an image, which the file does not say, is read from the image.
        names: a CSV file that gives the labels names, such as `class-descriptions-boxable.csv`; without it
            they are called as they are written, such as /m/01yrx.
        labels: the labels asked for; by default all of `names`, and without that all of the set in the order
            of the alphabet, for which the file is read once more before the first sample.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as a damaged line, which is left out alone, or a label that is
            not asked for; by default that is an error.

    Yields:
        One sample per image, in the order of the file; its id is the ImageID.

    Raises:
        DataError: a file, a folder or a column is missing, the images are not in order, or something is bad
            and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "0a.jpg")
        >>> header, line = "ImageID,LabelName,XMin,XMax,YMin,YMax", "0a,/m/01yrx,0,0.5,0.25,1"
        >>> _ = (folder / "set.csv").write_text(f"{header}\\n{line}\\n")
        >>> _ = (folder / "names.csv").write_text("/m/01yrx,Cat\\n/m/0bt9lr,Dog\\n")
        >>> sample = next(read_openimages(folder / "set.csv", folder, names=folder / "names.csv"))
        >>> sample.categories, sample.objects.labels, sample.objects.boxes
        (('Cat', 'Dog'), ('Cat',), ((0.0, 5.0, 20.0, 20.0),))
    """
    path, images = input_file(path, _FILE), image_folder(images)
    if next(_rows(path), None) is None:
        raise DataError(f"{path}: has no boxes; give {_FILE}")
    named = None if names is None else _descriptions(input_file(names, _NAMES))
    asked: Iterable[str] = _labels(path) if named is None else named.values()
    read = partial(_read, path, images, named)
    return samples(read, asked if labels is None else labels, task, source or path.name, faults)


def _read(path: Path, images: Path, named: Mapping[str, str] | None, faults: Faults) -> Iterator[Annotated]:
    last = ""
    for id, rows in groupby(_rows(path), lambda row: row[1]["ImageID"]):
        numbered = list(rows)
        place = f"{path}:{numbered[0][0]}"
        if id <= last:
            raise DataError(
                f"{place}: ImageID {id!r} does not come after {last!r}; sort the lines by ImageID"
            )
        last = id
        name = with_suffix(images, id)
        found = sized_image(images, name, place, faults)
        if found is not None:
            image, size = found
            yield Annotated(id, image, name, size, list(_objects(numbered, path, size, named, faults)))


def _objects(
    rows: list[_Row], path: Path, size: tuple[int, int], named: Mapping[str, str] | None, faults: Faults
) -> Iterator[Boxed]:
    for number, row in rows:
        place, label = f"{path}:{number}", row["LabelName"]
        box = guarded(partial(_box, row, size), "bad_record", place, "a line of Open Images", faults)
        if box is None:
            continue
        if named is None or label in named:
            name = label if named is None else named[label]
            yield Boxed(place, name, box.ltrb, row.get("IsGroupOf") == "1")
        else:
            tell_unknown(label, place, faults)


def _box(row: dict[str, str], size: tuple[int, int]) -> BoundingBox:
    corners = tuple(float(row[side]) for side in _CORNERS)
    return BoundingBox.create(label=row["LabelName"], coords=corners, relative=True, image_size=size)


def _rows(path: Path) -> Iterator[_Row]:
    with opened(path, _FILE) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""), restval="")
        try:
            for name in _COLUMNS:
                if name not in (rows.fieldnames or ()):
                    raise DataError(f"{path}: has no column {name}; give {_FILE}")
            for row in rows:
                yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{rows.line_num}: is not CSV ({error}); give {_FILE}") from error


def _labels(path: Path) -> Iterator[str]:
    """The labels of the set, found when they are asked for."""
    yield from sorted({row["LabelName"] for _, row in _rows(path)} - {""})


def _descriptions(path: Path) -> dict[str, str]:
    """Label -> name."""
    try:
        names: dict[str, str] = AnnotationSet.parse_mid_file(path)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}: is not CSV ({error}); give {_NAMES}") from error
    names.pop("LabelName", None)  # later editions have a header
    if not names or not all(names.values()):
        raise DataError(f"{path}: has no labels, or one without a name; give {_NAMES}")
    return names
