"""The page of a data set: its statistics, and a random choice of its samples to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path

from vision_r1.show.card import sample_card
from vision_r1.show.drawing import label_colours
from vision_r1.show.figures import groups_table, histograms, labels_list, tiles
from vision_r1.show.statistics import Statistics
from vision_r1.show.streams import Histogram, Reservoir
from vision_r1_data import Faults, Sample
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.shell import html_page, write_whole

_MOST_LABELS = 30
_NEGATIVE = "negative"


def write_gallery(
    samples: Iterable[Sample],
    path: Path,
    *,
    title: str,
    most: int = 60,
    seed: int = 0,
    faults: Faults | None = None,
    sections: Sequence[str] = (),
) -> Statistics:
    """Write a page of statistics and pictures, as one HTML file that needs nothing else.

    All samples go by once and are counted in bounded memory; only the pictures of those that are shown are
    loaded. Of one that cannot be loaded, its card says why.

    Args:
        samples: the data set.
        path: the HTML file; replaced if it exists, and there whole or not at all.
        title: the headline.
        most: how many samples to show, chosen at random.
        seed: the same seed chooses the same out of the same samples.
        faults: of the reader of the samples; the page tells what it left out.
        sections: markup of further sections, between the statistics and the pictures.

    Returns:
        What the page says of all samples.

    Raises:
        OSError: the file cannot be written.
        ValueError: `most` is negative.

    Example:
        >>> import tempfile
        >>> from vision_r1_data import Objects
        >>> objects = Objects(((4, 4, 20, 30),), ("cat",))
        >>> samples = [Sample(str(n), Path(f"{n}.jpg"), 64, 48, objects=objects) for n in range(9)]
        >>> path = Path(tempfile.mkdtemp()) / "cats.html"
        >>> write_gallery(samples, path, title="Cats", most=3).objects
        9
        >>> path.read_text().count('<article class="card"')
        3
    """
    if most < 0:
        raise ValueError(f"most must be at least 0, got {most}")
    statistics, reservoir = Statistics(), Reservoir[Sample](most, seed)
    for sample in samples:
        statistics.add(sample)
        reservoir.add(sample)
    shown, common = reservoir.chosen(), statistics.labels.most_common(_MOST_LABELS)
    labels = chain((label for label, _ in common), *(sample.objects.labels for sample in shown))
    colours = label_colours(labels)
    page = html_page(
        title,
        f"{len(shown):,} of {statistics.samples:,} samples are drawn below, chosen at random with seed {seed}"
        if len(shown) < statistics.samples
        else f"All {len(shown):,} samples are drawn below",
        tag("section", tag("div", tiles(statistics), class_="tiles"), _left_out(faults), class_="headline"),
        tag("section", tag("h2", "Sources"), groups_table(statistics)),
        tag("section", tag("h2", "Shapes and sizes"), histograms(statistics)),
        tag("section", tag("h2", "Labels"), labels_list(statistics, common, colours)) if common else "",
        *sections,
        _samples(shown, statistics.instances, colours) if shown else "",
        styles=[_read("style.css")],
        scripts=[_read("script.js")],
    )
    write_whole(path, page)
    return statistics


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _left_out(faults: Faults | None) -> str:
    if faults is None or not faults.counts:
        return ""
    told = tag("ul", *(tag("li", text(line)) for line in faults.told))
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in faults.counts.most_common())
    return tag(
        "div",
        tag("p", text(f"Left out: {kinds}")),
        tag("details", tag("summary", "What and where"), told),
        class_="verdict bad",
    )


def _samples(shown: Sequence[Sample], sizes: Histogram, colours: Mapping[str, str]) -> str:
    """The filters, the cards, and the dialog in which a card is enlarged."""
    kinds = [
        sizes.name(len(sample.objects.without_crowd())) if len(sample.objects) else _NEGATIVE
        for sample in shown
    ]
    cards = [sample_card(sample, colours, kind) for sample, kind in zip(shown, kinds, strict=True)]
    buttons = [
        tag("button", sign, type="button", class_=name, aria_label=name.capitalize())
        for name, sign in (
            ("previous", "\N{LEFTWARDS ARROW}"),
            ("next", "\N{RIGHTWARDS ARROW}"),
            ("close", "\N{MULTIPLICATION SIGN}"),
        )
    ]
    return tag(
        "section",
        tag("h2", "Samples"),
        _finder(shown, Counter(kinds), (_NEGATIVE, *sizes.names)),
        tag("div", *cards, class_="cards"),
        tag("p", "No sample shown here is like that.", class_="note", id="none", hidden=""),
        tag("dialog", tag("nav", *buttons), id="lightbox", aria_label="One sample"),
    )


def _finder(shown: Sequence[Sample], kinds: Counter[str], order: Sequence[str]) -> str:
    """What to show: a number of objects, a source, a task, a stratum, words."""
    choices = [("", "all", len(shown)), *((kind, kind, kinds[kind]) for kind in order if kinds[kind])]
    pills = [
        tag(
            "label",
            tag("input", type="radio", name="kind", value=value, checked="" if not value else None),
            tag("span", text(name), " ", tag("small", f"{count:,}")),
        )
        for value, name, count in choices
    ]
    selects = [
        _select(name, sorted({getattr(sample, name) for sample in shown}))
        for name in ("source", "task", "stratum")
    ]
    words = tag("input", type="search", name="find", placeholder="label, id or words", aria_label="Find")
    return tag(
        "form",
        tag("fieldset", tag("legend", "Objects"), *pills),
        *selects,
        words,
        tag("output", f"{len(shown):,} of {len(shown):,}"),
        tag("button", "Clear", type="reset"),
        id="finder",
        autocomplete="off",
    )


def _select(name: str, values: Sequence[str]) -> str:
    """A choice between values; of one value there is none."""
    if len(values) < 2:
        return ""
    # A stratum may be empty, so a value stands behind a mark.
    options = [tag("option", text(value or "\N{EN DASH}"), value=f"={value}") for value in values]
    return tag("select", tag("option", f"any {name}", value=""), *options, name=name, aria_label=name)
