"""Small stand-ins of the sets that the paper's recipe reads, each in its own format, with leaks planted."""

import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 120, 90
NAMES = [f"kind {number}" for number in range(20)]
VAL_REFS, TEST_REFS = range(21, 31), range(31, 36)  # COCO images that RefCOCO evaluates on
LOOKALIKES = 4  # Visual Genome pictures that are COCO val pictures under other names


def folders(root: Path) -> list[str]:
    """The settings of the recipe that point at them."""
    return [
        f"folders.{name}={root / name}" for name in ("coco", "odinw", "v3det", "refcoco", "visual_genome")
    ]


def write_standins(root: Path, seed: int = 0) -> None:
    """All of them."""
    rng = random.Random(seed)
    coco = root / "coco"
    train = _coco(rng, coco / "train2017", range(1, 431), hard=lambda n: n % 2 == 0, empty=lambda n: n > 420)
    _write(coco / "annotations" / "instances_train2017.json", train)
    val = _coco(rng, coco / "val2017", range(1001, 1011), hard=lambda n: False)
    _write(coco / "annotations" / "instances_val2017.json", val)
    _refcoco(root, train)
    _odinw(rng, root / "odinw")
    v3det = _coco(
        rng,
        root / "v3det" / "images",
        range(1, 91),
        hard=lambda n: n % 2 == 0,
        many=6,
        names="images/v3_{}.jpg",
    )
    _write(root / "v3det" / "annotations" / "v3det_2023_v1_train.json", v3det)
    _visual_genome(rng, root / "visual_genome", coco / "val2017")


def picture(rng: random.Random, path: Path) -> None:
    """A picture unlike all others: random patches, blown up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = np.frombuffer(rng.randbytes(8 * 8 * 3), np.uint8).reshape(8, 8, 3)
    Image.fromarray(patches).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=90)


def _coco(
    rng, folder: Path, numbers, *, hard, empty=lambda n: False, many: int = 12, names: str = "{:012d}.jpg"
) -> dict[str, Any]:
    images, annotations = [], []
    for number in numbers:
        name = names.format(number)
        picture(rng, folder / Path(name).name)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        count = 0 if empty(number) else rng.randint(many - 1, many + 1) if hard(number) else rng.randint(1, 3)
        annotations += [_annotation(rng, len(annotations) + k, number) for k in range(count)]
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(rng: random.Random, name: int, image: int) -> dict[str, Any]:
    width, height = rng.randint(5, 40), rng.randint(5, 40)
    bbox = [rng.randint(0, WIDTH - width), rng.randint(0, HEIGHT - height), width, height]
    category = rng.randint(1, len(NAMES))
    return {"id": name, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0}


def _refcoco(root: Path, train: dict[str, Any]) -> None:
    """Refs to the first COCO images; these lie in train2014 too, under their older names."""
    images = [image | {"file_name": f"COCO_train2014_{image['file_name']}"} for image in train["images"][:35]]
    for image in images:
        target = root / "coco" / "train2014" / image["file_name"]
        target.parent.mkdir(exist_ok=True)
        shutil.copy(root / "coco" / "train2017" / image["file_name"].removeprefix("COCO_train2014_"), target)
    ids = {image["id"] for image in images}
    annotations = [a for a in train["annotations"] if a["image_id"] in ids]
    for name, file in (("refcoco", "refs(unc).p"), ("refcoco+", "refs(unc).p"), ("refcocog", "refs(umd).p")):
        refs = [
            {
                "ref_id": a["id"],
                "ann_id": a["id"],
                "category_id": a["category_id"],
                "image_id": a["image_id"],
                "file_name": "not read",
                "split": _split(a["image_id"], name),
                "sentences": [
                    {"sent_id": 2 * a["id"] + k, "sent": said, "raw": said, "tokens": said.split()}
                    for k, said in enumerate((f"thing {a['id']}", f"the {a['id']}th"))
                ],
                "sent_ids": [2 * a["id"], 2 * a["id"] + 1],
            }
            for a in annotations
        ]
        (root / "refcoco" / name).mkdir(parents=True)
        (root / "refcoco" / name / file).write_bytes(pickle.dumps(refs, protocol=2))
        _write(
            root / "refcoco" / name / "instances.json", train | {"images": images, "annotations": annotations}
        )


def _split(image: int, name: str) -> str:
    if image in VAL_REFS:
        return "val"
    if image in TEST_REFS:
        return ("testA" if image % 2 else "testB") if name != "refcocog" else "test"
    return "train"


def _odinw(rng: random.Random, root: Path) -> None:
    for name in ("Aquarium", "mushrooms/v1"):
        for split, numbers in (("train", range(1, 111)), ("test", range(1, 6))):
            folder = root / name / split
            content = _coco(
                rng, folder, numbers, hard=lambda n: n % 2 == 0, many=5, names=f"{split}_{{}}.jpg"
            )
            content["categories"][0]["name"] = "CoW"
            _write(folder / "annotations_without_background.json", content)
    # One picture of a test set lies in a train set too.
    shutil.copy(root / "Aquarium/test/test_1.jpg", root / "Aquarium/train/train_2.jpg")


def _visual_genome(rng: random.Random, root: Path, val: Path) -> None:
    sizes, regions = [], []
    for number in range(1, 71):
        folder = "VG_100K" if number % 2 else "VG_100K_2"
        picture(rng, root / folder / f"{number}.jpg")
        coco = VAL_REFS[number - 1] if number <= len(VAL_REFS) else None
        if coco is not None:
            train = root.parent / "coco" / "train2017"
            shutil.copy(train / f"{coco:012d}.jpg", root / folder / f"{number}.jpg")
        url = f"https://cs.stanford.edu/people/rak248/{folder}/{number}.jpg"
        sizes.append({"image_id": number, "url": url, "width": WIDTH, "height": HEIGHT, "coco_id": coco})
        said = [("two of them", 5), ("two of them", 60), ("a lone thing", 30)]
        regions.append({"id": number, "regions": [_region(number, k, *one) for k, one in enumerate(said)]})
    for number, picked in zip(range(11, 11 + LOOKALIKES), sorted(val.glob("*.jpg")), strict=False):
        shutil.copy(picked, next(root.glob(f"*/{number}.jpg")))
    _write(root / "image_data.json", sizes)
    _write(root / "region_descriptions.json", regions)


def _region(image: int, number: int, phrase: str, x: int) -> dict[str, Any]:
    place = {"x": x, "y": 10, "width": 30, "height": 40}
    return {"region_id": image * 10 + number, "image_id": image, "phrase": phrase, **place}


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
