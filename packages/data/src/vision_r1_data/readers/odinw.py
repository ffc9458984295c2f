"""ODinW, "object detection in the wild": a folder of COCO-format sets (GLIP, arXiv 2112.03857)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import image_folder
from vision_r1_data.readers.coco import read_coco
from vision_r1_data.sample import Sample

# Without the images that show nothing, as GLIP published them; else all.
_FILES = ("annotations_without_background.json", "_annotations.coco.json")


def read_odinw(
    folder: Path | str,
    *,
    split: str = "train",
    sets: Sequence[str] | None = None,
    task: str = "detection",
    source: str = "odinw",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read the sets of ODinW one after the other; each asks for its own categories.

    Args:
        folder: holds a folder for each set, and somewhere in it `<split>/annotations_without_background.json`
            (or `_annotations.coco.json`) beside the images.
        split: "train", "valid" or "test".
        sets: the names of the folders to read; by default all there are.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source.
        faults: told what cannot be used; by default that is an error.

    Yields:
        As `read_coco`, with the path of its set in front of a sample's id.

    Raises:
        DataError: the folder, a set, or every annotation file of a set is missing; or as `read_coco`.
    """
    folder = image_folder(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if sets is None else list(sets)
    files = [path for name in names for path in _annotations(folder / name, split)]
    if not files:
        raise DataError(f"{folder}: holds no set with {split}/{_FILES[0]}; give the folder of all sets")
    return _samples(folder, files, task, source, faults or Faults())


def _annotations(folder: Path, split: str) -> list[Path]:
    """The annotation files of a set, which may have several versions of itself."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such set; give names of folders that are there")
    found = [sorted(folder.glob(f"**/{split}/{name}")) for name in _FILES]
    return next(filter(None, found), [])


def _samples(folder: Path, files: list[Path], task: str, source: str, faults: Faults) -> Iterator[Sample]:
    for path in files:
        name = path.parent.parent.relative_to(folder).as_posix()
        for sample in read_coco(path, path.parent, task=task, source=f"{source}:{name}", faults=faults):
            yield replace(sample, id=f"{name}/{sample.id}", source=source)
