from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_openimages

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
NAMES = "/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/015p6,Bird\n"


def line(image: str, label: str = "/m/01yrx", corners: str = "0.25,0.75,0,0.5", group: int = 0) -> str:
    return f"{image},xclick,{label},1,{corners},0,0,{group}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20)).save(tmp_path / "0a.jpg")
    Image.new("RGB", (20, 40)).save(tmp_path / "0b.png")
    (tmp_path / "names.csv").write_text(NAMES)
    return tmp_path


def read(folder: Path, *lines: str, header: str = HEADER, names: Any = "names.csv", **options: Any):
    (folder / "set.csv").write_text("\n".join((header, *lines, "")))
    names = None if names is None else folder / names
    return list(read_openimages(folder / "set.csv", folder, names=names, **options))


def test_lines_of_one_image_become_a_sample(folder: Path) -> None:
    first, second = read(folder, line("0a"), line("0a", "/m/0bt9lr", "0,1,0,1", group=1), line("0b"))
    assert first.objects == Objects(
        ((10.0, 0.0, 30.0, 10.0), (0.0, 0.0, 40.0, 20.0)), ("Cat", "Dog"), (False, True)
    )
    assert second.objects == Objects(((5.0, 0.0, 15.0, 20.0),), ("Cat",))
    assert first.categories == second.categories == ("Cat", "Dog", "Bird")
    assert (first.id, first.source, second.image) == ("0a", "set.csv", folder / "0b.png")
    assert second.load_image().size == (20, 40)


def test_without_names_labels_are_called_as_they_are_written(folder: Path) -> None:
    first, _ = read(folder, line("0a", "/m/0bt9lr"), line("0b"), names=None)
    assert first.categories == ("/m/01yrx", "/m/0bt9lr")
    assert first.objects.labels == ("/m/0bt9lr",)


def test_labels_may_be_given(folder: Path) -> None:
    (sample,) = read(folder, line("0a"), labels=["Dog", "Cat"], task="pointing", source="mine")
    assert (sample.categories, sample.task, sample.source) == (("Dog", "Cat"), "pointing", "mine")
    with pytest.raises(DataError, match=r"set\.csv:2 has the label 'Cat', which is not among"):
        read(folder, line("0a"), labels=["Dog"])


def test_a_header_of_the_names_is_no_label(folder: Path) -> None:
    (folder / "names.csv").write_text("LabelName,DisplayName\n" + NAMES)
    assert read(folder, line("0a"))[0].categories == ("Cat", "Dog", "Bird")


def test_image_ids_may_have_a_suffix_and_columns_may_be_few(folder: Path) -> None:
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax"
    (sample,) = read(folder, "0a.jpg,/m/01yrx,0.25,0.75,0,0.5", header=header)
    assert sample.objects == Objects(((10.0, 0.0, 30.0, 10.0),), ("Cat",))


BAD = {
    "text": (
        line("0a", corners="0,half,0,1"),
        "bad_record",
        ": is not a line of Open Images (could not convert",
    ),
    "short": ("0a,xclick,/m/01yrx", "bad_record", ": is not a line of Open Images (could not convert"),
    "swapped": (
        line("0a", corners="0.5,0.1,0,1"),
        "bad_record",
        ": is not a line of Open Images (`xmax` must",
    ),
    "not a number": (line("0a", corners="0,nan,0,1"), "bad_record", ": is not a line of Open Images"),
    "outside": (line("0a", corners="0,1.5,0,1"), "bad_box", " has the box (0.0, 0.0, 60.0, 20.0) in pixels"),
    "without area": (line("0a", corners="0,0,0,1"), "bad_box", " has the box (0.0, 0.0, 0.0, 20.0)"),
    "an unknown label": (line("0a", "/m/x"), "unknown_category", " has the label '/m/x', which is not among"),
}


@pytest.mark.parametrize(("bad", "kind", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_left_out_alone(folder: Path, bad: str, kind: str, words: str) -> None:
    lines = line("0a"), bad, line("0a", "/m/0bt9lr")
    with pytest.raises(DataError) as caught:
        read(folder, *lines)
    assert str(caught.value).startswith(f"{folder / 'set.csv'}:3{words}")
    assert "\n" not in str(caught.value)
    faults = Faults(skip=True)
    (sample,) = read(folder, *lines, faults=faults)
    assert (sample.objects.labels, faults.counts) == (("Cat", "Dog"), {kind: 1})


def test_an_image_that_is_missing_or_damaged_is_named_or_skipped(folder: Path) -> None:
    (folder / "0c.jpg").write_bytes(b"cat")
    with pytest.raises(DataError, match=r"set\.csv:2: there is no image .*/00; add it"):
        read(folder, line("00"), line("0a"))
    with pytest.raises(DataError, match=r"0c\.jpg: is not an image \(cannot identify"):
        read(folder, line("0c"))
    faults = Faults(skip=True)
    samples = read(folder, line("00"), line("00"), line("0a"), line("0c"), faults=faults)
    assert [sample.id for sample in samples] == ["0a"]
    assert faults.counts == {"missing_image": 1, "bad_image": 1}


def test_images_must_be_sorted(folder: Path) -> None:
    with pytest.raises(DataError, match=r"set\.csv:4: ImageID '0a' does not come after '0b'; sort the lines"):
        read(folder, line("0a"), line("0b"), line("0a"), faults=Faults(skip=True))


def test_a_line_without_an_image(folder: Path) -> None:
    with pytest.raises(DataError, match=r"set\.csv:2: ImageID '' does not come after ''"):
        read(folder, line(""), line("0a"), faults=Faults(skip=True))


def test_a_byte_order_mark_is_no_part_of_a_column(folder: Path) -> None:
    assert len(read(folder, line("0a"), header="\ufeff" + HEADER)) == 1


@pytest.mark.parametrize("column", ["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"])
def test_a_missing_column(folder: Path, column: str) -> None:
    with pytest.raises(DataError, match=rf"set\.csv: has no column {column}; give an Open Images CSV"):
        read(folder, line("0a"), header=HEADER.replace(column, "other"))


BAD_FILES = {
    "empty": (b"", "set.csv: has no column ImageID"),
    "a header alone": (HEADER.encode(), "set.csv: has no boxes; give an Open Images CSV file of boxes"),
    "not text": (HEADER.encode() + b"\n\xff\xfe", "set.csv:"),
    "an endless field": (HEADER.encode() + b"\n" + b"a" * 200_000, "set.csv:"),
}


@pytest.mark.parametrize(("content", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_of_another_form_are_refused_at_once(folder: Path, content: bytes, words: str) -> None:
    (folder / "set.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_openimages(folder / "set.csv", folder)
    assert str(caught.value).startswith(f"{folder}/{words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"/m/01yrx\n", b"a,\n"])
def test_bad_names(folder: Path, content: bytes) -> None:
    (folder / "names.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"names\.csv: .*; give a CSV file of labels and their names"):
        read(folder, line("0a"))


def test_files_are_looked_for_at_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: there is no such file"):
        read_openimages(folder / "none.csv", folder)
    (folder / "set.csv").write_text(f"{HEADER}\n{line('0a')}")
    with pytest.raises(DataError, match="none: is not a folder"):
        read_openimages(folder / "set.csv", folder / "none")
    with pytest.raises(DataError, match=r"none\.csv: there is no such file; give the path of a CSV"):
        read_openimages(folder / "set.csv", folder, names=folder / "none.csv")
