from xml.etree import ElementTree

import pytest

from vision_r1_eval.report.bars import bar_list, columns_figure, share
from vision_r1_eval.report.content import Bars


def parse(*bars, **rest):
    return ElementTree.fromstring(columns_figure(Bars("Objects per image", bars, **rest)))


def heights(figure):
    """From the base to the top of each column: its path says M left base V ... Q left top."""
    paths = [path.get("d").split() for path in figure.iter("path")]
    return [float(d[1].split("V")[0]) - float(d[2]) for d in paths]


def test_columns_are_as_high_as_their_counts():
    figure = parse(("0", 10), ("1", 40), ("2", 0), ("3", 20), note="A note.")
    low, high, middle = heights(figure)
    assert (high / low, high / middle) == (4, 2)
    assert [title.text for title in figure.iter("title")] == [
        "0: 10 (14%)",
        "1: 40 (57%)",
        "2: 0 (0%)",
        "3: 20 (29%)",
    ]
    assert figure.find("figcaption").text == "A note."


def test_a_rare_column_can_be_seen():
    assert min(heights(parse(("many", 1_000_000), ("few", 1)))) >= 1


@pytest.mark.parametrize("bars", [[], [("none", 0)]], ids=["empty", "zero"])
def test_nothing_to_count(bars):
    assert heights(parse(*bars)) == []
    assert bar_list(bars, {}).startswith('<ol class="bars">')


def test_names_are_text():
    bars = [("<script>", 1)]
    for markup in (columns_figure(Bars("<b>", bars, "<i>", "<u>")), bar_list(bars, {"<script>": '"'})):
        root = ElementTree.fromstring(markup)
        assert {part.tag for part in root.iter()}.isdisjoint({"script", "b>", "u"})
        assert "&lt;script&gt;" in markup


def test_shares_say_what_is_there():
    assert [share(n, 1000) for n in (0, 1, 9, 10, 505, 990, 991, 1000)] == [
        "0%",
        "<1%",
        "<1%",
        "1%",
        "50%",
        "99%",
        ">99%",
        "100%",
    ]
