"""GRPO with vision feedback, to be read from top to bottom.

Axes: P prompts, G completions per prompt, N = P*G, T tokens.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import set_seed

from vision_r1_data import Sample
from vision_r1_grpo.advantages import group_advantages, informative_groups, overlong_penalty
from vision_r1_grpo.checkpoint import (
    Best,
    RunState,
    export_model,
    has_checkpoint,
    load_best,
    load_checkpoint,
    save_best,
    save_checkpoint,
)
from vision_r1_grpo.config import ConfigError, GRPOConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.feed import Draw, Feed
from vision_r1_grpo.groups import ScoredGroups, join, share_out
from vision_r1_grpo.logprobs import TokenLogprobs
from vision_r1_grpo.metrics import Clock, DrawnGroups, Step, step_metrics
from vision_r1_grpo.overlays import save_overlay
from vision_r1_grpo.policy import Policy, Prompt
from vision_r1_grpo.records import LiveProgress, Records
from vision_r1_grpo.rewards import RefinementState, Reward, Target
from vision_r1_grpo.rollout import Rollout, Sampler, Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler
from vision_r1_grpo.stop import StopRequest
from vision_r1_grpo.trainable import Reference, choose_trainable
from vision_r1_grpo.update import Experience, PolicyUpdate
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
        folder: where checkpoints/, overlays/, metrics.jsonl and completions.jsonl go.
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
        evaluate: Evaluation | None = None,
        sampler: Sampler | None = None,
        resume: bool = False,
    ) -> None:
        self.config, self.policy, self.reward, self.dataset = config, policy, reward, dataset
        self.trainable = choose_trainable(policy, config.trainable, config.seed)
        most_tokens = config.prompts_per_forward * self.group_size * config.sampling.max_new_tokens
        model = TokenLogprobs(policy.model, most_tokens)
        reference = Reference(model) if config.loss.beta else None
        self.engine = Engine(model, config.optimizer, config.deepspeed)
        forward = None if reference is None else reference.forward(self.engine)
        self.update = PolicyUpdate(config, policy, self.engine, forward)
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
        self.stop_token_ids = tuple(map(self._token_id, config.sampling.stop))
        self.feed = Feed(config, dataset, self._prompt, self.engine)
        self.folder, self.checkpoints = folder, folder / "checkpoints"
        if resume and not has_checkpoint(self.checkpoints):
            raise ConfigError(f"{self.checkpoints}: there is no checkpoint to resume; start without --resume")
        if not resume and has_checkpoint(self.checkpoints):
            raise ConfigError(f"{self.checkpoints}: belongs to another run; resume it or give another folder")
        self.state = load_checkpoint(self.engine, self.checkpoints) if resume else RunState()
        self.saved = self.state if resume else None
        self.best = load_best(self.checkpoints) if resume else None
        after = self.state.step if self.state.step else -1
        self.records = Records(folder, self.engine, after)

    def train(self) -> TrainingResult:
        """Train to the end of the run, or until SIGINT or SIGTERM asks for a stop after the present step.

        Raises:
            ConfigError: there is nothing to evaluate with, or every prompt is too long.
        """
        config = self.config
        if config.eval_every and self.evaluate is None:
            raise ConfigError(
                f"eval_every is {config.eval_every}, but there is no `evaluate`; give one, or set it to 0"
            )
        with StopRequest() as stop, LiveProgress(visible=self.engine.rank == 0) as live:
            stop.share(self.engine)
            if self.state.step == 0 and self._evaluation_is_due():
                self.records.log({"step": 0} | self._evaluate())  # where the learning curve begins
            while self.progress < 1 and not stop.requested:
                self._seed_step()
                row = self._step()
                if self._evaluation_is_due():
                    row |= self._evaluate()
                self.records.log(row)
                live.show(self.progress, row)
                if config.save_every and self.state.step % config.save_every == 0:
                    self._save()
                stop.share(self.engine)
            self._save()
        return TrainingResult(self.state, interrupted=self.progress < 1)

    def _step(self) -> dict[str, Any]:
        """Draw groups, learn from them, keep them; returns the line of metrics.jsonl."""
        clock = Clock()
        drawn = self._draw(clock)
        experience = self._experience(drawn.groups)
        learnt = self.update(experience, self._learning_rate())
        clock.lap("update")

        step = Step(drawn, experience, learnt, clock.seconds)
        row = self._schedules() | self._stage() | step_metrics(step, self.engine)
        refinement = self.reward.refinement.advance(self.state.refinement, row["xi2_share"])
        self._advance(row, drawn.drawn, refinement)
        self.records.keep(step, self.state.step)
        self._draw_overlay(step)
        return row

    def _draw(self, clock: Clock) -> DrawnGroups:
        """Groups of new prompts, and of more while too few of all ranks say something."""
        config, drawn = self.config, self.state.drawn
        rounds: list[ScoredGroups] = []
        dropped: list[str] = []
        for _ in range(config.resample_rounds + 1):
            draw = self.feed.draw(drawn, config.prompts_per_step)
            clock.lap("data")
            rounds.append(self._sample(draw, self.sampling(self._round_seed(drawn)), clock))
            drawn, groups = draw.drawn, join(rounds)
            dropped += draw.dropped
            if self._informative(groups).sum() >= config.prompts_per_step:
                break
        return DrawnGroups(groups, drawn, tuple(dropped))

    def _sample(self, draw: Draw, sampling: Sampling, clock: Clock) -> ScoredGroups:
        """Completions of the prompts and their rewards."""
        g, loss = self.config.sampling.group_size, self.config.loss
        samples, prompts = draw.samples, draw.prompts
        with self.engine.gathered():
            rollout = self.sampler.generate(prompts, g, sampling)
        clock.lap("rollout")
        truths = [Target.of(s, p.frame) for s, p in zip(samples, prompts, strict=True)]
        targets = [truth for truth in truths for _ in range(g)]
        scored = self.reward(rollout.texts, targets, thresholds=self.thresholds)
        rewards = scored.total
        if loss.overlong_buffer is not None:
            rewards = rewards + self._overlong_penalty(rollout).to(rewards)
        rewards = rewards.view(-1, g)
        counted = informative_groups(rewards)[:, None].expand_as(rewards)
        if loss.truncated == "mask":
            counted = counted & ~rollout.truncated.to(counted.device).view(-1, g)
        clock.lap("reward")
        return ScoredGroups(samples, prompts, targets, rollout, scored, rewards, counted)

    def _experience(self, groups: ScoredGroups) -> Experience:
        """What the update learns from: as many groups on every rank, those that say something first."""
        config, g, rollout = self.config, self.config.sampling.group_size, groups.rollout
        advantages = group_advantages(
            groups.rewards, config.loss.objective.scale_advantages, self.engine.sum
        ).flatten()
        chosen, counts = share_out(self._informative(groups), self.engine.rank, config.prompts_per_step)
        counted = (groups.counted[chosen] & counts[:, None]).flatten()
        rows = (chosen[:, None] * g + torch.arange(g)).flatten()
        device = rollout.tokens.device
        here = rows.to(device)
        return Experience(
            [groups.prompts[p] for p in chosen.tolist()],
            rollout.tokens[here],
            rollout.mask[here],
            rollout.logprobs[here],
            advantages[rows].to(device),
            counted.to(device),
        )

    def _informative(self, groups: ScoredGroups) -> Bool[Tensor, "r d"]:
        """(R, D) of every rank's groups, whether the loss counts a completion."""
        everywhere = torch.zeros(self.engine.world_size, len(groups.counted))
        everywhere[self.engine.rank] = groups.counted.any(dim=1)
        return self.engine.sum(everywhere).cpu().bool()

    def _overlong_penalty(self, rollout: Rollout) -> Float[Tensor, " n"]:
        buffer = self.config.loss.overlong_buffer
        assert buffer is not None
        return overlong_penalty(rollout.mask.sum(dim=1), self.config.sampling.max_new_tokens, buffer)

    @property
    def group_size(self) -> int:
        """Completions of a prompt that the update learns from."""
        return self.config.sampling.group_size

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]: of its steps or of its minutes, whichever is more."""
        max_steps, max_minutes = self.config.max_steps, self.config.max_minutes
        if max_steps is None and max_minutes is None:
            return min(self.state.drawn / len(self.dataset), 1.0)
        steps = self.state.step / max_steps if max_steps else 0.0
        minutes = self.state.minutes / max_minutes if max_minutes else 0.0
        return min(max(steps, minutes), 1.0)

    @property
    def thresholds(self) -> Thresholds:
        """Those of the present step."""
        return self.reward.refinement(self.progress, self.state.refinement)

    def sampling(self, seed: int) -> Sampling:
        """How completions are drawn."""
        c = self.config.sampling
        return Sampling(c.temperature, c.max_new_tokens, seed, c.top_p, c.top_k, c.min_p, self.stop_token_ids)

    def _prompt(self, sample: Sample) -> Prompt:
        return self.policy.encode(self.reward.dialect.prompt(sample), sample.load_image())

    def _token_id(self, token: str) -> int:
        ids = self.policy.processor.tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise ConfigError(f"sampling.stop must hold single tokens, and {token!r} is {len(ids)}")
        return int(ids[0])

    def _seed_step(self) -> None:
        """Every random number of a step, dropout's included, follows from the seed, the step and the rank.

        So a resumed run draws what an uninterrupted one would have drawn.
        """
        at = self.state.step * self.engine.world_size + self.engine.rank
        set_seed(random.Random(f"{self.config.seed}/{at}").getrandbits(32))

    def _round_seed(self, drawn: int) -> int:
        """The round's own, so that a resumed run draws what an uninterrupted one would have drawn."""
        at = drawn // self.config.prompts_per_step * self.engine.world_size + self.engine.rank
        return random.Random(f"{self.config.seed}/{at}").getrandbits(63)

    def _learning_rate(self) -> float:
        optimizer = self.config.optimizer
        warm = min(1.0, (self.state.step + 1) / optimizer.warmup_steps) if optimizer.warmup_steps else 1.0
        return optimizer.learning_rate * warm * (1 - (1 - optimizer.decay) * self.progress)

    def _schedules(self) -> dict[str, Any]:
        """Where the schedules stand in the step that is being done."""
        return {
            "step": self.state.step + 1,
            "minutes": self.state.minutes,
            "progress": self.progress,
            "learning_rate": self._learning_rate(),
        }

    def _stage(self) -> dict[str, Any]:
        """Where the refinement of the reward stands."""
        thresholds = self.thresholds
        return {
            "stage": self.reward.refinement.stage(self.progress, self.state.refinement),
            "xi0": thresholds.xi0,
            "xi1": thresholds.xi1,
            "xi2": thresholds.xi2,
        }

    def _advance(self, row: dict[str, Any], drawn: int, refinement: RefinementState) -> None:
        """Count the step, by numbers on which all ranks agree, because schedules follow them."""
        row["minutes"] += sum(row[name] for name in row if name.startswith("seconds/")) / 60
        self.state = RunState(self.state.step + 1, row["minutes"], refinement, drawn)

    def _evaluate(self) -> dict[str, float]:
        """The evaluation's numbers, on the first rank; one that does not exist is left out."""
        values = self.engine.on_first_rank(self._evaluate_here) or {}
        return {f"eval/{name}": value for name, value in values.items() if math.isfinite(value)}

    def _evaluate_here(self) -> Mapping[str, float]:
        assert self.evaluate is not None
        values = self.evaluate()
        self._keep_best(values)
        return values

    def _keep_best(self, values: Mapping[str, float]) -> None:
        """Save the model if the evaluation calls it the best that training has made so far."""
        metric = self.config.best_metric
        if metric is None:
            return
        if metric not in values:
            given = ", ".join(map(repr, values)) or "nothing"
            raise ConfigError(f"best_metric must be null or of what is evaluated ({given}), got {metric!r}")
        best = Best(self.state.step, metric, values[metric])
        if best.step and math.isfinite(best.value) and (self.best is None or best.value > self.best.value):
            save_best(self.policy, self.checkpoints, best)
            self.best = best

    def _evaluation_is_due(self) -> bool:
        every = self.config.eval_every
        return bool(every) and self.state.step % every == 0

    def export(self, folder: Path) -> None:
        """Write the policy as it is now in Hugging Face format; all ranks call it together."""
        self.engine.on_first_rank(lambda: export_model(self.policy, folder))

    def _draw_overlay(self, step: Step) -> None:
        every, number = self.config.overlay_every, self.state.step
        if every and number % every == 0 and self.engine.rank == 0:
            path = self.folder / "overlays" / f"step_{number:06d}.png"
            save_overlay(step, self.reward.dialect.prompt, path, f"step {number}")

    def _save(self) -> None:
        if self.state != self.saved:
            save_checkpoint(self.engine, self.checkpoints, self.state, self.config.keep_checkpoints)
            self.saved = self.state
