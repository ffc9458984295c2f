"""What readers share: files and folders that must be there, typed JSON, boxes, and names of images."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box

Id = int | str
T = TypeVar("T")

# Annotation tools round: a corner may lie this many pixels outside its image and is then clipped.
_ROUNDING = 1.0
_HUGE = 1e9  # pixels; no image is larger, and an int beyond float range must not reach float()
_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})")


def image_folder(folder: Path | str) -> Path:
    """The folder, which must be there.

    Raises:
        DataError: it is not.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give the folder that holds the images")
    return folder


def map_json(path: Path, kind: type[T], what: str) -> T:
    """A JSON file as that type. Parts of type `msgspec.Raw` stay on disk: the file is mapped, not copied.

    Args:
        path: the file.
        kind: what it must hold.
        what: what an error says to give.

    Raises:
        DataError: the file is missing or cannot be read, is not JSON, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return msgspec.json.decode(content, type=kind)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of {what}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give {what}") from error
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
        except (msgspec.DecodeError, RecursionError) as error:
            faults.add("bad_record", f"{where}[{number}]: {error}; correct it")
            continue
        yield number, record


def lines(path: Path, kind: type[T], what: str, faults: Faults) -> Iterator[tuple[int, T]]:
    """The lines of a JSONL file as that type, each with its number from 1; what is something else is a fault.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of {what}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give {what}") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = decoder.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                faults.add("bad_record", f"{path}:{number}: {error}; correct the line")
                continue
            yield number, record


def is_there(image: Path, where: str, faults: Faults) -> bool:
    """Whether an image file is there; one that is not is a fault."""
    if image.is_file():
        return True
    faults.add("missing_image", f"{where}: there is no image {image}; add it, or give the right folder")
    return False


def xywh_to_xyxy(bbox: Any) -> Any:
    """x, y, width, height as corners; what is not four numbers, none of them huge, comes back as it is."""
    if (
        isinstance(bbox, list | tuple)
        and len(bbox) == 4
        and all(type(x) in (int, float) and -_HUGE < x < _HUGE for x in bbox)
    ):
        return (bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3])
    return bbox


def checked_box(box: Any, width: int, height: int) -> Box | None:
    """x1, y1, x2, y2 clipped to its image, or None where it is not a box inside it."""
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if any(type(x) not in (int, float) or not -_HUGE < x < _HUGE for x in box):
        return None
    x1, y1, x2, y2 = box
    inside = x1 >= -_ROUNDING and y1 >= -_ROUNDING and x2 <= width + _ROUNDING and y2 <= height + _ROUNDING
    clipped = (float(max(x1, 0)), float(max(y1, 0)), float(min(x2, width)), float(min(y2, height)))
    return clipped if inside and clipped[0] < clipped[2] and clipped[1] < clipped[3] else None


def image_id(file_name: str, source: str) -> str:
    """What other sets call the same picture.

    Example:
        >>> image_id("train2017/000000391895.jpg", "coco"), image_id("COCO_train2014_000000391895.jpg", "ref")
        ('coco:391895', 'coco:391895')
        >>> image_id("images/1.jpg", "mine")
        'mine:images/1.jpg'
    """
    coco = _COCO_NAME.fullmatch(Path(file_name).stem)
    return f"coco:{int(coco[1])}" if coco else f"{source}:{file_name}"
