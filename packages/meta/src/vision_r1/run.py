"""A whole run: read, measure, train, measure again, report."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import vision_r1_tiny
from vision_r1.config import CocoConfig, DataConfig, ModelConfig, RunConfig
from vision_r1.measure import Measured, measure, write_text
from vision_r1.report import write_run_report
from vision_r1_data import DataError, Sample, read_coco
from vision_r1_eval import Protocol, comparison_table
from vision_r1_grpo import ConfigError, GRPOTrainer, Policy, VisionReward, load_config, save_config
from vision_r1_grpo.checkpoint import export_model, has_checkpoint
from vision_r1_grpo.engine import init_distributed

_MOST_HELD_OUT = 200
_LINES = re.compile(r"(metrics|completions)(-rank\d+)?\.jsonl")
_FILES = {
    "config.yaml",
    "data",
    "answers-before.jsonl",
    "answers-after.jsonl",
    "checkpoints",
    "model",
    "model.partial",
    "metrics.json",
    "report.html",
}


@dataclass(frozen=True)
class Splits:
    """The samples of a run: trained on, of the learning curve, of the numbers before and after."""

    train: Sequence[Sample]
    validation: Sequence[Sample]
    test: Sequence[Sample]


def claim_folder(out: Path, *, force: bool, resume: bool) -> None:
    """Make the run folder, or make sure that an existing one may be used.

    Raises:
        DataError: it holds something and neither `force` nor `resume` says what to do with that; or there is
            no run in it to resume, or something in it that no run wrote.
    """
    if resume:
        if not (out / "config.yaml").is_file():
            raise DataError(f"{out}: holds no run to resume; leave out --resume to start one")
        return
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; give a folder with --out")
    held = {entry.name for entry in out.iterdir()} if out.exists() else set()
    if held and not force:
        raise DataError(
            f"{out}: exists already; give another --out, --resume to go on, or --force to replace it"
        )
    foreign = sorted(name for name in held - _FILES if not _LINES.fullmatch(name))
    if held and (foreign or "config.yaml" not in held):
        found = f"holds {foreign[0]!r}, which no run wrote" if foreign else "holds no config.yaml, so no run"
        raise DataError(f"{out}: {found}; remove the folder yourself or give another --out")
    if held:
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def load_run(out: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config that a run saved in its folder, with overrides."""
    return load_config(RunConfig, out / "config.yaml", overrides)


def run(config: RunConfig, out: Path, *, resume: bool = False) -> bool:
    """Run from end to end and leave everything in the folder `out`.

    Args:
        config: the run.
        out: a folder that `claim_folder` made.
        resume: go on from the folder's checkpoint, if there is one yet.

    Returns:
        Whether the run came to its end; if not, `resume` goes on from its checkpoint.

    Raises:
        DataError, ConfigError: bad input; always before any training.
    """
    splits = read_splits(config.data, config.training.seed)
    main = int(os.environ.get("RANK", "0")) == 0
    console = Console(quiet=not main)
    init_distributed()
    policy, reward = _load_policy(config.model), build_reward(config)
    limit = config.training.sampling.max_new_tokens
    trainer = GRPOTrainer(
        config.training,
        policy,
        reward,
        splits.train,
        folder=out,
        evaluate=lambda: measure(policy, reward.dialect, splits.validation, limit).metrics.as_dict(),
        resume=resume and has_checkpoint(out / "checkpoints"),
    )
    if main:
        save_config(config, out / "config.yaml")
    answers = out / "answers-before.jsonl"
    if main and not answers.exists():
        measure(policy, reward.dialect, splits.test, limit, title="measuring the base").save(
            answers, splits.test
        )
    result = trainer.train()
    if result.interrupted:
        console.print(
            f"stopped after step {result.state.step}; go on with: --resume --out {out}", soft_wrap=True
        )
        return False
    if main:
        export_model(policy, out / "model")
        before = Measured.load(answers, splits.test)
        after = measure(policy, reward.dialect, splits.test, limit, title="measuring the result")
        after.save(out / "answers-after.jsonl", splits.test)
        summary = {
            "before": _numbers(before),
            "after": _numbers(after),
            "protocol": str(Protocol()),
            "test_images": len(splits.test),
            "steps": result.state.step,
            "minutes": round(result.state.minutes, 3),
            "reward": reward.preset,
            "seed": config.training.seed,
        }
        write_text(out / "metrics.json", json.dumps(summary, indent=2) + "\n")
        write_run_report(out, config, splits.test, before, after)
        console.print(comparison_table(before.metrics, after.metrics), highlight=False, soft_wrap=True)
        console.print(f"open {out / 'report.html'}", highlight=False, soft_wrap=True)
    return True


def build_reward(config: RunConfig) -> VisionReward:
    """The reward of a run.

    Raises:
        ConfigError: its dialect or a weighted part does not exist.
    """
    settings = config.training.reward
    try:
        return VisionReward.from_preset(
            settings.preset, config.data.dialect, refinement=settings.refinement, weights=settings.weights
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _load_policy(model: ModelConfig) -> Policy:
    try:
        return Policy.from_pretrained(
            vision_r1_tiny.path() if model.path == "tiny" else model.path, model.dtype
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.path: {model.path} cannot be loaded as a model ({reason})") from error


def _numbers(measured: Measured) -> dict[str, float | None]:
    """The metrics for a JSON file, where a number that does not exist is null."""
    return {name: None if math.isnan(x) else x for name, x in measured.metrics.as_dict().items()}


def read_splits(data: DataConfig, seed: int) -> Splits:
    """Read the sets of a run; what is not given is set aside from the training images, fixed by the seed."""

    def read(source: CocoConfig | DataConfig) -> list[Sample]:
        return read_coco(source.annotations, source.images, bad_boxes=data.bad_boxes)

    if not data.annotations or not data.images:
        raise DataError(
            "there is nothing to train on; give data.annotations=instances.json and data.images=DIR"
        )
    train = read(data)
    if data.test.annotations:
        test = read(data.test)
    else:
        random.Random(seed).shuffle(train)
        size = min(max(1, round(data.held_out * len(train))), _MOST_HELD_OUT)
        test, train = train[:size], train[size:]
        if not train:
            raise DataError(
                f"{data.annotations}: has one image, and training needs one more to measure with; add images"
            )
    validation = read(data.validation) if data.validation.annotations else test
    return Splits(train, validation[: data.validation_images], test)
