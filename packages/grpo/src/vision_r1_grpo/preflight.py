"""What is looked at before the first step: each check says what it saw, or fails in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageOps
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from vision_r1_data import Sample
from vision_r1_grpo.config import ConfigError, GRPOConfig
from vision_r1_grpo.logprobs import completion_logprobs
from vision_r1_grpo.memory import MemoryEstimate, estimate_memory
from vision_r1_grpo.overlays import question_text
from vision_r1_grpo.policy import Prompt, evaluating
from vision_r1_grpo.rewards import RewardBatch, Target
from vision_r1_grpo.rollout import Rollout
from vision_r1_grpo.sft import SFTTrainer

if TYPE_CHECKING:
    from vision_r1_grpo.trainer import GRPOTrainer

_LOOKED_AT = 16  # prompts; more of a large set would take long to read
_SHOWN = (4, 8)  # completions, at least and at most
_NOISE = 1e-6  # log-probabilities of equal inputs may differ by as much
_TIGHT = 0.9  # of the device's memory; what allocators cannot use is not in the estimate
_GIB = 2**30

Score = Callable[[Prompt, Int[Tensor, "n t"], Bool[Tensor, "n t"]], Float[Tensor, "n t"]]
"""Log-probabilities of completions of one prompt."""


@dataclass(frozen=True)
class PromptsSeen:
    """The first prompts of the run.

    Args:
        looked_at: how many.
        longest: tokens of the longest one that is not too long.
        patches: of its image, 0 if unknown.
        too_long: ids of those over max_prompt_tokens.
    """

    looked_at: int
    longest: int
    patches: int
    too_long: tuple[str, ...]


@dataclass(frozen=True)
class GroupSeen:
    """One group, drawn and scored.

    Args:
        question: what was asked.
        rollout: its completions.
        scored: their rewards.
        informative: whether the rewards differ.
    """

    question: str
    rollout: Rollout
    scored: RewardBatch
    informative: bool


@dataclass(frozen=True)
class TrainerPreflight:
    """What `preflight` saw.

    Args:
        change: how far the log-probability of a completion moved with another image at most, in nats.
        prompts: the first prompts.
        memory: what one process will hold.
        group: one group; None where nothing is sampled.
    """

    change: float
    prompts: PromptsSeen
    memory: MemoryEstimate
    group: GroupSeen | None

    def __rich__(self) -> RenderableType:
        """A short table."""
        prompts = self.prompts
        left_out = f"; {len(prompts.too_long)} are above max_prompt_tokens" if prompts.too_long else ""
        table = Table.grid(padding=(0, 2))
        table.add_row("images", f"reach the model: another one moves an answer by {self.change:.3g} nats")
        table.add_row("prompts", f"the longest of {prompts.looked_at} has {prompts.longest} tokens{left_out}")
        table.add_row("memory", _memory_text(self.memory))
        table.add_row("", Text(f"what would lower it. {self.memory.advice}", "dim"))
        if self.group is not None:
            _add_group(table, self.group)
        return table


def preflight(trainer: GRPOTrainer) -> TrainerPreflight:
    """Look at a run before its first step, on all ranks alike.

    Raises:
        ConfigError: images do not reach the model, or no prompt or no annotated answer fits.
        DataError: an answer to learn cannot be written.
    """
    config, feed, policy = trainer.config, trainer.feed, trainer.policy
    first = [feed.sample(place) for place in range(min(_LOOKED_AT, len(trainer.dataset)))]
    encoded = [(sample, feed.encode(sample)) for sample in first]
    limit = getattr(policy.model.config.get_text_config(), "max_position_embeddings", None)
    prompts = check_prompts(encoded, config, limit)
    sample, prompt = next((s, p) for s, p in encoded if s.id not in prompts.too_long)
    group = None
    if isinstance(trainer, SFTTrainer):
        _check_answers(trainer, encoded)
        answers = trainer.answers([sample], [prompt])
        tokens, mask = answers.tokens, answers.mask
    else:
        group = _score_group(trainer, sample, prompt)
        tokens, mask = group.rollout.tokens, group.rollout.mask
    messages = trainer.reward.dialect.prompt(sample)

    def score(one: Prompt, tokens: Tensor, mask: Tensor) -> Tensor:
        return completion_logprobs(trainer.engine.forward, policy, [one], tokens, mask)

    with evaluating(policy.model):  # dropout would look like a change of the image
        change = check_images(
            lambda image: policy.encode(messages, image), score, sample.load_image(), tokens, mask
        )
    memory = estimate_memory(
        policy.model,
        config,
        prompt_tokens=prompts.longest,
        patches=prompts.patches,
        ranks=trainer.engine.world_size,
        group_size=trainer.group_size,
    )
    return TrainerPreflight(change, prompts, memory, group)


def _check_answers(trainer: SFTTrainer, encoded: Sequence[tuple[Sample, Prompt]]) -> None:
    answers = trainer.answers([sample for sample, _ in encoded], [prompt for _, prompt in encoded])
    if not answers.counted.any():
        raise ConfigError(
            f"sampling.max_new_tokens {trainer.config.sampling.max_new_tokens}: all of the first "
            f"{len(encoded)} annotated answers have more; raise it"
        )


def _score_group(trainer: GRPOTrainer, sample: Sample, prompt: Prompt) -> GroupSeen:
    """Draw a group and score it; all ranks call it together."""
    config, reward = trainer.config, trainer.reward
    target = Target.of(sample, prompt.frame)
    size = min(max(config.sampling.group_size, _SHOWN[0]), _SHOWN[1])
    with trainer.engine.gathered():
        rollout = trainer.sampler.generate([prompt], size, trainer.sampling(config.seed))
    scored = reward(rollout.texts, [target] * size, thresholds=trainer.thresholds)
    informative = bool((scored.total != scored.total[0]).any())
    return GroupSeen(question_text(reward.dialect.prompt(sample)), rollout, scored, informative)


@torch.no_grad()
def check_images(
    encode: Callable[[Image.Image], Prompt],
    score: Score,
    image: Image.Image,
    tokens: Int[Tensor, "n t"],
    mask: Bool[Tensor, "n t"],
) -> float:
    """Check that what a completion is worth to the model depends on the image.

    The other image is the negative of this one: of the same size, so that all else in the prompt stays.

    Args:
        encode: image -> the prompt that asks about it.
        score: the model.
        image: of the sample.
        tokens: (N, T) completions.
        mask: (N, T) true at their tokens.

    Returns:
        The most that the log-probability of a completion moved, in nats.

    Raises:
        ConfigError: none moved by more than equal images do.
    """
    seen, again, other = (
        score(encode(one), tokens, mask).double() for one in (image, image, ImageOps.invert(image))
    )
    noise = (again - seen).abs().max().item()
    if (other - seen).abs().max().item() <= 10 * max(noise, _NOISE):
        raise ConfigError(
            "images do not reach the model: its answers are as likely with another image; look at how the "
            "model takes pixel values, and whether the prompt has its image tokens"
        )
    return (other - seen).sum(dim=1).abs().max().item()


def check_prompts(
    encoded: Sequence[tuple[Sample, Prompt]], config: GRPOConfig, positions: int | None
) -> PromptsSeen:
    """Check the first prompts against the budget.

    Args:
        encoded: the first samples of the run and their prompts.
        config: the run.
        positions: that the model has; None if it says nothing of them.

    Raises:
        ConfigError: all are over max_prompt_tokens, or one with its completion over the model's positions.
    """
    limit = config.max_prompt_tokens
    lengths = {sample.id: len(prompt.input_ids) for sample, prompt in encoded}
    too_long = tuple(name for name, length in lengths.items() if limit is not None and length > limit)
    if len(too_long) == len(lengths):
        raise ConfigError(
            f"max_prompt_tokens {limit}: all of the first {len(lengths)} prompts have more, "
            f"{min(lengths.values())} at least; raise it, or lower the image processor's max_pixels"
        )
    sample, prompt = max(
        (one for one in encoded if one[0].id not in too_long), key=lambda one: len(one[1].input_ids)
    )
    longest, most = len(prompt.input_ids), config.sampling.max_new_tokens
    if positions is not None and longest + most > positions:
        raise ConfigError(
            f"sampling.max_new_tokens {most}: with the {longest} tokens of the prompt of sample "
            f"{sample.id!r} that is more than the {positions} positions of the model; lower it, or set "
            "max_prompt_tokens"
        )
    return PromptsSeen(len(lengths), longest, _patches(prompt), too_long)


def _patches(prompt: Prompt) -> int:
    """Of a prompt's image, where its pixels come as a list of patches."""
    pixels = prompt.vision.get("pixel_values")
    return len(pixels) if pixels is not None and pixels.dim() == 2 else 0


def _memory_text(memory: MemoryEstimate) -> str:
    largest = sorted(memory.parts.items(), key=lambda part: -part[1])[:3]
    told = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in largest)
    text = f"about {memory.peak / _GIB:.2f} GiB a process: {told}"
    if memory.device is None:
        return text
    warning = "; this may not fit" if memory.peak > _TIGHT * memory.device else ""
    return f"{text}; its device has {memory.device / _GIB:.0f}{warning}"


def _add_group(table: Table, group: GroupSeen) -> None:
    table.add_row("one group", Text(group.question))
    for total, parts, text in _rows(group):
        table.add_row(total, Text.assemble((parts, "dim"), "  ", text))
    if not group.informative:
        table.add_row("", "all rewards are equal: a group like this one teaches nothing")


def _rows(group: GroupSeen) -> list[tuple[str, str, str]]:
    """Of each completion its total, its parts, and its text in one line, of a long one both ends."""
    scored, rows = group.scored, []
    for n, said in enumerate(group.rollout.texts):
        text = " ".join(said.split())
        parts = [f"{name} {part[n]:.2f}" for name, part in scored.parts.items() if part[n].isfinite()]
        shown = text if len(text) <= 160 else f"{text[:100]} \N{HORIZONTAL ELLIPSIS} {text[-55:]}"
        rows.append((f"{scored.total[n]:.2f}", "  ".join(parts), shown))
    return rows
