from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_yolo

NAMES = ["cat", "dog"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "train/b.PNG"):
        image = tmp_path / "images" / name
        image.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20)).save(image)
        label = (tmp_path / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(exist_ok=True)
        label.write_text("1 0.5 0.5 0.25 0.5\n")
    return tmp_path


def read(folder: Path, text: str | bytes = "", names: Any = NAMES, **options: Any):
    path = folder / "labels" / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_yolo(folder / "labels", folder / "images", names=names, **options))


def test_lines_are_objects_and_an_empty_file_is_a_negative(folder: Path) -> None:
    first, second = read(folder, "0 0.5 0.5 1 1\n\n1 0.25 0.25 0.5 0.5 0.9\n")
    assert first.objects == Objects(((0.0, 0.0, 40.0, 20.0), (0.0, 0.0, 20.0, 10.0)), ("cat", "dog"))
    assert second.objects == Objects(((15.0, 5.0, 25.0, 15.0),), ("dog",))
    assert (first.id, second.id, second.image) == ("a", "train/b", folder / "images" / "train" / "b.PNG")
    assert first.categories == second.categories == ("cat", "dog")
    assert (first.source, second.image_id) == ("labels", "labels:train/b.PNG")
    assert read(folder, "")[0].objects == Objects()


def test_an_image_without_a_file_is_counted_or_a_negative(folder: Path) -> None:
    Image.new("RGB", (30, 10)).save(folder / "images" / "train" / "z.png")
    (folder / "images" / "notes.md").touch()
    faults = Faults()
    assert [sample.id for sample in read(folder, faults=faults)] == ["a", "train/b"]
    assert (faults.ruled, faults.counts) == ({"no_label_file": 1}, {})
    *_, last = read(folder, backgrounds=True, faults=faults)
    assert (last.id, last.width, last.objects) == ("train/z", 30, Objects())
    assert (last.image, last.image_id) == (folder / "images" / "train" / "z.png", "labels:train/z.png")
    (folder / "images" / "train" / "z.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"z\.png: is not an image"):
        read(folder, backgrounds=True)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("v5", "1 0.5 0.5 0.25 0.5 0.75"),
        ("v7", "1 0.5 0.5 0.25 0.5 0.75"),
        ("darknet", "1 0.75 0.5 0.5 0.25 0.5"),
        ("seg", "1 0.375 0.25 0.625 0.5 0.5 0.75"),
    ],
)
def test_versions_differ_in_their_lines(folder: Path, version: str, line: str) -> None:
    sample, *_ = read(folder, line, version=version, faults=Faults(skip=True))
    assert sample.objects.boxes == ((15.0, 5.0, 25.0, 15.0),)


def test_a_version_that_is_none(folder: Path) -> None:
    with pytest.raises(ValueError, match="version must be one of v5, v7, darknet, seg, got 'v99'"):
        read(folder, version="v99")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "cat\r\ndog \n"),
        ("coco.names", "cat\ndog"),
        ("data.yaml", "path: ..\nnc: 2\nnames: [cat, dog]\n"),
        ("data.yml", "names:\n  0: cat\n  1: dog\n"),
        ("labels/classes.txt", "cat\ndog\n"),
    ],
)
def test_names_may_be_a_file(folder: Path, file: str, text: str) -> None:
    (folder / file).write_bytes(text.encode())
    for names in (folder / file, str(folder / file)):
        _, second = read(folder, names=names)
        assert (second.categories, second.objects.labels) == (("cat", "dog"), ("dog",))


BAD_NAMES = {
    "empty": ("names.txt", b"", "has no names or an empty one"),
    "a gap": ("names.txt", b"cat\n\ndog", "has no names or an empty one"),
    "not text": ("names.txt", b"\xff", "is not text"),
    "no names": ("data.yaml", b"nc: 2", "is not a data.yaml (Object missing required field `names`)"),
    "numbers": ("data.yaml", b"names: [1, 2]", "is not a data.yaml (Expected `str`, got `int`"),
    "not YAML": ("data.yaml", b"names: [cat\n: }", "is not a data.yaml"),
    "a bomb": ("data.yaml", b"a: &a [x, x]\nnames: &b [*a, *a, *a]", "is not a data.yaml"),
}


@pytest.mark.parametrize(("file", "text", "words"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_bad_names_are_refused_at_once(folder: Path, file: str, text: bytes, words: str) -> None:
    (folder / file).write_bytes(text)
    with pytest.raises(DataError) as caught:
        read_yolo(folder / "labels", folder / "images", names=folder / file)
    assert str(caught.value).startswith(f"{folder / file}: {words}")
    assert "\n" not in str(caught.value)


BAD = {
    "four numbers": ("0 0.5 0.5 1", "bad_record", ": is not a line of YOLO v5 (Syntax error"),
    "text": ("0 0.5 half 1 1", "bad_record", ": is not a line of YOLO v5 (Syntax error"),
    "negative width": ("0 0.5 0.5 -1 1", "bad_record", ": is not a line of YOLO v5 (`xmax` must be greater"),
    "not a number": ("0 nan 0.5 1 1", "bad_record", ": is not a line of YOLO v5"),
    "a confidence of 7": ("0 0.5 0.5 1 1 7", "bad_record", ": is not a line of YOLO v5 (Confidence (7.0)"),
    "a polygon": ("0 0.1 0.1 0.2 0.1 0.2 0.2", "bad_record", ": is not a line of YOLO v5"),
    "outside": ("0 0.9 0.5 0.5 1", "bad_box", " has the box (26.0, 0.0, 46.0, 20.0) in pixels"),
    "without area": ("0 0.5 0.5 0 1", "bad_box", " has the box (20.0, 0.0, 20.0, 20.0)"),
    "an unknown class": ("2 0.5 0.5 1 1", "unknown_category", " has the label '2', which is not among"),
}


@pytest.mark.parametrize(("line", "kind", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_left_out_alone(folder: Path, line: str, kind: str, words: str) -> None:
    text = f"1 0.5 0.5 1 1\n{line}\n0 0.5 0.5 1 1"
    with pytest.raises(DataError) as caught:
        read(folder, text)
    assert str(caught.value).startswith(f"{folder / 'labels' / 'a.txt'}:2{words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    sample, _ = read(folder, text, faults=faults)
    assert (sample.objects.labels, faults.counts) == (("dog", "cat"), {kind: 1})
    assert sample.not_exhaustive == (("cat",) if kind == "bad_box" else ())


def test_a_file_that_is_not_text(folder: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt: is not text \('utf-8' codec"):
        read(folder, b"\xff\xfe")


def test_a_missing_image_is_named_or_skipped(folder: Path) -> None:
    (folder / "images" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.txt: there is no image .*images/a; add it"):
        read(folder)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, faults=faults)] == ["train/b"]
    assert faults.counts == {"missing_image": 1}


@pytest.mark.parametrize("content", [b"", b"cat"])
def test_a_damaged_image_is_named_or_skipped(folder: Path, content: bytes) -> None:
    (folder / "images" / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: is not an image \(cannot identify"):
        read(folder)
    faults = Faults(skip=True)
    assert [sample.id for sample in read(folder, faults=faults)] == ["train/b"]
    assert faults.counts == {"bad_image": 1}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_size_is_that_of_the_upright_image(folder: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "images" / "a.jpg").unlink()
    Image.new("RGB", (40, 20)).save(folder / "images" / f"a{suffix}", exif=exif)
    sample, _ = read(folder, "0 0.5 0.5 1 0.5")
    assert sample.objects.boxes == ((0.0, 10.0, 20.0, 30.0),)
    assert sample.load_image().size == (20, 40)


def test_folders_and_names_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none: is not a folder; give the folder that holds the \.txt files"):
        read_yolo(folder / "none", folder, names=NAMES)
    with pytest.raises(DataError, match="none: is not a folder"):
        read_yolo(folder / "labels", folder / "none", names=NAMES)
    with pytest.raises(
        DataError, match=r"none\.txt: there is no such file; give the path of a list of the names"
    ):
        read_yolo(folder / "labels", folder, names=folder / "none.txt")
    with pytest.raises(DataError, match="names: has no names or an empty one"):
        read_yolo(folder / "labels", folder, names=[])
