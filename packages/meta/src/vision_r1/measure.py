"""Greedy answers of the policy, kept as a file, their rewards and their metrics."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import track

from vision_r1_data import Answer, DataError, Dialect, Frame, Sample
from vision_r1_data.dialects.number import decode_number
from vision_r1_data.prompts import TASKS
from vision_r1_eval import Metrics, Protocol, evaluate
from vision_r1_grpo import Policy, Target
from vision_r1_grpo.rewards import Reward
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler


@dataclass(frozen=True)
class Measured:
    """What the policy answered to some samples, and how good that is.

    Args:
        metrics: of all answers that are boxes together; NaN where there are none.
        answers: one per sample.
        texts: the completions behind them.
        rewards: what each earns, under the thresholds that the run begins with.
        tasks: of the samples.
    """

    metrics: Metrics
    answers: tuple[Answer, ...]
    texts: tuple[str, ...]
    rewards: tuple[float, ...]
    tasks: tuple[str, ...]

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        answers: Sequence[Answer],
        texts: Sequence[str],
        rewards: Sequence[float],
    ) -> Measured:
        """Evaluate the answers."""
        boxes = [n for n, sample in enumerate(samples) if _in_metrics(sample)]
        metrics = Metrics(Protocol(), *[math.nan] * (len(fields(Metrics)) - 1))
        if boxes:
            metrics = evaluate([samples[n] for n in boxes], [answers[n] for n in boxes])
        tasks = tuple(sample.task for sample in samples)
        return cls(metrics, tuple(answers), tuple(texts), tuple(rewards), tasks)

    def as_dict(self) -> dict[str, float]:
        """The metrics, and the mean rewards: of all, and of each task where there are several."""
        by_task: dict[str, list[float]] = {}
        for task, reward in zip(self.tasks, self.rewards, strict=True):
            by_task.setdefault(task, []).append(reward)
        of_task = {f"reward_of/{task}": fmean(some) for task, some in sorted(by_task.items())}
        return {
            **self.metrics.as_dict(),
            "reward": fmean(self.rewards),
            **(of_task if len(by_task) > 1 else {}),
        }

    def save(self, path: Path, samples: Sequence[Sample]) -> None:
        """Write the answers as JSON lines; the file appears only when it is complete."""
        rows = zip(samples, self.texts, self.rewards, self.answers, strict=True)
        lines = [
            json.dumps({"sample": sample.id, "text": text, "reward": reward, **asdict(answer)}) + "\n"
            for sample, text, reward, answer in rows
        ]
        write_text(path, "".join(lines))

    @classmethod
    def load(cls, path: Path, samples: Sequence[Sample]) -> Measured:
        """Read back what `save` wrote, and evaluate it.

        Raises:
            DataError: the answers are to other samples.
        """
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        if [row["sample"] for row in rows] != [sample.id for sample in samples]:
            raise DataError(
                f"{path}: answers other images than the run measures now; start anew with --force"
            )
        answers = [
            Answer(
                tuple(tuple(box) for box in row["boxes"]),
                tuple(row["labels"]),
                row["well_formed"],
                tuple(row["problems"]),
                row["truncated"],
                tuple(tuple(tuple(corner) for corner in polygon) for polygon in row["polygons"]),
                row["count"],
            )
            for row in rows
        ]
        return cls.of(samples, answers, [row["text"] for row in rows], [row["reward"] for row in rows])


def measure(
    policy: Policy,
    reward: Reward,
    samples: Sequence[Sample],
    *,
    max_new_tokens: int,
    batch: int,
    stop_token_ids: tuple[int, ...] = (),
    title: str = "",
) -> Measured:
    """Ask for every sample once, take the likeliest answer, score and evaluate it.

    Args:
        policy: the model that answers.
        reward: scores the answers; its dialect also asks.
        samples: what is asked.
        max_new_tokens: the longest answer.
        batch: how many images are answered together.
        stop_token_ids: tokens that end an answer, beside the model's own.
        title: shown beside a progress bar; no bar without it.
    """
    sampler, sampling = (
        TransformersSampler(policy),
        Sampling(0.0, max_new_tokens, stop_token_ids=stop_token_ids),
    )
    dialect = reward.dialect
    answers: list[Answer] = []
    texts: list[str] = []
    rewards: list[float] = []
    starts = range(0, len(samples), batch)
    for start in track(starts, title, console=Console(stderr=True), transient=True, disable=not title):
        some = samples[start : start + batch]
        prompts = [policy.encode(dialect.prompt(sample), sample.load_image()) for sample in some]
        rollout = sampler.generate(prompts, 1, sampling)
        texts += rollout.texts
        targets = [Target.of(sample, prompt.frame) for sample, prompt in zip(some, prompts, strict=True)]
        rewards += reward(rollout.texts, targets, progress=0.0).total.tolist()
        answers += [
            _read(dialect, sample, text, prompt.frame)
            for sample, text, prompt in zip(some, rollout.texts, prompts, strict=True)
        ]
    return Measured.of(samples, answers, texts, rewards)


def unmeasured(samples: Sequence[Sample]) -> dict[str, int]:
    """Task -> how many samples of it are in no metrics, as their answers are not boxes with labels."""
    return dict(sorted(Counter(sample.task for sample in samples if not _in_metrics(sample)).items()))


def _in_metrics(sample: Sample) -> bool:
    return TASKS[sample.task].form == "boxes"


def _read(dialect: Dialect, sample: Sample, text: str, frame: Frame) -> Answer:
    form = TASKS[sample.task].form
    return decode_number(text) if form == "number" else dialect.decode(text, frame, form)


def write_text(path: Path, text: str) -> None:
    """Write a file that is either complete or not there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)
