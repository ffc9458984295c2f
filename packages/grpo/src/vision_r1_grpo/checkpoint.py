"""What a run saves so that it can go on exactly where it stopped."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vision_r1_grpo.engine import Engine
from vision_r1_grpo.policy import Policy
from vision_r1_grpo.rewards import RefinementState


@dataclass(frozen=True)
class RunState:
    """How far a run is; the order of the data and the sampling follow from the seed and what is drawn.

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
    """Save weights, optimiser and state on every rank; then drop all but the newest `keep` checkpoints."""
    engine.save(folder, f"step_{state.step:06d}", asdict(state))
    if engine.rank == 0:
        saved = sorted((int(path.name.removeprefix("step_")), path) for path in folder.glob("step_*"))
        done = [path for step, path in saved if step <= state.step]
        cut_off = [path for step, path in saved if step > state.step]  # a save that never ended
        for old in done[:-keep] + cut_off:
            shutil.rmtree(old)
    engine.barrier()


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return (folder / "latest").is_file()


def load_checkpoint(engine: Engine, folder: Path) -> RunState:
    """Load the latest checkpoint into the engine and return its state."""
    saved = engine.load(folder)
    return RunState(**saved | {"refinement": RefinementState(**saved["refinement"])})


def export_model(policy: Policy, folder: Path) -> None:
    """Write the policy in Hugging Face format; the folder appears only when it is complete."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    policy.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
