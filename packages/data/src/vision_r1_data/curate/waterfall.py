"""What became of every sample: a table and a plot of what was read, left out and why, and kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from rich.table import Table
from rich.text import Text

from vision_r1_data.curate.step import Reason
from vision_r1_data.manifest import markdown_cell

_INK, _SOFT, _RULE, _TRACK = "#1f2328", "#59636e", "#d9dee3", "#f0f2f4"
_READ, _LOST, _SPARE, _KEPT = "#8793a0", "#d1553f", "#e0a458", "#2f7d5b"
_ROW, _LABELS, _BARS, _NUMBERS, _MARGIN = 22, 330, 420, 130, 16  # pixels
_LONGEST = 48  # characters of a label
_UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # which XML cannot hold


@dataclass
class Course:
    """What became of the samples of one source.

    Args:
        read: how many its reader gave.
        dropped: step and reason -> samples, in the order of the steps.
        objects: step and reason -> annotated objects that a step left out, be their samples kept or not.
        faults: kind -> records that the reader could not use.
        told: the first of these, in one line each.
    """

    read: int = 0
    dropped: Counter[Reason] = field(default_factory=Counter)
    objects: Counter[Reason] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """How many are left."""
        return self.read - self.dropped.total()

    def rows(self) -> Iterator[tuple[str, str, int, int]]:
        """Step, reason, samples that were left out, and samples that were left after it."""
        left = self.read
        for (step, reason), count in self.dropped.items():
            left -= count
            yield step, reason, count, left

    def __str__(self) -> str:
        lost = [f"{count} {step}: {reason}" for step, reason, count, _ in self.rows()]
        lost += [f"{count} bad records: {kind}" for kind, count in self.faults.items()]
        return f"{self.read} were read and {self.kept} are left ({'; '.join(lost) or 'nothing is left out'})"


Waterfall = dict[str, Course]
"""Source -> what became of its samples."""


def waterfall_table(waterfall: Waterfall) -> Table:
    """The table for a terminal."""
    table = Table("source", "step", "reason", title="What became of every sample", title_justify="left")
    for name in ("left out", "samples"):
        table.add_column(name, justify="right")
    for source, course in waterfall.items():
        table.add_row(Text(source), "read", "", "", f"{course.read:,}", style="bold")
        for step, reason, count, left in course.rows():
            table.add_row("", step, Text(reason), f"{count:,}", f"{left:,}")
        table.add_row("", "kept", "", "", f"{course.kept:,}", style="bold", end_section=True)
    for source, course in waterfall.items():
        for where, count in _beside(course):
            table.add_row(Text(source), "", Text(where), f"{count:,}", "", style="dim")
    return table


def waterfall_markdown(waterfall: Waterfall) -> str:
    """The table for a dataset card."""
    lines = ["| source | step | reason | left out | samples |", "|---|---|---|---:|---:|"]
    for source, course in waterfall.items():
        lines.append(f"| **{markdown_cell(source)}** | read | | | {course.read:,} |")
        lines += [
            f"| | {step} | {markdown_cell(reason)} | {count:,} | {left:,} |"
            for step, reason, count, left in course.rows()
        ]
        lines.append(f"| | **kept** | | | **{course.kept:,}** |")
        lines += [f"| | | {markdown_cell(where)} | {count:,} | |" for where, count in _beside(course)]
    return "\n".join(lines)


def waterfall_svg(waterfall: Waterfall) -> str:
    """The plot: for each source a bar of what was read, what each reason took of it, and what was kept."""
    parts: list[str] = []
    top = _MARGIN
    for number, (source, course) in enumerate(waterfall.items()):
        if number:
            parts.append(f'<path d="M0 {top}H{_LABELS + _BARS + _NUMBERS}" stroke="{_RULE}"/>')
            top += _MARGIN
        said = f"{course.kept:,} of {course.read:,} kept"
        parts.append(_text(0, top + 15, _short(source), weight=650, size=15))
        parts.append(_text(_LABELS + _BARS + _NUMBERS, top + 15, said, anchor="end", colour=_SOFT))
        top += 30
        for row in _bars(course):
            parts.append(_bar(row, top, course.read))
            top += _ROW
        top += _MARGIN
    width = _LABELS + _BARS + _NUMBERS + 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} 0 {width} {top}" width="{width}" '
        f'height="{top}" style="max-width:100%;height:auto" font-family="system-ui, sans-serif" role="img">'
        f"<title>What became of every sample</title>"
        f'<rect x="{-_MARGIN}" width="{width}" height="{top}" rx="8" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A bar from `start` on, of `count` samples."""

    label: str
    count: int
    start: int
    colour: str
    sign: str = ""


def _bars(course: Course) -> Iterator[_Row]:
    yield _Row("read", course.read, 0, _READ)
    for step, reason, count, left in course.rows():
        yield _Row(f"{step}: {reason}", count, left, _SPARE if step == "mix" else _LOST, "\N{MINUS SIGN}")
    yield _Row("kept", course.kept, 0, _KEPT)


def _bar(row: _Row, top: int, read: int) -> str:
    """One row: label, bar on the track of all that was read, number and share."""
    scale, weight = _BARS / max(read, 1), 400 if row.sign else 600
    right, share = _LABELS + _BARS + _NUMBERS, row.count / max(read, 1)
    percent = "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"
    least = min(row.count, 2)  # pixels: one of a million samples shows too
    start = min(_LABELS + row.start * scale, _LABELS + _BARS - least)
    return (
        _text(_LABELS - 12, top + 15, _short(row.label), anchor="end", weight=weight)
        + f'<rect x="{_LABELS}" y="{top + 3}" width="{_BARS}" height="{_ROW - 6}" rx="3" fill="{_TRACK}"/>'
        + f'<rect x="{start:.1f}" y="{top + 3}" width="{max(row.count * scale, least):.1f}" '
        + f'height="{_ROW - 6}" rx="{3 if row.count * scale > 6 else 0}" fill="{row.colour}"/>'
        + _text(right - 52, top + 15, f"{row.sign}{row.count:,}", anchor="end", weight=weight)
        + _text(right, top + 15, percent, anchor="end", colour=_SOFT)
    )


def _beside(course: Course) -> Iterator[tuple[str, int]]:
    """What was left out that is no sample."""
    for kind, count in course.faults.items():
        yield f"bad records: {kind}", count
    for (step, reason), count in course.objects.items():
        yield f"objects, {step}: {reason}", count


def _short(text: str) -> str:
    """Text that fits into the plot, and that XML can hold."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: int = 400,
    size: int = 12,
    colour: str = _INK,
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
