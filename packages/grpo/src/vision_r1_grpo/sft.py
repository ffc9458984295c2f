"""Supervised training on the annotated answers: the baseline that GRPO is compared with.

Axes: P prompts, T tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vision_r1_data import DataError, Dialect, Frame, Sample
from vision_r1_data.prompts import TASKS
from vision_r1_grpo.config import GRPOConfig, LossConfig
from vision_r1_grpo.logprobs import completion_logprobs
from vision_r1_grpo.metrics import Clock
from vision_r1_grpo.policy import Policy, Prompt
from vision_r1_grpo.rewards import Reward
from vision_r1_grpo.trainer import Evaluation, GRPOTrainer

_OF_ROLLOUTS = ("epochs_per_rollout", "minibatches", "resample_rounds", "overlay_every")


@dataclass(frozen=True)
class Answers:
    """The true answers to P prompts, each with the token that ends it.

    Args:
        tokens: (P, T) token ids, padded on the right, cut at max_new_tokens.
        mask: (P, T) true at the tokens of an answer.
        counted: (P,) false for an answer that was cut, which teaches nothing.
    """

    tokens: Int[Tensor, "p t"]
    mask: Bool[Tensor, "p t"]
    counted: Bool[Tensor, " p"]


class SFTTrainer(GRPOTrainer):
    """Trains a policy on the answers that the annotations give.

    All but a step is as in `GRPOTrainer`, whose arguments it takes. An answer of more than
    `sampling.max_new_tokens` is left out and counted.

    Args:
        config: the run; `prompts_per_step` is the batch size.
        reward: its dialect writes prompts and answers.
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
        resume: bool = False,
    ) -> None:
        plain = replace(config, loss=LossConfig())  # no reference model
        super().__init__(plain, policy, reward, dataset, folder=folder, evaluate=evaluate, resume=resume)
        if (unused := unused_settings(config)) and self.engine.rank == 0:
            said = f"supervised training neither samples nor scores: {', '.join(unused)} change nothing in it"
            warnings.warn(said, UserWarning, stacklevel=2)

    @property
    def group_size(self) -> int:
        """One answer a prompt."""
        return 1

    def _step(self) -> dict[str, Any]:
        """Draw prompts, write their answers, learn them; returns the line of metrics.jsonl."""
        clock = Clock()
        draw = self.feed.draw(self.state.drawn, self.config.prompts_per_step)
        answers = self.answers(draw.samples, draw.prompts)
        clock.lap("data")
        learnt = self._learn(draw.prompts, answers)
        clock.lap("update")
        seconds = self.engine.sum(torch.tensor(list(clock.seconds.values()))) / self.engine.world_size
        row = {
            **self._schedules(),
            **learnt,
            "dropped_prompts": len(draw.dropped),
            **{f"seconds/{name}": s for name, s in zip(clock.seconds, seconds.tolist(), strict=True)},
        }
        self._advance(row, draw.drawn, self.state.refinement)
        return row

    def answers(self, samples: Sequence[Sample], prompts: Sequence[Prompt]) -> Answers:
        """What is to be answered to the prompts of these samples, on the policy's device.

        Raises:
            DataError: an answer cannot be written, or holds a token that stands for an image.
        """
        ids = [self._tokens(*one) for one in zip(samples, prompts, strict=True)]
        most, device = self.config.sampling.max_new_tokens, self.policy.model.device
        tokens = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)[:, :most].to(device)
        lengths = torch.tensor([len(one) for one in ids], device=device)
        mask = torch.arange(tokens.shape[1], device=device) < lengths[:, None]
        return Answers(tokens, mask, lengths <= most)

    def _tokens(self, sample: Sample, prompt: Prompt) -> Int[Tensor, " t"]:
        tokenizer = self.policy.processor.tokenizer
        text = answer_text(sample, prompt.frame, self.reward.dialect)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not set(ids).isdisjoint(self.policy.banned_token_ids):
            raise _no_answer(sample, "a label holds a token that stands for an image")
        end, stops = tokenizer.eos_token_id, self.policy.stop_token_ids
        return torch.tensor([*ids, end if end in stops else stops[0]])

    def _learn(self, prompts: Sequence[Prompt], answers: Answers) -> dict[str, float]:
        """One optimiser step on the cross entropy, the mean over the counted tokens of all ranks and passes.

        Where every answer is left out there is no step, as it would only repeat momentum.
        """
        counted = answers.mask & answers.counted[:, None]
        tokens, kept = self.engine.sum(torch.stack([counted.sum(), answers.counted.sum()]).double()).tolist()
        size, loss, grad_norm = self.config.prompts_per_forward, torch.zeros(1, device=counted.device), 0.0
        if tokens:
            for first in range(0, len(prompts), size):
                part = slice(first, first + size)
                arguments = (self.policy, prompts[part], answers.tokens[part], answers.mask[part])
                logprobs = completion_logprobs(self.engine.forward, *arguments)
                share = -(logprobs * counted[part]).sum() / tokens
                self.engine.backward(share)
                loss += share.detach()
            grad_norm = self.engine.step(self._learning_rate())
        return {
            "loss": self.engine.sum(loss).item(),
            "grad_norm": grad_norm,
            "tokens": tokens / max(kept, 1),
            "dropped_answers": self.config.prompts_per_step - int(kept),
        }


def answer_text(sample: Sample, frame: Frame, dialect: Dialect) -> str:
    """What a perfect model answers.

    Args:
        sample: what is asked, and its objects; crowds are no single objects and are left out.
        frame: of its image.
        dialect: how answers are written.

    Example:
        >>> from vision_r1_data import Objects, get_dialect
        >>> two = Objects(((0, 0, 9, 9), (9, 9, 20, 20)), ("cat", "cat"))
        >>> sample = Sample("1", b"", 28, 28, "counting", categories=("cat",), objects=two)
        >>> answer_text(sample, Frame(28, 28, 28, 28), get_dialect("qwen2_5_vl"))
        '2'
    """
    objects, form = sample.objects.without_crowd(), TASKS[sample.task].form
    if form == "number":
        return str(len(objects))
    try:
        return dialect.encode(objects, frame, form)
    except ValueError as error:
        raise _no_answer(sample, str(error)) from None


def _no_answer(sample: Sample, reason: str) -> DataError:
    return DataError(f"sample {sample.id!r} has no answer ({reason}); rename the label or leave it out")


_OF_MEASURING = ("max_new_tokens", "stop")


def unused_settings(config: GRPOConfig) -> list[str]:
    """The settings that are not as by default, and of what supervised training does not do."""
    given, default = asdict(config), asdict(GRPOConfig())
    changed = [
        f"{section}.{name}"
        for section in ("loss", "sampling", "reward")
        for name in given[section]
        if given[section][name] != default[section][name] and name not in _OF_MEASURING
    ]
    return changed + [name for name in _OF_ROLLOUTS if given[name] != default[name]]
