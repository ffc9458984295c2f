"""Greedy answers of the policy, kept as a file, and their metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from vision_r1_data import Answer, DataError, Dialect, Sample
from vision_r1_eval import Metrics, evaluate
from vision_r1_grpo import Policy
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler


@dataclass(frozen=True)
class Measured:
    """What the policy answered to some samples, and how good that is.

    Args:
        metrics: of all answers together.
        answers: one per sample.
        texts: the completions behind them.
    """

    metrics: Metrics
    answers: tuple[Answer, ...]
    texts: tuple[str, ...]

    def save(self, path: Path, samples: Sequence[Sample]) -> None:
        """Write the answers as JSON lines; the file appears only when it is complete."""
        rows = zip(samples, self.texts, self.answers, strict=True)
        lines = [
            json.dumps({"sample": s.id, "text": text, **asdict(answer)}) + "\n" for s, text, answer in rows
        ]
        write_text(path, "".join(lines))

    @classmethod
    def load(cls, path: Path, samples: Sequence[Sample]) -> Measured:
        """Read back what `save` wrote, and evaluate it.

        Raises:
            DataError: the answers are to other samples.
        """
        texts, answers = [], []
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        if [row["sample"] for row in rows] != [sample.id for sample in samples]:
            raise DataError(
                f"{path}: answers other images than the run measures now; start anew with --force"
            )
        for row in rows:
            texts.append(row["text"])
            answers.append(
                Answer(
                    tuple(tuple(box) for box in row["boxes"]),
                    tuple(row["labels"]),
                    row["well_formed"],
                    tuple(row["problems"]),
                    row["truncated"],
                )
            )
        return cls(evaluate(samples, answers), tuple(answers), tuple(texts))


def measure(
    policy: Policy,
    dialect: Dialect,
    samples: Sequence[Sample],
    *,
    max_new_tokens: int,
    batch: int,
    title: str = "",
) -> Measured:
    """Ask for every sample once, take the likeliest answer, and evaluate.

    Args:
        policy: the model that answers.
        dialect: how it is asked, and how it writes boxes.
        samples: what is asked.
        max_new_tokens: the longest answer.
        batch: how many images are answered together.
        title: shown beside a progress bar; no bar without it.
    """
    sampler, sampling = TransformersSampler(policy), Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
    answers: list[Answer] = []
    texts: list[str] = []
    starts = range(0, len(samples), batch)
    for start in track(starts, title, console=Console(stderr=True), transient=True, disable=not title):
        some = samples[start : start + batch]
        prompts = [policy.encode(dialect.prompt(sample), sample.load_image()) for sample in some]
        rollout = sampler.generate(prompts, 1, sampling)
        texts += rollout.texts
        answers += [
            dialect.decode(text, prompt.frame) for text, prompt in zip(rollout.texts, prompts, strict=True)
        ]
    return Measured(evaluate(samples, answers), tuple(answers), tuple(texts))


def write_text(path: Path, text: str) -> None:
    """Write a file that is either complete or not there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)
