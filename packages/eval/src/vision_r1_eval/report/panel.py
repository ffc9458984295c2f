"""A chart as SVG: one drawing for the page and for pictures elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vision_r1_eval.report.content import Panel, Point, Series
from vision_r1_eval.report.files import read_file
from vision_r1_eval.report.markup import tag, text

_LEGEND_ROW = 20.0
_CHARACTER = 6.6  # width of a legend's character at 12 px, on the generous side
_COLOURS = 6  # --series-0 to --series-5 in theme.css


@dataclass(frozen=True, slots=True)
class _Layout:
    """The size of a chart, its margins, how many ticks fit an axis, and up to how many points get dots."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: int
    y_ticks: int
    dots: int


_LARGE = _Layout(420.0, 270.0, 46.0, 14.0, 38.0, 42.0, x_ticks=5, y_ticks=5, dots=40)
_SMALL = _Layout(190.0, 116.0, 32.0, 8.0, 32.0, 20.0, x_ticks=3, y_ticks=2, dots=12)


def svg_panel(panel: Panel) -> str:
    """The chart as a file of its own, light or dark as its reader prefers.

    Returns:
        An SVG document without references to anything outside.

    Example:
        >>> svg = svg_panel(Panel("Reward", "step", [Series("total", [(0, 0.2), (1, 0.4)])]))
        >>> svg[:4], "Reward" in svg
        ('<svg', True)
    """
    style = tag("style", read_file("theme.css") + read_file("panel.css"))
    layout = _layout(panel)
    return _svg(panel, style, width=int(2 * layout.width), height=int(2 * layout.height))


def panel_figure(panel: Panel) -> str:
    """The chart in a page that brings the styles, with its note below."""
    notes = [panel.note] if panel.note else []
    windows = sorted({window for series in panel.series if (window := _window(series)) > 1})
    if windows:
        notes.append(f"Bold: moving average over {' or '.join(map(str, windows))} points.")
    caption = tag("figcaption", text(" ".join(notes))) if notes else ""
    kinds = ("panel", *["small"] * panel.small, *["alarmed"] * bool(panel.marked))
    return tag("figure", _svg(panel, ""), caption, class_=" ".join(kinds))


def _layout(panel: Panel) -> _Layout:
    return _SMALL if panel.small else _LARGE


@dataclass(frozen=True, slots=True)
class _Line:
    """A series ready to be drawn: finite points, and their moving average where it is asked for."""

    name: str
    colour: str
    dash: str | None
    points: list[Point]
    average: list[Point]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values from low to high, mapped to pixels from start to end."""

    low: float
    high: float
    start: float
    end: float
    step: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0), 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside, by steps of 1, 2 or 5 times a power of ten."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [round(n * self.step, 12) for n in range(first, last + 1)]


def _svg(panel: Panel, style: str, **size: int) -> str:
    lines = [_line(number, series) for number, series in enumerate(panel.series)]
    layout = _layout(panel)
    legend, rows = _legend(lines, layout) if len(lines) > 1 else ("", 0)
    top = layout.top + rows * _LEGEND_ROW
    height = layout.height + rows * _LEGEND_ROW
    bottom = height - layout.bottom
    x_axis, y_axis = _axes(panel, lines, top, bottom)
    plot = {
        "viewWidth": layout.width,
        "left": x_axis.start,
        "right": x_axis.end,
        "low": x_axis.low,
        "high": x_axis.high,
        "xLabel": panel.x_label,
        "lines": [
            {"name": line.name, "colour": line.colour, "points": _rounded(line.average or line.points)}
            for line in lines
        ],
    }
    return tag(
        "svg",
        style,
        tag("text", text(panel.title), class_="title", x=2, y=18),
        legend,
        *(_mark(span, x_axis, top, bottom) for span in panel.marked),
        _grid(x_axis, y_axis, "" if panel.small else panel.x_label, height),
        "" if panel.limit is None else _horizontal("limit", x_axis, y_axis(panel.limit)),
        *(_draw(line, x_axis, y_axis, layout.dots) for line in lines),
        tag("line", class_="cursor", y1=top, y2=bottom),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {layout.width:g} {height:g}",
        class_="chart",
        role="img",
        aria_label=f"{panel.title}: {', '.join(line.name for line in lines)} by {panel.x_label}",
        data_plot=json.dumps(plot, separators=(",", ":")),
        **size,
    )


def _line(number: int, series: Series) -> _Line:
    points = [(float(x), float(y)) for x, y in series.points if math.isfinite(x) and math.isfinite(y)]
    window = _window(series)
    return _Line(
        name=series.name,
        colour=f"var(--series-{number % _COLOURS})",
        # Colours repeat after the sixth line; dashes tell the rounds apart.
        dash=None if number < _COLOURS else "6 4",
        points=points,
        average=_moving_average(points, window) if window > 1 else [],
    )


def _window(series: Series) -> int:
    """How many points a moving average covers: odd, about a fifteenth of the line; 1 for none."""
    few = len(series.points) < 8
    return 1 if few or not series.smooth else max(3, len(series.points) // 15 | 1)


def _moving_average(points: Sequence[Point], window: int) -> list[Point]:
    """Centred; at the ends over the points that there are."""
    if not points:
        return []
    window = min(window, len(points))
    values, ones = np.asarray([y for _, y in points]), np.ones(window)
    means = np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")
    return [(x, float(mean)) for (x, _), mean in zip(points, means, strict=True)]


def _axes(panel: Panel, lines: Iterable[_Line], top: float, bottom: float) -> tuple[_Axis, _Axis]:
    points = [point for line in lines for point in line.points] or [(0.0, 0.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, right = panel.x_range or (min(xs), max(xs))
    layout, low = _layout(panel), min(0.0, *ys)
    high = max(0.0, panel.limit or 0.0, *ys) if panel.y_max is None else max(panel.y_max, low)
    step = _step(low, high, layout.y_ticks)
    low = math.floor(low / step + 1e-9) * step
    if panel.y_max is None or high <= low:
        high = max(math.ceil(high / step - 1e-9), 1) * step
    right = right if right > left else left + 1
    across = _step(left, right, layout.x_ticks)
    return (
        _Axis(left, right, layout.left, layout.width - layout.right, across),
        _Axis(low, high, bottom, top, step),
    )


def _step(low: float, high: float, ticks: int) -> float:
    rough = (high - low if high > low else 1.0) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, height: float) -> str:
    parts = []
    for value in y_axis.ticks():
        y = y_axis(value)
        kind = "base" if value == 0 else "grid"
        parts.append(_horizontal(kind, x_axis, y))
        parts.append(tag("text", text(_short(value)), class_="tick y", x=x_axis.start - 8, y=y + 4))
    parts += [
        tag("text", text(_short(value)), class_="tick x", x=x_axis(value), y=y_axis.start + 17)
        for value in x_axis.ticks()
    ]
    if x_label:
        middle = (x_axis.start + x_axis.end) / 2
        parts.append(tag("text", text(x_label), class_="tick x label", x=middle, y=height - 5))
    return "".join(parts)


def _horizontal(kind: str, x_axis: _Axis, y: float) -> str:
    return tag("line", class_=kind, x1=x_axis.start, x2=x_axis.end, y1=y, y2=y)


def _mark(span: tuple[float, float], x_axis: _Axis, top: float, bottom: float) -> str:
    """A shaded part of the plot, wide enough to be seen."""
    left, right = map(x_axis, span)
    return tag("rect", class_="mark", x=left, y=top, width=max(right - left, 2.0), height=bottom - top)


def _short(value: float) -> str:
    return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")


def _legend(lines: Iterable[_Line], layout: _Layout) -> tuple[str, int]:
    """The names beside strokes of their colours, in as many rows as they need."""
    parts, x, row = [], 2.0, 0
    for line in lines:
        width = 24 + _CHARACTER * len(line.name)
        if x > 2 and x + width > layout.width:
            x, row = 2.0, row + 1
        y = layout.top - 2 + row * _LEGEND_ROW
        stroke = {"stroke": line.colour, "stroke_dasharray": line.dash}
        parts.append(tag("line", class_="line", x1=x, x2=x + 14, y1=y, y2=y, **stroke))
        parts.append(tag("text", text(line.name), class_="legend", x=x + 20, y=y + 4))
        x += width + 12
    return "".join(parts), row + 1


def _draw(line: _Line, x_axis: _Axis, y_axis: _Axis, most_dots: int) -> str:
    def path(points: Sequence[Point], kind: str) -> str:
        places = " ".join(f"{x_axis(x):.1f},{y_axis(y):.1f}" for x, y in points)
        return tag("polyline", class_=kind, points=places, stroke=line.colour, stroke_dasharray=line.dash)

    if line.average:
        return path(line.points, "raw") + path(line.average, "line")
    dots = line.points if len(line.points) <= most_dots else []
    return path(line.points, "line") + "".join(
        tag("circle", cx=x_axis(x), cy=y_axis(y), r=2.5, fill=line.colour) for x, y in dots
    )


def _rounded(points: Iterable[Point]) -> list[list[float]]:
    return [[float(f"{x:.6g}"), float(f"{y:.4g}")] for x, y in points]
