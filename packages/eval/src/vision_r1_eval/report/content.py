"""What a report shows, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vision_r1_data import Answer, Objects
from vision_r1_eval.metrics import Metrics

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel.

    Args:
        name: what the legend says.
        points: (x, y) from left to right; a point that is not finite is left out.
        smooth: the points are noisy: draw them light, and their moving average bold.
    """

    name: str
    points: Sequence[Point]
    smooth: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart.

    Args:
        title: what it shows.
        x_label: what the horizontal axis counts.
        series: the lines.
        note: a sentence below that says how to read it.
        y_max: the top of the vertical axis; fitted to the points if left out.
        x_range: the ends of the horizontal axis; fitted to the points if left out.
        limit: a value that the lines should stay below, drawn as a dashed line.
        marked: (from, to) of what is shaded, such as where a line is above its limit.
        small: drawn at half the size, to stand in a row with others.
    """

    title: str
    x_label: str
    series: Sequence[Series]
    note: str = ""
    y_max: float | None = None
    x_range: tuple[float, float] | None = None
    limit: float | None = None
    marked: Sequence[tuple[float, float]] = ()
    small: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts side by side, such as a histogram.

    Args:
        title: what they show.
        bars: (name, count) from left to right.
        x_label: what the names say.
        note: a sentence below that says how to read them.
    """

    title: str
    bars: Sequence[tuple[str, int]]
    x_label: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Monitors:
    """Signs that something goes wrong, and whether they say so.

    Args:
        verdict: one sentence.
        note: how to read the charts.
        alarms: (name, when and what it means) of each that was on; empty if all is well.
        panels: charts; one that is not small takes the room of four.
    """

    verdict: str
    note: str
    alarms: Sequence[tuple[str, str]]
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Scene:
    """One image with what is true, and what was answered before and after.

    Args:
        image: the picture, or the path of its file.
        id: how the page calls it.
        truth: the annotated objects, in the image's pixels.
        before: the answer before, in the image's pixels.
        after: the answer after, likewise.
        before_text: the completion behind `before`.
        after_text: the completion behind `after`.
    """

    image: Image.Image | Path | str
    id: str
    truth: Objects
    before: Answer
    after: Answer
    before_text: str = ""
    after_text: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page.

    Args:
        title: the headline.
        subtitle: one sentence below it.
        protocol: how the numbers were made; printed beside them.
        before: the metrics before.
        after: the metrics after.
        monitors: signs of a gamed reward.
        curves: charts, in the order of the page.
        gallery: scenes, in the order of the page.
        facts: (name, value) pairs about the run: model, data, time, seed.
    """

    title: str
    subtitle: str
    protocol: str
    before: Metrics
    after: Metrics
    monitors: Monitors | None = None
    curves: Sequence[Panel] = ()
    gallery: Sequence[Scene] = ()
    facts: Sequence[tuple[str, str]] = ()
