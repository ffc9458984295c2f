"""What a folder of samples says of itself: its manifest, and its dataset card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from vision_r1_data.errors import DataError

MANIFEST, CARD, SHARDS = "manifest.json", "README.md", "data"


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


def dataset_card(manifest: Manifest, title: str, name: str, notes: str) -> str:
    """The card, which Hugging Face shows and `datasets` reads the place of the shards from."""
    rows = "\n".join(
        f"| {markdown_cell(c.source)} | {c.task} | {c.stratum or '-'} | {c.samples:,} |"
        for c in manifest.counts
    )
    fields = ("samples", "objects", "negatives", "content", "written_by")
    values = {field: getattr(manifest, field) for field in fields}
    return _CARD.format(shards=SHARDS, title=title or name, name=name, rows=rows, notes=notes, **values)


def markdown_cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
