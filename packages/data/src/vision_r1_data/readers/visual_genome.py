"""Visual Genome, its regions with phrases and objects with names: https://doi.org/10.1007/s11263-016-0981-7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box
from vision_r1_data.readers._parts import checked_box, image_folder, is_there, map_json, records, xywh_to_xyxy
from vision_r1_data.readers._rec import rec_sample
from vision_r1_data.sample import Sample

Kind = Literal["regions", "objects"]


class _Image(msgspec.Struct):
    """An image as image_data.json writes it."""

    image_id: int
    url: str
    width: Annotated[int, msgspec.Meta(gt=0)]
    height: Annotated[int, msgspec.Meta(gt=0)]
    coco_id: int | None = None

    @property
    def file_name(self) -> str:
        """Folder and name, such as VG_100K_2/1.jpg."""
        return "/".join(PurePosixPath(self.url).parts[-2:])

    @property
    def name(self) -> str:
        """What other sets call the picture."""
        return f"vg:{self.image_id}" if self.coco_id is None else f"coco:{self.coco_id}"


class _Regions(msgspec.Struct):
    """An image of region_descriptions.json."""

    image_id: int = msgspec.field(name="id")
    items: list[msgspec.Raw] = msgspec.field(name="regions")


class _Objects(msgspec.Struct):
    """An image of objects.json."""

    image_id: int
    items: list[msgspec.Raw] = msgspec.field(name="objects")


class _Region(msgspec.Struct):
    id: int = msgspec.field(name="region_id")
    phrase: str
    x: Any
    y: Any
    width: Any
    height: Any

    @property
    def said(self) -> tuple[str, str]:
        """What makes two phrases one, and how it is written."""
        text = " ".join(self.phrase.split()).removesuffix(".").rstrip()
        return text.lower(), text

    @property
    def bbox(self) -> Any:
        return xywh_to_xyxy((self.x, self.y, self.width, self.height))


class _Object(msgspec.Struct):
    id: int = msgspec.field(name="object_id")
    names: list[str]
    x: Any
    y: Any
    w: Any
    h: Any

    @property
    def said(self) -> tuple[str, str]:
        """Its first name, twice."""
        name = " ".join(self.names[0].lower().split()) if self.names else ""
        return name, name

    @property
    def bbox(self) -> Any:
        return xywh_to_xyxy((self.x, self.y, self.w, self.h))


# What an image holds, and each of it.
_KINDS: dict[Kind, tuple[type[_Regions] | type[_Objects], type[_Region] | type[_Object]]] = {
    "regions": (_Regions, _Region),
    "objects": (_Objects, _Object),
}


@dataclass(slots=True)
class _Group:
    """One expression and what it refers to in one image."""

    text: str
    boxes: list[Box] = field(default_factory=list)


def read_visual_genome(
    annotations: Path | str,
    image_data: Path | str,
    images: Path | str,
    *,
    kind: Kind = "regions",
    min_objects: int = 1,
    merge_iou: float = 0.7,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read Visual Genome's regions or objects as referring expressions.

    Regions of an image whose phrases are equal but for case and the final full stop are one expression, as
    are objects whose first names are equal but for case; a sample has all their boxes. Nobody promises that
    these are all there are, so the sample names its expression as not exhaustive.

    Visual Genome annotates many things more than once. Of the boxes of one expression, one that overlaps an
    earlier one by more than `merge_iou` is taken for the same thing and left out: `faults.ruled["same_box"]`
    counts them, and they are no error.

    The annotations are mapped, not loaded.

    Args:
        annotations: region_descriptions.json or objects.json.
        image_data: image_data.json, which says the size, file and COCO number of every image.
        images: the folder that holds the images, in VG_100K and VG_100K_2 as they are released or together.
        kind: "regions" or "objects", as the file of annotations.
        min_objects: only expressions with at least so many boxes after merging; 2 keeps those that refer to
            several objects.
        merge_iou: the IoU above which two boxes of one expression are one; 1 keeps all.
        source: what the samples name as their source; by default the name of the annotations.
        faults: told what cannot be used; by default that is an error.

    Yields:
        One sample per image and expression, in the order of the file. A picture that COCO has too is called
        "coco:<its number>", any other "vg:<its number>".

    Raises:
        DataError: a file or the folder is missing, not JSON or not Visual Genome's, or something is bad and
            not to be skipped.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "1.jpg")
        >>> picture = {"image_id": 1, "url": "https://host/VG_100K_2/1.jpg", "width": 40, "height": 20}
        >>> _ = (folder / "image_data.json").write_text(json.dumps([picture | {"coco_id": 391895}]))
        >>> cups = [
        ...     {"object_id": k, "names": ["cup"], "x": x, "y": 0, "w": 9, "h": 9}
        ...     for k, x in enumerate([0, 1, 20])
        ... ]
        >>> _ = (folder / "objects.json").write_text(json.dumps([{"image_id": 1, "objects": cups}]))
        >>> faults = Faults()
        >>> files = folder / "objects.json", folder / "image_data.json"
        >>> sample = next(read_visual_genome(*files, folder, kind="objects", min_objects=2, faults=faults))
        >>> sample.categories, sample.objects.boxes, sample.image_id
        (('cup',), ((0.0, 0.0, 9.0, 9.0), (20.0, 0.0, 29.0, 9.0)), 'coco:391895')
        >>> str(faults)
        '1 left out by rule (same_box 1)'
    """
    if kind not in get_args(Kind):
        raise DataError(f"kind is {kind!r}; give 'regions' or 'objects'")
    faults, path, folder = faults or Faults(), Path(annotations), image_folder(images)
    pictures = _image_data(Path(image_data), faults)
    items = map_json(path, list[msgspec.Raw], f"Visual Genome's {kind}")
    found = _images(items, path, kind, pictures, faults)
    return _samples(found, kind, folder, min_objects, merge_iou, source or path.name, faults)


def _samples(
    found: Iterator[tuple[str, _Image, list[msgspec.Raw]]],
    kind: Kind,
    folder: Path,
    min_objects: int,
    merge_iou: float,
    source: str,
    faults: Faults,
) -> Iterator[Sample]:
    for place, image, items in found:
        # With its folder as it is released, or all images in one.
        released, together = folder / image.file_name, folder / PurePosixPath(image.file_name).name
        file = together if together.is_file() else released
        if not is_there(file, place, faults):
            continue
        for number, group in enumerate(_groups(items, kind, image, place, merge_iou, faults)):
            if len(group.boxes) >= min_objects:
                yield rec_sample(
                    group.text,
                    group.boxes,
                    id=f"{image.image_id}:{number}",
                    image=file,
                    size=(image.width, image.height),
                    source=source,
                    image_id=image.name,
                    exhaustive=False,
                )


def _groups(
    items: list[msgspec.Raw], kind: Kind, image: _Image, place: str, merge_iou: float, faults: Faults
) -> list[_Group]:
    """The expressions of an image, in the order in which they are first said."""
    groups: dict[str, _Group] = {}
    where = f"{place}.{kind}"
    for number, item in records(items, _KINDS[kind][1], where, faults):
        said, text = item.said
        box = checked_box(item.bbox, image.width, image.height)
        if not said:
            faults.add("no_expression", f"{where}[{number}] has no words; remove it")
        elif box is None:
            faults.add(
                "bad_box",
                f"{where}[{number}] ({item.id}) is not a box inside image {image.image_id} "
                f"({image.width}x{image.height}); correct it",
            )
        else:
            group = groups.setdefault(said, _Group(text))
            if any(_iou(box, other) > merge_iou for other in group.boxes):
                faults.rule("same_box")
            else:
                group.boxes.append(box)
    return list(groups.values())


def _images(
    items: list[msgspec.Raw], path: Path, kind: Kind, pictures: dict[int, _Image], faults: Faults
) -> Iterator[tuple[str, _Image, list[msgspec.Raw]]]:
    """The annotated images, each with its place and what is annotated in it."""
    seen: set[int] = set()
    for number, record in records(items, _KINDS[kind][0], str(path), faults):
        place, image = f"{path}[{number}]", pictures.get(record.image_id)
        if image is None:
            faults.add(
                "unknown_image",
                f"{place} names image {record.image_id}, which image_data.json does not have; give the one "
                "of the same release",
            )
        elif record.image_id in seen:
            faults.add("same_id", f"{place} repeats image {record.image_id}; give every image one entry")
        else:
            seen.add(record.image_id)
            yield place, image, record.items


def _image_data(path: Path, faults: Faults) -> dict[int, _Image]:
    items = map_json(path, list[msgspec.Raw], "Visual Genome's image_data.json")
    found: dict[int, _Image] = {}
    for number, image in records(items, _Image, str(path), faults):
        if image.image_id in found:
            faults.add(
                "same_id", f"{path}[{number}] repeats image {image.image_id}; give every image one entry"
            )
        else:
            found[image.image_id] = image
    return found


def _iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
