import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_labelme

CAT = {"label": "cat", "shape_type": "rectangle", "points": [[30, 20], [1.5, 2]], "flags": {}}
DOG = {"label": "dog", "shape_type": "polygon", "points": [[9, 2], [3, 8], [12, 7]], "group_id": None}


def content(*shapes: Any) -> dict[str, Any]:
    return {
        "version": "5.4",
        "imagePath": "a.png",
        "imageData": "AAAA",
        "imageWidth": 40,
        "imageHeight": 20,
        "shapes": list(shapes),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.json").write_text(json.dumps(content(DOG)))
    return tmp_path


def read(folder: Path, made: Any, **options: Any):
    (folder / "a.json").write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    return list(read_labelme(folder, folder, **options))


def test_rectangles_and_polygons_are_objects(folder: Path) -> None:
    sample, other = read(folder, content(CAT, DOG), source="mine")
    assert sample.objects == Objects(((1.5, 2.0, 30.0, 20.0), (3.0, 2.0, 12.0, 8.0)), ("cat", "dog"))
    assert sample.categories == other.categories == ("cat", "dog")
    assert (sample.id, sample.source, sample.image_id) == ("a", "mine", "mine:a.png")
    assert sample.load_image().size == (40, 20)


@pytest.mark.parametrize("name", ["../images/a.png", "..\\images\\a.png", "/home/me/a.png", "C:\\me\\a.png"])
def test_an_ending_of_the_path_is_enough(folder: Path, name: str) -> None:
    assert read(folder, content(CAT) | {"imagePath": name})[0].image == folder / "a.png"


def test_a_file_without_shapes_is_a_negative(folder: Path) -> None:
    negative, _ = read(folder, content(), labels=["cat", "dog"])
    assert (negative.objects, negative.categories) == (Objects(), ("cat", "dog"))


def test_another_shape_is_named_or_left_out_alone(folder: Path) -> None:
    circle = CAT | {"shape_type": "circle"}
    with pytest.raises(DataError, match=r"a\.json: shapes\[0\] is a 'circle', not a rectangle or a polygon"):
        read(folder, content(circle, DOG))
    faults = Faults(skip=True)
    sample, _ = read(folder, content(circle, DOG), faults=faults)
    assert (sample.objects.labels, faults.counts) == (("dog",), {"bad_shape": 1})


BAD = {
    "empty": b"",
    "not JSON": b"cat",
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "a list": [],
    "no path": content() | {"imagePath": None},
    "no width": content() | {"imageWidth": None},
    "a width of nothing": content() | {"imageWidth": 0},
    "a width of text": content() | {"imageWidth": "40"},
    "an endless width": json.dumps(content()).replace("40", "1e999").encode(),
    "a huge height": json.dumps(content()).replace("20", "9" * 5000).encode(),
    "no shapes": content() | {"shapes": None},
    "no label": content(CAT | {"label": None}),
    "no points": content(CAT | {"points": []}),
    "points of three": content(CAT | {"points": [[1, 2, 3], [4, 5, 6]]}),
    "a point of text": content(CAT | {"points": [[1, "2"], [3, 4]]}),
    "an endless point": content(CAT | {"points": [[1, 2], [3, 10**400]]}),
    "points that are none": content(CAT | {"points": 5}),
    "not a number": content(CAT | {"points": [[1, 2], [3, float("nan")]]}),
}


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
def test_a_damaged_file_is_named_or_skipped(folder: Path, made: Any) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, made)
    assert str(caught.value).startswith(f"{folder / 'a.json'}: is not LabelMe with imagePath, imageWidth")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, made, faults=faults)] == ["b"]
    assert faults.counts == {"bad_file": 1}


def test_a_point_is_no_box(folder: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json has the box \(1\.0, 2\.0, 1\.0, 2\.0\)"):
        read(folder, content(CAT | {"points": [[1, 2]]}))


def test_folders_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match="none: is not a folder"):
        read_labelme(folder / "none", folder)
    with pytest.raises(DataError, match="none: is not a folder"):
        read_labelme(folder, folder / "none")
