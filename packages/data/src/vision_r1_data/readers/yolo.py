"""Annotations as YOLO reads them, one text file per image: https://docs.ultralytics.com/datasets/detect/."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from globox import AnnotationSet, BoundingBox

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._globox import (
    IMAGE_SUFFIXES,
    Annotated,
    Boxed,
    annotation_folder,
    bare_name,
    files,
    guarded,
    samples,
    sized_image,
    tell_unknown,
    with_suffix,
)
from vision_r1_data.readers._parts import image_folder, input_file, is_file
from vision_r1_data.sample import Sample

_LINES: dict[str, Callable[..., BoundingBox]] = {
    "v5": BoundingBox.from_yolo_v5,
    "v7": BoundingBox.from_yolo_v7,
    "darknet": BoundingBox.from_yolo_darknet,
    "seg": BoundingBox.from_yolo_seg,
}
_NAMES = "a list of the names of the classes, a .txt file of one name a line, or a data.yaml with `names`"


class _DataYaml(msgspec.Struct):
    names: list[str] | dict[int, str]


def read_yolo(
    folder: Path | str,
    images: Path | str,
    *,
    names: Sequence[str] | Path | str,
    version: str = "v5",
    backgrounds: bool = False,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set in the form of YOLO.

    Every sample asks for every name, so an empty file is a negative. The size of an image, which no file
    says, is read from the image.

    Args:
        folder: that holds the .txt files, also in folders of its own.
        images: the folder that holds the images under the paths of the files, with the suffix of an image.
        names: of the classes in their order: a list, a file of one name a line, or a data.yaml with `names`.
        version: what a line holds. "v5" and "v7": class, middle, width and height, and maybe a confidence;
            "darknet": with the confidence after the class; "seg": class and corners of a polygon, which
            counts as the box that bounds it.
        backgrounds: whether an image without a file is a negative too, as Ultralytics has it. Else it is not
            read, and counted in `faults.ruled` as "no_label_file".
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the folder.
        faults: told what cannot be used, such as a damaged line, which is left out alone, or a box that lies
            outside its image; by default that is an error.

    Yields:
        One sample per file, in the order of their paths; its id is the path of the file without the suffix.

    Raises:
        DataError: a folder or the names are missing, or something is bad and not to be skipped.
        ValueError: there is no such version.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "a.png")
        >>> _ = (folder / "a.txt").write_text("1 0.5 0.5 0.25 0.5")
        >>> sample = next(read_yolo(folder, folder, names=["cat", "dog"]))
        >>> sample.categories, sample.objects.labels, sample.objects.boxes
        (('cat', 'dog'), ('dog',), ((15.0, 5.0, 25.0, 15.0),))
    """
    if version not in _LINES:
        raise ValueError(f"version must be one of {', '.join(_LINES)}, got {version!r}")
    folder, images = annotation_folder(folder, ".txt"), image_folder(images)
    classes = _classes(names)
    own = Path(names) if isinstance(names, str | Path) else None
    faults = faults or Faults()

    def read(faults: Faults) -> Iterator[Annotated]:
        yield from _read(folder, images, classes, version, own, faults)
        yield from _without_file(folder, images, backgrounds, faults)

    return samples(read, classes.values(), task, source or folder.name, faults)


def _read(
    folder: Path, images: Path, classes: Mapping[str, str], version: str, own: Path | None, faults: Faults
) -> Iterator[Annotated]:
    for file in files(folder, ".txt"):
        if own is not None and file.samefile(own):  # classes.txt is kept beside the others
            continue
        bare = bare_name(file, folder)
        name = with_suffix(images, bare)
        found = sized_image(images, name, str(file), faults)
        text = guarded(partial(file.read_text, "utf-8"), "bad_file", str(file), "text", faults)
        if found is not None and text is not None:
            image, size = found
            yield Annotated(
                bare, image, name, size, list(_objects(text, file, size, classes, version, faults))
            )


def _without_file(folder: Path, images: Path, backgrounds: bool, faults: Faults) -> Iterator[Annotated]:
    """The images that no file speaks of, as negatives."""
    for image in files(images, IMAGE_SUFFIXES):
        bare = bare_name(image, images)
        if is_file(folder / f"{bare}.txt"):
            continue
        if not backgrounds:
            faults.rule("no_label_file")
        elif (found := sized_image(images, str(image.relative_to(images)), str(image), faults)) is not None:
            yield Annotated(bare, image, image.relative_to(images).as_posix(), found[1], [])


def _objects(
    text: str, file: Path, size: tuple[int, int], classes: Mapping[str, str], version: str, faults: Faults
) -> Iterator[Boxed]:
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{file}:{number}"
        parse = partial(_LINES[version], line, image_size=size)
        box = (
            guarded(parse, "bad_record", place, f"a line of YOLO {version}", faults) if line.strip() else None
        )
        if box is None:
            continue
        if box.label in classes:
            yield Boxed(place, classes[box.label], box.ltrb)
        else:
            tell_unknown(box.label, place, faults)


def _classes(names: Sequence[str] | Path | str) -> dict[str, str]:
    """The number of each class, as text, and its name."""
    if not isinstance(names, str | Path):
        where, classes = "names", {str(number): name for number, name in enumerate(names)}
    elif (where := str(input_file(names, _NAMES))).endswith((".yaml", ".yml")):
        classes = _from_yaml(Path(where))
    else:
        try:
            named = AnnotationSet.parse_names_file(where)
            classes = {number: name.strip() for number, name in named.items()}
        except ValueError as error:
            raise DataError(f"{where}: is not text ({error}); give {_NAMES}") from error
    if not classes or not all(classes.values()):
        raise DataError(f"{where}: has no names or an empty one; give {_NAMES}")
    return classes


def _from_yaml(path: Path) -> dict[str, str]:
    try:
        names = msgspec.yaml.decode(path.read_bytes(), type=_DataYaml).names
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{path}: is not a data.yaml ({words:.200}); give {_NAMES}") from error
    numbered = names.items() if isinstance(names, dict) else enumerate(names)
    return {str(number): name for number, name in numbered}
