import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects, read_coco


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 40, "height": 20},
            {"id": 3, "file_name": "a.png", "width": 30, "height": 60},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 10, 8.5], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 20], "iscrowd": 1},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "b.png")
    Image.new("RGB", (30, 60)).save(tmp_path / "images" / "a.png")
    return tmp_path


def read(folder: Path, content: Any, **options: Any):
    (folder / "set.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return list(read_coco(folder / "set.json", folder / "images", **options))


def test_boxes_labels_and_crowd_flags(folder: Path, content) -> None:
    sample, _ = read(folder, content)
    boxes = ((1.0, 2.0, 11.0, 10.5), (0.0, 0.0, 40.0, 20.0))
    assert sample.objects == Objects(boxes, ("cat", "dog"), (False, True))
    assert (sample.id, sample.width, sample.height, sample.task) == ("7", 40, 20, "detection")
    assert sample.source == "set.json"
    assert sample.load_image().size == (40, 20)


POLYGON, RUNS = [[1, 2, 11, 2, 11, 10]], {"size": [20, 40], "counts": [100, 700]}


def test_masks_are_kept_on_demand(folder: Path, content) -> None:
    content["annotations"][0]["segmentation"] = POLYGON
    content["annotations"].append({"id": 3, "image_id": 7, "category_id": 5, "bbox": [2, 2, 4, 4]})
    content["annotations"].append(
        {"id": 4, "image_id": 7, "category_id": 5, "bbox": [2, 2, 9, 9], "segmentation": RUNS}
    )
    assert read(folder, content)[0].objects.segmentations == ()
    sample, negative = read(folder, content, masks=True, task="segmentation")
    assert sample.objects.segmentations == (POLYGON, None, None, RUNS)
    assert sample.objects.without_crowd().segmentations == (POLYGON, None, RUNS)
    assert sample.task == negative.task == "segmentation"
    assert negative.objects == Objects()


@pytest.mark.parametrize(
    "segmentation",
    [
        "cat",
        7,
        [1, 2, 3, 4, 5, 6],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "6"]],
        [[1, 2, 3, 4, 5, 1e300]],
        {"size": [40, 20], "counts": [800]},
        {"size": [20, 40], "counts": [799]},
        {"size": [20, 40], "counts": [-1, 801]},
        {"size": [20, 40]},
    ],
)
def test_a_mask_that_is_none(folder: Path, content, segmentation: Any) -> None:
    content["annotations"][0]["segmentation"] = segmentation
    read(folder, content)  # nobody asked for masks
    with pytest.raises(DataError, match="annotation 1 has a segmentation that is neither polygons of 3"):
        read(folder, content, masks=True)
    faults = Faults(skip=True)
    sample, _ = read(folder, content, masks=True, faults=faults)
    assert faults.counts == {"bad_mask": 1}
    assert sample.objects.labels == ("dog",)


def test_a_name_that_two_categories_have_is_asked_for_once(folder: Path, content) -> None:
    content["categories"].append({"id": 9, "name": "cat"})
    assert read(folder, content)[0].categories == ("cat", "dog")


@pytest.mark.parametrize("width", [0, -1, 10**400])
def test_an_image_of_no_possible_size_is_named_or_skipped(folder: Path, content, width: int) -> None:
    content["images"][1]["width"] = width
    with pytest.raises(DataError, match=r"images\[1\] is .*x60 pixels; correct it"):
        read(folder, content)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, content, faults=faults)] == ["7"]
    assert faults.counts == {"bad_record": 1}


def test_images_without_objects_are_negatives(folder: Path, content) -> None:
    _, sample = read(folder, content)
    assert sample.objects == Objects()
    assert sample.categories == ("cat", "dog")


def test_a_set_without_annotations_is_all_negatives(folder: Path, content) -> None:
    samples = read(folder, content | {"annotations": []})
    assert [len(sample.objects) for sample in samples] == [0, 0]


def test_paths_may_be_strings_and_ids_text(folder: Path, content) -> None:
    content["images"][1]["id"] = "left"
    content["annotations"][0]["image_id"] = "left"
    read(folder, content)
    _, sample = read_coco(str(folder / "set.json"), str(folder / "images"))
    assert (sample.id, len(sample.objects)) == ("left", 1)


@pytest.mark.parametrize(
    ("bbox", "box"),
    [
        ([-1, -0.5, 10, 10], (0.0, 0.0, 9.0, 9.5)),
        ([30, 10, 11, 11], (30.0, 10.0, 40.0, 20.0)),
        ([39.5, 19.5, 0.5, 0.5], (39.5, 19.5, 40.0, 20.0)),
    ],
)
def test_rounding_of_one_pixel_is_clipped(folder: Path, content, bbox, box) -> None:
    content["annotations"][0]["bbox"] = bbox
    assert read(folder, content)[0].objects.boxes[0] == box


BAD_BOXES = {
    "beyond the right": [30, 10, 11.5, 5],
    "beyond the bottom": [30, 10, 5, 11.5],
    "beyond the left": [-1.5, 0, 5, 5],
    "beyond the top": [0, -1.5, 5, 5],
    "beside the image": [100, 100, 5, 5],
    "no width": [5, 5, 0, 5],
    "no height": [5, 5, 5, 0],
    "negative width": [5, 5, -2, 5],
    "no area inside": [-1, 0, 1, 5],
    "three numbers": [1, 2, 3],
    "five numbers": [1, 2, 3, 4, 5],
    "text": ["1", "2", "3", "4"],
    "flags": [True, True, True, True],
    "nothing": None,
    "huge": [0, 0, 1e300, 5],
    "hugely negative": [0, -1e300, 5, 5],
    "beyond floats": [10**400, 0, 5.5, 5],
}


@pytest.mark.parametrize("bbox", BAD_BOXES.values(), ids=BAD_BOXES)
def test_a_bad_box_is_named_or_skipped(folder: Path, content, bbox) -> None:
    content["annotations"][0]["bbox"] = bbox
    with pytest.raises(DataError) as caught:
        read(folder, content)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'set.json'}: annotation 1 has bbox ")
    assert "inside image 7 (40x20); correct it, or skip what is bad" in line
    faults = Faults(skip=True)
    sample, _ = read(folder, content, faults=faults)
    assert (faults.counts, faults.told) == ({"bad_box": 1}, [line.split(", or skip")[0]])
    assert sample.objects.labels == ("dog",)


def test_a_category_that_lost_an_object_is_not_exhaustive(folder: Path, content) -> None:
    content["annotations"][0]["bbox"] = [30, 10, 99, 99]
    sample, other = read(folder, content, faults=Faults(skip=True))
    assert (sample.not_exhaustive, other.not_exhaustive) == (("cat",), ())


def test_boxes_that_stick_out_are_clipped_on_demand(folder: Path, content) -> None:
    content["annotations"][0]["bbox"] = [30, 10, 99, 99]
    sample, _ = read(folder, content, clip=True)
    assert sample.objects.boxes[0] == (30.0, 10.0, 40.0, 20.0)
    assert sample.not_exhaustive == ()
    content["annotations"][0]["bbox"] = [50, 10, 99, 99]
    with pytest.raises(DataError, match="annotation 1 has bbox"):
        read(folder, content, clip=True)


def test_skipping_counts_all_bad_boxes(folder: Path, content) -> None:
    for annotation in content["annotations"]:
        annotation["bbox"] = [0, 0, 99, 99]
    faults = Faults(skip=True)
    sample, _ = read(folder, content, faults=faults)
    assert faults.counts["bad_box"] == 2
    assert sample.objects == Objects()


def without(key: str, *, of: str = ""):
    def change(content: dict[str, Any]) -> None:
        del (content[of][0] if of else content)[key]

    return change


def setting(value: Any, key: str, *, of: str = ""):
    def change(content: dict[str, Any]) -> None:
        (content[of][0] if of else content)[key] = value

    return change


BAD_CONTENT = {
    "no images key": (
        without("images"),
        "is not a COCO annotation file (Object missing required field `images`)",
    ),
    "empty images": (setting([], "images"), "has no images; a COCO annotation file lists them"),
    "images not a list": (
        setting({"a": 1}, "images"),
        "is not a COCO annotation file (Expected `array`, got `object`",
    ),
    "no annotations key": (without("annotations"), "missing required field `annotations`"),
    "no categories key": (without("categories"), "missing required field `categories`"),
    "empty categories": (setting([], "categories"), "has no categories"),
    "image not an object": (setting([5], "images"), "images[0]: Expected `object`, got `int`; correct it"),
    "image without a file": (
        without("file_name", of="images"),
        "images[0]: Object missing required field `file_name`",
    ),
    "image without a width": (
        without("width", of="images"),
        "images[0]: Object missing required field `width`",
    ),
    "image of text width": (
        setting("40", "width", of="images"),
        "images[0]: Expected `int`, got `str` - at `$.width`",
    ),
    "image of a number as file": (
        setting(5, "file_name", of="images"),
        "Expected `str`, got `int` - at `$.file_name`",
    ),
    "image of a list as id": (
        setting([7], "id", of="images"),
        "Expected `int | str`, got `array` - at `$.id`",
    ),
    "image twice": (setting(3, "id", of="images"), "images[1] repeats the id 3; give every entry its own"),
    "category twice": (setting(2, "id", of="categories"), "categories[1] repeats the id 2"),
    "category without a name": (
        without("name", of="categories"),
        "categories[0]: Object missing required field `name`",
    ),
    "annotation without a box": (
        without("bbox", of="annotations"),
        "annotations[0]: Object missing required field `bbox`",
    ),
    "annotation of a list as image": (
        setting([7], "image_id", of="annotations"),
        "annotations[0]: Expected `int | str`, got `array`",
    ),
    "unknown image": (setting(8, "image_id", of="annotations"), "annotations[0] names image 8, which is not"),
    "unknown category": (setting(9, "category_id", of="annotations"), "annotation 1 names category 9, which"),
    "file not there": (
        setting("none.png", "file_name", of="images"),
        "images[0]: there is no image",
    ),
    "folder as file": (setting("..", "file_name", of="images"), "images[0]: there is no image"),
}


@pytest.mark.parametrize(("change", "words"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_bad_content_is_one_line_that_says_where(folder: Path, content, change, words: str) -> None:
    change(content)
    with pytest.raises(DataError) as caught:
        read(folder, content)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'set.json'}: ")
    assert words in line
    assert "\n" not in line


BAD_FILES = {
    "empty": ("", "is not JSON"),
    "cut off": ('{"images": [', "is not JSON"),
    "not text": (b"\xff\xfe\x00", "is not JSON"),
    "deep": ('{"images": ' + "[" * 100_000, "is not JSON"),
    "not a number": ('{"images": [{"width": NaN}]}', "is not JSON"),
    "a list": ("[]", "is not a COCO annotation file (Expected `object`, got `array`)"),
    "null": ("null", "is not a COCO annotation file (Expected `object`, got `null`)"),
}


@pytest.mark.parametrize(("text", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_are_not_coco(folder: Path, text: str | bytes, words: str) -> None:
    path = folder / "set.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_coco(path, folder / "images")
    line = str(caught.value)
    assert line.startswith(f"{path}: {words}")
    assert "\n" not in line


def test_a_file_that_is_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: there is no such file; give the path of"):
        read_coco(folder / "none.json", folder / "images")


def test_a_folder_in_place_of_the_file(folder: Path) -> None:
    with pytest.raises(DataError, match=r"images: cannot be read .* give a COCO annotation file"):
        read_coco(folder / "images", folder / "images")


def test_a_folder_of_images_that_is_missing(folder: Path, content) -> None:
    (folder / "set.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="pictures: is not a folder; give the folder that holds the images"):
        read_coco(folder / "set.json", folder / "pictures")


def test_a_wrong_size_shows_when_the_image_is_loaded(folder: Path, content) -> None:
    content["images"][1] |= {"width": 60, "height": 30}
    _, sample = read(folder, content)
    with pytest.raises(
        DataError, match=r"a\.png: is 30x60 pixels but its annotation says 60x30; .* set\.json"
    ):
        sample.load_image()
