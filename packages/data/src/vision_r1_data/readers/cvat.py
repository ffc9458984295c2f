"""Annotations as CVAT exports them, "CVAT for images 1.1": https://docs.cvat.ai/docs/manual/advanced/xml_format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from globox import Annotation

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._globox import Annotated, boxed, guarded, samples, sized
from vision_r1_data.readers._parts import find_image, image_folder, input_file, opened
from vision_r1_data.sample import Sample

_FILE = "an XML file of CVAT for images"
_IMAGE = "an image of CVAT with name, width, height, and a label and ordered corners for every box"


def read_cvat(
    path: Path | str,
    images: Path | str,
    *,
    labels: Sequence[str] | None = None,
    task: str = "detection",
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read a set in the form "CVAT for images". The file streams: memory grows by the names of its images.

    Boxes are objects. Other shapes, and boxes that are rotated, are faults.

    Args:
        path: the XML file.
        images: the folder that holds the images under their `name`.
        labels: the labels asked for; by default those that the file lists and those of its boxes in the order
            of the alphabet, for which it is read once more before the first sample.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used, such as an image without a size, which is left out whole, or the
            rest of a file that is cut off; by default that is an error.

    Yields:
        One sample per image, in the order of the file; its id is the name of the image.

    Raises:
        DataError: the file or the folder is missing, the file has no images, or something is bad and not to
            be skipped.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 20)).save(folder / "a.png")
        >>> box = '<box label="cat" xtl="1" ytl="2" xbr="30" ybr="20"/>'
        >>> _ = (folder / "set.xml").write_text(
        ...     f'<annotations><image name="a.png" width="40" height="20">{box}</image></annotations>')
        >>> next(read_cvat(folder / "set.xml", folder)).objects.boxes
        ((1.0, 2.0, 30.0, 20.0),)
    """
    path, images = input_file(path, _FILE), image_folder(images)
    asked = _labels(path) if labels is None else labels
    return samples(partial(_read, path, images), asked, task, source or path.name, faults)


def _read(path: Path, images: Path, faults: Faults) -> Iterator[Annotated]:
    names, number = set(), -1
    try:
        for number, node in enumerate(_nodes(path, "image")):
            place = f"{path}: image {number} ({node.get('name')})"
            _drop_other_shapes(node, place, faults)
            annotation = guarded(partial(_parse, node), "bad_record", place, _IMAGE, faults)
            if annotation is None:
                continue
            name = annotation.image_id
            if name in names:
                faults.add("same_id", f"{place} repeats the name of another; give every image its own")
                continue
            names.add(name)
            image = find_image(images, name, place, faults)
            if image is not None:
                yield Annotated(name, image, name, annotation.image_size, boxed(annotation, place))
    except ElementTree.ParseError as error:
        faults.add("bad_file", f"{path}: is not XML after {number + 1} images ({error}); export it anew")
    else:
        if number < 0:
            raise DataError(f"{path}: has no images; give {_FILE}, not of a video")


def _parse(image: ElementTree.Element) -> Annotation:
    return sized(Annotation.from_cvat(image))


def _nodes(path: Path, *tags: str) -> Iterator[ElementTree.Element]:
    """The elements with these tags; what lies before the end of an image is let go."""
    with opened(path, _FILE) as file:
        try:
            events = ElementTree.iterparse(file, ("start", "end"))
            _, root = next(events)
            for event, node in events:
                if event == "end" and node.tag in tags:
                    yield node
                if event == "end" and node.tag == "image":
                    root.clear()
        except (ValueError, LookupError) as error:  # an encoding that expat does not know
            raise ElementTree.ParseError(str(error)) from error


def _drop_other_shapes(image: ElementTree.Element, place: str, faults: Faults) -> None:
    for node in list(image):
        if node.tag == "tag" or (node.tag == "box" and node.get("rotation", "0").strip("0.") == ""):
            continue
        image.remove(node)
        what = "rotated box" if node.tag == "box" else node.tag
        faults.add("bad_shape", f"{place} has a {what} labelled {node.get('label')!r:.80}; draw it as a box")


def _labels(path: Path) -> Iterator[str]:
    """The labels of the set, found when they are asked for."""
    found = set()
    with suppress(ElementTree.ParseError):  # told when the file is read again
        for node in _nodes(path, "label", "box"):
            found.add(node.findtext("name") if node.tag == "label" else node.get("label"))
    yield from sorted(label for label in found if label)
