"""Objects365 annotations, v1 and v2: https://www.objects365.org."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import image_folder
from vision_r1_data.readers.coco import CocoFile, CocoImage, coco_samples
from vision_r1_data.sample import Sample


def read_objects365(
    annotations: Path | str,
    images: Path | str,
    *,
    task: str = "detection",
    clip: bool = True,
    source: str = "",
    faults: Faults | None = None,
) -> Iterator[Sample]:
    """Read an Objects365 detection set, which has the form of COCO; see `read_coco`.

    Args:
        annotations: the JSON file, such as `zhiyuan_objv2_train.json`.
        images: the folder that holds the images under their `file_name`, such as
            `images/v1/patch8/objects365_v1_00420917.jpg`, or under an ending of it, such as `patch8/...`.
        task: what the samples ask, a name of `vision_r1_data.prompts.TASKS`.
        clip: whether to clip boxes to their image, out of which many stick; only one without area in it is a
            fault then. Without it, as in COCO, so is one that sticks out by more than a pixel.
        source: what the samples name as their source; by default the name of the file.
        faults: told what cannot be used; by default that is an error.

    Yields:
        One sample per image, in the order of the file, which asks for every category of the file.

    Raises:
        DataError: the file is missing, not JSON or not COCO, or something in it is bad and not to be skipped.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "patch8").mkdir()
        >>> Image.new("RGB", (40, 20)).save(folder / "patch8" / "1.png")
        >>> image = {"id": 1, "file_name": "images/v1/patch8/1.png", "width": 40, "height": 20}
        >>> content = {"images": [image], "categories": [{"id": 1, "name": "Hat"}],
        ...            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 2, 25, 10]}]}
        >>> _ = (folder / "set.json").write_text(json.dumps(content))
        >>> next(read_objects365(folder / "set.json", folder)).objects.boxes
        ((30.0, 2.0, 40.0, 12.0),)
    """
    file = CocoFile(Path(annotations), CocoImage, faults or Faults(), clip=clip)
    return coco_samples(file, image_folder(images), task, source or file.path.name, moved=True)
