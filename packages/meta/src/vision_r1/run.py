"""A whole run: read, measure, train, measure again, report."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import torch
from rich.console import Console
from safetensors import SafetensorError

import vision_r1_tiny
from vision_r1.config import CocoConfig, DataConfig, ModelConfig, RunConfig
from vision_r1.folder import CONFIG, claim_folder
from vision_r1.measure import Measured, measure, unmeasured, write_text
from vision_r1.report import changed_settings, reward_changes, write_run_report
from vision_r1_data import DataError, Faults, Frame, Sample, load_samples, preflight, read_coco
from vision_r1_data.curate.step import keep_objects
from vision_r1_eval import Protocol, comparison_table
from vision_r1_grpo import ConfigError, GRPOTrainer, Policy, SFTTrainer, Target, TrainingResult, save_config
from vision_r1_grpo.checkpoint import has_checkpoint
from vision_r1_grpo.engine import init_distributed
from vision_r1_grpo.preflight import preflight as preflight_trainer
from vision_r1_grpo.rewards import Reward, reward_of_tasks
from vision_r1_grpo.rewards.audit import load_score

_MOST_HELD_OUT = 200


@dataclass(frozen=True)
class Subset(Sequence[Sample]):
    """Some of the samples, without holding them."""

    samples: Sequence[Sample]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Subset: ...
    def __getitem__(self, index: int | slice) -> Sample | Subset:
        if isinstance(index, slice):
            return Subset(self.samples, self.numbers[index])
        return self.samples[self.numbers[index]]


@dataclass(frozen=True)
class Splits:
    """The samples of a run: trained on, of the learning curve, of the numbers before and after."""

    train: Sequence[Sample]
    validation: Sequence[Sample]
    test: Sequence[Sample]


def run(config: RunConfig, out: Path, *, force: bool = False, resume: bool = False) -> bool:
    """Run from end to end and leave everything in the folder `out`.

    Args:
        config: the run.
        out: the folder; bad input leaves none behind.
        force: replace the run that is in it.
        resume: go on with the run that is in it, from its checkpoint if it has one yet.

    Returns:
        Whether the run came to its end; if not, `resume` goes on from its checkpoint.

    Raises:
        DataError, ConfigError: bad input; always before any training.
    """
    splits = read_splits(config.data, config.training.seed)
    tasks = {s.task for part in (splits.train, splits.validation, splits.test) for s in part}
    reward = build_reward(config, sorted(tasks))
    _check_added(reward)
    init_distributed()
    main = torch.distributed.get_rank() == 0
    console = Console(quiet=not main)
    policy = _load_policy(config.model)
    preflight(policy.processor, reward.dialect)

    def measured(samples: Sequence[Sample], title: str = "") -> Measured:
        training = config.training
        return measure(
            policy,
            reward,
            samples,
            max_new_tokens=training.sampling.max_new_tokens,
            stop_token_ids=trainer.stop_token_ids,
            batch=training.prompts_per_step,
            title=title,
        )

    kind = SFTTrainer if config.method == "sft" else GRPOTrainer
    claimed = claim_folder(out, force=force, inputs=_inputs(config)) if main and not resume else nullcontext()
    with claimed:
        if main:
            save_config(config, out / CONFIG)
        torch.distributed.barrier()
        trainer = kind(
            config.training,
            policy,
            reward,
            splits.train,
            folder=out,
            evaluate=lambda: measured(splits.validation).as_dict(),
            resume=resume and has_checkpoint(out / "checkpoints"),
        )
        seen = preflight_trainer(trainer)
    if main:
        notes = Console(stderr=True, highlight=False)
        notes.print(str(trainer.trainable), soft_wrap=True)
        notes.print(seen)
    answers = out / "answers-before.jsonl"

    def base() -> Measured:
        if not answers.exists():
            measured(splits.test, "measuring the base").save(answers, splits.test)
        return Measured.load(answers, splits.test)

    before = trainer.engine.on_first_rank(base)
    result = trainer.train()
    if result.interrupted:
        console.print(
            f"stopped after step {result.state.step}; go on with: --resume --out {out}", soft_wrap=True
        )
        return False
    trainer.export(out / "model")
    after = trainer.engine.on_first_rank(lambda: measured(splits.test, "measuring the result"))
    if before is not None and after is not None:
        after.save(out / "answers-after.jsonl", splits.test)
        summary = _summary(config, reward, splits.test, result, before, after)
        write_text(out / "metrics.json", json.dumps(summary, indent=2) + "\n")
        write_run_report(out, config, reward, splits.test, before, after)
        console.print(comparison_table(before.metrics, after.metrics), highlight=False, soft_wrap=True)
        for name, value in reward_changes(before, after):
            console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
        console.print(f"open {out / 'report.html'}", highlight=False, soft_wrap=True)
    return True


def _summary(
    config: RunConfig,
    reward: Reward,
    test: Sequence[Sample],
    result: TrainingResult,
    before: Measured,
    after: Measured,
) -> dict[str, Any]:
    """What metrics.json holds."""
    return {
        "before": _numbers(before),
        "after": _numbers(after),
        "protocol": str(Protocol()),
        "test_images": len(test),
        "not_in_metrics": unmeasured(test),
        "steps": result.state.step,
        "minutes": round(result.state.minutes, 3),
        "reward": "sft" if config.method == "sft" else reward.preset,
        "reward_settings": changed_settings(config.training.reward),
        "seed": config.training.seed,
    }


def build_reward(config: RunConfig, tasks: Iterable[str]) -> Reward:
    """The reward of a run on samples of these tasks.

    Raises:
        ConfigError: its dialect, an option or a weighted part does not exist, or they do not go together or
            with a task.
    """
    settings = config.training.reward
    try:
        return reward_of_tasks(
            tasks,
            config.data.dialect,
            preset=settings.preset,
            by_task=settings.by_task,
            refinement=settings.refinement,
            weights=settings.weights,
            added={name: load_score(place, config.data.dialect) for name, place in settings.added.items()},
            options=settings.options,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_added(reward: Reward) -> None:
    """Call the parts of one's own once, on an answer without text to an image without objects.

    Raises:
        ConfigError: one fails, or does not return a number.
    """
    for name, part in reward.added.items():
        try:
            (score,) = part([""], [Target((), (), ("object",), Frame(28, 28, 28, 28))])
            float(score)
        except Exception as error:  # whatever a function may raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"training.reward.added.{name}: fails on an empty answer ({said}); it must return one number "
                "for each completion"
            ) from error


def _load_policy(model: ModelConfig) -> Policy:
    try:
        return Policy.from_pretrained(
            vision_r1_tiny.path() if model.path == "tiny" else model.path,
            model.dtype,
            max_pixels=model.max_pixels,
        )
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split()[:30])
        raise ConfigError(f"model.path: {model.path} cannot be loaded as a model ({reason})") from error


def _inputs(config: RunConfig) -> list[str]:
    """What a run reads from disk."""
    data = config.data
    sources = (data, data.validation, data.test)
    paths = [config.model.path, data.samples]
    return [*paths, *(s.annotations for s in sources), *(s.images for s in sources)]


def _numbers(measured: Measured) -> dict[str, float | None]:
    """The metrics for a JSON file, where a number that does not exist is null."""
    return {name: None if math.isnan(x) else x for name, x in measured.as_dict().items()}


def read_splits(data: DataConfig, seed: int) -> Splits:
    """Read the sets of a run; what is not given is set aside from the training images, fixed by the seed."""

    def read(source: CocoConfig | DataConfig) -> list[Sample]:
        faults = Faults(skip=data.bad_records == "skip", option="data.bad_records=skip")
        found = list(read_coco(source.annotations, source.images, faults=faults))
        samples = [one for sample in found if (one := _without_doubtful(sample)) is not None]
        if faults.counts:
            said = [f"{source.annotations}: {faults}"]
            if doubtful := sum(bool(sample.not_exhaustive) for sample in found):
                said.append(f"{doubtful} images are not asked for the categories that lost a box")
            if len(samples) < len(found):
                said.append(f"{len(found) - len(samples)} images have no other category and are left out")
            warnings.warn("; ".join(said), UserWarning, stacklevel=2)
        return samples

    if not data.samples and not (data.annotations and data.images):
        raise DataError(
            "there is nothing to train on; give data.annotations=instances.json and data.images=DIR, or "
            "data.samples=DIR that vision-r1 curate wrote"
        )
    train: Sequence[Sample] = load_samples(data.samples) if data.samples else read(data)
    if data.test.annotations:
        test = read(data.test)
    else:
        order = list(range(len(train)))
        random.Random(seed).shuffle(order)
        size = min(max(1, round(data.held_out * len(order))), _MOST_HELD_OUT)
        test, train = [train[number] for number in order[:size]], Subset(train, order[size:])
        if not train:
            raise DataError(
                f"{data.samples or data.annotations}: has one image, and training needs one more to measure "
                "with; add images"
            )
    validation = read(data.validation) if data.validation.annotations else test
    return Splits(train, validation[: data.validation_images], test)


def _without_doubtful(sample: Sample) -> Sample | None:
    """The sample without the categories that lost a box as bad: an answer that finds it would count as wrong.

    None if there is no other category to ask for.
    """
    doubtful = set(sample.not_exhaustive)
    asked = tuple(category for category in sample.categories if category not in doubtful)
    kept = keep_objects(sample, [label not in doubtful for label in sample.objects.labels])
    return replace(kept, categories=asked) if asked else None
