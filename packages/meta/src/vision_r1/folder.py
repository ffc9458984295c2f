"""The folder of a run: claimed once, never overwritten by accident, resumed with its own settings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vision_r1.config import RunConfig
from vision_r1_data import DataError
from vision_r1_grpo import ConfigError, load_config

CONFIG = "config.yaml"
_WRITTEN = re.compile(
    r"(config\.yaml|data|checkpoints|overlays|model|metrics\.json|report\.html|answers-(before|after)\.jsonl"
    r"|metrics\.jsonl|completions(-rank\d+)?\.jsonl)(\.partial)?"
)
# What may change when a run goes on: where it ends and what it keeps, not what it is.
_CHANGEABLE = (
    "max_steps",
    "max_minutes",
    "eval_every",
    "overlay_every",
    "save_every",
    "keep_checkpoints",
)


@contextmanager
def claim_folder(out: Path, *, force: bool, inputs: Iterable[str] = ()) -> Iterator[None]:
    """Make the folder of a new run, and let it begin within.

    What `force` replaces is set aside until then, and comes back if the run does not begin.

    Args:
        out: the folder; it may exist if it is empty.
        force: replace the run that is in it.
        inputs: files and folders that the new run reads.

    Raises:
        DataError: it holds something and `force` does not say to replace it; or it holds something that no
            run wrote, or that the new run reads; or it cannot be made.
    """
    whole = out.absolute()
    aside = whole.with_name(f".{whole.name}.replaced")
    try:
        held = {entry.name for entry in out.iterdir()} if out.exists() else set()
        if held:
            _check_replaceable(out, held, force, inputs)
            shutil.rmtree(aside, ignore_errors=True)
            whole.rename(aside)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be the folder of a run ({error.strerror}); give another --out"
        ) from error
    try:
        yield
    except BaseException:
        shutil.rmtree(whole)
        if held:
            aside.rename(whole)
        raise
    if held:
        shutil.rmtree(aside)


def load_run(out: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config that a run saved in its folder, with overrides of where it ends.

    Raises:
        DataError: there is no run in the folder.
        ConfigError: an override would make it another run.
    """
    if not (out / CONFIG).is_file():
        raise DataError(f"{out}: holds no run to resume; leave out --resume to start one")
    allowed = [f"training.{name}" for name in _CHANGEABLE]
    for override in overrides:
        if override.split("=")[0] not in allowed:
            raise ConfigError(
                f"{override}: a resumed run keeps its settings; only {', '.join(allowed)} may change"
            )
    return load_config(RunConfig, out / CONFIG, overrides)


def _check_replaceable(out: Path, held: set[str], force: bool, inputs: Iterable[str]) -> None:
    if not force:
        raise DataError(
            f"{out}: exists already; give another --out, --resume to go on, or --force to replace it"
        )
    foreign = sorted(name for name in held if not _WRITTEN.fullmatch(name))
    if foreign:
        raise DataError(
            f"{out}: holds {foreign[0]!r}, which no run wrote; remove the folder or give another --out"
        )
    if CONFIG not in held:
        raise DataError(f"{out}: holds no {CONFIG}, so no run; remove the folder or give another --out")
    for path in inputs:
        if path and Path(path).resolve().is_relative_to(out.resolve()):
            raise DataError(f"{out}: holds {path}, which this run reads; give another --out")
