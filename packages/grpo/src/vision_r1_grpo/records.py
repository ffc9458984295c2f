"""What a run writes down: JSON lines, the monitors of DeepSpeed, and a live line that shows the newest."""

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

from vision_r1_grpo.engine import Engine
from vision_r1_grpo.metrics import Step
from vision_r1_grpo.rewards.monitors import ALARMS, History, judge

_SHOWN = {"reward": "reward", "boxes": "boxes", "eval/mAP": "mAP"}


class Records:
    """The files of a run.

    Args:
        folder: where metrics.jsonl and completions.jsonl are.
        engine: the ranks, and the monitors that DeepSpeed's configuration enables.
        after: what later steps wrote is dropped: a resumed run does those steps again.
    """

    def __init__(self, folder: Path, engine: Engine, after: int) -> None:
        suffix = f"-rank{engine.rank}" if engine.rank else ""
        self.engine = engine
        # Metrics are of all ranks, so one of them writes; completions are each rank's own.
        self.metrics = JsonLines(folder / "metrics.jsonl", after) if engine.rank == 0 else None
        self.completions = JsonLines(folder / f"completions{suffix}.jsonl", after)
        self.history = History.of(self.metrics.read() if self.metrics else ())

    def log(self, row: dict[str, Any]) -> None:
        """Write the line of a step, to which the alarms are added that it raises given those before it."""
        row |= judge(row, self.history)
        self.history = self.history.after(row)
        if self.metrics is not None:
            self.metrics.write([row])
        self.engine.log({name: value for name, value in row.items() if _is_charted(name, value)}, row["step"])

    def keep(self, step: Step, number: int) -> None:
        """Write this rank's completions with their rewards, those of a group side by side."""
        groups = step.drawn.groups
        scored, group = groups.scored, len(groups.rollout.texts) // len(groups.samples)
        self.completions.write(
            {
                "step": number,
                "sample": groups.samples[n // group].id,
                "completion": text,
                "reward": scored.total[n].item(),
                **{
                    f"reward/{name}": part[n].item()
                    for name, part in scored.parts.items()
                    if part[n].isfinite()
                },
                "problems": list(scored.answers[n].problems),
            }
            for n, text in enumerate(groups.rollout.texts)
        )


def _is_charted(name: str, value: object) -> bool:
    return name != "step" and isinstance(value, int | float)  # the step is the axis


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

        A line above the bar says when the thresholds have gone on to the next stage, when an alarm is on for
        the first time, and when prompts are left out for the first time.
        """
        if row.get("stage", 0) > self._newest.get("stage", math.inf):
            thresholds = ", ".join(f"{name} {row[name]:.3g}" for name in ("xi0", "xi1", "xi2"))
            self._live.console.print(f"step {row['step']}: stage {row['stage']} begins, {thresholds}")
        if "dropped_ids" in row and "dropped_ids" not in self._newest:
            left_out = f"{row['dropped_prompts']} prompts above max_prompt_tokens are left out"
            named = f"the samples {', '.join(row['dropped_ids'])}"
            self._live.console.print(f"step {row['step']}: {left_out}, {named}", soft_wrap=True)
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
