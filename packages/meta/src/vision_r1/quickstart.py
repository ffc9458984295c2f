"""The quickstart: a tiny model, drawn scenes, and a few minutes on a CPU."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vision_r1.config import RunConfig
from vision_r1_data.scenes import write_scenes
from vision_r1_grpo import load_config

RECIPE = Path(str(files("vision_r1") / "recipes" / "quickstart.yaml"))
# Every run is measured on the same scenes; those that settings were chosen with are the validation scenes.
_TEST_SEED, _VALIDATION_SEED, _TRAIN_SEED = 1_000_000, 2_000_000, 3_000_000
_TEST, _VALIDATION, _TRAIN = 200, 100, 2000


def prepare(out: Path, *, minutes: float, seed: int, reward: str) -> RunConfig:
    """Draw the scenes into `out/data` and return the run that trains on them."""
    sizes = {
        "train": (_TRAIN, _TRAIN_SEED + seed),
        "validation": (_VALIDATION, _VALIDATION_SEED),
        "test": (_TEST, _TEST_SEED),
    }
    sets = {name: write_scenes(out / "data" / name, *size) for name, size in sizes.items()}
    return load_config(
        RunConfig,
        RECIPE,
        [
            f"training.max_minutes={minutes}",
            f"training.seed={seed}",
            f"training.reward.preset={reward}",
            *_source("data", sets["train"]),
            *_source("data.validation", sets["validation"]),
            *_source("data.test", sets["test"]),
        ],
    )


def _source(key: str, annotations: Path) -> list[str]:
    return [f"{key}.annotations={annotations}", f"{key}.images={annotations.parent / 'images'}"]
