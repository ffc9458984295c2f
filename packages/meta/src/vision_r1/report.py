"""The page of a run: what changed, the learning curves, and the answers side by side."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vision_r1.config import RunConfig
from vision_r1.measure import Measured
from vision_r1_data import Sample
from vision_r1_eval import Panel, Protocol, Report, Scene, Series, write_report

_MOST_SCENES = 60
Rows = Sequence[dict[str, Any]]


def write_run_report(
    out: Path, config: RunConfig, samples: Sequence[Sample], before: Measured, after: Measured
) -> None:
    """Write `report.html` into the run folder, from its metrics.jsonl and the answers before and after."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if row["step"] > 0]
    preset = config.training.reward.preset
    report = Report(
        title="Vision-R1 run",
        subtitle=f"GRPO with the {preset} reward, {len(steps)} steps in {steps[-1]['minutes']:.1f} minutes",
        protocol=f"{len(samples)} held-out images, greedy answers; {Protocol()}",
        before=before.metrics,
        after=after.metrics,
        curves=learning_curves(rows, before),
        gallery=_gallery(samples, before, after),
        facts=_facts(config, steps),
    )
    write_report(out / "report.html", report)


def learning_curves(rows: Rows, before: Measured) -> list[Panel]:
    """The charts of a run, from the lines of its metrics.jsonl."""
    parts = [key for key in rows[-1] if key.startswith("reward/")]
    true_boxes = before.metrics.as_dict()["boxes_per_image"]
    return [
        Panel(
            "Reward, and what it buys",
            "step",
            [
                *(_series(rows, key, key.removeprefix("reward/"), smooth=True) for key in parts),
                _series(rows, "eval/F1@50", "F1, validation"),
            ],
            "Parts of the reward, mean over the completions of each step; and F1 of greedy answers to the "
            "validation images. A gap that grows is a reward that pays for something else.",
            1.0,
        ),
        Panel(
            "Detection",
            "step",
            [_series(rows, f"eval/{key}", key) for key in ("mAP", "AP50", "AP75")],
            "Greedy answers to validation images, which are neither trained on nor in the table above.",
        ),
        Panel(
            "Recall and precision",
            "step",
            [_series(rows, "eval/recall@50", "recall"), _series(rows, "eval/precision@50", "precision")],
            "On the validation images, at IoU .5 with the right label. Recall that falls while precision "
            "rises is a policy that learns to say less; both fall when it forgets the labels.",
            1.0,
        ),
        Panel(
            "Boxes per completion",
            "step",
            [
                _series(rows, "boxes", "sampled", smooth=True),
                _series(rows, "eval/boxes_per_answer", "greedy"),
                Series("in the images", [(rows[0]["step"], true_boxes), (rows[-1]["step"], true_boxes)]),
            ],
            "A count that sinks towards one is the collapse of a reward that pays for silence.",
        ),
    ]


def _series(rows: Rows, key: str, name: str, *, smooth: bool = False) -> Series:
    return Series(name, [(row["step"], row[key]) for row in rows if key in row], smooth)


def _gallery(samples: Sequence[Sample], before: Measured, after: Measured) -> list[Scene]:
    return [
        Scene(
            samples[k].image,
            samples[k].id,
            samples[k].objects,
            before.answers[k],
            after.answers[k],
            before.texts[k],
            after.texts[k],
        )
        for k in range(min(len(samples), _MOST_SCENES))
    ]


def _facts(config: RunConfig, rows: Rows) -> list[tuple[str, str]]:
    training = config.training
    rollout = sum(row["seconds/rollout"] for row in rows) / len(rows)
    update = sum(row["seconds/update"] for row in rows) / len(rows)
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return [
        ("model", f"{config.model.path}, {config.model.dtype}"),
        ("reward", training.reward.preset),
        ("prompts x completions", f"{training.prompts_per_step} x {training.sampling.group_size}"),
        ("learning rate", f"{training.optimizer.learning_rate:g}"),
        ("seed", str(training.seed)),
        ("seconds a step", f"{rollout + update:.2f} ({rollout:.2f} rollout, {update:.2f} update)"),
        ("device", device),
        ("software", f"Python {platform.python_version()}, torch {torch.__version__}"),
    ]
