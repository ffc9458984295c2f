"""COCO detection annotations: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from vision_r1_data.errors import DataError
from vision_r1_data.frame import Box
from vision_r1_data.masks import is_mask
from vision_r1_data.sample import Objects, Sample

# Annotation tools round: a corner may lie this many pixels outside its image and is then clipped.
_ROUNDING = 1.0
_HUGE = 1e9  # pixels; no image is larger, and an int beyond float range must not reach float()
_Fields = dict[str, tuple[type, ...]]
_ID = (int, str)
_IMAGE: _Fields = {"id": _ID, "file_name": (str,), "width": (int,), "height": (int,)}
_ANNOTATION: _Fields = {"id": _ID, "image_id": _ID, "category_id": _ID, "bbox": (object,)}
_CATEGORY: _Fields = {"id": _ID, "name": (str,)}


def read_coco(
    annotations: Path | str,
    images: Path | str,
    *,
    task: str = "detection",
    masks: bool = False,
    bad_boxes: Literal["error", "skip"] = "error",
) -> list[Sample]:
    """Read a COCO-format detection set.

    Every sample asks for every category of the file, so images without objects are negatives.

    Args:
        annotations: the JSON file.
        images: the folder that holds the images under their `file_name`.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        masks: whether to keep the segmentations, which take many times the memory of boxes.
        bad_boxes: what to do with a box that lies outside its image or has no area, or whose mask is none:
            raise, or leave it out and warn with the count.

    Returns:
        One sample per image, in the order of the file; objects in the order of the file.

    Raises:
        DataError: the file is missing, not JSON, not COCO, or names an image that is not there; or a box is
            bad and `bad_boxes` is "error".
    """
    annotations, images = Path(annotations), Path(images)
    if not images.is_dir():
        raise DataError(f"{images}: is not a folder; give the folder that holds the images")
    content = _load(annotations)
    names = _category_names(content, annotations)
    records = _records(content, "images", _IMAGE, annotations)
    sizes = {record["id"]: (record["width"], record["height"]) for record in records}
    objects, bad = _objects(content, names, sizes, annotations, masks)
    if bad and bad_boxes == "error":
        raise DataError(
            f"{annotations}: {bad[0]}; correct it, or leave out the {len(bad)} bad box(es) "
            "with bad_boxes=skip"
        )
    if bad:
        warnings.warn(
            f"{annotations}: left out {len(bad)} bad box(es), the first: {bad[0]}", UserWarning, stacklevel=2
        )
    for record in records:
        if not (images / record["file_name"]).is_file():
            raise DataError(
                f"{annotations}: image {record['id']} names {record['file_name']!r}, which is not in "
                f"{images}; add the file, remove the entry, or give the right folder"
            )
    return [
        Sample(
            id=str(record["id"]),
            image=images / record["file_name"],
            width=record["width"],
            height=record["height"],
            task=task,
            categories=tuple(names.values()),
            objects=objects.get(record["id"], Objects()),
            source=annotations.name,
        )
        for record in records
    ]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of a COCO annotation file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a readable file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); give a COCO annotation file") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, not a COCO object with images and annotations"
        )
    return content


def _records(content: dict[str, Any], key: str, fields: _Fields, path: Path) -> list[dict[str, Any]]:
    """The list under `key`: every entry a dict with the fields, images and categories with own ids."""
    records = content.get(key)
    if not isinstance(records, list) or (key != "annotations" and not records):
        raise DataError(f"{path}: has no {key}; a COCO annotation file lists them under {key!r}")
    seen = set()
    for place, record in enumerate(records):
        entry = f"{path}: {key}[{place}]"
        for name, kinds in fields.items():
            if not isinstance(record, dict) or name not in record:
                raise DataError(f"{entry} has no {name!r}; add it")
            if not isinstance(record[name], kinds):
                expected = " or ".join(kind.__name__ for kind in kinds)
                raise DataError(
                    f"{entry} has {name!r} {record[name]!r:.80}, which is not {expected}; correct it"
                )
        if key != "annotations" and record["id"] in seen:
            raise DataError(f"{entry} repeats the id {record['id']!r}; give every entry its own")
        seen.add(record["id"])
    return records


def _category_names(content: dict[str, Any], path: Path) -> dict[Any, str]:
    return {c["id"]: c["name"] for c in _records(content, "categories", _CATEGORY, path)}


def _objects(
    content: dict[str, Any], names: dict[Any, str], sizes: dict[Any, tuple[int, int]], path: Path, masks: bool
) -> tuple[dict[Any, Objects], list[str]]:
    """The objects of each image id, and one line per bad box."""
    boxes: dict[Any, list[Box]] = defaultdict(list)
    labels: dict[Any, list[str]] = defaultdict(list)
    crowd: dict[Any, list[bool]] = defaultdict(list)
    segmentations: dict[Any, list[Any]] = defaultdict(list)
    bad: list[str] = []
    for annotation in _records(content, "annotations", _ANNOTATION, path):
        name, image, category = annotation["id"], annotation["image_id"], annotation["category_id"]
        if image not in sizes:
            raise DataError(
                f"{path}: annotation {name} names image {image}, which is not under 'images'; "
                "add or remove it"
            )
        if category not in names:
            raise DataError(
                f"{path}: annotation {name} names category {category}, which is not under 'categories'; "
                "add or remove it"
            )
        box = _xywh_to_xyxy(annotation["bbox"], *sizes[image])
        if box is None:
            width, height = sizes[image]
            bad.append(
                f"annotation {name} has bbox {annotation['bbox']}, which is not an x, y, width, height "
                f"inside image {image} ({width}x{height})"
            )
            continue
        segmentation = (annotation.get("segmentation") or None) if masks else None
        if segmentation is not None and not is_mask(segmentation, *sizes[image]):
            bad.append(
                f"annotation {name} has a segmentation that is neither polygons of 3 or more corners nor a "
                f"run-length encoding of the size of image {image}"
            )
            continue
        boxes[image].append(box)
        labels[image].append(names[category])
        crowd[image].append(bool(annotation.get("iscrowd", 0)))
        if masks:
            segmentations[image].append(segmentation)
    columns = (boxes, labels, crowd, segmentations)
    return {k: Objects(*(tuple(column[k]) for column in columns)) for k in boxes}, bad


def _xywh_to_xyxy(bbox: Any, width: int, height: int) -> Box | None:
    """The box clipped to its image, or None where it is not a box inside it."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if any(type(x) not in (int, float) or not -_HUGE < x < _HUGE for x in bbox):
        return None
    x1, y1, x2, y2 = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
    inside = x1 >= -_ROUNDING and y1 >= -_ROUNDING and x2 <= width + _ROUNDING and y2 <= height + _ROUNDING
    box = (float(max(x1, 0)), float(max(y1, 0)), float(min(x2, width)), float(min(y2, height)))
    return box if inside and box[0] < box[2] and box[1] < box[3] else None
