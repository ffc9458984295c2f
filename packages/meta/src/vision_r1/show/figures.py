"""The statistics of a data set as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vision_r1.show.statistics import Group, Statistics
from vision_r1_eval.report.bars import bar_list, columns_figure, share
from vision_r1_eval.report.content import Bars
from vision_r1_eval.report.markup import tag, text

_MOST_GROUPS = 40


def tiles(statistics: Statistics) -> str:
    """The numbers that stand first."""
    samples, objects, crowd = statistics.samples, statistics.objects, statistics.crowd
    facts = (
        ("Samples", f"{samples:,}", f"{objects / max(samples, 1):.1f} objects in each"),
        ("Images", str(statistics.images), "different ones"),
        ("Objects", f"{objects:,}", f"and {crowd:,} crowd regions" if crowd else "no crowd regions"),
        ("Labels", str(statistics.label_names), "different ones"),
        ("Negatives", share(statistics.negatives, samples), f"{statistics.negatives:,} without objects"),
    )
    return "".join(
        tag(
            "div",
            tag("h3", name),
            tag("p", tag("strong", value)),
            tag("small", text(note)),
            class_="tile" if place else "tile hero",
        )
        for place, (name, value, note) in enumerate(facts)
    )


def groups_table(statistics: Statistics) -> str:
    """Samples by source, task and stratum, the largest groups first."""
    groups = sorted(statistics.groups.items(), key=lambda item: (-item[1].samples, item[0]))
    most = max((group.samples for _, group in groups), default=1)
    head = tag(
        "tr",
        *(tag("th", name, scope="col") for name in ("source", "task", "stratum", "samples", "share")),
        tag("td", class_="wide"),
        *(tag("th", name, scope="col") for name in ("objects in each", "negatives")),
    )
    rows = [_group(names, group, statistics.samples, most) for names, group in groups[:_MOST_GROUPS]]
    table = tag(
        "div", tag("table", tag("thead", head), tag("tbody", *rows), class_="groups"), class_="scroll"
    )
    rest = [group.samples for _, group in groups[_MOST_GROUPS:]]
    more = f"{len(rest):,} smaller groups with {sum(rest):,} samples are not listed."
    return table + (tag("p", more, class_="note") if rest else "")


def _group(names: Sequence[str], group: Group, samples: int, most: int) -> str:
    bar = tag("i", style=f"width:{100 * group.samples / most:.1f}%")
    return tag(
        "tr",
        *(tag("th", text(name or "\N{EN DASH}")) for name in names),
        tag("td", f"{group.samples:,}"),
        tag("td", text(share(group.samples, samples))),
        tag("td", bar, class_="wide"),
        tag("td", f"{group.objects / group.samples:.1f}"),
        tag("td", text(share(group.negatives, group.samples))),
    )


def histograms(statistics: Statistics) -> str:
    """A chart for each histogram that counts something."""
    flat = f" {statistics.flat:,} without area are left out." if statistics.flat else ""
    turned = ", ".join(f"{count:,} {name}" for name, count in statistics.orientations.bars() if count)
    charts = (
        ("Objects in a sample", statistics.instances, "objects", "Crowd regions are not counted."),
        (
            "Box areas",
            statistics.box_sizes,
            "area",
            f"As COCO has it: small is below 32\u00b2 pixels of the image, large from 96\u00b2 on.{flat}",
        ),
        (
            "Boxes within their images",
            statistics.box_shares,
            "% of the side of the image",
            f"A box of a quarter of the area has half the side.{flat}",
        ),
        ("Aspect ratios of boxes", statistics.aspects, "width : height, about", flat.strip()),
        ("Image sizes", statistics.image_sizes, "longer side in pixels, from", f"By sample: {turned}."),
        (
            "Pass rates",
            statistics.pass_rates,
            "mean reward of a policy",
            f"Of the {sum(statistics.pass_rates.counts):,} samples that have one.",
        ),
    )
    figures = [
        columns_figure(Bars(title, histogram.bars(), x_label, note))
        for title, histogram, x_label, note in charts
        if any(histogram.counts)
    ]
    return tag("div", *figures, class_="panels")


def labels_list(statistics: Statistics, common: Sequence[tuple[str, int]], colours: Mapping[str, str]) -> str:
    """The most frequent labels, with what stays unsaid.

    Args:
        statistics: of all samples.
        common: (label, objects), the most frequent first.
        colours: of the labels, as in the pictures.
    """
    rest = statistics.objects - sum(count for _, count in common)
    more = [f"{rest:,} objects have other labels; there are {statistics.label_names}."] if rest else []
    missed = statistics.labels.missed
    low = [f"There are so many labels that a count may be up to {missed:,} too low."] if missed else []
    note = tag("p", text(" ".join(more + low)), class_="note") if more + low else ""
    return bar_list(common, colours) + note
