"""The page of an audit: the table, and for every hole its worst scene with both answers drawn on it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from importlib.resources import files
from itertools import groupby

from vision_r1_data import Answer, Box, Objects, get_dialect
from vision_r1_data.frame import Polygon
from vision_r1_data.prompts import TASKS
from vision_r1_eval import match_objects
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.shell import html_page
from vision_r1_grpo import Target
from vision_r1_grpo.rewards.audit import Audit, Example, Finding

UNSCALED = (
    "This reward gives more for boxes in pixels of the original image than in those that the model sees, in "
    "which answers are written. Scale them, or audit it with --no-resize."
)
_INVENTED = "#d92d3a"
_MOST_BOXES = 300  # more are a red carpet
_MOST_TEXT = 4000  # characters
_KEYS = {  # of forms in which an answer does not show the objects it is about
    "points": (("right", "invented"), "a point in an object of its label is right; objects are dashed"),
    "number": ((), "objects are dashed"),
}
_HEAD = tag(
    "thead",
    tag(
        "tr",
        *(tag("th", name, scope="col") for name in ("exploit", "scores", "honest")),
        tag(
            "td", tag("span", class_="ring"), " honest ", tag("span", class_="dot"), " exploit", class_="wide"
        ),
        *(tag("th", name, scope="col") for name in ("at least as good", "verdict")),
    ),
)
_MARGIN = 0.06  # of the width, around the image, for what lies beyond it


def audit_page(found: Audit, reward: str) -> str:
    """One HTML file that needs nothing else: no network, no file beside it."""
    holes, count = len(found.holes), len(found.findings)
    protocol = tag("p", tag("span", "Protocol"), " ", _protocol(found), class_="protocol")
    return html_page(
        f"Reward audit: {reward}",
        f"{holes} of {count} exploits earn what they should not."
        if holes
        else f"No hole: none of {count} exploits earns what it should not.",
        tag("section", protocol, class_="headline"),
        tag("section", tag("h2", "Exploits"), tag("table", _HEAD, _table(found), class_="audit")),
        _holes(found),
        styles=[files(__package__).joinpath("style.css").read_text("utf-8")],
    )


def _protocol(found: Audit) -> str:
    said = text(
        f"Task {found.task}, {found.scenes} random scenes, seed {found.seed}, answers as {found.dialect} "
        "writes them. Scores are means over the scenes where the exploit can be tried. An exploit wins if it "
        "earns more than the honest answer on any scene, and is free if it earns as much: the completions of "
        "one prompt compete. What holds may earn as much, and never earned more."
    )
    blind = "Right answers earn no more than wrong ones: the reward does not read what is written here."
    warning = blind if found.blind else UNSCALED if found.unscaled else ""
    return said + (tag("p", text(warning), class_="blind") if warning else "")


def _table(found: Audit) -> str:
    means = [mean for finding in found.findings for mean in (finding.score, finding.honest)]
    low, high = min(*means, 0.0), max(*means, 1.0)
    return "".join(
        tag("tbody", _group(name), *(_row(finding, low, high) for finding in findings))
        for name, findings in groupby(found.findings, lambda finding: finding.group)
    )


def _group(name: str) -> str:
    return tag("tr", tag("th", text(name), scope="rowgroup", colspan=6), class_="group")


def _row(finding: Finding, low: float, high: float) -> str:
    name = text(finding.name)
    if finding.hole:
        name = tag("a", name, href=f"#{_anchor(finding)}")
    return tag(
        "tr",
        tag("th", name, tag("small", text(finding.does)), scope="row"),
        tag("td", f"{finding.score:.3f}"),
        tag("td", f"{finding.honest:.3f}"),
        tag("td", _dumbbell(finding, low, high), class_="wide"),
        tag("td", f"{finding.at_least:.0%}"),
        tag("td", tag("span", finding.verdict, class_=f"verdict {finding.verdict}")),
    )


def _anchor(finding: Finding) -> str:
    return finding.name.replace(" ", "-")


def _dumbbell(finding: Finding, low: float, high: float) -> str:
    """Both means on the one scale of the table."""
    exploit, honest = (4 + 152 * (value - low) / (high - low) for value in (finding.score, finding.honest))
    return tag(
        "svg",
        tag("line", class_="scale", x1=4, x2=156, y1=8, y2=8),
        tag("line", class_="span", x1=exploit, x2=honest, y1=8, y2=8),
        tag("circle", class_="new", cx=exploit, cy=8, r=4),
        tag("circle", class_="old", cx=honest, cy=8, r=3.5),
        viewBox="0 0 160 16",
        class_="dumbbell",
        aria_hidden="true",
    )


def _holes(found: Audit) -> str:
    if not found.holes:
        return ""
    scenes = [_hole(finding, found, place) for place, finding in enumerate(found.holes)]
    kinds, by = _KEYS.get(
        TASKS[found.task].form, (("right", "missed", "invented"), "at IoU .50 with the right label")
    )
    key = tag("p", *(tag("span", tag("i", class_=kind), kind) for kind in kinds), by, class_="key")
    controls = tag("div", tag("p", "The scene where each gains most."), key, class_="controls")
    return tag("section", tag("h2", "Holes"), controls, tag("div", *scenes, class_="holes"))


def _hole(finding: Finding, found: Audit, place: int) -> str:
    worst = finding.worst
    count = len(worst.target.boxes)
    gain = f"gains {worst.gain:.3f}" if finding.verdict == "wins" else "costs nothing"
    header = tag("header", tag("h3", text(finding.name)), tag("span", gain, class_="badge worse"))
    said = f"{finding.does} {count or 'No'} object{'' if count == 1 else 's'} there; "
    asked = f"asked for: {', '.join(worst.target.categories) or 'all'}."
    strip = tag(
        "div",
        _picture("Honest answer", worst, worst.honest, worst.honest_score, found, f"h{place}"),
        _picture("Exploit", worst, worst.exploit, worst.exploit_score, found, f"e{place}"),
        class_="strip",
    )
    return tag("article", header, tag("p", text(said + asked)), strip, class_="scene", id=_anchor(finding))


def _picture(name: str, example: Example, answer: str, score: float, found: Audit, number: str) -> str:
    return tag(
        "figure",
        tag("h4", text(name), " earns ", tag("b", f"{score:.3f}")),
        _drawing(example, answer, found, number),
        tag("pre", text(_short(answer) or "(no text)")),
    )


def _short(answer: str) -> str:
    """What can be read in a minute, with letters that nobody sees as escapes."""
    answer = "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cf" else c for c in answer)
    left = len(answer) - _MOST_TEXT
    return answer if left <= 0 else f"{answer[:_MOST_TEXT]}\n[... {left} more characters]"


def _drawing(example: Example, answer: str, found: Audit, number: str) -> str:
    """The image as a plain sheet, what the answer misses, and the boxes it says."""
    target = example.target
    said = _read(answer, target, found)
    matching = match_objects(Objects(target.boxes, target.labels), _extended(said, target, found), 0.5)
    width, height = target.frame.width, target.frame.height
    colours = _colours((*target.labels, *target.categories))
    invented = set(matching.invented)
    there: list[tuple[int, str]] = (
        [(k, "object") for k in range(len(target.boxes))]
        if TASKS[found.task].form in _KEYS
        else [(k, "missed") for k in matching.missed]
    )
    boxes = [(target.boxes[k], target.labels[k], kind) for k, kind in there]
    boxes += [
        (box, label, "invented" if m in invented else "right")
        for m, (box, label) in enumerate(zip(said.boxes, said.labels, strict=True))
    ][:_MOST_BOXES]
    margin = _MARGIN * width
    stroke = tag("path", d=f"M0 0V{width / 24:.2f}", stroke=_INVENTED, stroke_width=width / 60)
    hatch = tag(
        "pattern",
        stroke,
        id=f"hatch-{number}",
        width=width / 24,
        height=width / 24,
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    return tag(
        "svg",
        hatch,
        tag("rect", class_="canvas", width=width, height=height),
        *(_box(box, label, kind, colours, number, width) for box, label, kind in boxes),
        *(
            _outline(*one, colours)
            for one in list(zip(said.polygons, said.labels, strict=False))[:_MOST_BOXES]
        ),
        *(_name(box, label, kind, colours, width) for box, label, kind in boxes if len(boxes) <= 30),
        viewBox=f"{-margin:.1f} {-margin:.1f} {width + 2 * margin:.1f} {height + 2 * margin:.1f}",
        role="img",
        aria_label=f"{len(said.boxes)} boxes",
        stroke_width=width / 160,
        font_size=width / 32,
    )


def _read(answer: str, target: Target, found: Audit) -> Answer:
    """What to draw of the answer; a number says nothing of places, so it is all that is there."""
    form = TASKS[found.task].form
    if form == "number":
        return Answer(target.boxes, target.labels)
    return get_dialect(found.dialect).decode(answer, target.frame, form)


def _extended(said: Answer, target: Target, found: Audit) -> Answer:
    """The answer with each point as the box of its label that it lies in, where there is one."""
    if TASKS[found.task].form != "points":
        return said
    true = list(zip(target.boxes, target.labels, strict=True))

    def hit(point: Box, label: str) -> Box:
        x, y, *_ = point
        inside = (b for b, name in true if name == label and b[0] <= x <= b[2] and b[1] <= y <= b[3])
        return next(inside, point)

    return replace(said, boxes=tuple(map(hit, said.boxes, said.labels)))


def _colours(labels: tuple[str, ...]) -> dict[str, str]:
    """A colour for each label; red is kept for invented boxes."""
    known = sorted(set(labels))
    return {
        label: f"hsl({45 + 285 * place / len(known):.0f} {75 - 15 * (place % 2)}% {36 + 8 * (place % 2)}%)"
        for place, label in enumerate(known)
    }


def _box(box: Box, label: str, kind: str, colours: dict[str, str], number: str, width: float) -> str:
    dot = 0.0 if box[:2] != box[2:] else width / 80  # a point is a square of that size
    return tag(
        "rect",
        tag("title", text(label if kind in ("right", "object") else f"{kind}: {label}")),
        class_=kind,
        x=min(box[0], box[2]) - dot / 2,
        y=min(box[1], box[3]) - dot / 2,
        width=abs(box[2] - box[0]) + dot,
        height=abs(box[3] - box[1]) + dot,
        stroke=_INVENTED if kind == "invented" else colours.get(label, "currentColor"),
        fill=f"url(#hatch-{number})" if kind == "invented" else "transparent",
        fill_opacity=0.45 if kind == "invented" else None,
        stroke_dasharray=f"{width / 50:.2f} {width / 70:.2f}" if kind in ("missed", "object") else None,
    )


def _outline(polygon: Polygon, label: str, colours: dict[str, str]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in polygon)
    colour = colours.get(label, "currentColor")
    return tag("polygon", class_="outline", points=points, stroke=colour, fill=colour, fill_opacity=0.25)


def _name(box: Box, label: str, kind: str, colours: dict[str, str], width: float) -> str:
    """The label inside the upper left corner; of an object not said, inside the lower left one."""
    size = width / 32
    x = min(box[0], box[2]) + 0.3 * size
    y = max(box[1], box[3]) - 0.4 * size if kind in ("missed", "object") else min(box[1], box[3]) + 1.1 * size
    colour = _INVENTED if kind == "invented" else colours.get(label, "currentColor")
    return tag("text", text(label), class_="name", x=float(x), y=float(y), fill=colour)
