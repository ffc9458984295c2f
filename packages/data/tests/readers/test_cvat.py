from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_cvat

META = (
    "<version>1.1</version><meta><task><labels>"
    "<label><name>eel</name><attributes><attribute><name>age</name></attribute></attributes></label>"
    "</labels></task></meta>"
)


def box(label: str = "cat", corners: Any = (1, 2, 30, 20), more: str = "") -> str:
    sides = " ".join(f'{k}="{x}"' for k, x in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True))
    return f'<box label="{label}" occluded="0" {sides} {more}><attribute name="age">3</attribute></box>'


def image(*parts: str, name: str = "a.png", size: str = 'width="40" height="20"') -> str:
    return f'<image id="0" name="{name}" {size}>{"".join(parts)}</image>'


def document(*parts: str) -> str:
    return f"<?xml version='1.0' encoding='utf-8'?><annotations>{''.join(parts)}</annotations>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 20)).save(tmp_path / name)
    return tmp_path


def read(folder: Path, content: str, **options: Any):
    (folder / "set.xml").write_text(content)
    return list(read_cvat(folder / "set.xml", folder, **options))


OTHER = image(box("dog"), name="b.png")


def test_images_become_samples(folder: Path) -> None:
    parts = image(box(corners=(0.5, 2, 30.25, 20)), box("dog"), '<tag label="day"/>'), image(name="b.png")
    first, second = read(folder, document(*parts))
    assert first.objects == Objects(((0.5, 2.0, 30.25, 20.0), (1.0, 2.0, 30.0, 20.0)), ("cat", "dog"))
    assert (first.id, first.source, first.image_id) == ("a.png", "set.xml", "set.xml:a.png")
    assert first.categories == second.categories == ("cat", "dog")
    assert (second.objects, second.load_image().size) == (Objects(), (40, 20))


def test_the_labels_that_the_file_lists_are_asked_for(folder: Path) -> None:
    content = document(META, image(box()), OTHER)
    assert read(folder, content)[0].categories == ("cat", "dog", "eel")
    assert read(folder, content, labels=["dog", "cat"], task="pointing")[0].categories == ("dog", "cat")


def test_rotation_by_nothing_is_none(folder: Path) -> None:
    assert len(read(folder, document(image(box(more='rotation="0.00"'))))[0].objects) == 1


BAD_IMAGES = {
    "no name": (image().replace("name=", "id2="), "bad_record", "image 0 (None): is not an image of CVAT"),
    "no size": (image(size=""), "bad_record", "image 0 (a.png): is not an image of CVAT with name, width"),
    "a width of nothing": (image(size='width="0" height="20"'), "bad_record", "image 0 (a.png): is not"),
    "a height of text": (image(size='width="40" height="high"'), "bad_record", "image 0 (a.png): is not"),
    "a corner of text": (image(box(corners=("left", 2, 3, 4))), "bad_record", "image 0 (a.png): is not"),
    "no corner": (image(box().replace("xtl", "left")), "bad_record", "image 0 (a.png): is not"),
    "swapped corners": (image(box(corners=(30, 2, 1, 4))), "bad_record", "image 0 (a.png): is not"),
    "no image": (image(name="c.png"), "missing_image", "image 0 (c.png): there is no image"),
}


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_named_or_skipped(folder: Path, bad: str, kind: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, document(bad, OTHER))
    assert str(caught.value).startswith(f"{folder / 'set.xml'}: {words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, document(bad, OTHER), faults=faults)] == ["b.png"]
    assert faults.counts == {kind: 1}


BAD_SHAPES = {
    "a polygon": (
        '<polygon label="cat" points="1,2;3,4;5,6"/>',
        "bad_shape",
        " has a polygon labelled 'cat'",
    ),
    "a rotated box": (box(more='rotation="30.5"'), "bad_shape", " has a rotated box labelled 'cat'"),
    "a box outside": (box(corners=(30, 2, 50, 9)), "bad_box", " has the box (30.0, 2.0, 50.0, 9.0)"),
    "no label": (box(""), "unknown_category", " has the label ''"),
}


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_a_bad_shape_is_named_or_left_out_alone(folder: Path, bad: str, kind: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, document(image(bad, box("dog"))))
    assert str(caught.value).startswith(f"{folder / 'set.xml'}: image 0 (a.png){words}")
    faults = Faults(skip=True)
    (sample,) = read(folder, document(image(bad, box("dog"))), faults=faults)
    assert (sample.objects.labels, faults.counts) == (("dog",), {kind: 1})


def test_an_image_that_is_there_twice(folder: Path) -> None:
    faults = Faults(skip=True)
    assert len(read(folder, document(OTHER, OTHER), faults=faults)) == 1
    assert faults.counts == {"same_id": 1}


ENTITIES = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 12))
BAD_FILES = {
    "cut off": (
        document(OTHER, image(box()))[:-30],
        ["b.png"],
        "is not XML after 1 images (unclosed token",
    ),
    "empty": ("", [], "is not XML after 0 images (no element found"),
    "an encoding that is none": (
        document(OTHER).replace("utf-8", "none"),
        [],
        "is not XML after 0 images (unknown encoding: none); export it anew",
    ),
    "not XML": ("cat", [], "is not XML after 0 images (syntax error"),
    "an entity bomb": (
        f'<!DOCTYPE a [<!ENTITY e0 "ha">{ENTITIES}]>' + document(OTHER, "&e11;")[38:],
        ["b.png"],
        "is not XML after 1 images (limit on input amplification",
    ),
}


@pytest.mark.parametrize(("content", "before", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_damaged_file_is_told_once(folder: Path, content: str, before: list[str], words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, content, labels=["dog"])
    assert str(caught.value).startswith(f"{folder / 'set.xml'}: {words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, content, labels=["dog"], faults=faults)] == before
    assert faults.counts == {"bad_file": 1}


def test_a_file_without_images(folder: Path) -> None:
    with pytest.raises(DataError, match=r"set\.xml: has no images; give an XML file of CVAT for images"):
        read(folder, document(META, '<track id="0" label="cat"/>'))


def test_files_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.xml: there is no such file; give the path of an XML file"):
        read_cvat(folder / "none.xml", folder)
    (folder / "set.xml").touch()
    with pytest.raises(DataError, match="none: is not a folder"):
        read_cvat(folder / "set.xml", folder / "none")
