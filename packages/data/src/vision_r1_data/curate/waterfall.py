"""What became of every sample: a table and a plot of what was read, left out and why, and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from rich.table import Table

from vision_r1_data.curate.step import Reason

_INK, _SOFT, _LOST, _KEPT = "#1f2328", "#59636e", "#d1553f", "#2f7d5b"
_ROW, _LABELS, _BARS, _NUMBERS = 22, 330, 420, 90  # pixels


@dataclass
class Course:
    """What became of the samples of one source.

    Args:
        read: how many its reader gave.
        dropped: step and reason -> samples, in the order of the steps.
        objects: step and reason -> annotated objects that were left out of samples that stayed.
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


Waterfall = dict[str, Course]
"""Source -> what became of its samples."""


def waterfall_table(waterfall: Waterfall) -> Table:
    """The table for a terminal."""
    table = Table("source", "step", "reason", title="What became of every sample", title_justify="left")
    for name in ("left out", "samples"):
        table.add_column(name, justify="right")
    for source, course in waterfall.items():
        table.add_row(source, "read", "", "", f"{course.read:,}", style="bold")
        for step, reason, count, left in course.rows():
            table.add_row("", step, reason, f"{count:,}", f"{left:,}")
        table.add_row("", "kept", "", "", f"{course.kept:,}", style="bold", end_section=True)
    for source, course in waterfall.items():
        for where, count in _beside(course):
            table.add_row(source, "", where, f"{count:,}", "", style="dim")
    return table


def waterfall_markdown(waterfall: Waterfall) -> str:
    """The table for a dataset card."""
    lines = ["| source | step | reason | left out | samples |", "|---|---|---|---:|---:|"]
    for source, course in waterfall.items():
        lines.append(f"| **{source}** | read | | | {course.read:,} |")
        lines += [
            f"| | {step} | {reason} | {count:,} | {left:,} |" for step, reason, count, left in course.rows()
        ]
        lines.append(f"| | **kept** | | | **{course.kept:,}** |")
        lines += [f"| | | {where} | {count:,} | |" for where, count in _beside(course)]
    return "\n".join(lines)


def waterfall_svg(waterfall: Waterfall) -> str:
    """The plot: for each source a bar of what was read, what each reason took of it, and what was kept."""
    parts: list[str] = []
    top = 10
    for source, course in waterfall.items():
        top += 26
        parts.append(_text(0, top - 8, source, weight=600, size=15))
        scale = _BARS / max(course.read, 1)
        bars = [("read", course.read, 0, course.read, _SOFT)]
        bars += [(f"{step}: {why}", -count, left, count, _LOST) for step, why, count, left in course.rows()]
        bars.append(("kept", course.kept, 0, course.kept, _KEPT))
        for label, number, start, width, colour in bars:
            parts.append(_text(_LABELS - 10, top + 15, label, anchor="end"))
            parts.append(
                f'<rect x="{_LABELS + start * scale:.1f}" y="{top + 3}" width="{max(width * scale, 1):.1f}" '
                f'height="{_ROW - 6}" rx="2" fill="{colour}"/>'
            )
            parts.append(_text(_LABELS + _BARS + _NUMBERS - 4, top + 15, f"{number:,}", anchor="end"))
            top += _ROW
    width, height = _LABELS + _BARS + _NUMBERS, top + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {width + 20} {height}" width="{width + 20}" '
        f'height="{height}" font-family="system-ui, sans-serif" role="img">'
        f"<title>What became of every sample</title>"
        f'<rect x="-10" width="{width + 20}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _beside(course: Course) -> Iterator[tuple[str, int]]:
    """What was left out that is no sample."""
    for kind, count in course.faults.items():
        yield f"bad records: {kind}", count
    for (step, reason), count in course.objects.items():
        yield f"objects, {step}: {reason}", count


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400, size: int = 12) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{_INK}">{escape(text)}</text>'
    )
