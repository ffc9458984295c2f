"""Drawn scenes: coloured shapes with exact boxes, for tests and the quickstart."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

from vision_r1_data.errors import DataError
from vision_r1_data.frame import Box
from vision_r1_data.sample import Objects

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (235, 200, 40)}
SHAPES = ("circle", "square", "triangle")
LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
SIZE = 112
"""Width and height of a scene in pixels."""


def draw_scene(rng: random.Random, *, max_objects: int = 3) -> tuple[Image.Image, Objects]:
    """Draw 1 to `max_objects` shapes that do not touch, on a light background.

    Args:
        rng: the source of every random choice; the same state draws the same scene.
        max_objects: the most shapes in the scene.

    Returns:
        An RGB image of SIZE x SIZE pixels, and its objects from left to right.

    Example:
        >>> image, objects = draw_scene(random.Random(0))
        >>> image.size, len(objects.boxes) == len(objects.labels)
        ((112, 112), True)
    """
    count = rng.randint(1, max_objects)
    image = Image.new(
        "RGB", (SIZE, SIZE), (rng.randint(225, 255), rng.randint(225, 255), rng.randint(225, 255))
    )
    draw = ImageDraw.Draw(image)
    objects: list[tuple[Box, str]] = []
    for _ in range(100):  # a crowded scene may have no place left; then it holds fewer shapes
        if len(objects) == count:
            break
        box = _random_box(rng)
        if any(_touch(box, other) for other, _ in objects):
            continue
        colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
        _draw_shape(draw, box, shape, _jitter(rng, COLOURS[colour]))
        objects.append((box, f"{colour} {shape}"))
    objects.sort()
    return image, Objects(tuple(box for box, _ in objects), tuple(label for _, label in objects))


def write_scenes(folder: Path, count: int, seed: int, *, max_objects: int = 3) -> Path:
    """Draw scenes into a COCO-format dataset: `images/*.png` and `instances.json`.

    Args:
        folder: made here; must not exist yet.
        count: how many scenes.
        seed: the same seed draws the same scenes; different seeds draw different ones.
        max_objects: the most shapes in a scene.

    Returns:
        The path of `instances.json`, which is written last.

    Raises:
        DataError: the folder exists.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise DataError(f"{folder}: exists already; give a new folder or remove it") from None
    (folder / "images").mkdir()
    rng = random.Random(seed)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(count):
        image, objects = draw_scene(rng, max_objects=max_objects)
        name = f"{number:06d}.png"
        image.save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for (x1, y1, x2, y2), label in zip(objects.boxes, objects.labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes an id of 0 for no match
                    "image_id": number,
                    "category_id": LABELS.index(label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(LABELS, start=1)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _random_box(rng: random.Random) -> Box:
    side = rng.uniform(0.2, 0.5) * SIZE
    aspect = rng.uniform(0.75, 1.33)
    width, height = round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect))
    x, y = rng.randint(0, SIZE - 1 - width), rng.randint(0, SIZE - 1 - height)
    return (float(x), float(y), float(x + width), float(y + height))


def _touch(a: Box, b: Box) -> bool:
    return a[0] <= b[2] + 1 and b[0] <= a[2] + 1 and a[1] <= b[3] + 1 and b[1] <= a[3] + 1


def _jitter(rng: random.Random, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, value + rng.randint(-20, 20))) for value in colour)
    return red, green, blue


def _draw_shape(draw: ImageDraw.ImageDraw, box: Box, shape: str, colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = box
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([((x1 + x2) / 2, y1), (x1, y2), (x2, y2)], fill=colour)
