"""Annotations as Pascal VOC writes them, one XML file per image: http://host.robots.ox.ac.uk/pascal/VOC/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from globox import Annotation

from vision_r1_data.faults import Faults
from vision_r1_data.readers._globox import (
    Annotated,
    annotation_folder,
    bare_name,
    boxed,
    files,
    guarded,
    samples,
    sized,
    with_suffix,
)
from vision_r1_data.readers._parts import find_image, image_folder
from vision_r1_data.sample import Sample

_WHAT = "Pascal VOC with a filename, a size, and a name and ordered corners for every object"


def read_voc(
    folder: Path | str,
    images: Path | str,
    *,
    labels: Sequence[str] | None = None,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set in the form of Pascal VOC.

    Corners are taken as they are written, from 0 or from 1 on. Difficult objects are objects like the others.

    Args:
        folder: that holds the .xml files, also in folders of its own.
        images: the folder that holds the images under their `filename`, which may lack its suffix.
        labels: the labels asked for; by default all of the set in the order of the alphabet, for which every
            file is read once more before the first sample.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the folder.
        faults: told what cannot be used, such as a damaged file, which is left out whole, a box that lies
            outside its image, or a label that is not asked for; by default that is an error.

    Yields:
        One sample per file, in the order of their paths; its id is the path of the file without the suffix.

    Raises:
        DataError: a folder is missing or has no such files, or something is bad and not to be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "a.png")
        >>> size = "<size><width>40</width><height>20</height></size>"
        >>> box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
        >>> cat = f"<object><name>cat</name>{box}</object>"
        >>> _ = (folder / "a.xml").write_text(
        ...     f"<annotation><filename>a.png</filename>{size}{cat}</annotation>")
        >>> next(read_voc(folder, folder, labels=["cat", "dog"])).objects
        Objects(boxes=((1.0, 2.0, 30.0, 20.0),), labels=('cat',), crowd=(False,), segmentations=())
    """
    folder, images = annotation_folder(folder, ".xml"), image_folder(images)
    return samples(partial(_read, folder, images), labels, task, source or folder.name, faults)


def _read(folder: Path, images: Path, faults: Faults) -> Iterator[Annotated]:
    for file in files(folder, ".xml"):
        annotation = guarded(partial(_parse, file), "bad_file", str(file), _WHAT, faults)
        if annotation is None:
            continue
        name = with_suffix(images, annotation.image_id)
        image = find_image(images, name, str(file), faults)
        if image is not None:
            yield Annotated(
                bare_name(file, folder), image, name, annotation.image_size, boxed(annotation, str(file))
            )


def _parse(file: Path) -> Annotation:
    return sized(Annotation.from_xml(file))
