"""GRPO with vision feedback, to be read from top to bottom.

Axes: P prompts, G completions per prompt, N = P*G, T tokens.
"""

from __future__ import annotations

import copy
import math
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from vision_r1_data import Sample
from vision_r1_grpo.advantages import group_advantages
from vision_r1_grpo.checkpoint import RunState, has_checkpoint, load_checkpoint, save_checkpoint
from vision_r1_grpo.config import ConfigError, GRPOConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.logprobs import TokenLogprobs
from vision_r1_grpo.policy import Policy, Prompt
from vision_r1_grpo.records import JsonLines, LiveProgress
from vision_r1_grpo.rewards import Reward, RewardBatch, Target
from vision_r1_grpo.rewards.monitors import History, count_signs, judge, monitors
from vision_r1_grpo.rollout import Rollout, Sampler, Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler
from vision_r1_grpo.update import PolicyUpdate
from vision_r1_ops import Thresholds

Evaluation = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Args:
        state: how far it came.
        interrupted: it was asked to stop before its end; a checkpoint is saved.
    """

    state: RunState
    interrupted: bool


class GRPOTrainer:
    """Trains a policy on samples with a vision reward.

    Args:
        config: the run.
        policy: the model to train, and its processor.
        reward: scores completions; its dialect also writes the prompts.
        dataset: the annotated samples.
        folder: where checkpoints/, metrics.jsonl and completions.jsonl go.
        evaluate: called at the start and every `eval_every` steps; what it returns is logged as
            "eval/<name>"; an alarm goes by "F1@50".
        sampler: draws completions; by default the policy's own model.
        resume: go on from the folder's latest checkpoint.

    Raises:
        ConfigError: the prompts of a step cannot be shared out to the ranks, the dataset is empty or asks
            what the reward does not score, there is nothing to resume, or there is and `resume` is false.
    """

    def __init__(
        self,
        config: GRPOConfig,
        policy: Policy,
        reward: Reward,
        dataset: Sequence[Sample],
        *,
        folder: Path,
        evaluate: Evaluation = dict,
        sampler: Sampler | None = None,
        resume: bool = False,
    ) -> None:
        self.config, self.policy, self.reward, self.dataset = config, policy, reward, dataset
        most_tokens = config.prompts_per_forward * config.sampling.group_size * config.sampling.max_new_tokens
        model = TokenLogprobs(policy.model, most_tokens)
        reference = copy.deepcopy(model).eval().requires_grad_(False) if config.loss.beta else None
        self.engine = Engine(model, config.optimizer, config.deepspeed)
        self.update = PolicyUpdate(config, policy, self.engine, reference)
        if config.prompts_per_step % self.engine.world_size:
            raise ConfigError(
                f"prompts_per_step must be a multiple of the {self.engine.world_size} processes, "
                f"got {config.prompts_per_step}"
            )
        if not dataset:
            raise ConfigError("dataset must hold at least one sample, got none")
        for sample in dataset:
            try:
                reward.of(sample.task)
            except ValueError as error:
                raise ConfigError(
                    f"sample {sample.id!r}: {error}; give a reward of its task, or other samples"
                ) from None
        self.evaluate, self.sampler = evaluate, sampler or TransformersSampler(policy)
        self.checkpoints = folder / "checkpoints"
        if resume and not has_checkpoint(self.checkpoints):
            raise ConfigError(f"{self.checkpoints}: there is no checkpoint to resume; start without --resume")
        if not resume and has_checkpoint(self.checkpoints):
            raise ConfigError(f"{self.checkpoints}: belongs to another run; resume it or give another folder")
        self.state = load_checkpoint(self.engine, self.checkpoints) if resume else RunState()
        self.saved = self.state if resume else None
        suffix = f"-rank{self.engine.rank}" if self.engine.rank else ""
        after = self.state.step if self.state.step else -1
        # Metrics are sums over all ranks, so one of them writes; completions are each rank's own.
        self.metrics = JsonLines(folder / "metrics.jsonl", after) if self.engine.rank == 0 else None
        self.completions = JsonLines(folder / f"completions{suffix}.jsonl", after)
        self.history = History.of(self.metrics.read() if self.metrics else ())

    def train(self) -> TrainingResult:
        """Train to the end of the run, or until SIGINT or SIGTERM asks for a stop after the present step."""
        config, g = self.config, self.config.sampling.group_size
        with _StopRequest() as stop, LiveProgress(visible=self.engine.rank == 0) as live:
            stop.share(self.engine)
            if self.state.step == 0 and self._evaluation_is_due():
                self._log({"step": 0} | self._evaluate())  # where the learning curve begins
            while self.progress < 1 and not stop.requested:
                start = time.monotonic()
                samples = self._next_samples()
                prompts = [self._prompt(sample) for sample in samples]
                rollout = self.sampler.generate(prompts, g, self._sampling())
                sampled = time.monotonic()

                truths = [Target.of(s, p.frame) for s, p in zip(samples, prompts, strict=True)]
                targets = [truth for truth in truths for _ in range(g)]
                scored = self.reward(rollout.texts, targets, thresholds=self.thresholds)
                advantages, informative = group_advantages(
                    scored.total.view(-1, g), scale=config.loss.scale_advantages
                )
                loss, grad_norm = self.update(
                    prompts, rollout, advantages.flatten(), informative, self._learning_rate()
                )

                seconds = {"rollout": sampled - start, "update": time.monotonic() - sampled}
                row = self._row(rollout, scored, informative, loss, grad_norm, seconds)
                row |= self._monitors(scored, targets)
                self._advance(sum(seconds.values()), row["xi2_share"])
                if self._evaluation_is_due():
                    row |= self._evaluate()
                self._log(row)
                self.completions.write(self._completion_rows(samples, rollout, scored))
                live.show(self.progress, row)
                if config.save_every and self.state.step % config.save_every == 0:
                    self._save()
                stop.share(self.engine)
            self._save()
        return TrainingResult(self.state, interrupted=self.progress < 1)

    def _log(self, row: dict[str, Any]) -> None:
        """Write the line, to which the alarms are added that it raises given those before it."""
        row |= judge(row, self.history)
        self.history = self.history.after(row)
        if self.metrics is not None:
            self.metrics.write([row])

    def _evaluate(self) -> dict[str, float]:
        """The evaluation's line in metrics.jsonl; a number that does not exist is left out."""
        return {f"eval/{name}": value for name, value in self.evaluate().items() if math.isfinite(value)}

    def _evaluation_is_due(self) -> bool:
        """On the first rank only; the others wait for it where they next exchange something."""
        every = self.config.eval_every
        return bool(every) and self.state.step % every == 0 and self.engine.rank == 0

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]: of its steps or of its minutes, whichever is more."""
        max_steps, max_minutes = self.config.max_steps, self.config.max_minutes
        if max_steps is None and max_minutes is None:
            max_steps = math.ceil(len(self.dataset) / self.config.prompts_per_step)
        steps = self.state.step / max_steps if max_steps else 0.0
        minutes = self.state.minutes / max_minutes if max_minutes else 0.0
        return min(max(steps, minutes), 1.0)

    @property
    def thresholds(self) -> Thresholds:
        """Those of the present step."""
        return self.reward.refinement(self.progress, self.state.refinement)

    def _next_samples(self) -> list[Sample]:
        """This rank's share of the step's prompts; every epoch has its own order, which the seed fixes."""
        per_step, size = self.config.prompts_per_step, len(self.dataset)
        chosen = []
        for at in range(self.state.step * per_step, (self.state.step + 1) * per_step):
            epoch, place = divmod(at, size)
            chosen.append(self.dataset[_epoch_order(self.config.seed, epoch, size)[place]])
        return chosen[self.engine.rank :: self.engine.world_size]

    def _prompt(self, sample: Sample) -> Prompt:
        return self.policy.encode(self.reward.dialect.prompt(sample), sample.load_image())

    def _sampling(self) -> Sampling:
        """The step's own seed, so that a resumed run draws what an uninterrupted one would have drawn."""
        at = self.state.step * self.engine.world_size + self.engine.rank
        seed = random.Random(f"{self.config.seed}/{at}").getrandbits(63)
        return Sampling(self.config.sampling.temperature, self.config.sampling.max_new_tokens, seed)

    def _learning_rate(self) -> float:
        optimizer = self.config.optimizer
        warm = min(1.0, (self.state.step + 1) / optimizer.warmup_steps) if optimizer.warmup_steps else 1.0
        return optimizer.learning_rate * warm * (1 - (1 - optimizer.decay) * self.progress)

    def _advance(self, seconds: float, xi2_share: float) -> None:
        """Count the step; ranks agree on the time and the share, because schedules follow them."""
        mean = self.engine.sum(torch.tensor([seconds], dtype=torch.float64)).item() / self.engine.world_size
        refinement = self.reward.refinement.advance(self.state.refinement, xi2_share)
        self.state = RunState(self.state.step + 1, self.state.minutes + mean / 60, refinement)

    def _row(
        self,
        rollout: Rollout,
        scored: RewardBatch,
        informative: Tensor,
        loss: float,
        grad_norm: float,
        seconds: Mapping[str, float],
    ) -> dict[str, Any]:
        """The step's line in metrics.jsonl, means over all ranks."""
        local = {
            "reward": scored.total,
            **{f"reward/{name}": part for name, part in scored.parts.items()},
            **{f"reward_of/{task}": total for task, total in scored.by_task.items()},
            "boxes": torch.tensor([len(answer) for answer in scored.answers]),
            "matched": scored.matched,
            "saturated": scored.saturated,
            "tokens": rollout.mask.sum(dim=1),
            "truncated": rollout.truncated,
            "informative_groups": informative,
        }
        mean = _means(self.engine, local)
        thresholds = self.thresholds
        return {
            "step": self.state.step + 1,
            "minutes": self.state.minutes + sum(seconds.values()) / 60,
            "progress": self.progress,
            **mean,
            "xi2_share": mean["saturated"] / (mean["matched"] or 1.0),
            "stage": self.reward.refinement.stage(self.progress, self.state.refinement),
            "xi0": thresholds.xi0,
            "xi1": thresholds.xi1,
            "xi2": thresholds.xi2,
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": self._learning_rate(),
            **{f"seconds/{name}": value for name, value in seconds.items()},
        }

    def _monitors(self, scored: RewardBatch, targets: Sequence[Target]) -> dict[str, float]:
        """Signs that the reward is gamed, over all ranks."""
        counts = count_signs(scored.answers, targets)
        sums = self.engine.sum(torch.tensor(list(counts.values()), dtype=torch.float64))
        return monitors(dict(zip(counts, sums.tolist(), strict=True)))

    def _completion_rows(
        self, samples: Sequence[Sample], rollout: Rollout, scored: RewardBatch
    ) -> list[dict[str, Any]]:
        g = self.config.sampling.group_size
        return [
            {
                "step": self.state.step,
                "sample": samples[n // g].id,
                "completion": text,
                "reward": scored.total[n].item(),
                **{
                    f"reward/{name}": part[n].item()
                    for name, part in scored.parts.items()
                    if part[n].isfinite()
                },
                "problems": list(scored.answers[n].problems),
            }
            for n, text in enumerate(rollout.texts)
        ]

    def _save(self) -> None:
        if self.state != self.saved:
            save_checkpoint(self.engine, self.checkpoints, self.state, self.config.keep_checkpoints)
            self.saved = self.state


def _means(engine: Engine, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over all ranks of what is not NaN; one of nothing is left out."""
    there = [each.double()[~each.double().isnan()] for each in values.values()]
    sums = engine.sum(torch.tensor([[some.sum().item(), len(some)] for some in there], dtype=torch.float64))
    return {name: total / n for name, (total, n) in zip(values, sums.tolist(), strict=True) if n}


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, size: int) -> list[int]:
    order = list(range(size))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order


class _StopRequest:
    """The first SIGINT or SIGTERM asks for a stop after the present step; the second one interrupts.

    A signal reaches one rank at any moment; `requested` changes on all ranks at once, when they share.
    """

    requested = False
    _asked = False

    def __enter__(self) -> _StopRequest:
        self._before = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def share(self, engine: Engine) -> None:
        """Every rank stops if one was asked to."""
        self.requested = bool(engine.sum(torch.tensor([float(self._asked)])).item())
