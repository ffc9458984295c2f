import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_odvg

DOG = {"bbox": [1, 2, 10, 20], "label": 2, "category": "dog"}
CAT = {"bbox": [0.5, 2.25, 40, 18], "label": 0, "category": "cat"}
BUS = {"bbox": [1, 2, 3, 4], "phrase": "a red bus", "tokens_positive": [[0, 9]]}
MEN = {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "phrase": ["two men", "in hats"], "tokens_positive": []}


def detection(*instances: Any) -> dict[str, Any]:
    return {"filename": "a.png", "height": 20, "width": 40, "detection": {"instances": list(instances)}}


def grounding(*regions: Any) -> dict[str, Any]:
    grounded = {"caption": "a red bus and ...", "regions": list(regions)}
    return {"filename": "a.png", "height": 20, "width": 40, "grounding": grounded}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    (tmp_path / "map.json").write_text('{"0": "cat", "1": "bird", "2": "dog"}')
    return tmp_path


def read(folder: Path, *content: Any, **options: Any):
    (folder / "set.jsonl").write_text("\n".join(map(json.dumps, content)))
    return list(read_odvg(folder / "set.jsonl", folder, **options))


def test_detection_asks_for_all_of_the_label_map(folder: Path) -> None:
    found, negative = read(folder, detection(DOG, CAT), detection(), label_map=folder / "map.json")
    boxes = ((1.0, 2.0, 10.0, 20.0), (0.5, 2.25, 40.0, 18.0))
    assert found.objects == Objects(boxes, ("dog", "cat"))
    assert found.categories == negative.categories == ("cat", "bird", "dog")
    assert (found.id, found.task, found.query, found.source) == ("1", "detection", "", "set.jsonl")
    assert (found.image_id, found.load_image().size) == ("set.jsonl:a.png", (40, 20))
    assert negative.objects == Objects()


def test_detection_without_a_label_map_asks_for_the_categories_of_the_line(folder: Path) -> None:
    (sample,) = read(folder, detection(DOG, CAT, DOG), source="mine")
    assert (sample.categories, sample.source) == (("dog", "cat"), "mine")


def test_the_label_map_is_believed(folder: Path) -> None:
    (sample,) = read(
        folder, detection({"bbox": [1, 2, 3, 4], "label": 1}), label_map=str(folder / "map.json")
    )
    assert sample.objects.labels == ("bird",)
    (sample,) = read(folder, detection(DOG | {"label": 0}), label_map=folder / "map.json")
    assert sample.objects.labels == ("cat",)


def test_grounding_asks_for_phrases_and_has_an_object_per_box(folder: Path) -> None:
    lines = detection(DOG), grounding(MEN, BUS, BUS | {"bbox": [9, 9, 12, 12]})
    _, sample = read(folder, *lines)
    assert (sample.id, sample.task, sample.query) == ("2", "grounding", "")
    assert sample.categories == ("two men in hats", "a red bus")
    assert sample.objects.labels == ("two men in hats", "two men in hats", "a red bus", "a red bus")
    assert sample.objects.boxes[1:] == ((5.0, 6.0, 7.0, 8.0), (1.0, 2.0, 3.0, 4.0), (9.0, 9.0, 12.0, 12.0))


def test_phrases_do_not_need_the_label_map(folder: Path) -> None:
    (sample,) = read(folder, grounding(BUS), label_map=folder / "map.json")
    assert sample.categories == ("a red bus",)


def test_boxes_may_be_clipped(folder: Path) -> None:
    (sample,) = read(folder, detection(DOG | {"bbox": [-5, 2, 99, 10]}), clip=True)
    assert sample.objects.boxes == ((0.0, 2.0, 40.0, 10.0),)


BAD = {
    "neither": (
        {"filename": "a.png", "height": 20, "width": 40},
        "bad_record",
        ": has not one of detection and",
    ),
    "both": (detection(DOG) | grounding(BUS), "bad_record", ": has not one of detection and grounding"),
    "not an object": ([], "bad_record", ": Expected `object`, got `array`"),
    "no width": (detection(DOG) | {"width": 0}, "bad_record", ": Expected `int` >= 1 - at `$.width`"),
    "no file name": (detection(DOG) | {"filename": None}, "bad_record", ": Expected `str`, got `null`"),
    "no image": (detection(DOG) | {"filename": "b.png"}, "missing_image", ": there is no image"),
    "nothing asked": (detection(), "no_categories", ": asks for nothing; add objects or give a label map"),
    "no regions": (grounding(), "no_categories", ": asks for nothing"),
    "instances not a list": (
        detection() | {"detection": {"instances": 5}},
        "bad_record",
        ": Expected `array`, got `int` - at `$.detection.instances`",
    ),
}


@pytest.mark.parametrize(("line", "kind", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_skipped(folder: Path, line: Any, kind: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, detection(CAT), line)
    assert str(caught.value).startswith(f"{folder / 'set.jsonl'}:2{words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, detection(CAT), line, detection(DOG), faults=faults)] == [
        "1",
        "3",
    ]
    assert faults.counts == {kind: 1}


BAD_PARTS = {
    "box outside": (
        detection(CAT, DOG | {"bbox": [30, 2, 50, 9]}),
        "bad_box",
        "instances[1] has bbox [30, 2, 50, 9]",
    ),
    "box swapped": (
        detection(CAT, DOG | {"bbox": [9, 2, 3, 9]}),
        "bad_box",
        "instances[1] has bbox [9, 2, 3, 9]",
    ),
    "box of text": (detection(CAT, DOG | {"bbox": "1234"}), "bad_box", "instances[1] has bbox '1234'"),
    "instance without a box": (
        detection(CAT, {"label": 2}),
        "bad_record",
        "instances[1]: Object missing required",
    ),
    "no category": (
        detection(CAT, {"bbox": [1, 2, 3, 4], "label": 2}),
        "unknown_category",
        "instances[1] has no category; add it, or give a label map",
    ),
    "second box of a region": (
        grounding(BUS, MEN | {"bbox": [[1, 2, 3, 4], [5, 6]]}),
        "bad_box",
        "regions[1] has bbox [5, 6], which is not an x1, y1, x2, y2 inside its image (40x20)",
    ),
    "region without boxes": (grounding(BUS, MEN | {"bbox": []}), "bad_box", "regions[1] has bbox []"),
    "empty phrase": (grounding(BUS, MEN | {"phrase": []}), "bad_record", "regions[1] has no phrase"),
    "phrase a number": (
        grounding(BUS, MEN | {"phrase": 5}),
        "bad_record",
        "regions[1]: Expected `str | array`",
    ),
}


@pytest.mark.parametrize(("line", "kind", "words"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_a_bad_object_is_named_or_left_out_alone(folder: Path, line: Any, kind: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, line)
    assert str(caught.value).startswith(f"{folder / 'set.jsonl'}:1: {words}")
    faults = Faults(skip=True)
    (sample,) = read(folder, line, faults=faults)
    assert faults.counts == {kind: 1}
    assert sample.objects.labels[0] in ("cat", "a red bus")
    assert set(sample.categories) == set(sample.objects.labels)


def test_a_label_that_is_not_in_the_map(folder: Path) -> None:
    options = {"label_map": folder / "map.json"}
    for bad in (DOG | {"label": 9}, {"bbox": [1, 2, 3, 4], "category": "dog"}):
        faults = Faults(skip=True)
        (sample,) = read(folder, detection(bad, CAT), **options, faults=faults)
        assert (sample.objects.labels, faults.counts) == (("cat",), {"unknown_category": 1})


BAD_MAPS = {
    "a list": ('["cat"]', "is not a label map (Expected `object`, got `array`)"),
    "names as keys": ('{"cat": 0}', "is not a label map"),
    "empty": ("{}", "has no label, or an empty one"),
    "an empty label": ('{"0": ""}', "has no label, or an empty one"),
    "not JSON": ("cat", "is not JSON"),
}


@pytest.mark.parametrize(("text", "words"), BAD_MAPS.values(), ids=BAD_MAPS)
def test_a_bad_label_map(folder: Path, text: str, words: str) -> None:
    (folder / "map.json").write_text(text)
    (folder / "set.jsonl").touch()
    with pytest.raises(DataError) as caught:
        read_odvg(folder / "set.jsonl", folder, label_map=folder / "map.json")
    assert str(caught.value).startswith(f"{folder / 'map.json'}: {words}")


def test_files_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: there is no such file; give the path of an ODVG"):
        read_odvg(folder / "none.jsonl", folder)
    with pytest.raises(DataError, match="pictures: is not a folder"):
        read_odvg(folder / "map.json", folder / "pictures")
    with pytest.raises(DataError, match=r"none\.json: there is no such file; give the path of a label map"):
        read_odvg(folder / "map.json", folder, label_map=folder / "none.json")
