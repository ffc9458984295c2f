import json
import math
from xml.etree import ElementTree

import pytest

from vision_r1_eval import Panel, Series, svg_panel
from vision_r1_eval.report.panel import panel_figure

SVG = "{http://www.w3.org/2000/svg}"


def parse(panel):
    return ElementTree.fromstring(svg_panel(panel))


def ticks(svg, axis):
    return [e.text for e in svg.iter(f"{SVG}text") if e.get("class") == f"tick {axis}"]


def test_axes_have_round_ticks():
    svg = parse(Panel("Reward", "step", [Series("total", [(0, 0.1), (240, 0.93)])]))
    assert ticks(svg, "y") == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert ticks(svg, "x") == ["0", "50", "100", "150", "200"]


def test_y_max_is_the_top_and_negative_values_fit():
    svg = parse(Panel("KL", "step", [Series("kl", [(0, -0.5), (10, 5.0)])], y_max=1))
    assert ticks(svg, "y")[0] == "\N{MINUS SIGN}0.5"
    assert ticks(svg, "y")[-1] == "1"


def lines(svg, kind):
    return [e for e in svg.iter(f"{SVG}line") if e.get("class") == kind]


@pytest.mark.parametrize(
    "points",
    [[], [(1, 1)], [(0, 0), (1, 0)], [(0, math.nan), (1, math.inf)], [(5, 1e-30), (5, 1e30)]],
    ids=["none", "one", "flat", "not_finite", "extreme"],
)
@pytest.mark.parametrize("smooth", [True, False])
def test_any_points_draw(points, smooth):
    svg = svg_panel(Panel("x", "step", [Series("a", points * 10, smooth)]))
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg


def test_smooth_series_show_both_lines_and_their_average():
    noisy = [(step, step % 2) for step in range(100)]
    svg = parse(Panel("x", "step", [Series("a", noisy, smooth=True)]))
    assert [e.get("class") for e in svg.iter(f"{SVG}polyline")] == ["raw", "line"]
    (line,) = json.loads(svg.get("data-plot"))["lines"]
    assert len(line["points"]) == 100
    assert all(0.35 < y < 0.65 for _, y in line["points"])
    assert "moving average over 7 points" in panel_figure(
        Panel("x", "step", [Series("a", noisy, smooth=True)])
    )


def test_a_moving_average_keeps_a_constant_line():
    svg = parse(Panel("x", "step", [Series("a", [(step, 2.0) for step in range(30)], smooth=True)]))
    (line,) = json.loads(svg.get("data-plot"))["lines"]
    assert {y for _, y in line["points"]} == {2.0}


def test_many_series_have_a_legend_of_several_rows():
    names = [f"a series with quite a long name {n}" for n in range(8)]
    svg = parse(Panel("x", "step", [Series(name, [(0, 1), (1, 2)]) for name in names]))
    assert [e.text for e in svg.iter(f"{SVG}text") if e.get("class") == "legend"] == names
    assert float(svg.get("viewBox").split()[3]) > 270


def test_names_are_text():
    svg = svg_panel(Panel("<script>", "</svg>", [Series('"><script>', [(0, 1)]), Series("b", [(0, 1)])]))
    ElementTree.fromstring(svg)
    assert "<script" not in svg


def test_a_limit_is_drawn_and_fits():
    svg = parse(Panel("x", "step", [Series("a", [(0, 0.1), (9, 0.2)])], limit=1.0))
    (limit,) = lines(svg, "limit")
    assert limit.get("y1") == limit.get("y2") == lines(svg, "grid")[-1].get("y1")
    assert ticks(svg, "y")[-1] == "1"
    assert not lines(parse(Panel("x", "step", [Series("a", [(0, 0.1)])])), "limit")


def test_marked_parts_are_shaded_and_wide_enough_to_be_seen():
    svg = parse(Panel("x", "step", [Series("a", [(0, 1), (1000, 1)])], marked=[(500, 1000), (2, 2)]))
    half, thin = (e for e in svg.iter(f"{SVG}rect") if e.get("class") == "mark")
    plot = json.loads(svg.get("data-plot"))
    assert float(half.get("x")) == (plot["left"] + plot["right"]) / 2
    assert float(half.get("x")) + float(half.get("width")) == plot["right"]
    assert float(thin.get("width")) == 2


def test_the_horizontal_axis_can_be_given():
    svg = parse(Panel("x", "step", [Series("a", [(40, 1)])], x_range=(0, 100)))
    assert ticks(svg, "x") == ["0", "20", "40", "60", "80", "100"]


def test_a_small_panel_has_few_ticks():
    svg = parse(Panel("x", "step", [Series("a", [(0, 0), (100, 1)])], small=True))
    assert float(svg.get("viewBox").split()[2]) < 210
    assert ticks(svg, "y") == ["0", "0.5", "1"]
    assert ticks(svg, "x") == ["0", "50", "100"]
