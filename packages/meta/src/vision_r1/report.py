"""The page of a run: what changed, signs of a gamed reward, learning curves, and the answers side by side."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from vision_r1.config import RunConfig
from vision_r1.measure import Measured, unmeasured
from vision_r1_data import Sample
from vision_r1_eval import Monitors, Panel, Protocol, Report, Scene, Series, write_report
from vision_r1_grpo.config import RewardConfig
from vision_r1_grpo.rewards import Reward
from vision_r1_grpo.rewards.monitors import ALARMS, History

_MOST_SCENES, _MOST_SPANS = 60, 3
Point = tuple[float, float]
Rows = Sequence[dict[str, Any]]


def write_run_report(
    out: Path,
    config: RunConfig,
    reward: Reward,
    samples: Sequence[Sample],
    before: Measured,
    after: Measured,
) -> None:
    """Write `report.html` into the run folder, from its metrics.jsonl and the answers before and after.

    Args:
        out: the run folder.
        config: the run.
        reward: what it trained with.
        samples: the test samples.
        before: what was answered to them before.
        after: what is answered to them now.
    """
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if row["step"] > 0]
    left_out = ", ".join(f"{task} {count}" for task, count in unmeasured(samples).items())
    trained = "Supervised training" if config.method == "sft" else f"GRPO with the {reward.preset} reward"
    measured = f", in the metrics all but {left_out}" if left_out else ""
    report = Report(
        title="Vision-R1 run",
        subtitle=f"{trained}, {len(steps)} steps in {steps[-1]['minutes']:.1f} minutes",
        protocol=f"{len(samples)} held-out images{measured}, greedy answers; {Protocol()}",
        before=before.metrics,
        after=after.metrics,
        monitors=None if config.method == "sft" else reward_monitors(rows, reward.most),
        curves=learning_curves(rows, before),
        gallery=_gallery(samples, before, after),
        facts=[*_facts(config, reward, steps), *reward_changes(before, after)],
    )
    write_report(out / "report.html", report)


def changed_settings(reward: RewardConfig) -> dict[str, Any]:
    """What a config says of its reward beside the preset."""
    changed = {"refinement": reward.refinement and asdict(reward.refinement)}
    changed |= {name: getattr(reward, name) for name in ("weights", "options", "added")}
    return {name: value for name, value in changed.items() if value}


def reward_changes(before: Measured, after: Measured) -> list[tuple[str, str]]:
    """The mean rewards of the held-out images, before and after, each with its name."""
    old, new = before.as_dict(), after.as_dict()
    names = {key: f"held-out {key.replace('_of/', ' of ')}" for key in new if key.startswith("reward")}
    return [(name, f"{old[key]:.3f} before, {new[key]:.3f} after") for key, name in names.items()]


def reward_monitors(rows: Rows, most: float) -> Monitors:
    """What the alarms of a run went by, from the lines of its metrics.jsonl, and which were on.

    Args:
        rows: the lines.
        most: what a completion can earn at most.
    """
    history, levels = History(), {name: list[Point]() for name in ALARMS}
    for row in rows:
        history = history.after(row)
        for name in ALARMS:
            if f"monitor/{name}" in row:
                levels[name].append((row["step"], history.level(name)))
    ends, steps = (rows[0]["step"], rows[-1]["step"]), sum(row["step"] > 0 for row in rows)
    marked = {name: _marked(rows, name) for name in ALARMS}
    on = {name: spans for name, spans in marked.items() if spans}
    share = [(row["step"], row["reward"] / most) for row in rows if "reward" in row]
    gap = Panel(
        "Reward against held-out F1",
        "step",
        [
            Series("reward, share of the most", share, smooth=True),
            _series(rows, "eval/F1@50", "F1, validation"),
        ],
        "F1 is of greedy answers to the validation images. A gap that grows is a reward that pays for "
        "something else; shaded where f1_drop is on.",
        1.0,
        ends,
        marked=marked["f1_drop"],
    )
    small = [
        Panel(
            name,
            "step",
            [Series(name, points)],
            f"{ALARMS[name].measure}; alarm above {history.limit(name):.2f}.",
            x_range=ends,
            limit=history.limit(name),
            marked=marked[name],
            small=True,
        )
        for name, points in levels.items()
        if points
    ]
    return Monitors(
        f"{len(on)} of {len(ALARMS)} alarms in {steps} steps" if on else f"No alarm in {steps} steps",
        "A line is the mean that its alarm goes by, of the last 10 steps or the last evaluation; dashed is "
        "the limit, shaded where the alarm is on. A limit that counts from the start stands from step 10 on.",
        [
            (name, f"{_when(spans, ends[1])}. {ALARMS[name].measure}: {ALARMS[name].sign}.")
            for name, spans in on.items()
        ],
        [gap, *small],
    )


def _marked(rows: Rows, name: str) -> list[Point]:
    """(from, to) of the steps where the alarm is on: until the next step that has its monitor."""
    measured = [row for row in rows if f"monitor/{name}" in row]
    spans: list[Point] = []
    for row, after in pairwise([*measured, {"step": rows[-1]["step"] + 1}]):
        if name in row["alarms"]:
            start = spans.pop()[0] if spans and spans[-1][1] == row["step"] else row["step"]
            spans.append((start, after["step"]))
    return spans


def _when(spans: Sequence[Point], last: float) -> str:
    said = [f"from step {start} on" if end > last else f"from step {start} to {end}" for start, end in spans]
    more = [f"and {len(said) - _MOST_SPANS} more times"] if len(said) > _MOST_SPANS else []
    return ", ".join(said[:_MOST_SPANS] + more)


def learning_curves(rows: Rows, before: Measured) -> list[Panel]:
    """The charts of a run, from the lines of its metrics.jsonl."""
    parts, tasks = (
        list(dict.fromkeys(key for row in rows for key in row if key.startswith(prefix)))
        for prefix in ("reward/", "reward_of/")
    )
    by_task = Panel(
        "Reward by task",
        "step",
        [_series(rows, key, key.removeprefix("reward_of/"), smooth=True) for key in tasks],
        "Means over the completions of each task, weighted sums.",
    )
    by_part = Panel(
        "Parts of the reward",
        "step",
        [_series(rows, key, key.removeprefix("reward/"), smooth=True) for key in parts],
        "Means over the completions of each step, before they are weighted.",
        1.0,
    )
    loss = Panel(
        "Cross entropy",
        "step",
        [_series(rows, "loss", "loss", smooth=True)],
        "Of the annotated answers, the mean over the tokens of each step in nats.",
    )
    true_boxes = before.metrics.as_dict()["boxes_per_image"]
    return [
        by_part if parts else loss,
        *([by_task] if tasks else []),
        Panel(
            "Held-out reward",
            "step",
            [
                _series(rows, key, key.removeprefix("eval/").replace("_of/", " of "))
                for key in rows[0]
                if key.startswith("eval/reward")
            ],
            "Of greedy answers to the validation images, under the thresholds that the run begins with.",
        ),
        Panel(
            "Detection",
            "step",
            [_series(rows, f"eval/{key}", key) for key in ("mAP", "AP50", "AP75")],
            "Greedy answers to the validation images; where none are given, to the first of the table above.",
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
                *([_series(rows, "boxes", "sampled", smooth=True)] if parts else []),
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
            samples[k].load_image(),
            samples[k].id,
            samples[k].objects,
            before.answers[k],
            after.answers[k],
            before.texts[k],
            after.texts[k],
        )
        for k in range(min(len(samples), _MOST_SCENES))
    ]


def _facts(config: RunConfig, reward: Reward, rows: Rows) -> list[tuple[str, str]]:
    training, changed = config.training, changed_settings(config.training.reward).items()
    phases = ("rollout", "update") if config.method == "grpo" else ("data", "update")
    seconds = {phase: sum(row[f"seconds/{phase}"] for row in rows) / len(rows) for phase in phases}
    shares = ", ".join(f"{value:.2f} {phase}" for phase, value in seconds.items())
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return [
        ("model", f"{config.model.path}, {config.model.dtype}"),
        ("reward", "; ".join([reward.preset, *(f"{name} {json.dumps(value)}" for name, value in changed)])),
        _batch(config, rows),
        ("learning rate", f"{training.optimizer.learning_rate:g}"),
        ("seed", str(training.seed)),
        ("seconds a step", f"{sum(seconds.values()):.2f} ({shares})"),
        ("device", device),
        ("software", f"Python {platform.python_version()}, torch {torch.__version__}"),
    ]


def _batch(config: RunConfig, rows: Rows) -> tuple[str, str]:
    size = config.training.prompts_per_step
    if config.method == "grpo":
        return "prompts x completions", f"{size} x {config.training.sampling.group_size}"
    left_out = sum(row["dropped_answers"] for row in rows)
    return "annotated answers a step", f"{size}; in all {left_out} above max_new_tokens are left out"
