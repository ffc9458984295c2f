"""Everything a training run can be told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from vision_r1_grpo.losses import OBJECTIVES, Objective
from vision_r1_grpo.rewards.refinement import Refinement


class ConfigError(ValueError):
    """A configuration that cannot be run: one line that says which key, and what would be right."""


@dataclass(frozen=True)
class SamplingConfig:
    """How completions are drawn from the policy.

    Args:
        group_size: completions per prompt (G).
        temperature: divides the logits.
        max_new_tokens: a completion that reaches it without a stop token is truncated.
        top_p: only the likeliest tokens that together have this probability are drawn; 1 for all.
        top_k: only so many of the likeliest tokens are drawn; 0 for all.
        min_p: only tokens of at least this share of the likeliest one's probability are drawn; 0 for all.
        stop: tokens that end a completion, beside the model's own, such as "</answer>".
    """

    group_size: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 512
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(
            self.group_size >= 2, "sampling.group_size", self.group_size, "at least 2, to compare answers"
        )
        _require(self.temperature > 0, "sampling.temperature", self.temperature, "above 0")
        _require(self.max_new_tokens >= 1, "sampling.max_new_tokens", self.max_new_tokens, "at least 1")
        _require(0 < self.top_p <= 1, "sampling.top_p", self.top_p, "above 0 and at most 1")
        _require(self.top_k >= 0, "sampling.top_k", self.top_k, "at least 0")
        _require(0 <= self.min_p < 1, "sampling.min_p", self.min_p, "at least 0 and below 1")


@dataclass(frozen=True)
class RewardConfig:
    """Which reward scores the completions.

    Args:
        preset: a preset of `VisionReward.from_preset` for all samples; "auto" gives each task its own: strict
            for detection, else the one of the task's name.
        weights: part name -> weight in the total of every preset that has the part; parts left out weigh what
            the preset says, and a part of weight 0 is only logged.
        added: name -> part of one's own, as module:function or file.py:function; it weighs 1 if `weights`
            does not say otherwise.
        refinement: progress of the run -> thresholds of the criterion; by default the preset's own.
        options: of every preset that has them, such as `denominator` of paper and `adaptive` of released.
        by_task: task -> preset, for the samples of that task in place of `preset`.
    """

    preset: Literal[
        "auto",
        "strict",
        "paper",
        "released",
        "grounding",
        "rec",
        "pointing",
        "segmentation",
        "ocr",
        "counting",
    ] = "auto"
    weights: dict[str, float] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    refinement: Refinement | None = None
    options: dict[str, Any] = field(default_factory=dict)
    by_task: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "dialect", "refinement", "weights", "added"):
            _require(name not in self.options, "reward.options", name, "an option of the preset")


@dataclass(frozen=True)
class LossConfig:
    """How scored completions become a loss.

    Args:
        kind: a named loss of `vision_r1_grpo.losses.OBJECTIVES`; what is left out below is as it says.
        reduction: "token_mean" weighs every token alike, "sequence_mean" every completion alike,
            "constant" divides by completions * max_new_tokens.
        scale_advantages: advantages are divided by the standard deviation of the rewards of the "group", or
            of the "batch" over all ranks, or ("none") not at all.
        clip_low: ratios below 1 - clip_low are clipped.
        clip_high: ratios above 1 + clip_high are clipped.
        dual_clip: c: the loss of a token of negative advantage A is at most c * |A|.
        beta: weight of the KL divergence from the starting model; 0 keeps no reference model.
        kl: the estimator of that divergence; by default k3.
        truncated: "keep" treats completions that reached max_new_tokens like others, "mask" leaves them out
            of the loss, "penalise" takes up to 1 from the reward of those that come near it.
        overlong_buffer: how many tokens before max_new_tokens the penalty begins.
        importance_cap: the largest importance weight of a token, where an engine other than the policy's own
            model samples; None corrects nothing.
    """

    kind: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo"] = "dapo"
    reduction: Literal["token_mean", "sequence_mean", "constant"] | None = None
    scale_advantages: Literal["group", "batch", "none"] | None = None
    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    beta: float = 0.0
    kl: Literal["k1", "k2", "k3"] | None = None
    truncated: Literal["keep", "mask", "penalise"] = "keep"
    overlong_buffer: int | None = None
    importance_cap: float | None = None

    def __post_init__(self) -> None:
        objective, cap = self.objective, self.importance_cap
        _require(0 < objective.clip_low <= 1, "loss.clip_low", self.clip_low, "above 0 and at most 1")
        _require(objective.clip_high > 0, "loss.clip_high", self.clip_high, "above 0")
        _require(self.beta >= 0, "loss.beta", self.beta, "at least 0")
        _require(cap is None or cap >= 1, "loss.importance_cap", cap, "at least 1")
        _require(
            self.dual_clip is None or self.dual_clip > 1 + objective.clip_high,
            "loss.dual_clip",
            self.dual_clip,
            f"above 1 + loss.clip_high = {1 + objective.clip_high:g}",
        )
        _require(
            self.kind != "gspo" or objective.reduction == "sequence_mean",
            "loss.reduction",
            self.reduction,
            "sequence_mean with loss.kind gspo, which compares whole completions",
        )
        _require(
            self.dual_clip is None or objective.surrogate == "clipped",
            "loss.dual_clip",
            self.dual_clip,
            "left out with loss.kind cispo, whose loss it does not bound",
        )
        _require(self.kl is None or self.beta > 0, "loss.kl", self.kl, "left out where loss.beta is 0")
        _require(
            (self.truncated == "penalise") == (self.overlong_buffer is not None),
            "loss.overlong_buffer",
            self.overlong_buffer,
            "given with loss.truncated penalise, and only then",
        )
        _require(
            self.overlong_buffer is None or self.overlong_buffer >= 1,
            "loss.overlong_buffer",
            self.overlong_buffer,
            "at least 1",
        )

    @property
    def objective(self) -> Objective:
        """What the loss is made of: that of its kind, in which what is given here wins."""
        objective = OBJECTIVES[self.kind]
        given = {f.name: getattr(self, f.name, None) for f in fields(objective)}
        return replace(objective, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, with a linear warm-up and then a linear or no decay over the progress of the run.

    Args:
        learning_rate: the peak.
        warmup_steps: steps, each with its rollout, from 0 to the peak.
        decay: the share of the peak that is left at the end; 1 keeps it constant.
        betas: of AdamW.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
    """

    learning_rate: float = 1e-6
    warmup_steps: int = 0
    decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "optimizer.learning_rate", self.learning_rate, "above 0")
        _require(0 <= self.decay <= 1, "optimizer.decay", self.decay, "between 0 and 1")
        _require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "at least 0")
        _require(all(0 <= b < 1 for b in self.betas), "optimizer.betas", self.betas, "at least 0 and below 1")
        _require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "at least 0")
        _require(self.max_grad_norm > 0, "optimizer.max_grad_norm", self.max_grad_norm, "above 0")


@dataclass(frozen=True)
class LoraConfig:
    """Adapters of low rank beside frozen weights.

    Args:
        rank: of the adapters.
        alpha: what an adapter adds is scaled by alpha / rank.
        dropout: of an adapter's input.
        target_modules: "all-linear" for every linear layer of the language model but its head, or a pattern
            of full names of layers.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str = "all-linear"

    def __post_init__(self) -> None:
        _require(self.rank >= 1, "trainable.lora.rank", self.rank, "at least 1")
        _require(self.alpha >= 1, "trainable.lora.alpha", self.alpha, "at least 1")
        _require(0 <= self.dropout < 1, "trainable.lora.dropout", self.dropout, "at least 0 and below 1")


@dataclass(frozen=True)
class TrainableConfig:
    """What of the model is trained.

    Args:
        vision_tower: train the weights of the vision tower.
        projector: train the weights between vision tower and language model.
        language_model: train the weights of the language model. By default each of the three is trained, and
            frozen with `lora`.
        lora: train adapters.
        gradient_checkpointing: whose activations are computed again for the gradients in place of being kept:
            those of "none", of the "vision_tower", which are many for its size, or of "all" layers.
    """

    vision_tower: bool | None = None
    projector: bool | None = None
    language_model: bool | None = None
    lora: LoraConfig | None = None
    gradient_checkpointing: Literal["none", "vision_tower", "all"] = "none"

    def chosen(self) -> list[str]:
        """The parts whose weights are trained."""
        parts = ("vision_tower", "projector", "language_model")
        given = {part: getattr(self, part) for part in parts}
        return [part for part in parts if (self.lora is None if given[part] is None else given[part])]


@dataclass(frozen=True)
class GRPOConfig:
    """A GRPO run.

    Args:
        prompts_per_step: prompts of one step, over all ranks (P). A step is a rollout and the optimiser steps
            on it.
        prompts_per_forward: prompts whose groups go through the model together; lower it to save memory.
        epochs_per_rollout: how often the update goes through a rollout.
        minibatches: optimiser steps that an epoch is shared out to.
        resample_rounds: how often as many prompts are drawn again while fewer than prompts_per_step groups
            have rewards that differ.
        max_steps: steps after which the run ends.
        max_minutes: minutes of training (evaluation left out) after which the run ends. The first of the two
            ends it; with neither it is one pass over the data.
        max_prompt_tokens: longer prompts, image included, are left out and counted, never cut; None for no
            limit.
        eval_every: steps between two evaluations; 0 for none.
        overlay_every: steps between two pictures of a group's answers; 0 for none.
        save_every: steps between two checkpoints; 0 for the last one only.
        keep_checkpoints: how many checkpoints are kept.
        seed: of the order of the data and of the sampling.
        best_metric: the number of the evaluation by which the best model is kept, higher being better; None
            keeps only the newest.
        deepspeed: the user's own DeepSpeed configuration, or its JSON file, which is read at once.
    """

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainable: TrainableConfig = field(default_factory=TrainableConfig)
    prompts_per_step: int = 8
    prompts_per_forward: int = 8
    epochs_per_rollout: int = 1
    minibatches: int = 1
    resample_rounds: int = 0
    max_steps: int | None = None
    max_minutes: float | None = None
    max_prompt_tokens: int | None = None
    eval_every: int = 0
    overlay_every: int = 0
    save_every: int = 0
    keep_checkpoints: int = 2
    best_metric: str | None = "mAP"
    seed: int = 0
    deepspeed: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        positive = ("prompts_per_step", "prompts_per_forward", "epochs_per_rollout", "minibatches")
        for name in (*positive, "keep_checkpoints"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("resample_rounds", "eval_every", "overlay_every", "save_every"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _require(
            self.prompts_per_step % self.minibatches == 0,
            "minibatches",
            self.minibatches,
            f"a divisor of prompts_per_step = {self.prompts_per_step}",
        )
        buffer, limit = self.loss.overlong_buffer, self.sampling.max_new_tokens
        _require(
            buffer is None or buffer <= limit,
            "loss.overlong_buffer",
            buffer,
            f"at most sampling.max_new_tokens = {limit}",
        )
        for name in ("max_steps", "max_prompt_tokens"):
            given = getattr(self, name)
            _require(given is None or given >= 1, name, given, "at least 1")
        _require(self.max_minutes is None or self.max_minutes > 0, "max_minutes", self.max_minutes, "above 0")
        if isinstance(self.deepspeed, str):
            object.__setattr__(self, "deepspeed", _read_json(Path(self.deepspeed)))
        _require(isinstance(self.deepspeed, dict), "deepspeed", self.deepspeed, "a dict or the path of one")


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: {file} cannot be read as JSON ({error})") from error


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, got {value}")
