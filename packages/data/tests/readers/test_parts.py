from pathlib import Path
from typing import Any

import msgspec
import pytest

from vision_r1_data import DataError, Faults
from vision_r1_data.readers._parts import checked_box, find_image, input_file, lines


class Line(msgspec.Struct):
    number: int


def test_lines_have_numbers_and_blank_ones_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"number": 5}\n\n  \n{"number": 6}')
    read = lines(tmp_path / "a.jsonl", Line, "a file", Faults())
    assert list(read) == [(1, Line(5)), (4, Line(6))]


@pytest.mark.parametrize("line", [b"{", b'{"number": "5"}', b"[" * 100_000, b'{"number": 5}\xff', b"null"])
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: bytes) -> None:
    path, faults = tmp_path / "a.jsonl", Faults(skip=True)
    path.write_bytes(b'{"number": 5}\n' + line + b'\n{"number": 6}\n')
    assert [number for number, _ in lines(path, Line, "a file", faults)] == [1, 3]
    assert faults.counts == {"bad_record": 1}
    assert faults.told[0].startswith(f"{path}:2: ")
    assert "\n" not in faults.told[0]


def test_a_file_without_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"a\.jsonl: is empty; give a file"):
        list(lines(tmp_path / "a.jsonl", Line, "a file", Faults()))


def test_a_file_must_be_there_and_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: there is no such file; give the path of a file"):
        input_file(tmp_path / "none", "a file")
    with pytest.raises(DataError, match=r"cannot be read .* give a file"):
        input_file(tmp_path, "a file")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("images/v1/patch8/1.jpg", "images/v1/patch8/1.jpg"),
        ("images/v1/patch8/1.jpg", "v1/patch8/1.jpg"),
        ("images/v1/patch8/1.jpg", "patch8/1.jpg"),
        ("images/v1/patch8/1.jpg", "1.jpg"),
        ("..\\images\\1.jpg", "1.jpg"),
    ],
)
def test_an_image_may_have_moved(tmp_path: Path, name: str, there: str) -> None:
    image = tmp_path / there
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    assert find_image(tmp_path, name, "here", Faults(), moved=True) == image


@pytest.mark.parametrize("name", ["a/1.jpg", "", "..", "x" * 5000, "nul\0"])
def test_an_image_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jpg").touch()
    faults = Faults(skip=True)
    assert find_image(tmp_path, name, "here", faults) is None
    assert faults.counts == {"missing_image": 1}
    assert faults.told[0].startswith("here: there is no image ")


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([-30, -30, 10, 10], (0.0, 0.0, 10.0, 10.0)),
        ([30, 10, 99, 99], (30.0, 10.0, 40.0, 20.0)),
        ([-99, -99, 99, 99], (0.0, 0.0, 40.0, 20.0)),
        ([50, 5, 60, 10], None),
        ([-10, 5, 0, 10], None),
        ([9, 5, 3, 10], None),
        ([0, 0, 1e300, 10], None),
    ],
)
def test_boxes_may_be_clipped(box: Any, clipped: Any) -> None:
    assert checked_box(box, 40, 20, clip=True) == clipped
    assert checked_box(box, 40, 20) is None
