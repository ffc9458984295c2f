"""One Parquet file of samples: its columns, its rows, and how it is read and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from vision_r1_data.errors import DataError
from vision_r1_data.sample import Objects, Sample

if TYPE_CHECKING:
    from datasets import Features

_NOTES = b"notes"
_BUFFER = 1 << 20  # bytes; without it, and with pre_buffer, pyarrow reads whole row groups ahead


def sample_features() -> Features:
    """The columns as Hugging Face `datasets` knows them: the image is an Image, the objects are a struct."""
    from datasets import Features, Image, List, Value  # a heavy import

    text, real = Value("string"), Value("float64")
    return Features(
        {
            "id": text,
            "image": Image(),
            "width": Value("int32"),
            "height": Value("int32"),
            "task": text,
            "query": text,
            "categories": List(text),
            "objects": {
                "boxes": List(List(real, length=4)),
                "labels": List(text),
                "crowd": List(Value("bool")),
                "segmentations": List(text),
            },
            "source": text,
            "image_id": text,
            "not_exhaustive": List(text),
            "stratum": text,
            "fingerprint": Value("uint64"),
            "pass_rate": real,
            "curriculum": Value("int64"),
        }
    )


def to_row(sample: Sample, *, embed: bool = False) -> dict[str, Any]:
    """The columns of one sample; masks are JSON text, as they are lists or run-length encodings.

    Args:
        sample: whose image is a path or bytes.
        embed: read the file of the image and keep its bytes and its name.

    Raises:
        DataError: the file cannot be read.
    """
    image: dict[str, Any] = {"bytes": None, "path": str(sample.image)}
    if isinstance(sample.image, bytes):
        image = {"bytes": sample.image, "path": None}
    elif embed:
        try:
            image = {"bytes": sample.image.read_bytes(), "path": sample.image.name}
        except OSError as error:
            raise DataError(
                f"{sample.image}: {error.strerror}; add the file or drop sample {sample.id!r}"
            ) from error
    objects: dict[str, Any] = {name: getattr(sample.objects, name) for name in Objects.__slots__}
    objects["boxes"] = [[float(x) for x in box] for box in sample.objects.boxes]
    objects["segmentations"] = [
        None if mask is None else json.dumps(mask, default=bytes.decode)
        for mask in sample.objects.segmentations
    ]
    return {name: getattr(sample, name) for name in Sample.__slots__} | {"image": image, "objects": objects}


def from_row(row: Mapping[str, Any]) -> Sample:
    """The sample of `to_row`'s columns, with the image not decoded: a struct of bytes and path.

    Example:
        >>> sample = Sample("1", Path("cat.png"), 40, 30, objects=Objects(((1.0, 2.0, 3.0, 4.0),), ("cat",)))
        >>> from_row(to_row(sample)) == sample
        True
    """
    objects, image = row["objects"], row["image"]
    masks = objects["segmentations"]
    columns = {name: row[name] for name in Sample.__slots__}
    columns["image"] = Path(image["path"]) if image["bytes"] is None else image["bytes"]
    columns["categories"], columns["not_exhaustive"] = tuple(row["categories"]), tuple(row["not_exhaustive"])
    columns["objects"] = Objects(
        tuple([tuple(box) for box in objects["boxes"]]),
        tuple(objects["labels"]),
        tuple(objects["crowd"]),
        tuple([None if mask is None else json.loads(mask) for mask in masks]),
    )
    return Sample(**columns)


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one Parquet file.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=128):
                yield from map(from_row, batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy or write the folder anew") from error


def write_shard(samples: Sequence[Sample], path: Path, notes: Any = None) -> None:
    """Write samples as one Parquet file with notes of plain JSON; it appears when all of it is written."""
    partial, table = path.with_suffix(".partial"), row_table([to_row(sample) for sample in samples])
    metadata = {**table.schema.metadata, _NOTES: msgspec.json.encode(notes)}
    pq.write_table(table.replace_schema_metadata(metadata), partial)
    partial.replace(path)


def is_shard(path: Path) -> bool:
    """Whether a Parquet file is there and whole, as its end tells: a power cut may leave half of it."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def read_notes(path: Path) -> Any:
    """The notes of `write_shard`."""
    return msgspec.json.decode(pq.read_metadata(path).metadata[_NOTES])


def row_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows of `to_row` as a table."""
    return pa.Table.from_pylist(rows, sample_features().arrow_schema)
