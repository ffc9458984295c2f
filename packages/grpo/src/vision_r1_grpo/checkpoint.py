"""What a run saves so that it can go on exactly where it stopped, and the best model it had.

A folder of checkpoints holds step_000040/ and the like, `latest`, which names the newest that is whole, and
best/, a model in Hugging Face format. What is being written has a name that ends in .partial.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vision_r1_grpo.config import ConfigError
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.policy import Policy
from vision_r1_grpo.rewards import RefinementState

_STATE, _BEST = "run.json", "best.json"


@dataclass(frozen=True)
class RunState:
    """How far a run is; the order of the data and all random numbers follow from the seed and from it.

    Args:
        step: steps done.
        minutes: minutes spent on them, evaluation left out.
        refinement: how far an adaptive refinement has come.
        drawn: places of the order of the data that are behind it.
    """

    step: int = 0
    minutes: float = 0.0
    refinement: RefinementState = field(default_factory=RefinementState)
    drawn: int = 0


def save_checkpoint(engine: Engine, folder: Path, state: RunState, keep: int) -> None:
    """Save weights, optimiser and state on every rank; then drop all but the newest `keep` checkpoints.

    A save that fails or is cut off leaves the earlier checkpoints, and `latest`, as they are.
    """
    whole = folder / f"step_{state.step:06d}"
    partial = _partial(whole)
    if engine.rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
    engine.barrier()
    engine.save(folder, partial.name)
    if engine.rank == 0:
        saved = asdict(state) | {"processes": engine.world_size}
        (partial / _STATE).write_text(json.dumps(saved), encoding="utf-8")
        shutil.rmtree(whole, ignore_errors=True)  # of a run that was cut off before it was `latest`
        partial.rename(whole)
        _write(folder / "latest", whole.name)
        _drop_old(folder, whole, keep)
    engine.barrier()


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return (folder / "latest").is_file()


def load_checkpoint(engine: Engine, folder: Path) -> RunState:
    """Load the latest checkpoint into the engine and return its state.

    Raises:
        ConfigError: another number of processes saved it; each has its own share of the optimiser.
    """
    tag = (folder / "latest").read_text(encoding="utf-8")
    saved = json.loads((folder / tag / _STATE).read_text(encoding="utf-8"))
    processes = saved.pop("processes")
    if processes != engine.world_size:
        raise ConfigError(
            f"{folder / tag}: was saved by {processes} processes, each its own part; start as many, "
            f"not {engine.world_size}"
        )
    engine.load(folder, tag)
    return RunState(**saved | {"refinement": RefinementState(**saved["refinement"])})


@dataclass(frozen=True)
class Best:
    """The best model of a run: `metric` was `value` after `step`."""

    step: int
    metric: str
    value: float


def save_best(policy: Policy, folder: Path, best: Best) -> None:
    """Write the policy to `folder/best` in place of the one before."""

    def write(partial: Path) -> None:
        policy.save_pretrained(partial)
        (partial / _BEST).write_text(json.dumps(asdict(best)), encoding="utf-8")

    _replace(folder / "best", write)


def load_best(folder: Path) -> Best | None:
    """What `folder/best` holds, if it is there."""
    path = folder / "best" / _BEST
    return Best(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def export_model(policy: Policy, folder: Path) -> None:
    """Write the policy in Hugging Face format; the folder appears only when it is complete."""
    _replace(folder, policy.save_pretrained)


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _write(path: Path, text: str) -> None:
    partial = _partial(path)
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def _drop_old(folder: Path, newest: Path, keep: int) -> None:
    whole = {int(path.name.removeprefix("step_")): path for path in folder.glob("step_*") if not path.suffix}
    done = sorted(step for step, path in whole.items() if step <= int(newest.name.removeprefix("step_")))
    kept = {whole[step] for step in done[-keep:]}
    for path in folder.glob("step_*"):
        if path not in kept:  # old, or cut off
            shutil.rmtree(path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
