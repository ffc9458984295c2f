"""Referring expressions in the forms in which they are passed around: JSON, JSONL and Parquet files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from PIL import Image

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._forms import COLUMNS, RECORDS, Form, Referred
from vision_r1_data.readers._parts import (
    PARQUET_BUFFER,
    Id,
    checked_box,
    image_folder,
    image_id,
    is_there,
    lines,
    map_json,
    records,
)
from vision_r1_data.readers._rec import rec_sample
from vision_r1_data.readers.coco import CocoFile
from vision_r1_data.sample import UNREADABLE, Sample, upright_size

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_WHAT = "a JSON, JSONL or Parquet file of referring expressions"
_ROWS = 256  # read at a time


class _Captioned(msgspec.Struct):
    """An image entry of MDETR: an image and one expression."""

    id: Id
    file_name: str
    width: int
    height: int
    caption: str


class _Object(msgspec.Struct):
    """Any JSON object."""


def read_rec(
    path: Path | str,
    images: Path | str | None = None,
    *,
    split: str | None = None,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read referring expressions from a JSON, JSONL or Parquet file.

    The names of the fields or columns tell the form, and the form tells how boxes are written; numbers are
    never looked at to guess it.

    | form | names that tell it | box | size |
    |---|---|---|---|
    | Shikra | `img_path`, `expression`, `bbox` | x1, y1, x2, y2 | `width`, `height` |
    | Qwen-VL, InternVL | `image`, `sent`, `bbox` | x1, y1, x2, y2 | `width`, `height` |
    | VLM-R1 | `image`, `normal_caption` or else `problem`, `solution` | x1, y1, x2, y2 | `width`, `height` |
    | MDETR | `images` with a `caption`, `annotations`, `categories` | x, y, width, height | of the image |
    | jxu124/refcoco | `image_path`, `ref_id`, `sentences`, `bbox` | x1, y1, x2, y2 | `raw_image_info` |
    | lmms-lab/RefCOCO | `image`, `answer`, `bbox` | x, y, width, height | |

    The last two are Parquet, MDETR's is one JSON object, and the others are JSONL or a JSON list. Where a
    record has no size, the header of its image says it, upright by EXIF. The caption of an MDETR entry is
    the one expression of all its boxes, as in the finetune_refcoco files; a file that grounds the phrases
    of a caption is of that form too, but not of that meaning.

    Args:
        path: the file; its name ends in .json, .jsonl or .parquet.
        images: the folder that holds the images, under the paths that the file gives or under their last
            part; not needed where the file holds the images themselves.
        split: only the records whose `split` is that; None for all.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used; by default that is an error.

    Yields:
        One sample per expression, in the order of the file.

    Raises:
        DataError: the file or the folder is missing, the file is damaged or of no known form, nothing in it
            is of the split (known at its end), or something is bad and not to be skipped.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "1.png")
        >>> record = {"img_path": "1.png", "expression": "left cup", "bbox": [1, 2, 11, 12]}
        >>> _ = (folder / "refs.jsonl").write_text(json.dumps(record))
        >>> sample = next(read_rec(folder / "refs.jsonl", folder))
        >>> sample.task, sample.categories, sample.objects.boxes, sample.width
        ('rec', ('left cup',), ((1.0, 2.0, 11.0, 12.0),), 40)
    """
    path, faults = Path(path), faults or Faults()
    folder = None if images is None else image_folder(images)
    source = source or path.name
    if path.suffix == ".parquet":
        referred = _parquet(path, faults)
    elif path.suffix == ".jsonl":
        referred = _jsonl(path, faults)
    elif path.suffix == ".json":
        # A union is no type to mypy.
        content: Any = map_json(path, list[msgspec.Raw] | _Object, _WHAT)  # type: ignore[arg-type]
        if isinstance(content, _Object):
            return _captioned(path, folder, split, source, faults)
        referred = _json(path, content, faults)
    else:
        raise DataError(f"{path}: ends in none of .json, .jsonl and .parquet; give {_WHAT}")
    return _samples(_of_split(referred, split, path, faults), folder, source, faults)


def _samples(
    items: Iterable[tuple[str, Referred]], folder: Path | None, source: str, faults: Faults
) -> Iterator[Sample]:
    for place, item in items:
        image = item.content or _image(item.file_name, folder, place, faults)
        size = item.size or (image and _size(image, place, faults))
        if not image or not size:
            continue
        box = checked_box(item.box, *size)
        if box is None:
            faults.add(
                "bad_box",
                f"{place} has the box {item.box!r:.80}, which is not a box inside its image "
                f"({size[0]}x{size[1]}); correct it",
            )
            continue
        for sample_id, text in item.expressions:
            if expression := _expression(text, place, faults):
                yield rec_sample(
                    expression,
                    [box],
                    id=sample_id,
                    image=image,
                    size=size,
                    source=source,
                    image_id=image_id(item.file_name, source),
                    crowd=[item.crowd],
                )


def _of_split(
    items: Iterable[tuple[str, Referred]], split: str | None, path: Path, faults: Faults
) -> Iterator[tuple[str, Referred]]:
    splits: set[str] = set()
    for place, item in items:
        if split is not None and item.split is None:
            faults.add("no_split", f"{place} names no split; read all with split=None")
            continue
        splits.add(item.split or "")
        if split in (None, item.split):
            yield place, item
    if split is not None and split not in splits:
        raise DataError(
            f"{path}: has no record of split {split!r}; give one of those it has: "
            f"{', '.join(map(repr, sorted(splits))) or 'none':.160}"
        )


def _image(file_name: str, folder: Path | None, place: str, faults: Faults) -> Path | None:
    """Where an image is; None is a fault."""
    if folder is None:
        faults.add("missing_image", f"{place} holds no image; give the folder that holds the images")
        return None
    last = folder / Path(file_name).name
    image = last if last.is_file() and not (folder / file_name).is_file() else folder / file_name
    return image if is_there(image, place, faults) else None


def _size(image: Path | bytes, place: str, faults: Faults) -> tuple[int, int] | None:
    """Width and height as the header says, upright by EXIF; None is a fault."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as file:
            return upright_size(file)
    except UNREADABLE as error:
        name = "its image" if isinstance(image, bytes) else str(image)
        faults.add("bad_image", f"{place}: {name} cannot be read as an image ({error}); replace or remove it")
        return None


def _expression(text: str, place: str, faults: Faults) -> str:
    """The text of an expression; an empty one is a fault."""
    if not text.strip():
        faults.add("no_expression", f"{place} has an empty expression; remove it")
    return text.strip()


def _captioned(
    path: Path, folder: Path | None, split: str | None, source: str, faults: Faults
) -> Iterator[Sample]:
    """The samples of a file of MDETR's form."""
    if folder is None:
        raise DataError(f"{path}: holds no images; give the folder that holds the images")
    if split is not None:
        raise DataError(f"{path}: names no splits; read all with split=None")
    return _entries(CocoFile(path, _Captioned, faults), folder, source)


def _entries(file: CocoFile[_Captioned], folder: Path, source: str) -> Iterator[Sample]:
    for place, entry in file.images:
        expression = _expression(entry.caption, place, file.faults)
        image = _image(entry.file_name, folder, place, file.faults)
        objects, _ = file.objects(entry)
        if not objects.boxes:
            file.faults.add("no_box", f"{place} has no box that can be used; annotate or remove it")
        elif expression and image:
            yield rec_sample(
                expression,
                objects.boxes,
                id=str(entry.id),
                image=image,
                size=(entry.width, entry.height),
                source=source,
                image_id=image_id(entry.file_name, source),
                crowd=objects.crowd,
            )


def _json(path: Path, items: list[msgspec.Raw], faults: Faults) -> Iterator[tuple[str, Referred]]:
    form = _form_of(path, records(items, dict[str, msgspec.Raw], str(path), Faults(skip=True)))
    read = records(items, form, str(path), faults)
    return _referred(((f"{path}[{number}]", number, record) for number, record in read), faults)


def _jsonl(path: Path, faults: Faults) -> Iterator[tuple[str, Referred]]:
    form = _form_of(path, lines(path, dict[str, msgspec.Raw], _WHAT, Faults(skip=True)))
    read = lines(path, form, _WHAT, faults)
    return _referred(((f"{path}:{number}", number, record) for number, record in read), faults)


def _form_of(path: Path, items: Iterator[tuple[int, dict[str, msgspec.Raw]]]) -> Form:
    """The form that the first record has."""
    first = next(items, None)
    if first is None:
        raise DataError(f"{path}: holds no JSON objects; give {_WHAT}")
    return _form(path, "fields", first[1], RECORDS)


def _form(path: Path, what: str, names: Iterable[str], forms: tuple[Form, ...]) -> Form:
    names = list(names)
    for form in forms:
        if all(field.encode_name in names for field in msgspec.structs.fields(form) if field.required):
            return form
    raise DataError(
        f"{path}: is of no known form of referring expressions, its {what} are "
        f"{', '.join(map(repr, names)):.200}; rename them as read_rec knows them"
    )


def _parquet(path: Path, faults: Faults) -> Iterator[tuple[str, Referred]]:
    import pyarrow.parquet as pq  # a heavy import

    with _damage(path):
        try:
            file = pq.ParquetFile(path, buffer_size=PARQUET_BUFFER, pre_buffer=False)
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file; give the path of {_WHAT}") from None
    names = file.schema_arrow.names
    form = _form(path, "columns", names, COLUMNS)
    columns = [name for name in form.__struct_encode_fields__ if name in names]
    return _referred(_rows(file, path, form, columns, faults), faults)


def _rows(
    file: pq.ParquetFile, path: Path, form: Form, columns: list[str], faults: Faults
) -> Iterator[tuple[str, int, Any]]:
    number = 0
    with file, _damage(path):
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            for row in batch.to_pylist():
                place = f"{path}: row {number}"
                try:
                    yield place, number, msgspec.convert(row, form)
                except msgspec.ValidationError as error:
                    faults.add("bad_record", f"{place}: {error}; correct it")
                number += 1


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Says in one line that a Parquet file cannot be read."""
    from pyarrow import ArrowException  # a heavy import

    try:
        yield
    except (OSError, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as Parquet ({reason:.160}); give {_WHAT}") from error


def _referred(items: Iterable[tuple[str, int, Any]], faults: Faults) -> Iterator[tuple[str, Referred]]:
    for place, number, record in items:
        try:
            referred = record.referred(number)
        except msgspec.DecodeError as error:
            faults.add("bad_record", f"{place}: {error} in raw_image_info; correct it")
            continue
        yield place, referred
