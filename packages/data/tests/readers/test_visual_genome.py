import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_visual_genome


def region(region_id: int, phrase: str, x: float, y: float, width: float, height: float) -> dict[str, Any]:
    return {
        "region_id": region_id,
        "image_id": 1,
        "phrase": phrase,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
    }


def thing(object_id: int, name: str, x: float, y: float, w: float, h: float) -> dict[str, Any]:
    return {
        "object_id": object_id,
        "merged_object_ids": [],
        "synsets": ["cup.n.01"],
        "names": [name, "vessel"],
        "x": x,
        "y": y,
        "w": w,
        "h": h,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("VG_100K", "VG_100K_2"):
        (tmp_path / "images" / name).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "VG_100K_2" / "1.jpg")
    Image.new("RGB", (30, 60)).save(tmp_path / "images" / "VG_100K" / "2.jpg")
    return tmp_path


@pytest.fixture
def images() -> list[dict[str, Any]]:
    url = "https://cs.stanford.edu/people/rak248/"
    sizes = {"width": 40, "height": 20}, {"width": 30, "height": 60}
    return [
        {"image_id": 1, "url": f"{url}VG_100K_2/1.jpg", "coco_id": None, "flickr_id": None} | sizes[0],
        {"image_id": 2, "url": f"{url}VG_100K/2.jpg", "coco_id": 391895, "flickr_id": 7} | sizes[1],
    ]


@pytest.fixture
def regions() -> list[dict[str, Any]]:
    return [
        {
            "id": 1,
            "regions": [
                region(11, "A white cup.", 0, 0, 10, 10),
                region(12, "the table", 0, 10, 40, 10),
                region(13, " a white  cup ", 20, 0, 10, 10),
            ],
        },
        {"id": 2, "regions": [region(21, "sky", 0, 0, 30, 20)]},
    ]


@pytest.fixture
def objects() -> list[dict[str, Any]]:
    return [
        {
            "image_id": 1,
            "image_url": "https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg",
            "objects": [
                thing(11, "Cup ", 0, 0, 10, 10),
                thing(12, "table", 0, 10, 40, 10),
                thing(13, "cup", 20, 0, 10, 10),
                thing(14, "cup", 0, 1, 10, 10),
            ],
        },
        {"image_id": 2, "objects": [thing(21, "sky", 0, 0, 30, 20)]},
    ]


def read(folder: Path, annotations: Any, images: Any, *, kind: Any = "objects", **options: Any):
    names = {"regions": "region_descriptions.json", "objects": "objects.json"}
    path = folder / names.get(kind, "objects.json")
    path.write_text(json.dumps(annotations))
    (folder / "image_data.json").write_text(json.dumps(images))
    return list(read_visual_genome(path, folder / "image_data.json", folder / "images", kind=kind, **options))


CUPS = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0))


def test_objects_of_one_name_are_one_expression(folder: Path, objects, images) -> None:
    cup, table, sky = read(folder, objects, images)
    assert cup.categories == cup.not_exhaustive == ("cup",)
    assert cup.objects == Objects(CUPS, ("cup", "cup"))
    assert table.objects == Objects(((0.0, 10.0, 40.0, 20.0),), ("table",))
    assert [sample.id for sample in (cup, table, sky)] == ["1:0", "1:1", "2:0"]
    assert (cup.task, cup.width, cup.height, cup.source) == ("rec", 40, 20, "objects.json")
    assert cup.load_image().size == (40, 20)


def test_equal_phrases_are_one_expression(folder: Path, regions, images) -> None:
    cup, table, sky = read(folder, regions, images, kind="regions", source="vg")
    assert cup.objects == Objects(CUPS, ("A white cup", "A white cup"))
    assert [sample.categories for sample in (table, sky)] == [("the table",), ("sky",)]
    assert sky.source == "vg"


def test_a_picture_of_coco_is_called_so(folder: Path, objects, images) -> None:
    assert [sample.image_id for sample in read(folder, objects, images)] == ["vg:1", "vg:1", "coco:391895"]


def test_only_expressions_of_several_objects(folder: Path, objects, regions, images) -> None:
    (sample,) = read(folder, objects, images, min_objects=2)
    assert (sample.id, sample.categories) == ("1:0", ("cup",))
    (sample,) = read(folder, regions, images, kind="regions", min_objects=2)
    assert sample.categories == ("A white cup",)
    assert read(folder, objects, images, min_objects=3) == []


def test_boxes_of_the_same_thing_are_merged_and_counted(folder: Path, objects, images) -> None:
    # 10 x 10 and the same 1 pixel lower: 90 / 110 = 0.818.
    for merge_iou, boxes, merged in ((0.7, 2, 1), (0.81, 2, 1), (0.82, 3, 0), (1, 3, 0)):
        faults = Faults()
        cup, *_ = read(folder, objects, images, merge_iou=merge_iou, faults=faults)
        assert (len(cup.objects), faults.ruled["same_box"]) == (boxes, merged)
        assert not faults.counts
    assert str(faults) == "nothing left out"


def test_equal_boxes_are_merged_below_one_only(folder: Path, objects, images) -> None:
    objects[0]["objects"][3] |= {"y": 0}
    faults = Faults()
    assert len(read(folder, objects, images, faults=faults)[0].objects) == 2
    assert str(faults) == "1 left out by rule (same_box 1)"
    assert len(read(folder, objects, images, merge_iou=1)[0].objects) == 3


def test_boxes_of_different_names_are_not_merged(folder: Path, objects, images) -> None:
    objects[0]["objects"][3]["names"] = ["mug"]
    assert [sample.categories for sample in read(folder, objects, images)] == [
        ("cup",),
        ("table",),
        ("mug",),
        ("sky",),
    ]


def test_merged_and_bad_ones_are_told_apart(folder: Path, objects, images) -> None:
    objects[0]["objects"][1] |= {"w": 99}
    faults = Faults(skip=True)
    read(folder, objects, images, faults=faults)
    assert str(faults).startswith("1 left out by rule (same_box 1); 1 left out (bad_box 1), the first: ")


def test_images_may_lie_together(folder: Path, objects, images) -> None:
    (folder / "images" / "VG_100K" / "2.jpg").rename(folder / "images" / "2.jpg")
    assert [sample.image for sample in read(folder, objects, images)] == [
        folder / "images" / "VG_100K_2" / "1.jpg",
        folder / "images" / "VG_100K_2" / "1.jpg",
        folder / "images" / "2.jpg",
    ]


def setting(**values: Any):
    return lambda item, _: item.update(values)


def of_the_image(**values: Any):
    return lambda _, images: images[0].update(values)


BAD_OBJECTS = {
    "no names": (setting(names=[]), "no_expression", "objects.json[0].objects[0] has no words"),
    "an empty name": (setting(names=[" "]), "no_expression", "objects.json[0].objects[0] has no words"),
    "names of text": (setting(names="cup"), "bad_record", "objects.json[0].objects[0]: Expected `array`"),
    "outside": (
        setting(x=35),
        "bad_box",
        "objects.json[0].objects[0] (11) is not a box inside image 1 (40x20)",
    ),
    "no area": (setting(w=0), "bad_box", "objects.json[0].objects[0] (11) is not a box inside"),
    "text": (setting(h="10"), "bad_box", "objects.json[0].objects[0] (11) is not a box inside"),
    "nothing": (setting(y=None), "bad_box", "objects.json[0].objects[0] (11) is not a box inside"),
    "an unknown image": (of_the_image(image_id=7), "unknown_image", "objects.json[0] names image 1, which"),
    "an image without width": (
        of_the_image(width=0),
        "bad_record",
        "image_data.json[0]: Expected `int` >= 1",
    ),
    "an image without url": (of_the_image(url=None), "bad_record", "image_data.json[0]: Expected `str`"),
    "an image twice": (of_the_image(image_id=2), "same_id", "image_data.json[1] repeats image 2;"),
    "a missing file": (
        of_the_image(url="VG_100K/9.jpg"),
        "missing_image",
        "objects.json[0]: there is no image",
    ),
}


@pytest.mark.parametrize(("change", "kind", "words"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_bad_objects_are_named_or_skipped(folder: Path, objects, images, change, kind, words) -> None:
    change(objects[0]["objects"][0], images)
    with pytest.raises(DataError) as caught:
        read(folder, objects, images)
    line = str(caught.value)
    assert line.startswith(f"{folder / words}")
    assert "\n" not in line
    faults = Faults(skip=True)
    read(folder, objects, images, faults=faults)
    assert faults.counts[kind] == 1


BAD_REGIONS = {
    "no phrase": (setting(phrase=None), "bad_record", "[0].regions[0]: Expected `str`, got `null`"),
    "a full stop": (setting(phrase=" . "), "no_expression", "[0].regions[0] has no words; remove it"),
    "outside": (setting(x=-2), "bad_box", "[0].regions[0] (11) is not a box inside image 1 (40x20)"),
}


@pytest.mark.parametrize(("change", "kind", "words"), BAD_REGIONS.values(), ids=BAD_REGIONS)
def test_bad_regions_are_named_or_skipped(folder: Path, regions, images, change, kind, words) -> None:
    change(regions[0]["regions"][0], images)
    with pytest.raises(DataError) as caught:
        read(folder, regions, images, kind="regions")
    assert str(caught.value).startswith(f"{folder / 'region_descriptions.json'}{words}")
    faults = Faults(skip=True)
    samples = read(folder, regions, images, kind="regions", faults=faults)
    assert faults.counts == {kind: 1}
    assert [sample.categories for sample in samples] == [("the table",), ("a white cup",), ("sky",)]
    assert samples[1].objects == Objects(CUPS[1:], ("a white cup",))


def test_an_image_is_annotated_once(folder: Path, objects, images) -> None:
    with pytest.raises(DataError, match=r"objects\.json\[2\] repeats image 1; give every image one entry"):
        read(folder, [*objects, objects[0]], images)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not JSON"),
        ('[{"image_id": 1, ', "is not JSON"),
        ('{"image_id": 1}', "is not Visual Genome's objects (Expected `array`, got `object`)"),
    ],
)
def test_files_that_are_something_else(folder: Path, objects, images, content: str, words: str) -> None:
    read(folder, objects, images)
    files = folder / "objects.json", folder / "image_data.json"
    for path in files:
        kept = path.read_text()
        path.write_text(content)
        with pytest.raises(DataError) as caught:
            read_visual_genome(*files, folder / "images", kind="objects")
        line = str(caught.value).replace("'s image_data.json", "'s objects")
        assert line.startswith(f"{path}: {words}")
        path.write_text(kept)


def test_a_file_of_the_other_kind(folder: Path, objects, regions, images) -> None:
    with pytest.raises(DataError, match="missing required field `id`"):
        read(folder, objects, images, kind="regions")
    with pytest.raises(DataError, match="missing required field `image_id`"):
        read(folder, regions, images, kind="objects")
    with pytest.raises(DataError, match="kind is 'attributes'; give 'regions' or 'objects'"):
        read(folder, objects, images, kind="attributes")


def test_what_is_missing_is_said_at_once(folder: Path, objects, images) -> None:
    read(folder, objects, images)
    there, data, none = folder / "objects.json", folder / "image_data.json", folder / "none"
    with pytest.raises(DataError, match="none: there is no such file; give the path of Visual Genome's obj"):
        read_visual_genome(none, data, folder / "images", kind="objects")
    with pytest.raises(DataError, match=r"none: there is no such file; give the path of .* image_data"):
        read_visual_genome(there, none, folder / "images", kind="objects")
    with pytest.raises(DataError, match="none: is not a folder"):
        read_visual_genome(there, data, none, kind="objects")
