import json
from pathlib import Path

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults
from vision_r1_data.readers import read_odinw


def write_set(folder: Path, label: str, *, file: str = "annotations_without_background.json") -> None:
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(folder / "a.jpg")
    content = {
        "images": [{"id": 0, "file_name": "a.jpg", "width": 40, "height": 20}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 8]}],
        "categories": [{"id": 1, "name": label}],
    }
    (folder / file).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path / "pothole" / "train", "pothole")
    write_set(tmp_path / "Aquarium" / "raw 1024.coco" / "train", "fish")
    write_set(tmp_path / "Aquarium" / "raw 1024.coco" / "test", "ray")
    write_set(tmp_path / "Raccoon" / "train", "raccoon", file="_annotations.coco.json")
    return tmp_path


def test_every_set_asks_for_its_own_categories(folder: Path) -> None:
    samples = list(read_odinw(folder, task="grounding"))
    assert [(sample.id, sample.categories) for sample in samples] == [
        ("Aquarium/raw 1024.coco/0", ("fish",)),
        ("Raccoon/0", ("raccoon",)),
        ("pothole/0", ("pothole",)),
    ]
    assert {(sample.source, sample.task) for sample in samples} == {("odinw", "grounding")}
    assert len({sample.image_id for sample in samples}) == 3
    assert samples[0].objects.boxes == ((1.0, 2.0, 11.0, 10.0),)


def test_some_sets_and_another_split(folder: Path) -> None:
    assert [sample.categories for sample in read_odinw(folder, sets=["pothole"])] == [("pothole",)]
    assert [sample.categories for sample in read_odinw(folder, split="test")] == [("ray",)]


def test_what_is_missing_is_said(folder: Path) -> None:
    with pytest.raises(DataError, match=r"holds no set with valid/annotations_without_background\.json"):
        read_odinw(folder, split="valid")
    with pytest.raises(DataError, match="Cars: there is no such set; give names of folders that are there"):
        read_odinw(folder, sets=["Cars"])
    with pytest.raises(DataError, match="nowhere: is not a folder"):
        read_odinw(folder / "nowhere")


def test_a_malformed_set(folder: Path) -> None:
    path = folder / "pothole" / "train" / "annotations_without_background.json"
    path.write_text(path.read_text().replace("[1, 2, 10, 8]", "[1, 2, 10]"))
    with pytest.raises(DataError, match="annotation 0 has bbox"):
        list(read_odinw(folder))
    faults = Faults(skip=True)
    assert [len(sample.objects) for sample in read_odinw(folder, faults=faults)] == [1, 1, 0]
    assert faults.counts == {"bad_box": 1}
    path.write_text("{")
    with pytest.raises(DataError, match=r"pothole/train/annotations_without_background\.json: is not JSON"):
        list(read_odinw(folder, faults=Faults(skip=True)))
