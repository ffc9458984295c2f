"""Photographs that scikit-image ships, with boxes placed by hand, as a COCO-format set."""

import importlib.util
import json
import shutil
from pathlib import Path

# x1, y1, x2, y2 in pixels
OBJECTS = {
    "astronaut.png": [
        ("person", (20, 14, 366, 512)),
        ("helmet", (283, 343, 512, 512)),
        ("space shuttle", (349, 0, 463, 287)),
    ],
    "chelsea.png": [("cat", (0, 0, 396, 300))],
    "coffee.png": [
        ("cup", (171, 16, 410, 309)),
        ("spoon", (318, 65, 425, 326)),
        ("saucer", (76, 62, 480, 388)),
    ],
    "motorcycle_left.png": [("motorcycle", (93, 15, 684, 454))],
    "rocket.jpg": [("rocket", (309, 125, 335, 408))],
}
SIZES = {
    "astronaut.png": (512, 512),
    "chelsea.png": (451, 300),
    "coffee.png": (600, 400),
    "motorcycle_left.png": (741, 500),
    "rocket.jpg": (640, 427),
}


def content():
    """The annotation file as Python values."""
    names = sorted({label for objects in OBJECTS.values() for label, _ in objects})
    images = [
        {"id": number, "file_name": name, "width": SIZES[name][0], "height": SIZES[name][1]}
        for number, name in enumerate(OBJECTS, start=1)
    ]
    annotations = [
        {
            "image_id": image["id"],
            "category_id": names.index(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for image in images
        for label, (x1, y1, x2, y2) in OBJECTS[image["file_name"]]
    ]
    return {
        "images": images,
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }


def write_photographs(folder):
    """Copy the photographs into `folder/images` and return the path of `folder/instances.json`."""
    package = importlib.util.find_spec("skimage")
    assert package is not None, "the tests need scikit-image for its photographs"
    assert package.origin is not None
    (folder / "images").mkdir(parents=True)
    for name in OBJECTS:
        shutil.copy(Path(package.origin).parent / "data" / name, folder / "images" / name)
    path = folder / "instances.json"
    path.write_text(json.dumps(content()))
    return path
