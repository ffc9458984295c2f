"""Audit a reward and say what was found."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_r1.audit.page import UNSCALED, audit_page
from vision_r1_data import list_dialects
from vision_r1_data.prompts import TASKS
from vision_r1_eval.report.shell import write_whole
from vision_r1_grpo import ConfigError
from vision_r1_grpo.rewards.audit import Audit, Finding, audit, load_score
from vision_r1_grpo.rewards.audit.score import Signature
from vision_r1_grpo.rewards.names import known_names
from vision_r1_grpo.rewards.presets import PRESETS

_STYLES = {"loses": "green", "holds": "green", "free": "bold yellow", "wins": "bold red"}
_WIDE = 110  # columns from which on the table says what each exploit does
_VERDICTS = (
    "\nscores and honest are means over the scenes where the exploit can be tried.\n"
    "wins: more than the honest answer on some scene; free: as much on some;\n"
    "loses: less on every scene; holds: may earn as much, and never earned more."
)
_BLIND = (
    "This reward gives right answers no more than wrong ones, so the table says little. Is {task} its task "
    "(--task), and does it read {dialect} (--dialect)? Boxes are in the pixels that the model sees; "
    "--no-resize makes them the original's."
)


def run_audit(
    reward: str,
    dialect: str,
    *,
    task: str | None = None,
    scenes: int = 200,
    seed: int = 0,
    resize: bool = True,
    signature: Signature | None = None,
    chat: bool = False,
    html: Path | None = None,
    json: Path | None = None,
) -> int:
    """Audit a reward, print the table, and write the files that were asked for.

    Args:
        reward, dialect, signature, chat: what to audit, see `load_score`.
        task: what is asked; by default the preset's own, and detection of a reward of one's own.
        scenes, seed, resize: on what, see `audit`.
        html: a page to write.
        json: the findings to write.

    Returns:
        How many holes there are.

    Raises:
        ConfigError: there is no such reward or dialect, the reward fails, or a file cannot be written.
    """
    if dialect not in list_dialects():
        raise ConfigError(f"unknown dialect {dialect!r}; known are {', '.join(list_dialects())}")
    if task is not None and task not in TASKS:
        raise ConfigError(f"unknown task {task!r}; known are {known_names(TASKS, task)}")
    own = PRESETS[reward].task if reward in PRESETS else None
    task = task or own or "detection"
    if own not in (None, task):
        raise ConfigError(f"preset {reward!r} scores {own}, not {task}; leave --task out or say {own}")
    for path in (html, json):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(
                f"{path}: there is no folder {str(path.parent)!r}; make it or give another path"
            )
    score = load_score(reward, dialect, task=task, signature=signature, chat=chat)
    console = Console(highlight=False)
    with console.status(f"auditing {reward} on {scenes} scenes"):
        found = audit(score, dialect, task=task, scenes=scenes, seed=seed, resize=resize)
    console.print(audit_table(found, reward, wide=console.width >= _WIDE))
    console.print(_VERDICTS, style="dim")
    if found.blind:
        console.print(_BLIND.format(task=task, dialect=dialect), style="yellow")
    elif found.unscaled:
        console.print(UNSCALED, style="yellow")
    if html is not None:
        _save(html, audit_page(found, reward))
    if json is not None:
        _save(json, dumps(as_json(found, reward), indent=1) + "\n")
    console.print(_conclusion(found, html))
    return len(found.holes)


def audit_table(found: Audit, reward: str, *, wide: bool) -> Table:
    """A row for each exploit, by kind."""
    what = reward if reward == found.task else f"{reward} ({found.task})"
    title = f"Reward audit: {what}, {found.scenes} scenes, seed {found.seed}, {found.dialect}"
    table = Table(
        title=title,
        min_width=len(title),  # of one line
        title_style="bold",
        title_justify="left",
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("exploit", no_wrap=True)
    if wide:
        table.add_column("what it does", style="dim")
    for name in ("scores", "honest", ">= honest"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for group, findings in groupby(found.findings, lambda finding: finding.group):
        table.add_row()
        table.add_row(Text(group, style="bold"))
        for finding in findings:
            table.add_row(*_cells(finding, wide))
    return table


def _cells(finding: Finding, wide: bool) -> list[Text | str]:
    style = _STYLES[finding.verdict]
    name = Text(f"  {finding.name}", style=style if finding.hole else "")
    numbers = [f"{finding.score:.3f}", f"{finding.honest:.3f}", f"{finding.at_least:.0%}"]
    does = [Text(finding.does)] if wide else []
    return [name, *does, *numbers, Text(finding.verdict, style=style)]


def _conclusion(found: Audit, html: Path | None) -> Text:
    count, holes = len(found.findings), len(found.holes)
    if not holes:
        return Text(f"\nNo hole: none of {count} exploits earns what it should not.", style="bold green")
    said = Text(f"\n{holes} of {count} exploits earn what they should not", style="bold red")
    where = f"; see {html}" if html else "; --html FILE shows where"
    return said.append(f"{where}.", style="not bold default")


def as_json(found: Audit, reward: str) -> dict[str, Any]:
    """The audit as plain values."""
    return {"reward": reward, "holes": [hole.name for hole in found.holes], **asdict(found)}


def _save(path: Path, content: str) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); give another path") from error
