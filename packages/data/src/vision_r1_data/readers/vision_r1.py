"""The columns of Vision-R1-Data, from JSONL, JSON or Parquet.

image            the path of the image; in Parquet, its bytes or a struct of bytes and path too
problem          the question
solution         list of [label, [x1, y1, x2, y2]], or of [label, [[...], [...]]] for several boxes of one
                 label, in pixels of the original image; as JSON, or parsed
width, height    of the original image in pixels
target_id_maps   optional: label -> id of the labels asked for, 0 is the background; as JSON, or parsed

Source: the released code of arXiv 2503.18013. What else a row holds, such as num_instances, is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box
from vision_r1_data.readers._parts import (
    PARQUET_BUFFER,
    Pixels,
    checked_box,
    find_image,
    image_folder,
    image_id,
    input_file,
    lines,
    map_json,
    records,
)
from vision_r1_data.sample import Objects, Sample

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_WHAT = "a file of the Vision-R1-Data columns as .jsonl, .json or .parquet"
_FORM = "[label, [x1, y1, x2, y2]] or [label, [[x1, y1, x2, y2], ...]]"
_BATCH = 32  # rows that are decoded together; with the bytes of their images they take tens of megabytes


class _Row(msgspec.Struct):
    image: Any
    problem: str
    solution: Any
    width: Pixels
    height: Pixels
    target_id_maps: Any = None


_Rows = Iterator[tuple[int, str, _Row]]
"""The number of each row in its file, its place, and the row."""


def read_vision_r1(
    path: Path | str,
    images: Path | str | None = None,
    *,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set with the columns of Vision-R1-Data.

    The file streams, or is mapped if it is one JSON list. Parquet takes the memory of about two row groups.

    Args:
        path: the .jsonl, .json or .parquet file.
        images: the folder to which the paths of images belong; by default the one that holds the file.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as a box that lies outside its image, or in its first pixel, as
            if it were written in shares of the image; by default that is an error.

    Yields:
        One sample per row, with `problem` as its query. Its categories are the labels of `target_id_maps`
        whose id is not 0; without that column, the labels of its objects.

    Raises:
        DataError: the file is missing, lacks a column, or something in it is bad and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "cat.png")
        >>> row = {"image": "cat.png", "problem": "Where are cats and dogs?", "width": 40, "height": 20,
        ...        "solution": '[["cat", [1, 2, 30, 20]]]', "target_id_maps": '{"cat": 1, "dog": 2}'}
        >>> _ = (folder / "set.jsonl").write_bytes(msgspec.json.encode(row))
        >>> sample = next(read_vision_r1(folder / "set.jsonl"))
        >>> sample.query, sample.categories, sample.objects.boxes
        ('Where are cats and dogs?', ('cat', 'dog'), ((1.0, 2.0, 30.0, 20.0),))
    """
    path, faults = input_file(path, _WHAT), faults or Faults()
    if path.suffix not in _ROWS:
        raise DataError(f"{path}: ends in none of {', '.join(_ROWS)}; give {_WHAT}")
    folder = image_folder(path.parent if images is None else images)
    return _samples(_ROWS[path.suffix](path, faults), folder, task, source or path.name, faults)


def _samples(rows: _Rows, folder: Path, task: str, source: str, faults: Faults) -> Iterator[Sample]:
    for number, place, row in rows:
        try:
            solution = _parsed(row.solution, list[Any], "solution")
            ids = _parsed(row.target_id_maps, dict[str, int | None] | None, "target_id_maps")
        except DataError as error:
            faults.add("bad_record", f"{place}: {error}; correct it")
            continue
        image, name = _image(row.image, folder, place, faults)
        if image is None:
            continue
        # A Parquet struct has the labels of all rows; in a row that lacks one, its id is None.
        asked = None if ids is None else tuple(label for label, of in ids.items() if of)
        objects = _objects(solution, row, asked, place, faults)
        yield Sample(
            id=str(number),
            image=image,
            width=row.width,
            height=row.height,
            task=task,
            query=row.problem,
            categories=tuple(dict.fromkeys(objects.labels)) if asked is None else asked,
            objects=objects,
            source=source,
            # Embedded images may all have one name.
            image_id=image_id(name, f"{source}:{number}" if isinstance(image, bytes) else source),
        )


def _parsed(value: Any, kind: Any, name: str) -> Any:
    is_text = isinstance(value, str)
    try:
        return msgspec.json.decode(value, type=kind) if is_text else msgspec.convert(value, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"{name}: {error}") from error


def _image(value: Any, folder: Path, place: str, faults: Faults) -> tuple[Path | bytes | None, str]:
    """The image, None for a fault, and its name."""
    match value:
        case {"bytes": bytes(content), "path": str(name)} if content:
            return content, name
        case {"bytes": bytes(content)} | bytes(content) if content:
            return content, "image"
        case {"path": str(name)} | str(name) if name:
            return find_image(folder, name, place, faults), name
    faults.add("missing_image", f"{place}: image has neither a path nor bytes; add one")
    return None, ""


def _objects(
    solution: list[Any], row: _Row, asked: tuple[str, ...] | None, place: str, faults: Faults
) -> Objects:
    boxes, labels = [], []
    for number, item in enumerate(solution):
        where = f"{place}: solution[{number}]"
        match item:
            case [str(label), [list(), *_] as found] if label:
                pass
            case [str(label), box] if label:
                found = [box]
            case _:
                faults.add("bad_record", f"{where} is {item!r:.80}, not {_FORM}; correct it")
                continue
        if asked is not None and label not in asked:
            faults.add(
                "unknown_category",
                f"{where} has the label {label!r:.80}, which has no id in target_id_maps; add or remove it",
            )
            continue
        for written in found:
            box = _box(written, row.width, row.height)
            if box is None:
                faults.add(
                    "bad_box",
                    f"{where} has the box {written!r:.80}, which is not an x1, y1, x2, y2 in pixels inside "
                    f"its image ({row.width}x{row.height}); correct it",
                )
            else:
                boxes.append(box)
                labels.append(label)
    return Objects(tuple(boxes), tuple(labels))


def _box(written: Any, width: int, height: int) -> Box | None:
    box = checked_box(written, width, height)
    in_shares = box is not None and max(box[2:]) <= 1 < min(width, height)
    return None if in_shares else box


def _jsonl(path: Path, faults: Faults) -> _Rows:
    return ((number, f"{path}:{number}", row) for number, row in lines(path, _Row, _WHAT, faults))


def _json(path: Path, faults: Faults) -> _Rows:
    items = map_json(path, list[msgspec.Raw], _WHAT)
    return ((number, f"{path}[{number}]", row) for number, row in records(items, _Row, str(path), faults))


def _parquet(path: Path, faults: Faults) -> _Rows:
    from pyarrow.parquet import ParquetFile  # a heavy import

    with _readable(path):
        file = ParquetFile(path, buffer_size=PARQUET_BUFFER, pre_buffer=False)
        columns = [name for name in _Row.__struct_fields__ if name in file.schema_arrow.names]
    for name in _Row.__struct_fields__:
        if name not in (*columns, "target_id_maps"):
            raise DataError(f"{path}: has no column {name}; give {_WHAT}")
    return _parquet_rows(path, file, columns, faults)


def _parquet_rows(path: Path, file: ParquetFile, columns: list[str], faults: Faults) -> _Rows:
    batches = file.iter_batches(_BATCH, columns=columns)
    with _readable(path):
        for number, record in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches)):
            place = f"{path}[{number}]"
            try:
                row = msgspec.convert(record, _Row)
            except msgspec.ValidationError as error:
                faults.add("bad_record", f"{place}: {error}; correct it")
                continue
            yield number, place, row


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as Parquet ({words:.200}); give {_WHAT}") from error


_ROWS: dict[str, Callable[[Path, Faults], _Rows]] = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}
