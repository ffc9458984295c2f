"""The quickstart: a tiny model, drawn scenes, and a few minutes on a CPU."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vision_r1.config import RECIPES, CocoConfig, DataConfig, RunConfig
from vision_r1_data.scenes import write_scenes
from vision_r1_grpo import load_config

RECIPE = RECIPES / "quickstart.yaml"
# Every run is measured on the same scenes; those that settings were chosen with are the validation scenes.
_TEST_SEED, _VALIDATION_SEED, _TRAIN_SEED = 1_000_000, 2_000_000, 3_000_000
_TEST, _VALIDATION, _TRAIN = 200, 100, 2000


def quickstart_config(
    out: Path, *, minutes: float, seed: int, reward: Literal["strict", "paper", "released"]
) -> RunConfig:
    """The run that trains on the scenes in `out/data`."""
    recipe = load_config(RunConfig, RECIPE)
    train, validation, test = (_source(out, name) for name in ("train", "validation", "test"))
    data = DataConfig(train.annotations, train.images, validation=validation, test=test)
    preset = replace(recipe.training.reward, preset=reward)
    training = replace(recipe.training, max_minutes=minutes, seed=seed, reward=preset)
    return replace(recipe, data=data, training=training)


def draw_scenes(out: Path, seed: int) -> None:
    """Draw the scenes into `out/data`, those sets that are not complete yet."""
    sets = {
        "train": (_TRAIN, _TRAIN_SEED + seed),
        "validation": (_VALIDATION, _VALIDATION_SEED),
        "test": (_TEST, _TEST_SEED),
    }
    for name, (count, scene_seed) in sets.items():
        folder = out / "data" / name
        if not (folder / "instances.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            write_scenes(folder, count, scene_seed)


def _source(out: Path, name: str) -> CocoConfig:
    folder = out / "data" / name
    return CocoConfig(str(folder / "instances.json"), str(folder / "images"))
