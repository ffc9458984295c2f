"""LVIS v1 annotations, of which only some categories are known for an image: https://www.lvisdataset.org."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import Id, find_image, image_folder, image_id
from vision_r1_data.readers.coco import CocoFile
from vision_r1_data.sample import Sample


class _Image(msgspec.Struct):
    """An image as LVIS writes it."""

    id: Id
    width: int
    height: int
    coco_url: str = ""
    file_name: str = ""
    neg_category_ids: list[Id] = []
    not_exhaustive_category_ids: list[Id] = []

    @property
    def name(self) -> str:
        """Folder and file, such as `train2017/000000391895.jpg`."""
        return "/".join(self.coco_url.rsplit("/", 2)[-2:]) or self.file_name


def read_lvis(
    annotations: Path | str,
    images: Path | str,
    *,
    task: str = "detection",
    masks: bool = False,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read an LVIS v1 detection set.

    A sample asks for the categories that are known for its image: those with objects, and those that were
    verified to be absent. The others may be there without an annotation. Underscores in the names of
    categories become spaces: `bow_(weapon)` is asked for as "bow (weapon)". Memory grows as in `read_coco`.

    Args:
        annotations: the JSON file.
        images: the folder that holds the images of COCO as `<split>/<name>` of their `coco_url` (or of their
            `file_name`, where they have no URL), or as `<name>`.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        masks: whether to keep the segmentations, which take many times the memory of boxes.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as a box that lies outside its image or has no area; by
            default that is an error.

    Yields:
        One sample per image, in the order of the file; categories in the order of the file. `not_exhaustive`
        are those with objects of which not all are annotated; one without objects is not asked for.

    Raises:
        DataError: the file is missing, not JSON or not LVIS, or something in it is bad and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "1.png")
        >>> image = {"id": 1, "width": 40, "height": 20, "coco_url": "http://images.cocodataset.org/val2017/1.png",
        ...          "neg_category_ids": [3], "not_exhaustive_category_ids": [2]}
        >>> names = {1: "cat", 2: "aerosol_can", 3: "dog"}
        >>> box = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 10]}
        >>> content = {"images": [image], "annotations": [box],
        ...            "categories": [{"id": id, "name": name} for id, name in names.items()]}
        >>> _ = (folder / "set.json").write_bytes(msgspec.json.encode(content))
        >>> sample = next(read_lvis(folder / "set.json", folder))
        >>> sample.categories, sample.not_exhaustive
        (('aerosol can', 'dog'), ('aerosol can',))
    """
    file = CocoFile(Path(annotations), _Image, faults or Faults(), rename=lambda name: name.replace("_", " "))
    return _samples(file, image_folder(images), task, masks, source or file.path.name)


def _samples(file: CocoFile[_Image], folder: Path, task: str, masks: bool, source: str) -> Iterator[Sample]:
    order = {name: number for number, name in enumerate(file.categories)}
    for place, record in file.images:
        if not record.name:
            file.faults.add("bad_record", f"{place} names no image; give it a coco_url or a file_name")
            continue
        image = find_image(folder, record.name, place, file.faults, moved=True)
        if image is None:
            continue
        objects, lost = file.objects(record, masks=masks)
        present = set(objects.labels)
        absent = _names(file, record.neg_category_ids, f"{place}: neg_category_ids")
        partly = _names(file, record.not_exhaustive_category_ids, f"{place}: not_exhaustive_category_ids")
        yield Sample(
            id=str(record.id),
            image=image,
            width=record.width,
            height=record.height,
            task=task,
            categories=tuple(sorted(present | absent, key=order.__getitem__)),
            objects=objects,
            source=source,
            image_id=image_id(record.name, source),
            not_exhaustive=tuple(sorted(present & partly.union(lost), key=order.__getitem__)),
        )


def _names(file: CocoFile[_Image], ids: list[Id], where: str) -> set[str]:
    unknown = [number for number in ids if number not in file.names]
    for number in unknown:
        file.faults.add(
            "unknown_category",
            f"{where} names category {number}, which is not under 'categories'; add or remove it",
        )
    return {file.names[number] for number in ids if number in file.names}
