"""Show a data set: write its page, and say what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_r1.show.gallery import write_gallery
from vision_r1.show.statistics import Statistics
from vision_r1_data import DataError, Faults, Sample, read_coco, stream_samples
from vision_r1_data.curate import WATERFALL
from vision_r1_data.manifest import MANIFEST
from vision_r1_eval.report.bars import share
from vision_r1_eval.report.markup import tag, text

_MOST_NAMED = 5


def run_show(path: Path, images: Path | None, out: Path | None = None, *, most: int, seed: int) -> None:
    """Write the page of a data set, print a short table, and say where the page is. What is bad is left out.

    Args:
        path: the data set.
        images: the folder of its images, for an annotation file.
        out: the page; by default it is named after the data set, in the present folder.
        most, seed: see `write_gallery`.

    Raises:
        DataError: there is no such data set, nothing in it can be used, or the page cannot be written.
    """
    out = Path(f"{path.resolve().stem}-gallery.html") if out is None else out
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {str(out.parent)!r}; make it or give another --out")
    if out.is_dir():
        raise DataError(f"{out}: is a folder; give the name of a page with --out")
    faults = Faults(skip=True)
    samples = _samples_of(path, images, faults)
    console = Console(highlight=False)
    with console.status(f"reading {path}"):
        first = next(samples, None)
        if first is None:
            raise DataError(f"{path}: has no sample that can be used: {faults}")
        try:
            statistics = write_gallery(
                chain([first], samples),
                out,
                title=path.resolve().name,
                most=most,
                seed=seed,
                faults=faults,
                sections=_waterfall(path),
            )
        except OSError as error:
            raise DataError(f"{out}: cannot be written ({error.strerror}); give another --out") from error
    console.print(statistics_table(statistics))
    if faults.counts:
        console.print(Text(f"\n{path}: {faults}", style="yellow"))
    console.print(Text(f"\nOpen {out} to look at {min(most, statistics.samples):,} of them."))


def _samples_of(path: Path, images: Path | None, faults: Faults) -> Iterator[Sample]:
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise DataError(
            f"{path}: holds no stored samples; make them of a set of any format with vision-r1 curate, or "
            "give a COCO-format annotation file"
        )
    if path.is_dir():
        return stream_samples(path)
    if images is None and not path.exists():
        raise DataError(f"{path}: is not there; give a folder that curate wrote, or an annotation file")
    if images is None:
        raise DataError(f"{path}: has its images elsewhere; give their folder with --images")
    return read_coco(path, images, masks=True, faults=faults)


def _waterfall(path: Path) -> list[str]:
    """The section of what curation left out, where the data set tells."""
    plot = path / WATERFALL
    if not plot.is_file():
        return []
    return [tag("section", tag("h2", text("What became of every sample")) + plot.read_text(encoding="utf-8"))]


def statistics_table(statistics: Statistics) -> Table:
    """What a data set holds, in a few lines."""
    samples, objects, sizes = statistics.samples, statistics.objects, statistics.box_sizes
    groups = sorted(statistics.groups.items(), key=lambda item: -item[1].samples)
    common = statistics.labels.most_common(_MOST_NAMED)
    rows = [
        ("samples", f"{samples:,} of {statistics.images} different images"),
        ("negatives", f"{statistics.negatives:,} ({share(statistics.negatives, samples)})"),
        ("objects", f"{objects:,}, {objects / samples:.1f} in each; {statistics.crowd:,} crowd regions"),
        ("box areas", ", ".join(f"{name} {share(n, sum(sizes.counts))}" for name, n in sizes.bars())),
        ("labels", f"{statistics.label_names}: {', '.join(f'{name} ({n:,})' for name, n in common)}"),
    ]
    rows += [
        (
            "sources" if place == 0 else "",
            f"{' '.join(filter(None, names))}: {group.samples:,} ({share(group.samples, samples)})",
        )
        for place, (names, group) in enumerate(groups[:_MOST_NAMED])
    ]
    if len(groups) > _MOST_NAMED:
        rows.append(("", f"and {len(groups) - _MOST_NAMED:,} more"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(value))
    return table
