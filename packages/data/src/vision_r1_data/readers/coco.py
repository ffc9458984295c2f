"""COCO detection annotations: https://cocodataset.org/#format-data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.masks import is_mask
from vision_r1_data.readers._parts import (
    Id,
    checked_box,
    find_image,
    image_folder,
    image_id,
    is_size,
    map_json,
    records,
    xywh_to_xyxy,
)
from vision_r1_data.sample import Objects, Sample


class _Own(Protocol):
    id: Id


class _Sized(_Own, Protocol):
    width: int
    height: int


R = TypeVar("R", bound=_Own)
S = TypeVar("S", bound=_Sized)


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


class CocoImage(msgspec.Struct):
    """An image as COCO writes it."""

    id: Id
    file_name: str
    width: int
    height: int


class _Named(msgspec.Struct):
    id: Id
    name: str


class _Of(msgspec.Struct):
    image_id: Id


class _Annotation(msgspec.Struct):
    id: Id
    category_id: Id
    bbox: Any
    iscrowd: int | bool = 0
    segmentation: Any = None


def read_coco(
    annotations: Path | str,
    images: Path | str,
    *,
    task: str = "detection",
    masks: bool = False,
    clip: bool = False,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a COCO-format detection set.

    Every sample asks for every category of the file, so images without objects are negatives. A category of
    which an object is left out as bad is `not_exhaustive` in its image.

    The file is mapped, not loaded: memory grows by about 120 bytes an annotation and 600 an image, whatever
    the masks.

    Args:
        annotations: the JSON file.
        images: the folder that holds the images under their `file_name`.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        masks: whether to keep the segmentations, which take many times the memory of boxes.
        clip: whether to clip boxes that stick out of their image; only one without area in it is bad then.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as a box that lies outside its image or has no area; by
            default that is an error.

    Yields:
        One sample per image, in the order of the file; objects in the order of the file.

    Raises:
        DataError: the file is missing, not JSON or not COCO, or something in it is bad and not to be skipped.
    """
    file = CocoFile(Path(annotations), CocoImage, faults or Faults(), clip=clip)
    return coco_samples(file, image_folder(images), task, source or file.path.name, masks=masks)


def coco_samples(
    file: CocoFile[CocoImage],
    folder: Path,
    task: str,
    source: str,
    *,
    masks: bool = False,
    moved: bool = False,
) -> Iterator[Sample]:
    """One sample per image; `masks` as `read_coco` has it, `moved` as `find_image`."""
    for place, record in file.images:
        image = find_image(folder, record.file_name, place, file.faults, moved=moved)
        if image is not None:
            objects, lost = file.objects(record, masks=masks)
            yield Sample(
                id=str(record.id),
                image=image,
                width=record.width,
                height=record.height,
                task=task,
                categories=file.categories,
                objects=objects,
                source=source,
                image_id=image_id(record.file_name, source),
                not_exhaustive=lost,
            )


class CocoFile(Generic[S]):
    """A mapped file of COCO's form: its images, and the objects of each.

    Args:
        path: the JSON file.
        image: the type of an image's record.
        faults: told what cannot be used.
        clip: whether boxes may stick out of their image; they are clipped to it.
        rename: the name of a category in the file -> what it is called.

    Raises:
        DataError: the file is missing, not JSON, not COCO, or has no images or categories.
    """

    def __init__(
        self,
        path: Path,
        image: type[S],
        faults: Faults,
        *,
        clip: bool = False,
        rename: Callable[[str], str] = str,
    ) -> None:
        self.path, self.faults, self._clip = path, faults, clip
        file = map_json(path, _File, "a COCO annotation file")
        for key in ("images", "categories"):
            if not getattr(file, key):
                raise DataError(f"{path}: has no {key}; a COCO annotation file lists them under {key!r}")
        self.names: dict[Id, str] = {
            c.id: rename(c.name) for _, c in self._own("categories", file.categories, _Named)
        }
        """Category id -> name."""
        self.categories = tuple(dict.fromkeys(self.names.values()))
        """Every name once, in the order of the file."""
        self.images: list[tuple[str, S]] = [
            (place, record)
            for place, record in self._own("images", file.images, image)
            if self._has_size(place, record)
        ]
        """Every image with its place in the file."""
        self._annotations = file.annotations
        self._numbers: dict[Id, list[int]] = {record.id: [] for _, record in self.images}
        for number, of in records(file.annotations, _Of, f"{path}: annotations", faults):
            if of.image_id in self._numbers:
                self._numbers[of.image_id].append(number)
            else:
                faults.add(
                    "unknown_image",
                    f"{path}: annotations[{number}] names image {of.image_id}, which is not under 'images'; "
                    "add or remove it",
                )

    def objects(self, image: S, *, masks: bool = False) -> tuple[Objects, tuple[str, ...]]:
        """The annotated objects of one image, and the categories of those that are left out as bad."""
        where, found, lost = f"{self.path}: annotations", [], dict[str, None]()
        for number in self._numbers[image.id]:
            item = self._annotations[number]
            for _, annotation in records([item], _Annotation, where, self.faults, number):
                if (one := self._object(annotation, image, masks)) is not None:
                    found.append(one)
                elif annotation.category_id in self.names:
                    lost[self.names[annotation.category_id]] = None
        boxes, labels, crowd, segmentations = zip(*found, strict=True) if found else ((), (), (), ())
        return Objects(boxes, labels, crowd, segmentations if masks else ()), tuple(lost)

    def _object(self, record: _Annotation, image: S, masks: bool) -> tuple[Any, ...] | None:
        """Box, label, crowd flag and segmentation; None is a fault."""
        size, place = (image.width, image.height), f"{self.path}: annotation {record.id}"
        seen_in = f"image {image.id} ({image.width}x{image.height})"
        box = checked_box(xywh_to_xyxy(record.bbox), *size, clip=self._clip)
        segmentation = (record.segmentation or None) if masks else None
        if record.category_id not in self.names:
            self.faults.add(
                "unknown_category",
                f"{place} names category {record.category_id}, which is not under 'categories'; "
                "add or remove it",
            )
        elif box is None:
            self.faults.add(
                "bad_box",
                f"{place} has bbox {record.bbox!r:.80}, which is not an x, y, width, height inside "
                f"{seen_in}; correct it",
            )
        elif segmentation is not None and not is_mask(segmentation, *size):
            self.faults.add(
                "bad_mask",
                f"{place} has a segmentation that is neither polygons of 3 or more corners nor a run-length "
                f"encoding of the size of {seen_in}; correct it",
            )
        else:
            return box, self.names[record.category_id], bool(record.iscrowd), segmentation
        return None

    def _own(self, key: str, items: list[msgspec.Raw], kind: type[R]) -> Iterator[tuple[str, R]]:
        """The records that have an id of their own, each with its place."""
        seen = set()
        for number, record in records(items, kind, f"{self.path}: {key}", self.faults):
            place = f"{self.path}: {key}[{number}]"
            if record.id not in seen:
                seen.add(record.id)
                yield place, record
            else:
                self.faults.add("same_id", f"{place} repeats the id {record.id!r}; give every entry its own")

    def _has_size(self, place: str, record: S) -> bool:
        if is_size(record.width, record.height):
            return True
        self.faults.add("bad_record", f"{place} is {record.width}x{record.height} pixels; correct it")
        return False
