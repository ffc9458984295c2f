"""The page: headline, metrics, curves, gallery and facts in one file."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Literal

from vision_r1_eval.metrics import Meaning, change, meanings, number, ratio
from vision_r1_eval.report.content import Report
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.panel import panel_figure
from vision_r1_eval.report.scene import label_colours, scene_change, scene_figure
from vision_r1_eval.report.shell import html_page, write_whole

_ARROW = "\N{RIGHTWARDS ARROW}"
_HEAD = tag(
    "thead",
    tag(
        "tr",
        *(tag("th", name, scope="col") for name in ("metric", "before", "after", "change")),
        tag("td", tag("span", class_="ring"), " before ", tag("span", class_="dot"), " after", class_="wide"),
    ),
)
_CHANGES: tuple[Literal["better", "worse", "unchanged"], ...] = ("better", "worse", "unchanged")


def write_report(path: Path | str, report: Report) -> None:
    """Write a report as one HTML file that needs nothing else: no network, no file beside it.

    The file appears whole or not at all: it is written under a temporary name and renamed. Whatever a
    model wrote is shown as text, never run.

    Args:
        path: the HTML file; replaced if it exists.
        report: what to show.

    Raises:
        OSError: the file cannot be written, or an image of the gallery cannot be read.
    """
    write_whole(Path(path), _page(report))


def _page(report: Report) -> str:
    protocol = tag("p", tag("span", "Protocol"), " ", text(report.protocol), class_="protocol")
    return html_page(
        report.title,
        report.subtitle,
        tag("section", tag("div", _headline(report), class_="tiles"), protocol, class_="headline"),
        tag("section", tag("h2", "Metrics"), tag("table", _HEAD, tag("tbody", _table(report)))),
        _monitors(report),
        _curves(report),
        _gallery(report),
        _facts(report),
    )


def _headline(report: Report) -> str:
    before, after = report.before.as_dict(), report.after.as_dict()
    tiles = [
        tag(
            "div",
            tag("h3", text(name)),
            tag("p", number(before[key]), f" {_ARROW} ", tag("strong", number(after[key]))),
            tag("small", text(note)),
            class_="tile",
        )
        for key, name, note in (
            ("AP50", "AP50", _times(before["AP50"], after["AP50"])),
            ("F1@50", "F1 at IoU .50", _times(before["F1@50"], after["F1@50"])),
            ("boxes_per_answer", "Boxes per answer", f"{after['boxes_per_image']:.2f} are true per image"),
        )
    ]
    hero = tag(
        "div",
        tag("h3", "mAP"),
        tag(
            "p",
            tag("span", number(before["mAP"]), class_="old"),
            tag("span", _ARROW, class_="arrow"),
            tag("strong", number(after["mAP"])),
        ),
        tag("small", text(_times(before["mAP"], after["mAP"]))),
        class_="tile hero",
    )
    return hero + "".join(tiles)


def _times(before: float, after: float) -> str:
    times = ratio(before, after)
    return f"\N{MULTIPLICATION SIGN}{times[:-1]}" if times != "-" else f"change {change(before, after)}"


def _table(report: Report) -> str:
    before, after = report.before.as_dict(), report.after.as_dict()
    most_boxes = max(max(d["boxes_per_answer"], d["boxes_per_image"]) for d in (before, after))
    rows = []
    for meaning in meanings():
        old, new = before[meaning.key], after[meaning.key]
        top = most_boxes if meaning.key.startswith("boxes") else 1.0
        rows.append(
            tag(
                "tr",
                tag("th", text(meaning.key), scope="row", title=meaning.text),
                tag("td", number(old)),
                tag("td", number(new)),
                tag(
                    "td", change(old, new).replace("-", "\N{MINUS SIGN}"), class_=_verdict(meaning, old, new)
                ),
                tag("td", _dumbbell(old, new, top), class_="wide"),
            )
        )
    return "".join(rows)


def _verdict(meaning: Meaning, old: float, new: float) -> str | None:
    difference = new - old
    if meaning.better == "neither" or not abs(difference) >= 0.0005:
        return None
    return "good" if (difference > 0) == (meaning.better == "higher") else "bad"


def _dumbbell(old: float, new: float, top: float) -> str:
    """Both numbers on one scale from zero: a ring before, a dot after."""
    if not (math.isfinite(old) and math.isfinite(new) and top > 0):
        return ""
    left, right = (4 + 152 * min(value / top, 1) for value in (old, new))
    return tag(
        "svg",
        tag("line", class_="scale", x1=4, x2=156, y1=8, y2=8),
        tag("line", class_="span", x1=left, x2=right, y1=8, y2=8),
        tag("circle", class_="old", cx=left, cy=8, r=3.5),
        tag("circle", class_="new", cx=right, cy=8, r=4),
        viewBox="0 0 160 16",
        class_="dumbbell",
        aria_hidden="true",
    )


def _monitors(report: Report) -> str:
    monitors = report.monitors
    if monitors is None:
        return ""
    alarms = [tag("li", tag("strong", text(name)), " ", text(when)) for name, when in monitors.alarms]
    verdict = tag(
        "div",
        tag("p", text(monitors.verdict)),
        tag("ul", *alarms) if alarms else "",
        class_="verdict bad" if alarms else "verdict good",
    )
    panels = tag("div", *map(panel_figure, monitors.panels), class_="monitors")
    note = tag("p", text(monitors.note), class_="note")
    return tag("section", tag("h2", "Signs of a gamed reward"), verdict, note, panels)


def _curves(report: Report) -> str:
    if not report.curves:
        return ""
    panels = tag("div", *map(panel_figure, report.curves), class_="panels")
    return tag("section", tag("h2", "Curves"), panels)


def _gallery(report: Report) -> str:
    if not report.gallery:
        return ""
    colours = label_colours(report.gallery)
    scenes = [scene_figure(scene, colours, place) for place, scene in enumerate(report.gallery)]
    counts = Counter(map(scene_change, report.gallery))
    buttons = [
        tag(
            "button",
            kind.capitalize(),
            tag("span", str(count)),
            type="button",
            data_filter=kind,
            aria_pressed=str(kind == "all").lower(),
        )
        for kind, count in (("all", len(scenes)), *((kind, counts[kind]) for kind in _CHANGES))
    ]
    key = tag(
        "p",
        *(tag("span", tag("i", class_=kind), kind) for kind in ("right", "missed", "invented")),
        "at IoU .50 with the right label; better and worse by F1",
        class_="key",
    )
    return tag(
        "section",
        tag("h2", "Scenes"),
        tag("div", tag("nav", *buttons, aria_label="Filter scenes"), key, class_="controls"),
        tag("div", *scenes, class_="scenes"),
    )


def _facts(report: Report) -> str:
    if not report.facts:
        return ""
    entries = [tag("div", tag("dt", text(name)), tag("dd", text(value))) for name, value in report.facts]
    return tag("section", tag("h2", "About this run"), tag("dl", *entries))
