import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_lvis

URL = "http://images.cocodataset.org/train2017/000000391895.jpg"


@pytest.fixture
def content() -> dict[str, Any]:
    categories = ["aerosol_can", "bow_(weapon)", "cat", "dog", "eel"]
    return {
        "images": [
            {
                "id": 391895,
                "coco_url": URL,
                "width": 40,
                "height": 20,
                "neg_category_ids": [5, 1],
                "not_exhaustive_category_ids": [2],
            }
        ],
        "annotations": [
            {"id": 1, "image_id": 391895, "category_id": 4, "bbox": [1, 2, 10, 8], "area": 80.0},
            {"id": 2, "image_id": 391895, "category_id": 2, "bbox": [3, 4, 5, 6], "area": 30.0},
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "train2017" / "000000391895.jpg")
    return tmp_path


def read(folder: Path, content: Any, images: str = ".", **options: Any):
    (folder / "set.json").write_text(json.dumps(content))
    return list(read_lvis(folder / "set.json", folder / images, **options))


def test_a_sample_asks_for_what_is_known_of_its_image(folder: Path, content) -> None:
    (sample,) = read(folder, content)
    assert sample.categories == ("aerosol can", "bow (weapon)", "dog", "eel")
    assert sample.not_exhaustive == ("bow (weapon)",)
    boxes = ((1.0, 2.0, 11.0, 10.0), (3.0, 4.0, 8.0, 10.0))
    assert sample.objects == Objects(boxes, ("dog", "bow (weapon)"))
    assert (sample.id, sample.image_id, sample.source) == ("391895", "coco:391895", "set.json")
    assert sample.load_image().size == (40, 20)


def test_a_category_without_objects_is_not_known_if_it_is_not_exhaustive(folder: Path, content) -> None:
    del content["annotations"][1]
    (sample,) = read(folder, content)
    assert sample.categories == ("aerosol can", "dog", "eel")
    assert sample.not_exhaustive == ()


def test_an_image_of_which_nothing_is_annotated_is_a_negative(folder: Path, content) -> None:
    (sample,) = read(folder, content | {"annotations": []})
    assert (sample.objects, sample.categories) == (Objects(), ("aerosol can", "eel"))


@pytest.mark.parametrize("images", [".", "train2017"])
def test_images_lie_in_the_folder_of_their_split_or_without_it(folder: Path, content, images: str) -> None:
    assert read(folder, content, images)[0].image.name == "000000391895.jpg"


def test_a_file_name_serves_where_there_is_no_url(folder: Path, content) -> None:
    del content["images"][0]["coco_url"]
    content["images"][0]["file_name"] = "train2017/000000391895.jpg"
    assert len(read(folder, content)) == 1


def test_masks_and_another_task(folder: Path, content) -> None:
    content["annotations"][0]["segmentation"] = [[1, 2, 11, 2, 11, 10]]
    (sample,) = read(folder, content, masks=True, task="segmentation", source="mine")
    assert sample.objects.segmentations == ([[1, 2, 11, 2, 11, 10]], None)
    assert (sample.task, sample.source) == ("segmentation", "mine")


BAD = {
    "no name": (
        {"coco_url": ""},
        "bad_record",
        "images[0] names no image; give it a coco_url or a file_name",
    ),
    "no image": (
        {"coco_url": URL.replace("391895", "391896")},
        "missing_image",
        "images[0]: there is no image",
    ),
    "unknown negative": (
        {"neg_category_ids": [1, 77]},
        "unknown_category",
        "images[0]: neg_category_ids names category 77, which is not under 'categories'",
    ),
    "unknown not exhaustive": (
        {"not_exhaustive_category_ids": [2, 77]},
        "unknown_category",
        "images[0]: not_exhaustive_category_ids names category 77",
    ),
    "negatives not a list": ({"neg_category_ids": 5}, "bad_record", "images[0]: Expected `array`, got `int`"),
}


@pytest.mark.parametrize(("change", "kind", "words"), BAD.values(), ids=BAD)
def test_a_bad_image_is_named_or_skipped(folder: Path, content, change, kind: str, words: str) -> None:
    content["images"][0] |= change
    content["images"].append(
        content["images"][0] | {"id": 2, "coco_url": URL} | {k: [] for k in change if "ids" in k}
    )
    content["annotations"] = []
    with pytest.raises(DataError) as caught:
        read(folder, content)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'set.json'}: {words}")
    assert "\n" not in line
    faults = Faults(skip=True)
    assert read(folder, content, faults=faults)[-1].id == "2"
    assert faults.counts == {kind: 1}


def test_files_are_looked_for_at_once(folder: Path, content) -> None:
    with pytest.raises(DataError, match=r"none\.json: there is no such file"):
        read_lvis(folder / "none.json", folder)
    (folder / "set.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="pictures: is not a folder"):
        read_lvis(folder / "set.json", folder / "pictures")
