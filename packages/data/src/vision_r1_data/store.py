"""Samples as a folder of Parquet shards, which `datasets.load_dataset` reads too.

folder/data/00000.parquet ...   one row a sample
folder/manifest.json            counts, shards, a hash of the content
folder/README.md                the dataset card
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from vision_r1_data.errors import DataError
from vision_r1_data.sample import Objects, Sample

if TYPE_CHECKING:
    from datasets import Dataset, Features

MANIFEST, CARD, SHARDS = "manifest.json", "README.md", "data"
_SHARD_BYTES = 256 << 20
_NOTES = b"notes"
_BUFFER = 1 << 20  # bytes; without it, and with pre_buffer, pyarrow reads whole row groups ahead
_GROUP_ROWS, _GROUP_BYTES = 1024, 32 << 20


class Shard(msgspec.Struct, frozen=True):
    """One Parquet file: its path in the folder, its rows, and the SHA-256 of its bytes."""

    path: str
    rows: int
    sha256: str


class Stratum(msgspec.Struct, frozen=True):
    """How many samples there are of one source, task and stratum."""

    source: str
    task: str
    stratum: str
    samples: int


class Manifest(msgspec.Struct, frozen=True):
    """What a folder holds.

    Args:
        samples: how many.
        objects: how many are annotated in all of them.
        negatives: samples without objects.
        counts: the samples by source, task and stratum.
        content: SHA-256 over all samples in their order, the bytes of embedded images too: equal for equal
            data, whatever the sizes of the shards.
        shards: the files.
        written_by: name and version of this package.
        provenance: how the data came to be, such as the recipe; as the writer was given it.
    """

    samples: int
    objects: int
    negatives: int
    counts: tuple[Stratum, ...]
    content: str
    shards: tuple[Shard, ...]
    written_by: str
    provenance: dict[str, Any] = {}


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


def save_samples(
    samples: Iterable[Sample],
    folder: Path | str,
    *,
    embed: bool = True,
    title: str = "",
    provenance: Mapping[str, Any] | None = None,
    notes: str = "",
    files: Mapping[str, str] | None = None,
    force: bool = False,
) -> Manifest:
    """Write samples as Parquet shards of about 256 MB, with a manifest and a dataset card.

    The folder appears when all of it is written, or not at all. Memory does not grow with the samples.

    Args:
        samples: in their order.
        folder: which must not be there yet.
        embed: copy the files of images into the shards, as they are; else rows hold their absolute paths.
        title: of the card; by default the name of the folder.
        provenance: how the data came to be, for the manifest; plain JSON.
        notes: Markdown that is added to the card.
        files: name -> text of other files that belong to it, such as a plot in the notes.
        force: replace a folder of samples that is there, when all is written.

    Raises:
        DataError: the folder is there and may not be replaced, there are no samples, or the file of an image
            cannot be read.
    """
    folder = Path(folder)
    check_free(folder, force=force)
    with _appearing(folder.resolve()) as partial:
        manifest = _write(samples, partial, embed=embed, provenance=provenance or {})
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (partial / MANIFEST).write_bytes(content + b"\n")
        files = {CARD: _card(manifest, title, folder.name, notes), **(files or {})}
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")
    return manifest


def check_free(folder: Path, *, force: bool) -> None:
    """Check that samples may be written there.

    Raises:
        DataError: the folder is there, and `force` does not say to replace it or it holds no stored samples.
    """
    if not folder.exists():
        return
    if not force:
        raise DataError(f"{folder}: is there already; give another folder, or replace it with force")
    if not folder.is_dir() or (any(folder.iterdir()) and not _holds_samples(folder)):
        raise DataError(f"{folder}: holds something else than stored samples; give another folder")


def _holds_samples(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except DataError:
        return False
    return True


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a folder of samples.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; give a folder that save_samples or curate wrote"
        ) from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: is damaged ({error}); write the samples anew") from error


def verify(folder: Path | str) -> Manifest:
    """Check every shard against the manifest.

    Raises:
        DataError: a shard is missing or its bytes are not what was written.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        path = Path(folder) / shard.path
        if not path.is_file() or _sha256(path) != shard.sha256:
            raise DataError(f"{path}: is missing or not what was written; copy or write the folder anew")
    return manifest


def stream_samples(folder: Path | str, *, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Sample]:
    """The samples in their order, of which each of `world` ranks has every `world`-th.

    Args:
        folder: what `save_samples` wrote.
        rank: from 0 to world - 1.
        world: how many share the samples.
        start: how many of this rank's samples to pass over, as when a run goes on.

    Raises:
        DataError: the folder has no manifest, or a shard is missing or damaged.
    """
    if not 0 <= rank < world or start < 0:
        raise ValueError(f"0 <= rank < world and start >= 0 must hold, got {rank}, {world} and {start}")
    shards = read_manifest(folder).shards
    return _stream([(Path(folder) / shard.path, shard.rows) for shard in shards], rank + start * world, world)


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


def _stream(shards: Sequence[tuple[Path, int]], wanted: int, step: int) -> Iterator[Sample]:
    first = 0
    for path, rows in shards:
        if wanted < first + rows:
            for number, sample in enumerate(read_shard(path), first):
                if number == wanted:
                    yield sample
                    wanted += step
        first += rows


class StoredSamples(Sequence[Sample]):
    """The samples of a folder by their number, from memory-mapped files."""

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return from_row(self._rows[index])


def load_samples(folder: Path | str) -> StoredSamples:
    """The samples of a folder by their number.

    Hugging Face `datasets` maps them into memory, from a copy in its cache (HF_DATASETS_CACHE).

    Raises:
        DataError: the folder has no manifest.
    """
    import datasets  # a heavy import

    shards = [str(Path(folder) / shard.path) for shard in read_manifest(folder).shards]
    rows = datasets.load_dataset("parquet", data_files=shards, split="train")
    return StoredSamples(rows.cast_column("image", datasets.Image(decode=False)))


def write_shard(samples: Sequence[Sample], path: Path, notes: Any = None) -> None:
    """Write samples as one Parquet file with notes of plain JSON; it appears when all of it is written."""
    partial, table = path.with_suffix(".partial"), _table([to_row(sample) for sample in samples])
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


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, sample_features().arrow_schema)


def _write(
    samples: Iterable[Sample], folder: Path, *, embed: bool, provenance: Mapping[str, Any]
) -> Manifest:
    counts, totals, content = Counter[tuple[str, str, str]](), Counter[str](), hashlib.sha256()
    shards: list[Shard] = []
    with _ShardWriter(folder, shards) as writer:
        for sample in samples:
            row = to_row(sample, embed=embed)
            if row["image"]["bytes"] is None:
                row["image"]["path"] = str(Path(row["image"]["path"]).absolute())
            content.update(_digest(row))
            writer.add(row)
            counts[sample.source, sample.task, sample.stratum] += 1
            totals.update(samples=1, objects=len(sample.objects), negatives=int(not sample.objects))
    if not shards:
        raise DataError(f"{folder.stem}: there are no samples to write; give at least one")
    return Manifest(
        samples=totals["samples"],
        objects=totals["objects"],
        negatives=totals["negatives"],
        counts=tuple(Stratum(*key, count) for key, count in sorted(counts.items())),
        content=content.hexdigest(),
        shards=tuple(shards),
        written_by=f"vision-r1-data {version('vision-r1-data')}",
        provenance=dict(provenance),
    )


class _ShardWriter:
    """Rows to shards, in row groups that bound the memory of writing and of reading."""

    def __init__(self, folder: Path, shards: list[Shard]) -> None:
        self._folder, self._shards = folder, shards
        self._rows: list[dict[str, Any]] = []
        self._bytes = self._written = self._count = 0
        self._file: pq.ParquetWriter | None = None
        self._path = folder

    def __enter__(self) -> _ShardWriter:
        (self._folder / SHARDS).mkdir()
        return self

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += len(row["image"]["bytes"] or b"")
        if len(self._rows) == _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()
        if self._written >= _SHARD_BYTES:
            self._close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rows:
            self._write_group()
        self._close()

    def _write_group(self) -> None:
        table = _table(self._rows)
        if self._file is None:
            self._path = self._folder / SHARDS / f"{len(self._shards):05d}.parquet"
            self._file = pq.ParquetWriter(self._path, table.schema)
        self._file.write_table(table)
        self._written += table.nbytes
        self._count += len(self._rows)
        self._rows, self._bytes = [], 0

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            relative = self._path.relative_to(self._folder).as_posix()
            self._shards.append(Shard(relative, self._count, _sha256(self._path)))
        self._file, self._written, self._count = None, 0, 0


def _digest(row: Mapping[str, Any]) -> bytes:
    """What makes two samples equal wherever their images lie: all columns, the image by its bytes or name."""
    image = row["image"]
    picture = (
        Path(image["path"]).name if image["bytes"] is None else hashlib.sha256(image["bytes"]).hexdigest()
    )
    return hashlib.sha256(msgspec.json.encode({**row, "image": picture})).digest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder beside it to write in, which takes its place when all is written; else it goes away.

    What is replaced is moved aside first, so that at no moment neither is whole.
    """
    partial, replaced = (folder.with_name(f"{folder.name}.{kind}") for kind in ("partial", "replaced"))
    if replaced.exists() and not folder.exists():  # a process that died between the two moves
        replaced.replace(folder)
    for left in (partial, replaced):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.replace(replaced)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


_CARD = """---
configs:
- config_name: default
  data_files: {shards}/*.parquet
task_categories:
- object-detection
- image-text-to-text
---
# {title}

{samples:,} samples with {objects:,} annotated objects; {negatives:,} samples are negatives, without any.

| source | task | stratum | samples |
|---|---|---|---:|
{rows}

Boxes are x1, y1, x2, y2 in pixels of the original image, turned upright by its EXIF orientation. `categories`
are the labels asked for, present or absent. `manifest.json` holds the counts, the shards with their hashes,
and how the data came to be.

```python
from datasets import load_dataset
from vision_r1_data import stream_samples

rows = load_dataset("path/to/{name}", split="train")   # as columns
samples = stream_samples("path/to/{name}")             # as samples, one at a time
```

{notes}
Content: `{content}`. Written by {written_by}.
"""


def markdown_cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _card(manifest: Manifest, title: str, name: str, notes: str) -> str:
    rows = "\n".join(
        f"| {markdown_cell(c.source)} | {c.task} | {c.stratum or '-'} | {c.samples:,} |"
        for c in manifest.counts
    )
    fields = ("samples", "objects", "negatives", "content", "written_by")
    values = {field: getattr(manifest, field) for field in fields}
    return _CARD.format(shards=SHARDS, title=title or name, name=name, rows=rows, notes=notes, **values)
