import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects, Sample
from vision_r1_data.readers import read_vision_r1

SOLUTION = [["cat", [1, 2, 10, 20]], ["dog", [[0, 0, 40, 20], [3.5, 4, 5, 6]]]]
IDS = {"background": 0, "bird": 1, "cat": 2, "dog": 3}
OBJECTS = Objects(
    ((1.0, 2.0, 10.0, 20.0), (0.0, 0.0, 40.0, 20.0), (3.5, 4.0, 5.0, 6.0)), ("cat", "dog", "dog")
)
ROW = {
    "image": "a.png",
    "problem": "Locate every bird, cat and dog.",
    "solution": json.dumps(SOLUTION),
    "width": 40,
    "height": 20,
    "num_instances": "3",
    "target_id_maps": json.dumps(IDS),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    return tmp_path


def write(path: Path, rows: list[Any]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=40)
    return path


def read(path: Path, rows: list[Any], **options: Any) -> list[Sample]:
    return list(read_vision_r1(write(path, rows), **options))


FORMS = pytest.mark.parametrize("name", ["set.jsonl", "set.json", "set.parquet"])


@FORMS
def test_columns_become_a_sample(folder: Path, name: str) -> None:
    (sample,) = read(folder / name, [ROW])
    assert sample.objects == OBJECTS
    assert (sample.query, sample.categories) == (ROW["problem"], ("bird", "cat", "dog"))
    assert (sample.task, sample.source, sample.width, sample.height) == ("detection", name, 40, 20)
    assert (sample.image, sample.image_id) == (folder / "a.png", f"{name}:a.png")
    assert sample.load_image().size == (40, 20)


@FORMS
def test_rows_keep_their_order_and_have_ids_of_their_own(folder: Path, name: str) -> None:
    rows = [ROW | {"problem": str(number)} for number in range(100)]
    samples = read(folder / name, rows, task="rec", source="mine")
    assert [sample.query for sample in samples] == [str(number) for number in range(100)]
    assert len({sample.id for sample in samples}) == 100
    assert {(sample.task, sample.source) for sample in samples} == {("rec", "mine")}


def test_columns_may_be_parsed(folder: Path) -> None:
    (sample,) = read(folder / "set.json", [ROW | {"solution": SOLUTION, "target_id_maps": IDS}])
    assert (sample.objects, sample.categories) == (OBJECTS, ("bird", "cat", "dog"))


def test_ids_may_be_a_struct_of_all_labels(folder: Path) -> None:
    rows = [
        ROW | {"target_id_maps": {"cat": 1, "dog": 2}},
        ROW | {"target_id_maps": {"bird": 1, "sky": 0}, "solution": "[]"},
    ]
    found, negative = read(folder / "set.parquet", rows)
    assert (found.categories, negative.categories) == (("cat", "dog"), ("bird",))
    assert negative.objects == Objects()


@FORMS
def test_without_ids_the_labels_are_asked_for(folder: Path, name: str) -> None:
    row = {key: value for key, value in ROW.items() if key != "target_id_maps"}
    assert read(folder / name, [row])[0].categories == ("cat", "dog")


def test_images_may_lie_elsewhere(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "a.png").rename(folder / "images" / "000000391895.png")
    row = ROW | {"image": "000000391895.png"}
    (sample,) = read(folder / "set.jsonl", [row], images=folder / "images")
    assert (sample.image, sample.image_id) == (folder / "images" / "000000391895.png", "coco:391895")


def test_images_may_be_bytes(folder: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(content, "PNG")
    images = [
        {"bytes": content.getvalue(), "path": "image.png"},
        {"bytes": content.getvalue(), "path": "COCO_train2014_000000391895.jpg"},
        {"bytes": content.getvalue(), "path": None},
        {"bytes": None, "path": "a.png"},
        {"bytes": content.getvalue(), "path": "image.png"},
    ]
    samples = read(folder / "set.parquet", [ROW | {"image": image} for image in images])
    assert [sample.load_image().getpixel((0, 0))[0] for sample in samples] == [255, 255, 255, 0, 255]
    assert samples[1].image_id == "coco:391895"
    assert len({sample.image_id for sample in samples}) == 5
    (sample,) = read(folder / "plain.parquet", [ROW | {"image": content.getvalue()}])
    assert sample.image == content.getvalue()


BAD_ROWS = {
    "no width": ({"width": None}, "bad_record", "Expected `int`, got `null` - at `$.width`"),
    "no height": ({"height": 0}, "bad_record", "Expected `int` >= 1 - at `$.height`"),
    "no problem": ({"problem": None}, "bad_record", "Expected `str`, got `null` - at `$.problem`"),
    "no image": ({"image": None}, "missing_image", "image has neither a path nor bytes"),
    "an image that is not there": ({"image": "b.png"}, "missing_image", "there is no image"),
    "no solution": ({"solution": None}, "bad_record", "solution: Expected `array`, got `null`"),
    "a solution that is not JSON": ({"solution": "cat"}, "bad_record", "solution: JSON is malformed"),
    "a solution that is cut off": (
        {"solution": '[["cat", [1, 2'},
        "bad_record",
        "solution: Input data was trunc",
    ),
    "a solution of nested lists": ({"solution": "[" * 100_000}, "bad_record", "solution: "),
    "a solution that is an object": (
        {"solution": "{}"},
        "bad_record",
        "solution: Expected `array`, got `object`",
    ),
    "ids as a list": ({"target_id_maps": "[]"}, "bad_record", "target_id_maps: Expected `object | null`"),
    "ids of text": (
        {"target_id_maps": '{"cat": "1"}'},
        "bad_record",
        "target_id_maps: Expected `int | null`",
    ),
}


@FORMS
@pytest.mark.parametrize(("change", "kind", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named_or_skipped(folder: Path, name: str, change, kind: str, words: str) -> None:
    path = folder / name
    place = f"{path}:2: " if name == "set.jsonl" else f"{path}[1]: "
    with pytest.raises(DataError) as caught:
        read(path, [ROW, ROW | change, ROW])
    assert str(caught.value).startswith(f"{place}{words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.objects for sample in read(path, [ROW, ROW | change, ROW], faults=faults)] == [OBJECTS] * 2
    assert faults.counts == {kind: 1}


def test_a_row_that_is_not_text(folder: Path) -> None:
    path, faults = write(folder / "set.json", [ROW, ROW | {"problem": "a cat"}]), Faults(skip=True)
    path.write_bytes(path.read_bytes().replace(b"a cat", b"\xff"))
    assert [sample.objects for sample in read_vision_r1(path, faults=faults)] == [OBJECTS]
    assert faults.counts == {"bad_record": 1}


BAD_OBJECTS = {
    "not a pair": (["cat"], "bad_record", "is ['cat'], not [label, [x1, y1, x2, y2]] or"),
    "no label": ([["cat"], [1, 2, 3, 4]], "bad_record", "is [['cat'], "),
    "an empty label": (["", [1, 2, 3, 4]], "bad_record", "is ['', "),
    "an unknown label": (["eel", [1, 2, 3, 4]], "unknown_category", "has the label 'eel', which has no id"),
    "the background": (["background", [1, 2, 3, 4]], "unknown_category", "has the label 'background'"),
    "no box": (["cat", []], "bad_box", "has the box [], which is not an x1, y1, x2, y2 in pixels inside"),
    "a box outside": (["cat", [1, 2, 50, 4]], "bad_box", "has the box [1, 2, 50, 4]"),
    "a box in shares": (["cat", [0.1, 0.2, 0.5, 1]], "bad_box", "has the box [0.1, 0.2, 0.5, 1]"),
    "one of two boxes": (["cat", [[1, 2, 3, 4], [1, 2]]], "bad_box", "has the box [1, 2]"),
}


@pytest.mark.parametrize(("item", "kind", "words"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_a_bad_object_is_named_or_left_out_alone(folder: Path, item: Any, kind: str, words: str) -> None:
    path = folder / "set.jsonl"
    row = ROW | {"solution": json.dumps([*SOLUTION, item])}
    with pytest.raises(DataError) as caught:
        read(path, [row])
    assert str(caught.value).startswith(f"{path}:1: solution[2] {words}")
    faults = Faults(skip=True)
    (sample,) = read(path, [row], faults=faults)
    assert (sample.objects.labels[:3], faults.counts) == (OBJECTS.labels, {kind: 1})


def test_a_box_of_one_pixel_counts_where_it_cannot_be_shares(folder: Path) -> None:
    row = ROW | {"solution": [["cat", [0, 0, 2, 1]], ["cat", [1, 1, 2, 2]]]}
    assert len(read(folder / "set.json", [row])[0].objects) == 2


@pytest.mark.parametrize("missing", ["image", "problem", "solution", "width", "height"])
def test_a_parquet_file_without_a_column_is_refused_at_once(folder: Path, missing: str) -> None:
    row = {key: value for key, value in ROW.items() if key != missing}
    path = write(folder / "set.parquet", [row])
    with pytest.raises(DataError, match=rf"set\.parquet: has no column {missing}; give a file of"):
        read_vision_r1(path)


BAD_FILES = {
    "text as Parquet": ("set.parquet", "cat", "cannot be read as Parquet"),
    "nothing as Parquet": ("set.parquet", "", "cannot be read as Parquet"),
    "an object as JSON": ("set.json", "{}", "is not a file of the Vision-R1-Data columns"),
    "text as JSON": ("set.json", "cat", "is not JSON"),
    "another suffix": ("set.csv", "cat", "ends in none of .jsonl, .json, .parquet; give"),
}


@pytest.mark.parametrize(("name", "text", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_of_another_form_are_refused_at_once(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_vision_r1(folder / name)
    assert str(caught.value).startswith(f"{folder / name}: {words}")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_that_is_damaged_inside(folder: Path) -> None:
    path = write(folder / "set.parquet", [ROW] * 5)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.parquet: cannot be read as Parquet"):
        list(read_vision_r1(path))


def test_files_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: there is no such file"):
        read_vision_r1(folder / "none.jsonl")
    with pytest.raises(DataError, match="pictures: is not a folder"):
        read_vision_r1(write(folder / "set.jsonl", [ROW]), folder / "pictures")
