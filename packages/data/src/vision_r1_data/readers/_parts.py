"""What readers share: files and folders that must be there, typed JSON, boxes, and names of images."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, BinaryIO, TypeVar

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box

Id = int | str
PARQUET_BUFFER = 1 << 20
"""Bytes; without it, and with pre_buffer, pyarrow reads whole row groups ahead."""
Pixels = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
"""The width or the height of an image."""

T = TypeVar("T")

# Annotation tools round: a corner may lie this many pixels outside its image and is then clipped.
_ROUNDING = 1.0
_HUGE = 1e9  # pixels; no image is larger, and an int beyond float range must not reach float()
_BAD_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})")
_OBJECTS365_NAME = re.compile(r"objects365_(v\d_\d{8})")


def image_folder(folder: Path | str) -> Path:
    """The folder, which must be there.

    Raises:
        DataError: it is not.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give the folder that holds the images")
    return folder


@contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """The file, open for reading.

    Args:
        path: the file.
        what: what an error says to give.

    Raises:
        DataError: it is missing, or cannot be read, now or later.
    """
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of {what}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give {what}") from error


def input_file(path: Path | str, what: str) -> Path:
    """The file, which must be there: for readers that open it only when their first sample is asked for.

    Raises:
        DataError: it is missing or cannot be read.
    """
    with opened(Path(path), what):
        return Path(path)


def map_json(path: Path, kind: type[T], what: str) -> T:
    """A JSON file as that type. Parts of type `msgspec.Raw` stay on disk: the file is mapped, not copied.

    Args:
        path: the file.
        kind: what it must hold.
        what: what an error says to give.

    Raises:
        DataError: the file is missing or cannot be read, is not JSON, or holds something else.
    """
    with opened(path, what) as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError as error:
            raise DataError(f"{path}: is not {what} ({error})") from error
        except (ValueError, RecursionError) as error:  # an empty file too
            raise DataError(f"{path}: is not JSON ({error}); give {what}") from error


def records(
    items: Iterable[msgspec.Raw], kind: type[T], where: str, faults: Faults, start: int = 0
) -> Iterator[tuple[int, T]]:
    """The items of a mapped list as that type, each with its number; what is something else is a fault."""
    decoder = msgspec.json.Decoder(kind)
    for number, item in enumerate(items, start):
        try:
            record = decoder.decode(item)
        except _BAD_JSON as error:
            faults.add("bad_record", f"{where}[{number}]: {error}; correct it")
            continue
        yield number, record


def lines(path: Path, kind: type[T], what: str, faults: Faults) -> Iterator[tuple[int, T]]:
    """The lines of a JSONL file as that type, each with its number from 1; what is something else is a fault.

    Raises:
        DataError: the file is missing, cannot be read, or has no lines.
    """
    decoder, number = msgspec.json.Decoder(kind), 0
    with opened(path, what) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = decoder.decode(line)
            except _BAD_JSON as error:
                faults.add("bad_record", f"{path}:{number}: {error}; correct the line")
                continue
            yield number, record
    if not number:
        raise DataError(f"{path}: is empty; give {what}")


def is_there(image: Path, where: str, faults: Faults) -> bool:
    """Whether an image file is there; one that is not is a fault."""
    if is_file(image):
        return True
    faults.add("missing_image", f"{where}: there is no image {image}; add it, or give the right folder")
    return False


def find_image(folder: Path, name: str, where: str, faults: Faults, *, moved: bool = False) -> Path | None:
    """The image of that name in the folder, or None, which is a fault.

    Args:
        folder: that holds the images.
        name: the path of the image in it.
        where: the place that names the image.
        faults: told that it is not there.
        moved: whether the folder may hold an ending of the name instead, such as `patch8/1.jpg` of
            `images/v1/patch8/1.jpg`; only for sets in which the name of the file says which image it is.
    """
    parts = PureWindowsPath(name).parts if moved else ()
    for start in range(len(parts)):
        if is_file(image := folder.joinpath(*parts[start:])):
            return image
    return folder / name if is_there(folder / name, where, faults) else None


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that the file system refuses is not there."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_size(width: int, height: int) -> bool:
    """Whether an image can have that size in pixels."""
    return 0 < width < _HUGE and 0 < height < _HUGE


def xywh_to_xyxy(bbox: Any) -> Any:
    """x, y, width, height as corners; what is not four numbers, none of them huge, comes back as it is."""
    if (
        isinstance(bbox, list | tuple)
        and len(bbox) == 4
        and all(type(x) in (int, float) and -_HUGE < x < _HUGE for x in bbox)
    ):
        return (bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3])
    return bbox


def checked_box(box: Any, width: int, height: int, *, clip: bool = False) -> Box | None:
    """x1, y1, x2, y2 clipped to its image, or None where it is not a box inside it.

    Args:
        box: anything.
        width: of the image in pixels.
        height: likewise.
        clip: whether a box may stick out of the image, and only has to have an area in it.

    Example:
        >>> checked_box([-1, 0, 10, 9.5], 40, 20), checked_box([-5, 0, 10, 9.5], 40, 20)
        ((0.0, 0.0, 10.0, 9.5), None)
        >>> checked_box([-5, 0, 10, 9.5], 40, 20, clip=True), checked_box([-5, 0, -1, 9.5], 40, 20, clip=True)
        ((0.0, 0.0, 10.0, 9.5), None)
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if any(type(x) not in (int, float) or not -_HUGE < x < _HUGE for x in box):
        return None
    x1, y1, x2, y2 = box
    inside = x1 >= -_ROUNDING and y1 >= -_ROUNDING and x2 <= width + _ROUNDING and y2 <= height + _ROUNDING
    clipped = (float(max(x1, 0)), float(max(y1, 0)), float(min(x2, width)), float(min(y2, height)))
    has_area = clipped[0] < clipped[2] and clipped[1] < clipped[3]
    return clipped if has_area and (inside or clip) else None


def image_id(file_name: str, source: str) -> str:
    """What other sets call the same picture.

    Example:
        >>> image_id("train2017/000000391895.jpg", "coco"), image_id("COCO_train2014_000000391895.jpg", "ref")
        ('coco:391895', 'coco:391895')
        >>> image_id("patch8/objects365_v1_00420917.jpg", "o365")
        'objects365:v1_00420917'
        >>> image_id("images/1.jpg", "mine")
        'mine:images/1.jpg'
    """
    stem = Path(file_name).stem
    if coco := _COCO_NAME.fullmatch(stem):
        return f"coco:{int(coco[1])}"
    if objects365 := _OBJECTS365_NAME.fullmatch(stem):
        return f"objects365:{objects365[1]}"
    return f"{source}:{file_name}"
