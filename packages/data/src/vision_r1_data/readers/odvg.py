"""ODVG annotations, JSONL of detection and grounding, as MM-Grounding-DINO and Open-GroundingDino read them.

{"filename": ..., "height": ..., "width": ..., "detection": {"instances": [
    {"bbox": [x1, y1, x2, y2], "label": 3, "category": "dog"}, ...]}}
{"filename": ..., "height": ..., "width": ..., "grounding": {"caption": ..., "regions": [
    {"bbox": [x1, y1, x2, y2] or [[x1, y1, x2, y2], ...], "phrase": "a red bus"}, ...]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import (
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

_WHAT = "an ODVG annotation file"


class _Instance(msgspec.Struct):
    bbox: Any
    label: int = -1  # in no label map
    category: str = ""


class _Region(msgspec.Struct):
    bbox: Any
    phrase: str | list[str]


class _Detection(msgspec.Struct):
    instances: list[msgspec.Raw]


class _Grounding(msgspec.Struct):
    regions: list[msgspec.Raw]


class _Line(msgspec.Struct):
    filename: str
    width: Pixels
    height: Pixels
    detection: _Detection | None = None
    grounding: _Grounding | None = None


def read_odvg(
    path: Path | str,
    images: Path | str,
    *,
    label_map: Path | str | None = None,
    clip: bool = False,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read an ODVG set. The file streams: memory does not grow with it.

    A line with `detection` is a sample of that task, which asks for every label of the label map; without
    one it asks for the categories that the line has. A line with `grounding` asks for its distinct phrases,
    and has one object per box. A phrase that is a list, as its words do not stand together in the caption, is
    joined by spaces. The caption is not kept.

    Args:
        path: the JSONL file.
        images: the folder that holds the images under their `filename`.
        label_map: a JSON file that gives the numbers in `label` their names, {"0": "person", ...}; it is
            believed, whatever `category` says.
        clip: whether to clip boxes to their image, as Objects365 needs; only one without area in it is a
            fault then. Without it, so is one that sticks out by more than a pixel.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as a line that is not ODVG, or one that asks for nothing; by
            default that is an error.

    Yields:
        One sample per line, whose number from 1 is its id.

    Raises:
        DataError: a file is missing, the label map is none, or something is bad and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "bus.png")
        >>> regions = '{"regions": [{"bbox": [1, 2, 30, 20], "phrase": "a red bus"}]}'
        >>> line = f'{{"filename": "bus.png", "width": 40, "height": 20, "grounding": {regions}}}'
        >>> _ = (folder / "set.jsonl").write_text(line)
        >>> sample = next(read_odvg(folder / "set.jsonl", folder))
        >>> sample.task, sample.categories, sample.objects.boxes
        ('grounding', ('a red bus',), ((1.0, 2.0, 30.0, 20.0),))
    """
    path, folder = input_file(path, _WHAT), image_folder(images)
    names = None if label_map is None else map_json(Path(label_map), dict[int, str], "a label map")
    if names is not None and not (names and all(names.values())):
        raise DataError(f'{label_map}: has no label, or an empty one; give a label map as {{"0": "person"}}')
    return _samples(path, folder, names, clip, source or path.name, faults or Faults())


def _samples(
    path: Path, folder: Path, names: dict[int, str] | None, clip: bool, source: str, faults: Faults
) -> Iterator[Sample]:
    for number, line in lines(path, _Line, _WHAT, faults):
        place = f"{path}:{number}"
        if (line.detection is None) == (line.grounding is None):
            faults.add("bad_record", f"{place}: has not one of detection and grounding; correct the line")
            continue
        image = find_image(folder, line.filename, place, faults)
        if image is None:
            continue
        objects, lost = _objects(line, names, clip, place, faults)
        asked = objects.labels if names is None or line.detection is None else names.values()
        if not asked:
            faults.add("no_categories", f"{place}: asks for nothing; add objects or give a label map")
            continue
        yield Sample(
            id=str(number),
            image=image,
            width=line.width,
            height=line.height,
            task="detection" if line.detection else "grounding",
            categories=tuple(dict.fromkeys(asked)),
            objects=objects,
            source=source,
            image_id=image_id(line.filename, source),
            not_exhaustive=lost,
        )


def _objects(
    line: _Line, names: dict[int, str] | None, clip: bool, place: str, faults: Faults
) -> tuple[Objects, tuple[str, ...]]:
    """The objects, and the labels of those that are left out as bad."""
    boxes, labels, lost = [], [], dict[str, None]()
    for where, label, bbox in chain(_instances(line, names, place, faults), _regions(line, place, faults)):
        box = checked_box(bbox, line.width, line.height, clip=clip)
        if box is None:
            lost[label] = None
            faults.add(
                "bad_box",
                f"{where} has bbox {bbox!r:.80}, which is not an x1, y1, x2, y2 inside its image "
                f"({line.width}x{line.height}); correct it",
            )
        else:
            boxes.append(box)
            labels.append(label)
    return Objects(tuple(boxes), tuple(labels)), tuple(lost)


def _instances(
    line: _Line, names: dict[int, str] | None, place: str, faults: Faults
) -> Iterator[tuple[str, str, Any]]:
    """The place, label and box of each."""
    items = line.detection.instances if line.detection else ()
    for number, item in records(items, _Instance, f"{place}: instances", faults):
        where = f"{place}: instances[{number}]"
        if names is None and not item.category:
            faults.add("unknown_category", f"{where} has no category; add it, or give a label map")
        elif names is not None and item.label not in names:
            faults.add(
                "unknown_category", f"{where} has label {item.label}, which is not in the label map; add it"
            )
        else:
            yield where, item.category if names is None else names[item.label], item.bbox


def _regions(line: _Line, place: str, faults: Faults) -> Iterator[tuple[str, str, Any]]:
    """The place, phrase and box of each box of each."""
    items = line.grounding.regions if line.grounding else ()
    for number, item in records(items, _Region, f"{place}: regions", faults):
        where = f"{place}: regions[{number}]"
        phrase = item.phrase if isinstance(item.phrase, str) else " ".join(item.phrase)
        if not phrase:
            faults.add("bad_record", f"{where} has no phrase; add it")
            continue
        match item.bbox:
            case [list(), *_]:
                boxes = item.bbox
            case _:
                boxes = [item.bbox]
        for box in boxes:
            yield where, phrase, box
