"""The columns from which a reward knows the truth: one contract for TRL, verl, EasyR1 and ms-swift.

    solution      list of [label, [x1, y1, x2, y2]], or of [label, [[...], [...]]] for several boxes of one
                  label, in pixels of the original image; as JSON, or parsed. [] where nothing is to be found
    width         of the original image in pixels, after the EXIF orientation is applied
    height        likewise
    model_width   of what the model sees, after every resizing
    model_height  likewise
    categories    optional: list of the labels asked for, present or absent; as JSON, or parsed. Without it
                  they are the keys of target_id_maps, which the Vision-R1 data has (JSON label -> id), and
                  without that the labels of the solution
    segmentations optional, for pointing and segmentation: one for each box of the solution, as COCO writes
                  them (polygons or run-length encoding), or null; as JSON, or parsed

The size that the model sees is never guessed: `image_columns` takes it from the image processor itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from PIL import Image

from vision_r1_data import Box, DataError, Frame, image_frame
from vision_r1_grpo.rewards.scene import Target

_SIZES = ("width", "height", "model_width", "model_height")
_NEEDED = ("solution", *_SIZES)
_OPTIONAL = ("categories", "target_id_maps", "segmentations")
_FORM = "[label, [x1, y1, x2, y2]] or [label, [[x1, y1, x2, y2], ...]]"
_ROUNDING = 1.0  # pixels that a corner may lie outside its image: annotation tools round

Row = Mapping[str, Any]


def write_row(target: Target) -> dict[str, Any]:
    """The columns of one target.

    Example:
        >>> row = write_row(Target(((0, 0, 50, 50),), ("cat",), ("cat", "dog"), Frame(100, 80, 112, 84)))
        >>> row["solution"], row["categories"], row["model_width"]
        ('[["cat", [0, 0, 50, 50]]]', ['cat', 'dog'], 112)
    """
    pairs = zip(target.labels, target.boxes, strict=True)
    return {
        "solution": json.dumps([[label, list(box)] for label, box in pairs], ensure_ascii=False),
        **_sizes(target.frame),
        "categories": list(target.categories),
        "segmentations": json.dumps(target.segmentations, default=bytes.decode),
    }


def write_rows(targets: Sequence[Target]) -> dict[str, list[Any]]:
    """The columns of N targets, each a list of N values."""
    rows = [write_row(target) for target in targets]
    return {name: [row[name] for row in rows] for name in (*_NEEDED, "categories", "segmentations")}


def read_row(row: Row, where: str = "the row") -> Target:
    """The target of one row; what else the row holds does not matter.

    Args:
        row: column -> value.
        where: what an error calls the row.

    Raises:
        DataError: a column is missing or its value is not what it should be.

    Example:
        >>> sizes = {"width": 40, "height": 60, "model_width": 56, "model_height": 56}
        >>> read_row({"solution": '[["cat", [0, 9, 40, 60]]]', **sizes}).boxes
        ((0, 9, 40, 60),)
        >>> read_row({"solution": '[["cat", [40, 60]]]', **sizes}, "row 3")
        Traceback (most recent call last):
        vision_r1_data.errors.DataError: row 3: solution[0] has the box [40, 60]; expected [x1, y1, x2, y2]
    """
    for name in _NEEDED:
        if row.get(name) is None:
            raise DataError(f"{where}: has no {name}; {_hint(name)}")
    for name in _SIZES:
        if not isinstance(row[name], Integral) or row[name] <= 0:
            raise DataError(f"{where}: {name} must be a whole number of pixels above 0, got {row[name]!r}")
    frame = Frame(*(int(row[name]) for name in _SIZES))
    objects = [
        (label, box)
        for number, item in enumerate(_list(row, "solution", where))
        for label, box in _item(item, frame, f"{where}: solution[{number}]")
    ]
    labels = tuple(label for label, _ in objects)
    categories = _categories(row, labels, where)
    masks = () if row.get("segmentations") is None else tuple(_list(row, "segmentations", where))
    try:
        return Target(
            boxes=tuple(box for _, box in objects),
            labels=labels,
            categories=categories,
            frame=frame,
            segmentations=masks,
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def read_rows(columns: Mapping[str, Any]) -> list[Target]:
    """The targets of columns, each with a value for every row, as a data set gives them: `dataset[:]`.

    Args:
        columns: column -> values; columns that are not of the contract do not matter.

    Raises:
        DataError: as `read_row`, or the columns are not of one length.
    """
    for name in _NEEDED:
        if columns.get(name) is None:
            raise DataError(f"the data has no column {name}; {_hint(name)}")
    known = {name: columns[name] for name in (*_NEEDED, *_OPTIONAL) if columns.get(name) is not None}
    lengths = {name: len(values) for name, values in known.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns must be of one length, got {lengths}")
    return [
        read_row({name: values[number] for name, values in known.items()}, f"row {number}")
        for number in range(lengths["solution"])
    ]


def ground_truth(row: Row) -> str:
    """A row's columns as one JSON object, for verl and EasyR1, which hand a reward one ground truth.

    Raises:
        DataError: as `read_row`.

    Example:
        >>> truth = ground_truth({"solution": [["cat", [0, 0, 9, 9]]], "width": 40, "height": 60,
        ...                       "model_width": 56, "model_height": 56, "image": "cat.png"})
        >>> read_ground_truth(truth).labels
        ('cat',)
    """
    return json.dumps(write_row(read_row(row)), ensure_ascii=False)


def read_ground_truth(text: str, where: str = "the ground truth") -> Target:
    """The target that `ground_truth` wrote.

    Raises:
        DataError: it is not JSON of an object, or as `read_row`.
    """
    try:
        row = json.loads(text)
    except (TypeError, ValueError):
        row = None
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be JSON as columns.ground_truth writes it, got {text!r:.80}")
    return read_row(row, where)


def image_columns(
    image: Image.Image,
    image_processor: Any,
    *,
    resize: Callable[[Image.Image], Image.Image] | None = None,
    **options: Any,
) -> dict[str, int]:
    """The four columns of sizes, for `dataset.map`.

    Args:
        image: the original, upright; `datasets` turns images upright as it decodes them.
        image_processor: the model's own, with the limits that training sets: `AutoProcessor.from_pretrained(
            ...).image_processor`, of a Qwen2-VL-like model.
        resize: what the trainer does to an image before the image processor has it.
        options: with which the trainer calls the image processor, such as do_resize=False.
    """
    seen = image_frame(image if resize is None else resize(image), image_processor, **options)
    return _sizes(Frame(image.width, image.height, seen.model_width, seen.model_height))


def _sizes(frame: Frame) -> dict[str, int]:
    return {name: getattr(frame, name) for name in _SIZES}


def _hint(name: str) -> str:
    if name == "solution":
        return f"give it a list of {_FORM} in pixels of the original image"
    return "image_columns gives width, height, model_width and model_height of an image"


def _list(row: Row, name: str, where: str) -> Sequence[Any]:
    value = _parsed(row[name], name, where)
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{where}: {name} must be a list, or JSON of one, got {row[name]!r:.80}")
    return value


def _parsed(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise DataError(f"{where}: {name} is not JSON ({error}), got {value!r:.80}") from error


def _item(item: Any, frame: Frame, where: str) -> list[tuple[str, Box]]:
    match item:
        case [str(label), [*boxes]] if all(isinstance(box, (list, tuple)) for box in boxes):
            return [(label, _box(box, frame, where)) for box in boxes]
        case [str(label), box]:
            return [(label, _box(box, frame, where))]
    raise DataError(f"{where} must be {_FORM}, got {item!r:.80}")


def _box(box: Any, frame: Frame, where: str) -> Box:
    match box:
        case [int() | float() as x1, int() | float() as y1, int() | float() as x2, int() | float() as y2]:
            pass
        case _:
            raise DataError(f"{where} has the box {box!r:.80}; expected [x1, y1, x2, y2]")
    # NaN fails both.
    if not (x1 < x2 and y1 < y2):
        raise DataError(f"{where} has the box {list(box)}, which has no area; x1 < x2 and y1 < y2 must hold")
    if not (min(x1, y1) >= -_ROUNDING and x2 <= frame.width + _ROUNDING and y2 <= frame.height + _ROUNDING):
        raise DataError(
            f"{where} has the box {list(box)}, which does not lie in the image of {frame.width} x "
            f"{frame.height}; boxes are x1, y1, x2, y2 in pixels of the original image"
        )
    if max(x2, y2) <= 1 < min(frame.width, frame.height):
        raise DataError(
            f"{where} has the box {list(box)}, which lies within one pixel; boxes are x1, y1, x2, y2 in "
            "pixels of the original image, not shares of it"
        )
    return (x1, y1, x2, y2)


def _categories(row: Row, labels: tuple[str, ...], where: str) -> tuple[str, ...]:
    if row.get("categories") is not None:
        asked = _list(row, "categories", where)
    elif row.get("target_id_maps") is not None:
        ids = _parsed(row["target_id_maps"], "target_id_maps", where)
        if not isinstance(ids, Mapping):
            raise DataError(f"{where}: target_id_maps must be label -> id, or JSON of it, got {ids!r:.80}")
        asked = [label for label, number in ids.items() if number]  # 0 is the background
    else:
        asked = tuple(dict.fromkeys(labels))
    for label in asked:
        if not isinstance(label, str):
            raise DataError(f"{where}: the labels asked for must be strings, got {label!r}")
    return tuple(asked)
