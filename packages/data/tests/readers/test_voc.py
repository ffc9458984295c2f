from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_voc

SIZE = "<size><width>40</width><height>20</height><depth>3</depth></size>"


def an_object(label: str = "cat", corners: Any = (1, 2, 30, 20)) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{corner}</{side}>" for side, corner in sides)
    return f"<object><name>{label}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"


def document(*objects: str, name: str = "a.png", size: str = SIZE) -> str:
    return f"<annotation><filename>{name}</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / name)
    (tmp_path / "xml" / "more").mkdir(parents=True)
    (tmp_path / "xml" / "a.xml").write_text(document(an_object("dog"), an_object("cat", (0, 0.5, 9, 9))))
    (tmp_path / "xml" / "more" / "b.xml").write_text(document(an_object("eel"), name="b.png"))
    return tmp_path


def read(folder: Path, **options: Any):
    return list(read_voc(folder / "xml", str(folder / "images"), **options))


def test_files_become_samples_in_their_order(folder: Path) -> None:
    first, second = read(folder)
    assert first.objects == Objects(((1.0, 2.0, 30.0, 20.0), (0.0, 0.5, 9.0, 9.0)), ("dog", "cat"))
    assert (first.id, second.id) == ("a", "more/b")
    assert first.categories == second.categories == ("cat", "dog", "eel")
    assert (first.source, first.image_id, first.task) == ("xml", "xml:a.png", "detection")
    assert (second.image, second.load_image().size) == (folder / "images" / "b.png", (40, 20))


def test_labels_may_be_given(folder: Path) -> None:
    _, second = read(folder, labels=["eel", "dog", "cat", "bird"], task="pointing", source="mine")
    assert second.categories == ("eel", "dog", "cat", "bird")
    assert (second.task, second.source, second.image_id) == ("pointing", "mine", "mine:b.png")
    with pytest.raises(DataError, match=r"b\.xml has the label 'eel', which is not among those"):
        read(folder, labels=["dog", "cat"])


def test_a_file_name_may_lack_its_suffix(folder: Path) -> None:
    (folder / "xml" / "a.xml").write_text(document(an_object(), name="a"))
    assert read(folder)[0].image == folder / "images" / "a.png"


def test_folders_are_read_in_order(folder: Path) -> None:
    for name in "zyxwvutsrqp":
        (folder / "xml" / name).mkdir()
        (folder / "xml" / name / "c.xml").write_text(document(an_object()))
    ids = [sample.id for sample in read(folder)]
    assert (len(ids), ids) == (13, sorted(ids))


def test_a_file_without_objects_is_a_negative(folder: Path) -> None:
    (folder / "xml" / "a.xml").write_text(document())
    negative, _ = read(folder)
    assert (negative.objects, negative.categories) == (Objects(), ("eel",))


BOMB = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 12))
BAD = {
    "empty": "",
    "not XML": "cat",
    "cut off": document(an_object())[:90],
    "not text": b"\xff\xfe\x00\x01",
    "no file name": document().replace("filename", "path"),
    "no size": document(an_object(), size=""),
    "no width": document(size="<size><height>20</height></size>"),
    "a width of nothing": document(size=SIZE.replace("40", "0")),
    "an endless width": document(size=SIZE.replace("40", "9" * 400)),
    "a width of text": document(size=SIZE.replace("40", "wide")),
    "a corner of text": document(an_object(corners=("left", 2, 3, 4))),
    "a corner that is no number": document(an_object(corners=("nan", 2, 3, 4))),
    "swapped corners": document(an_object(corners=(30, 2, 3, 4))),
    "no corners": document("<object><name>cat</name></object>"),
    "no name": document(an_object().replace("name", "label")),
    "an entity bomb": f'<!DOCTYPE a [<!ENTITY e0 "ha">{BOMB}]>' + document(an_object("&e11;")),
    "an entity of a file": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    + document(an_object("&e;")),
    "deep": "<a>" * 100_000,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_damaged_file_is_named_or_skipped(folder: Path, content: str | bytes) -> None:
    path = folder / "xml" / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value).startswith(f"{path}: is not Pascal VOC with a filename, a size, and")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, faults=faults)] == ["more/b"]
    assert faults.counts == {"bad_file": 1}


BAD_OBJECTS = {
    "outside": (an_object(corners=(30, 2, 50, 9)), "bad_box", "has the box (30.0, 2.0, 50.0, 9.0) in pixels"),
    "without area": (an_object(corners=(3, 2, 3, 9)), "bad_box", "has the box (3.0, 2.0, 3.0, 9.0)"),
    "endless": (an_object(corners=(3, 2, "inf", 9)), "bad_box", "has the box (3.0, 2.0, inf, 9.0)"),
    "without a label": (an_object(""), "unknown_category", "has the label ''"),
}


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_a_bad_object_is_named_or_left_out_alone(folder: Path, bad: str, kind: str, words: str) -> None:
    path = folder / "xml" / "a.xml"
    path.write_text(document(bad, an_object("dog")))
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value).startswith(f"{path} {words}")
    faults = Faults(skip=True)
    assert read(folder, faults=faults)[0].objects.labels == ("dog",)
    assert faults.counts == {kind: 1}


def test_a_missing_image_is_named_or_skipped(folder: Path) -> None:
    (folder / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.xml: there is no image .*a\.png; add it"):
        read(folder)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, faults=faults)] == ["more/b"]
    assert faults.counts == {"missing_image": 1}


def test_a_set_without_labels(folder: Path) -> None:
    for name in ("a.xml", "more/b.xml"):
        (folder / "xml" / name).write_text(document())
    with pytest.raises(DataError, match="xml: no object has a label; give the labels that are asked for"):
        read(folder)
    assert len(read(folder, labels=["cat"])) == 2


def test_folders_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none: is not a folder; give the folder that holds the \.xml files"):
        read_voc(folder / "none", folder)
    with pytest.raises(DataError, match=r"images: holds no \.xml files"):
        read_voc(folder / "images", folder)
    with pytest.raises(DataError, match="pictures: is not a folder"):
        read_voc(folder / "xml", folder / "pictures")
