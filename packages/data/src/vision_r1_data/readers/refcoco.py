"""RefCOCO, RefCOCO+ and RefCOCOg as the REFER release holds them: https://github.com/lichengunc/refer."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import (
    Id,
    checked_box,
    image_folder,
    image_id,
    is_there,
    map_json,
    records,
    xywh_to_xyxy,
)
from vision_r1_data.readers._rec import rec_sample
from vision_r1_data.sample import Sample


class _Own(Protocol):
    id: Id


R = TypeVar("R", bound=_Own)


# A pickle, unlike JSON, holds integers of any length.
_Id = Annotated[int, msgspec.Meta(gt=-(1 << 62), lt=1 << 62)] | str


class _Sentence(msgspec.Struct):
    sent_id: _Id
    sent: str


class _Ref(msgspec.Struct):
    """One object and what was said of it."""

    ref_id: _Id
    ann_id: _Id
    image_id: _Id
    split: str
    sentences: list[_Sentence]


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: Annotated[int, msgspec.Meta(gt=0)]
    height: Annotated[int, msgspec.Meta(gt=0)]


class _Annotation(msgspec.Struct):
    id: Id
    image_id: Id
    bbox: Any
    iscrowd: int | bool = 0


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class _Instances:
    """Those images and annotations that refs name."""

    path: Path
    images: dict[Id, _Image]
    annotations: dict[Id, _Annotation]


def read_refcoco(
    refs: Path | str,
    instances: Path | str,
    images: Path | str,
    *,
    split: str | Sequence[str] | None = "train",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read the REFER release of RefCOCO, RefCOCO+ or RefCOCOg.

    Every expression is a sample of its own, so an object that was described three times makes three. The
    expression is the `sent` of the release: lower case, without punctuation.

    The refs are a pickle, and a pickle can run code as it is read. Only plain data is read here: dicts,
    lists, text and numbers. A pickle that asks for anything else is an error, and nothing of it is run.

    Args:
        refs: the pickle, such as `refcoco/refs(unc).p`.
        instances: the `instances.json` beside it.
        images: the folder that holds COCO's train2014 images.
        split: train, val, testA, testB or test, one or several that the pickle has; None for all.
        source: what the samples name as their source; by default folder and name of the pickle, as
            RefCOCO and RefCOCO+ name theirs alike.
        faults: told what cannot be used; by default that is an error.

    Yields:
        One sample per sentence, in the order of the pickle, with the id `ref_id:sent_id`.

    Raises:
        DataError: a file or the folder is missing, the pickle is damaged or not of plain data, nothing is
            of the split, or something is bad and not to be skipped.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "COCO_train2014_000000581857.jpg")
        >>> said = [{"sent_id": 0, "sent": "left cup"}, {"sent_id": 1, "sent": "white cup"}]
        >>> ref = {"ref_id": 7, "ann_id": 16, "image_id": 581857, "split": "train", "sentences": said}
        >>> _ = (folder / "refs(unc).p").write_bytes(pickle.dumps([ref], protocol=2))
        >>> image = {"id": 581857, "file_name": "COCO_train2014_000000581857.jpg", "width": 40, "height": 20}
        >>> annotation = {"id": 16, "image_id": 581857, "bbox": [1, 2, 10, 8]}
        >>> instances = json.dumps({"images": [image], "annotations": [annotation]})
        >>> _ = (folder / "instances.json").write_text(instances)
        >>> for sample in read_refcoco(folder / "refs(unc).p", folder / "instances.json", folder):
        ...     print(sample.id, sample.categories, sample.objects.boxes, sample.image_id)
        7:0 ('left cup',) ((1.0, 2.0, 11.0, 10.0),) coco:581857
        7:1 ('white cup',) ((1.0, 2.0, 11.0, 10.0),) coco:581857
    """
    refs, faults, folder = Path(refs), faults or Faults(), image_folder(images)
    chosen = _of_split(list(_refs(refs, faults)), split, refs)
    file = _named_instances(Path(instances), [ref for _, ref in chosen], faults)
    return _samples(chosen, file, folder, source or f"{refs.absolute().parent.name}/{refs.name}", faults)


def _samples(
    refs: list[tuple[str, _Ref]], file: _Instances, folder: Path, source: str, faults: Faults
) -> Iterator[Sample]:
    seen: set[str] = set()
    for place, ref in refs:
        found = _object(place, ref, file, faults)
        if found is None:
            continue
        image, annotation = found
        size = (image.width, image.height)
        box = checked_box(xywh_to_xyxy(annotation.bbox), *size)
        if box is None:
            faults.add(
                "bad_box",
                f"{file.path}: annotation {annotation.id!r} has bbox {annotation.bbox!r:.80}, which is not "
                f"an x, y, width, height inside image {image.id!r} ({size[0]}x{size[1]}); correct it",
            )
        elif is_there(folder / image.file_name, place, faults):
            for sample_id, expression in _expressions(place, ref, seen, faults):
                yield rec_sample(
                    expression,
                    [box],
                    id=sample_id,
                    image=folder / image.file_name,
                    size=size,
                    source=source,
                    image_id=image_id(image.file_name, source),
                    crowd=[bool(annotation.iscrowd)],
                )


def _object(place: str, ref: _Ref, file: _Instances, faults: Faults) -> tuple[_Image, _Annotation] | None:
    """The image and the annotation of a ref; None is a fault."""
    image, annotation = file.images.get(ref.image_id), file.annotations.get(ref.ann_id)
    if image is None:
        faults.add(
            "unknown_image",
            f"{place} names image {ref.image_id!r:.80}, which is not under 'images' of {file.path}; give the "
            "instances.json of these refs",
        )
    elif annotation is None or annotation.image_id != ref.image_id:
        faults.add(
            "unknown_annotation",
            f"{place} names annotation {ref.ann_id!r:.80}, which is not one of image {ref.image_id!r:.80} in "
            f"{file.path}; give the instances.json of these refs",
        )
    else:
        return image, annotation
    return None


def _expressions(place: str, ref: _Ref, seen: set[str], faults: Faults) -> Iterator[tuple[str, str]]:
    """What was said of an object, each with the id of its sample."""
    for number, sentence in enumerate(ref.sentences):
        sample_id, expression = f"{ref.ref_id}:{sentence.sent_id}", sentence.sent.strip()
        where = f"{place}: sentences[{number}]"
        if not expression:
            faults.add("no_expression", f"{where} is empty; remove it")
        elif sample_id in seen:
            faults.add(
                "same_id", f"{where} repeats ref and sentence {sample_id!r:.80}; give every entry its own"
            )
        else:
            seen.add(sample_id)
            yield sample_id, expression


class _PlainData(pickle.Unpickler):
    """Reads a pickle of dicts, lists, text and numbers; finds no class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r:.80}, and only plain data is read")


def _refs(path: Path, faults: Faults) -> Iterator[tuple[str, _Ref]]:
    """The refs of a pickle, each with its place."""
    what = "the refs of a REFER release, such as refs(unc).p"
    try:
        with path.open("rb") as file:
            # Written by Python 2, whose text is bytes.
            content = _PlainData(file, encoding="utf-8").load()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; give the path of {what}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give {what}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise DataError(f"{path}: is not a pickle of plain data ({error!r:.160}); give {what}") from error
    if not isinstance(content, list):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a list of refs; give {what}")
    for number, item in enumerate(content):
        try:
            yield f"{path}[{number}]", msgspec.convert(item, _Ref)
        except (msgspec.ValidationError, RecursionError) as error:
            faults.add("bad_record", f"{path}[{number}]: {error}; correct it")


def _of_split(
    refs: list[tuple[str, _Ref]], split: str | Sequence[str] | None, path: Path
) -> list[tuple[str, _Ref]]:
    wanted = (split,) if isinstance(split, str) else split
    chosen = [(place, ref) for place, ref in refs if wanted is None or ref.split in wanted]
    if not chosen:
        splits = ", ".join(repr(split) for split in sorted({ref.split for _, ref in refs})) or "none"
        raise DataError(f"{path}: has no refs of split {split!r}; give one of those it has: {splits:.160}")
    return chosen


def _named_instances(path: Path, refs: list[_Ref], faults: Faults) -> _Instances:
    file = map_json(path, _File, "the instances.json of a REFER release")
    images, annotations = {ref.image_id for ref in refs}, {ref.ann_id for ref in refs}
    return _Instances(
        path,
        _by_id(file.images, _Image, images, f"{path}: images", faults),
        _by_id(file.annotations, _Annotation, annotations, f"{path}: annotations", faults),
    )


def _by_id(
    items: list[msgspec.Raw], kind: type[R], wanted: set[Id], where: str, faults: Faults
) -> dict[Id, R]:
    found: dict[Id, R] = {}
    for number, record in records(items, kind, where, faults):
        if record.id in found:
            faults.add("same_id", f"{where}[{number}] repeats the id {record.id!r}; give every entry its own")
        elif record.id in wanted:
            found[record.id] = record
    return found
