"""Counts as bars: upright columns for a histogram, a list for names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vision_r1_eval.report.content import Bars
from vision_r1_eval.report.markup import tag, text

_WIDTH, _HEIGHT = 340.0, 208.0
_TOP, _BASE = 52.0, 162.0  # between the title and the names
_FILLED = 0.8  # of the room of a column
_LEAST = 1.5  # what is there can be seen


def columns_figure(bars: Bars) -> str:
    """A histogram in a page that brings the styles: a column for each bar, and its share above it.

    Example:
        >>> figure = columns_figure(Bars("Sizes", [("small", 3), ("large", 1)]))
        >>> "small: 3 (75%)" in figure, figure.count('class="column"')
        (True, 2)
    """
    counts = [count for _, count in bars.bars]
    room = _WIDTH / max(len(counts), 1)
    svg = tag(
        "svg",
        tag("text", text(bars.title), class_="title", x=2, y=18),
        *(
            _column(name, count, share(count, sum(counts)), count / (max(counts) or 1), place * room, room)
            for place, (name, count) in enumerate(bars.bars)
        ),
        tag("line", class_="base", x1=0, x2=_WIDTH, y1=_BASE, y2=_BASE),
        tag("text", text(bars.x_label), class_="tick x label", x=_WIDTH / 2, y=_HEIGHT - 8),
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        class_="chart",
        role="img",
        aria_label=f"{bars.title}: {', '.join(f'{name} {count:,}' for name, count in bars.bars)}",
    )
    caption = tag("figcaption", text(bars.note)) if bars.note else ""
    return tag("figure", svg, caption, class_="panel")


def _column(name: str, count: int, said: str, part: float, left: float, room: float) -> str:
    """One column, whose whole room answers the pointer."""
    middle, height = left + room / 2, max(part * (_BASE - _TOP), _LEAST) if count else 0.0
    return tag(
        "g",
        tag("title", text(f"{name}: {count:,} ({said})")),
        tag("rect", class_="reach", x=left, y=_TOP - 18, width=room, height=_HEIGHT - _TOP),
        tag("path", class_="column", d=_rounded(middle, room * _FILLED, height)) if count else "",
        tag("text", text(said), class_="tick x", x=middle, y=_BASE - height - 6) if count else "",
        tag("text", text(name), class_="tick x", x=middle, y=_BASE + 17),
    )


def _rounded(middle: float, width: float, height: float) -> str:
    """The outline of a column with its upper corners rounded."""
    left, right, r = middle - width / 2, middle + width / 2, min(3.0, height)
    top = _BASE - height
    return (
        f"M{left:.1f} {_BASE:.1f}V{top + r:.1f}Q{left:.1f} {top:.1f} {left + r:.1f} {top:.1f}"
        f"H{right - r:.1f}Q{right:.1f} {top:.1f} {right:.1f} {top + r:.1f}V{_BASE:.1f}z"
    )


def share(count: int, total: int) -> str:
    """A part of a whole in per cent: what is there is never 0%, and where something is missing never 100%.

    Example:
        >>> share(1, 3), share(1, 3000), share(2999, 3000), share(0, 0)
        ('33%', '<1%', '>99%', '0%')
    """
    if not count:
        return "0%"
    percent = 100 * count / total
    return "<1%" if percent < 1 else ">99%" if 99 < percent < 100 else f"{percent:.0f}%"


def bar_list(bars: Sequence[tuple[str, int]], colours: Mapping[str, str]) -> str:
    """Names with their counts and bars, in the order given, in a page that brings the styles.

    Args:
        bars: (name, count).
        colours: of the dots before the names; a name without one has no dot.

    Example:
        >>> bar_list([("cat", 2), ("<dog>", 1)], {"cat": "red"})[-87:]
        '<li style="--part:50.0%"><span title="&lt;dog&gt;">&lt;dog&gt;</span><b>1</b></li></ol>'
    """
    most = max((count for _, count in bars), default=0) or 1
    rows = [
        tag(
            "li",
            tag("i", style=f"background:{colours[name]}") if name in colours else "",
            tag("span", text(name), title=name),
            tag("b", f"{count:,}"),
            style=f"--part:{100 * count / most:.1f}%",
        )
        for name, count in bars
    ]
    return tag("ol", *rows, class_="bars")
