"""JSON lines that a run appends to, and a live line that shows the newest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from vision_r1_grpo.rewards.monitors import ALARMS

_SHOWN = {"reward": "reward", "boxes": "boxes", "eval/mAP": "mAP"}


class JsonLines:
    """An append-only file of JSON objects, each with its step.

    Args:
        path: the file.
        after: lines of later steps are dropped: a resumed run does those steps again.
    """

    def __init__(self, path: Path, after: int) -> None:
        self._path = path
        kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= after]
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.rename(path)

    def read(self) -> list[dict[str, Any]]:
        """The rows that are there."""
        return [json.loads(line) for line in _complete_lines(self._path)]

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


class LiveProgress:
    """A progress bar with the newest rewards below it; silent where nobody watches."""

    def __init__(self, visible: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        )
        self._task = self._progress.add_task("training", total=1.0)
        self._below = Text("")
        self._newest: dict[str, Any] = {}
        self._alarms: set[str] = set()
        console = Console(stderr=True, quiet=not visible)
        self._live = Live(Group(self._progress, self._below), console=console, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: float, row: Mapping[str, Any]) -> None:
        """Move the bar to `progress` in [0, 1], with the row's step, rewards and last evaluation.

        A line above the bar says when the thresholds have gone on to the next stage, and when an alarm is
        on for the first time.
        """
        if row.get("stage", 0) > self._newest.get("stage", math.inf):
            thresholds = ", ".join(f"{name} {row[name]:.3g}" for name in ("xi0", "xi1", "xi2"))
            self._live.console.print(f"step {row['step']}: stage {row['stage']} begins, {thresholds}")
        for name, level in row.get("alarms", {}).items():
            if name not in self._alarms:
                alarm = f"{name} {level:.2f}. {ALARMS[name].measure}: {ALARMS[name].sign}."
                self._live.console.print(f"step {row['step']}: alarm, {alarm}", soft_wrap=True)
                self._alarms.add(name)
        self._newest |= row
        parts = {key: key.removeprefix("reward/") for key in row if key.startswith("reward/")}
        shown = [
            f"{name} {self._newest[key]:.2f}" for key, name in (_SHOWN | parts).items() if key in self._newest
        ]
        self._below.plain = "  ".join([f"step {self._newest['step']}", *shown])
        self._progress.update(self._task, completed=progress)


def _complete_lines(path: Path) -> list[str]:
    """The file's lines; a last line that a crash cut off is left out."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [line for line in file if line.endswith("\n")]
