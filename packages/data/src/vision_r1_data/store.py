"""Samples as a folder of Parquet shards, which `datasets.load_dataset` reads too.

folder/data/00000.parquet ...   one row a sample
folder/manifest.json            counts, shards, a hash of the content
folder/README.md                the dataset card
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import msgspec
import pyarrow.parquet as pq

from vision_r1_data.errors import DataError
from vision_r1_data.manifest import (
    CARD,
    MANIFEST,
    SHARDS,
    Manifest,
    Shard,
    Stratum,
    dataset_card,
    read_manifest,
)
from vision_r1_data.sample import Sample
from vision_r1_data.shard import from_row, read_shard, row_table, to_row

if TYPE_CHECKING:
    from datasets import Dataset

_SHARD_BYTES = 256 << 20
_GROUP_ROWS, _GROUP_BYTES = 1024, 32 << 20


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
        files = {CARD: dataset_card(manifest, title, folder.name, notes), **(files or {})}
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
        table = row_table(self._rows)
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
