import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults
from vision_r1_data.readers import read_objects365

NAME = "images/v1/patch8/objects365_v1_00420917.jpg"


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "images": [{"id": 420917, "file_name": NAME, "width": 40, "height": 20, "url": ""}],
        "annotations": [
            {
                "id": 1,
                "image_id": 420917,
                "category_id": 2,
                "bbox": [30.5, 2, 25, 10],
                "iscrowd": 1,
                "isfake": 0,
            },
            {"id": 2, "image_id": 420917, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "isfake": 0},
        ],
        "categories": [{"id": 1, "name": "Person"}, {"id": 2, "name": "Sneakers"}, {"id": 3, "name": "Hat"}],
    }


def read(folder: Path, content: Any, there: str = NAME, **options: Any):
    image = folder / there
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(image)
    (folder / "set.json").write_text(json.dumps(content))
    return list(read_objects365(folder / "set.json", folder, **options))


@pytest.mark.parametrize("there", [NAME, "v1/patch8/" + NAME[-26:], "patch8/" + NAME[-26:], NAME[-26:]])
def test_images_lie_under_their_name_or_an_ending_of_it(tmp_path: Path, content, there: str) -> None:
    (sample,) = read(tmp_path, content, there)
    assert sample.image == tmp_path / there
    assert sample.image_id == "objects365:v1_00420917"
    assert sample.categories == ("Person", "Sneakers", "Hat")
    assert sample.objects.crowd == (True, False)


def test_boxes_are_clipped_to_their_image(tmp_path: Path, content) -> None:
    (sample,) = read(tmp_path, content)
    assert sample.objects.boxes == ((30.5, 2.0, 40.0, 12.0), (1.0, 2.0, 4.0, 6.0))


def test_a_box_that_sticks_out_is_bad_where_it_is_not_clipped(tmp_path: Path, content) -> None:
    with pytest.raises(DataError, match=r"annotation 1 has bbox .* inside image 420917"):
        read(tmp_path, content, clip=False)


def test_a_box_without_area_in_its_image_is_named_or_skipped(tmp_path: Path, content) -> None:
    content["annotations"][0]["bbox"] = [40, 2, 25, 10]
    with pytest.raises(DataError, match="annotation 1 has bbox") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    (sample,) = read(tmp_path, content, faults=faults)
    assert (sample.objects.labels, faults.counts) == (("Person",), {"bad_box": 1})


def test_a_missing_image_is_called_by_its_name_in_the_file(tmp_path: Path, content) -> None:
    content["images"][0]["file_name"] = NAME.replace("917", "918")
    with pytest.raises(
        DataError, match=r"images\[0\]: there is no image .*images/v1/patch8/objects365_v1_00420918"
    ):
        read(tmp_path, content)
