import re
import xml.etree.ElementTree as ET
from collections import Counter
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vision_r1_data.curate import Course, waterfall_table
from vision_r1_data.curate.waterfall import waterfall_markdown, waterfall_svg

SVG = "{http://www.w3.org/2000/svg}"
COCO = Course(
    118_287,
    Counter(
        {
            ("clean", "no object left"): 214,
            ("agree", "image unreadable"): 3,
            ("difficulty", "rewards do not vary"): 40_211,
            ("mix", "more than it needs"): 47_859,
        }
    ),
    Counter({("clean", "tiny"): 5_120, ("ask", "not asked for"): 77}),
    Counter({"bad_box": 12}),
)
WATERFALL = {"coco": COCO, "odinw": Course(1_000)}
HOSTILE = [
    "<script>alert(1)</script>",
    "a\"b'c&d",
    "]]>",
    "[bold]x",
    "[/x]",
    "a|b",
    "a\nb",
    "\x00\x0b\x1b[31m",
    "\ud800\uffff",
    "x" * 500,
    "",
]


def printed(waterfall) -> str:
    file = StringIO()
    Console(file=file, width=200).print(waterfall_table(waterfall))
    return file.getvalue()


def numbers(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"(?<![\w.])\d[\d,]*(?![\w.%])", text)]


def rows(markdown: str) -> list[list[str]]:
    lines = markdown.split("\n")[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def bars(svg: str) -> list[tuple[str, float, float]]:
    """Colour, left and right of every bar, without the page and the tracks."""
    rects = [
        r.attrib for r in ET.fromstring(svg).iter(f"{SVG}rect") if r.get("fill") not in ("#ffffff", "#f0f2f4")
    ]
    return [(r["fill"], float(r["x"]), float(r["x"]) + float(r["width"])) for r in rects]


def test_a_course_in_one_line() -> None:
    dropped = Counter({("clean", "tiny"): 2, ("mix", "more than it needs"): 1})
    course = Course(9, dropped, faults=Counter(missing_image=4))
    assert str(course) == (
        "9 were read and 6 are left (2 clean: tiny; 1 mix: more than it needs; 4 bad records: missing_image)"
    )
    assert str(Course(9)) == "9 were read and 9 are left (nothing is left out)"


def test_what_is_left_after_every_reason() -> None:
    assert list(COCO.rows()) == [
        ("clean", "no object left", 214, 118_073),
        ("agree", "image unreadable", 3, 118_070),
        ("difficulty", "rewards do not vary", 40_211, 77_859),
        ("mix", "more than it needs", 47_859, 30_000),
    ]
    assert COCO.kept == 30_000
    assert (Course(5).kept, list(Course(5).rows())) == (5, [])


@given(st.lists(st.integers(0, 10**9)), st.integers(0, 10**9))
def test_the_numbers_add_up(lost: list[int], kept: int) -> None:
    course = Course(sum(lost) + kept, Counter({("step", str(k)): n for k, n in enumerate(lost)}))
    found = list(course.rows())
    assert course.kept == kept
    assert course.read == kept + sum(count for *_, count, _ in found)
    assert [left for *_, left in found][-1:] in ([], [kept])


def test_the_markdown_table() -> None:
    assert waterfall_markdown(WATERFALL).split("\n") == [
        "| source | step | reason | left out | samples |",
        "|---|---|---|---:|---:|",
        "| **coco** | read | | | 118,287 |",
        "| | clean | no object left | 214 | 118,073 |",
        "| | agree | image unreadable | 3 | 118,070 |",
        "| | difficulty | rewards do not vary | 40,211 | 77,859 |",
        "| | mix | more than it needs | 47,859 | 30,000 |",
        "| | **kept** | | | **30,000** |",
        "| | | bad records: bad_box | 12 | |",
        "| | | objects, clean: tiny | 5,120 | |",
        "| | | objects, ask: not asked for | 77 | |",
        "| **odinw** | read | | | 1,000 |",
        "| | **kept** | | | **1,000** |",
    ]


def test_table_and_plot_say_the_same() -> None:
    steps = [
        "clean: no object left",
        "agree: image unreadable",
        "difficulty: rewards do not vary",
        "mix: more than it needs",
    ]
    lost = [214, 3, 40_211, 47_859]
    assert [text for text in texts(waterfall_svg(WATERFALL)) if ": " in text] == steps
    assert sorted(numbers(printed(WATERFALL))) == sorted(numbers(waterfall_markdown(WATERFALL)))
    said = texts(waterfall_svg(WATERFALL))
    assert said[:2] == ["coco", "30,000 of 118,287 kept"]
    assert [said[said.index(step) + 1] for step in steps] == [f"\N{MINUS SIGN}{n:,}" for n in lost]
    assert [said[said.index(step) + 2] for step in steps] == ["0.2%", "<0.1%", "34.0%", "40.5%"]
    assert said[said.index("kept") + 1 :][:2] == ["30,000", "25.4%"]


def test_a_bar_begins_where_the_next_one_ends() -> None:
    read, clean, agree, difficulty, mix, kept = bars(waterfall_svg({"coco": COCO}))
    left, right = read[1:]
    assert clean[2] == right
    assert difficulty[1] == pytest.approx(left + (right - left) * 77_859 / 118_287, abs=0.1)
    assert (mix[1], mix[2]) == pytest.approx((kept[2], difficulty[1]), abs=0.2)
    assert kept[1] == left
    assert agree[2] - agree[1] >= 2  # three of a hundred thousand are seen
    assert difficulty[0] == clean[0] != mix[0]


@given(st.lists(st.integers(0, 1000), max_size=6), st.integers(0, 1000))
def test_bars_lie_on_their_tracks(lost: list[int], kept: int) -> None:
    course = Course(sum(lost) + kept, Counter({("step", str(k)): n for k, n in enumerate(lost)}))
    read, *steps, _ = bars(waterfall_svg({"a": course}))
    for _, left, right in steps:
        assert 330 <= left <= right <= 750.1
    if course.read:
        assert read[1:] == (330, 750)


def test_nothing_was_read() -> None:
    nothing = {"empty": Course()}
    assert "| **empty** | read | | | 0 |" in waterfall_markdown(nothing)
    assert numbers(printed(nothing)) == [0, 0]
    assert texts(waterfall_svg(nothing)) == ["empty", "0 of 0 kept", "read", "0", "0.0%", "kept", "0", "0.0%"]
    assert all(left == right for _, left, right in bars(waterfall_svg(nothing)))
    assert texts(waterfall_svg({})) == []


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names(name: str) -> None:
    waterfall = {name: Course(3, Counter({("clean", name): 1}), faults=Counter({name: 2})), "b": Course(1)}
    svg = waterfall_svg(waterfall)
    assert [element.tag for element in ET.fromstring(svg)].count(f"{SVG}script") == 0
    assert len(texts(svg)) == 2 + 3 * 3 + 2 + 2 * 3
    assert max(map(len, texts(svg))) <= 48
    if re.fullmatch("[ -~]{1,40}", name):
        assert texts(svg)[0] == name
        assert f"clean: {name}" in texts(svg)
        assert name in printed(waterfall)
    table = rows(waterfall_markdown(waterfall))
    assert [len(row) for row in table] == [5] * 6


@given(st.text())
def test_any_name_is_well_formed(name: str) -> None:
    ET.fromstring(waterfall_svg({name: Course(3, Counter({("clean", name): 1}))}))
