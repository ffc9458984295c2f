"""Curation from a recipe to a folder of samples, in three passes over streams.

    prepare   read every source and send it through the steps, in parallel, chunk by chunk, to Parquet parts
    select    one look at all that is left: leaks, duplicates, difficulty, and which samples the mixture takes
    write     those samples, the sources interleaved, as shards with manifest and card

The parts lie beside the result in a folder that goes away when it is written. A run that was stopped finds
its parts there and goes on; a part depends on its samples, their images, the steps and the seed alone.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vision_r1_data.curate.prepare import Prepared, Preparer
from vision_r1_data.curate.recipe import Recipe, load_recipe
from vision_r1_data.curate.select import Selection
from vision_r1_data.curate.step import Reason
from vision_r1_data.curate.waterfall import Waterfall, waterfall_markdown, waterfall_svg
from vision_r1_data.errors import DataError
from vision_r1_data.manifest import Manifest
from vision_r1_data.store import check_free, save_samples

WATERFALL = "waterfall.svg"
"""The plot in the folder of a data set."""

_NOTES = """## What became of every sample

![a bar for every step]({plot})

{table}
"""


def curate(
    recipe: Recipe | Path | str,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    workers: int = 1,
    force: bool = False,
    console: Console | None = None,
) -> tuple[Manifest, Waterfall]:
    """Make the data set of a recipe. The result is the same for every number of workers.

    Args:
        recipe: it, its file, or the name of one that comes with this package.
        out: the folder to write; a stopped run goes on when it is called again.
        overrides: `key=value` settings that win over the file.
        workers: processes that prepare samples. More than one are started anew, so a script that calls this
            needs `if __name__ == "__main__":`.
        force: replace what is at `out`, and begin anew.
        console: where progress is shown; by default nowhere.

    Returns:
        The manifest, and what became of every sample that was read.

    Raises:
        DataError: the recipe or its data is bad, the mixture lacks samples of a kind, `out` is there, another
            run is writing it, or it cannot be written.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    out = Path(out)
    if recipe.difficulty is not None and not recipe.difficulty.scores.is_file():
        raise DataError(f"{recipe.difficulty.scores}: there is no such file; give difficulty its scores")
    check_free(out, force=force)
    with _writing(out, anew=force) as work, _progress(console) as progress, _pool(workers) as pool:
        prepare = Preparer(recipe, work, pool, workers, progress)
        held_out = [prepare(name, source, held_out=True) for name, source in recipe.held_out.items()]
        for one in held_out:
            _tell_missed(one)
        sources = [prepare(name, source) for name, source in recipe.sources.items()]
        selection = Selection(recipe, held_out, sources, progress)
        waterfall = {source.name: source.course for source in sources}
        waterfall |= {
            f"held out: {one.name}": one.course for one in held_out if one.course.faults or one.course.dropped
        }
        if not selection.size:
            raise DataError(f"{out}: {_why_none(waterfall)}")
        manifest = save_samples(
            progress.track(selection.samples(), total=selection.size, description="writing"),
            out,
            embed=recipe.embed,
            title=recipe.title,
            force=force,
            provenance={"recipe": msgspec.to_builtins(recipe, enc_hook=str), "waterfall": _plain(waterfall)},
            notes=_NOTES.format(plot=WATERFALL, table=waterfall_markdown(waterfall)),
            files={WATERFALL: waterfall_svg(waterfall)},
        )
    return manifest, waterfall


@contextmanager
def _writing(out: Path, *, anew: bool) -> Iterator[Path]:
    """The folder of the parts, for this run alone; it stays while there are parts to go on with."""
    name = out.resolve()
    work = name.with_name(f"{name.name}.work")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            if anew:
                _remove_parts(work)
            try:
                yield work
                _remove_parts(work)
            finally:
                if not any(work.glob("*/*.parquet")):
                    shutil.rmtree(work, ignore_errors=True)
    except BrokenProcessPool as error:
        raise DataError(
            f"{out}: a worker ended without a word, as when memory runs out; call again, with fewer workers, "
            "to go on"
        ) from error
    except OSError as error:
        raise DataError(
            f"{out}: cannot go on ({' '.join(str(error).split())}); correct that and call again"
        ) from error


def _remove_parts(work: Path) -> None:
    for folder in filter(Path.is_dir, list(work.iterdir())):
        shutil.rmtree(folder)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it whatever ends the process. Windows has no such lock."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (work / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{work}: another run is writing there; wait for it, or give another folder"
            ) from None
        yield


def _tell_missed(held_out: Prepared) -> None:
    """Warn of what an evaluation set holds and nothing can be compared with."""
    course = held_out.course
    kinds = course.faults + Counter({reason: n for (_, reason), n in course.dropped.items()})
    if kinds:
        said = ", ".join(f"{kind} {n:,}" for kind, n in kinds.items())
        first = f", the first: {course.told[0]}" if course.told else ""
        warnings.warn(
            f"held_out {held_out.name}: not all of it can be kept out of the training data ({said}){first}",
            UserWarning,
            stacklevel=3,
        )


def _why_none(waterfall: Waterfall) -> str:
    """Why no sample is left, for an error."""
    read = sum(course.read for course in waterfall.values())
    dropped = sum((course.dropped for course in waterfall.values()), Counter[Reason]())
    (step, reason), count = dropped.most_common(1)[0]
    return (
        f"of {read:,} samples none is left, and most were left out by {step} ({reason}: {count:,}); relax "
        "the steps or add data"
    )


def _plain(waterfall: Waterfall) -> dict[str, Any]:
    return {
        name: {
            "read": course.read,
            "dropped": [[*reason, n] for reason, n in course.dropped.items()],
            "kept": course.kept,
            "objects": [[*reason, n] for reason, n in course.objects.items()],
            "bad_records": dict(course.faults),
            "told": course.told,
        }
        for name, course in waterfall.items()
    }


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    if workers < 1:
        raise DataError(f"workers must be at least 1, got {workers}")
    if workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    closed, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(closed,))
    try:
        yield pool
    except BaseException:
        ours.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(closed: Connection) -> None:
    """Leave Ctrl-C to the main process, and end as soon as that fails or is no more, whatever ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        closed.poll(None)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _progress(console: Console | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=console is None)
