"""One sample as a card: its picture, what is asked about it, what is there, and where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from vision_r1.show.drawing import drawing, drawn_objects
from vision_r1_data import DataError, Sample
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.picture import data_url, edge_colours

_LARGEST = 640  # pixels a side
_STAGE = 4 / 3  # width to height of the room for a picture
_MOST_CHIPS, _MOST_CATEGORIES = 6, 4  # more are folded


def sample_card(sample: Sample, colours: Mapping[str, str], kind: str) -> str:
    """An `<article>`, with what the page filters by as its data; the page brings styles and script.

    A picture that cannot be loaded leaves an empty canvas with the objects, and a line that says why.

    Args:
        sample: what to show.
        colours: of its labels.
        kind: what the filter by the number of objects calls it.
    """
    counts = Counter(sample.objects.labels)
    picture, backdrop, problems = "", None, []
    try:
        picture, backdrop = _picture(sample)
    except DataError as error:
        problems.append(str(error))
    drawn = len(drawn_objects(sample))
    if drawn < len(sample.objects):
        problems.append(f"{drawn:,} of {len(sample.objects):,} objects are drawn")
    enlarge = tag("button", type="button", class_="open", aria_label=f"Enlarge {sample.id}")
    return tag(
        "article",
        tag("div", drawing(sample, picture, colours), enlarge, class_="stage", style=backdrop),
        tag(
            "div",
            *(tag("p", text(problem), class_="problem") for problem in problems),
            _chips(counts, colours),
            _asked(sample, counts),
            _origin(sample),
            class_="about",
        ),
        class_="card",
        data_source=sample.source,
        data_task=sample.task,
        data_stratum=sample.stratum,
        data_kind=kind,
        data_find="\n".join((*counts, sample.id, sample.image_id, sample.query)).lower(),
    )


def _picture(sample: Sample) -> tuple[str, str]:
    """Its data URL, and a style for the room beside it: the colours of its edges there."""
    image = sample.load_image()
    sideways = sample.width / sample.height < _STAGE
    stops = ",".join(f"{colour} 50%" for colour in edge_colours(image, sideways=sideways))
    direction = "to right" if sideways else "to bottom"
    return data_url(image, _LARGEST), f"background:linear-gradient({direction},{stops})"


def _asked(sample: Sample, counts: Counter[str]) -> str:
    """The query, and the categories; a long list of these is folded, with those that are there in bold."""
    query = tag("p", text(sample.query), class_="query") if sample.query else ""
    names = [tag("b", text(name)) if name in counts else text(name) for name in sample.categories]
    if not names:
        return query or tag("p", text(f"{sample.task}: everything"), class_="categories")
    if len(names) <= _MOST_CATEGORIES:
        return query + tag("p", text(f"{sample.task}: "), ", ".join(names), class_="categories")
    there = sum(name in counts for name in sample.categories)
    summary = f"{sample.task} of {len(names):,} categories, {there:,} here"
    return query + _folded(summary, tag("p", ", ".join(names)), "categories")


def _chips(counts: Counter[str], colours: Mapping[str, str]) -> str:
    """A switch for each label; the rare ones of many are folded."""
    if not counts:
        return tag("p", "nothing to find", class_="negative")
    chips = [_chip(label, count, colours[label]) for label, count in counts.most_common()]
    most = _MOST_CHIPS if len(chips) > _MOST_CHIPS + 1 else len(chips)
    rest = chips[most:]
    more = _folded(f"{len(rest):,} more labels", tag("div", *rest, class_="chips"), "more") if rest else ""
    return tag("div", *chips[:most], class_="chips") + more


def _chip(label: str, count: int, colour: str) -> str:
    return tag(
        "button",
        tag("i"),
        tag("span", text(label)),
        tag("small", f"{count:,}") if count > 1 else "",
        type="button",
        class_="chip",
        title=label,
        data_label=label,
        aria_pressed="true",
        style=f"--colour:{colour}",
    )


def _folded(summary: str, content: str, kind: str) -> str:
    return tag("details", tag("summary", text(summary)), content, class_=kind)


def _origin(sample: Sample) -> str:
    rate = "" if sample.pass_rate is None else f"pass rate {sample.pass_rate:.2f}"
    size = f"{sample.width} \N{MULTIPLICATION SIGN} {sample.height}"
    facts = [fact for fact in (sample.source, sample.stratum, size, rate) if fact]
    return tag("footer", tag("span", text(sample.id), class_="id"), *(tag("span", text(f)) for f in facts))
