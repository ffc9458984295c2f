"""What a step looks like in numbers, over all ranks. Axes: P prompts, G completions, N = P*G."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from vision_r1_grpo.advantages import informative_groups
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.groups import ScoredGroups
from vision_r1_grpo.rewards.monitors import count_signs, monitors
from vision_r1_grpo.update import Experience

_MOST_NAMED = 5


@dataclass(frozen=True)
class DrawnGroups:
    """The groups of a step, of all its rounds.

    Args:
        groups: of this rank.
        drawn: places of the order of the data that are behind all ranks now.
        dropped: ids of the samples whose prompts were too long, over all ranks.
    """

    groups: ScoredGroups
    drawn: int
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What one rank did in one step.

    Args:
        drawn: what it drew and scored.
        experience: what it learnt from.
        learnt: what the update says of itself, over all ranks.
        seconds: phase -> how long it took.
    """

    drawn: DrawnGroups
    experience: Experience
    learnt: Mapping[str, float]
    seconds: Mapping[str, float]


class Clock:
    """How long each phase of a step takes; `seconds` has them by their names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """The phase ends now."""
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def step_metrics(step: Step, engine: Engine) -> dict[str, Any]:
    """The numbers of a step, the same on every rank.

    Returns:
        Means over completions: reward, reward/<part>, reward_of/<task>, overlong (what is taken for length),
        boxes, matched, saturated, tokens and truncated. Beside them tokens_min and tokens_max; xi2_share;
        prompts, the share informative_groups of their groups and the share counted of their completions;
        dropped_prompts, with the first of their dropped_ids; what the update learnt, such as loss and
        grad_norm; seconds/<phase>, means over ranks; rollout_tokens_per_second; completions_per_second of the
        whole step; peak_memory_gib of the rank that has most; monitor/<name>.
    """
    groups, dropped = step.drawn.groups, step.drawn.dropped
    scored, lengths = groups.scored, groups.rollout.mask.sum(dim=1)
    per_completion = {
        "reward": scored.total,
        **{f"reward/{name}": part for name, part in scored.parts.items()},
        **{f"reward_of/{task}": total for task, total in scored.by_task.items()},
        "overlong": groups.rewards.flatten() - scored.total,
        "boxes": torch.tensor([len(answer) for answer in scored.answers]),
        "matched": scored.matched,
        "saturated": scored.saturated,
        "tokens": lengths,
        "truncated": groups.rollout.truncated,
    }
    signs = count_signs(scored.answers, groups.targets)
    own = {
        **{f"seconds/{phase}": seconds for phase, seconds in step.seconds.items()},
        **signs,
        "tokens": lengths.sum().item(),
        "shortest": lengths.min().item(),
        "longest": lengths.max().item(),
        "prompts": len(groups.prompts),
        "informative": informative_groups(groups.rewards).sum().item(),
        "counted": step.experience.counted.sum().item(),
        "memory": peak_memory(),
    }
    ranks = _of_all_ranks(engine, own)
    total = {name: sum(values) for name, values in ranks.items()}
    seconds = {name: fmean(ranks[name]) for name in own if name.startswith("seconds/")}
    mean = _means(engine, per_completion)
    return {
        **mean,
        "tokens_min": int(min(ranks["shortest"])),
        "tokens_max": int(max(ranks["longest"])),
        "xi2_share": mean["saturated"] / (mean["matched"] or 1.0),
        "prompts": int(total["prompts"]),
        "informative_groups": total["informative"] / total["prompts"],
        "counted": total["counted"] / total["completions"],
        "dropped_prompts": len(dropped),
        **({"dropped_ids": list(dropped[:_MOST_NAMED])} if dropped else {}),
        **step.learnt,
        **seconds,
        "rollout_tokens_per_second": total["tokens"] / seconds["seconds/rollout"],
        "completions_per_second": total["completions"] / sum(seconds.values()),
        "peak_memory_gib": max(ranks["memory"]) / 2**30,
        **monitors({name: total[name] for name in signs}),
    }


def _means(engine: Engine, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over all ranks of what is not NaN; one of nothing is left out."""
    there = [each.double()[~each.double().isnan()] for each in values.values()]
    sums = engine.sum(torch.tensor([[some.sum().item(), len(some)] for some in there], dtype=torch.float64))
    return {name: total / n for name, (total, n) in zip(values, sums.tolist(), strict=True) if n}


def _of_all_ranks(engine: Engine, own: Mapping[str, float]) -> dict[str, list[float]]:
    """Name -> the values of all ranks."""
    each = torch.zeros(len(own), engine.world_size, dtype=torch.float64)
    each[:, engine.rank] = torch.tensor(list(own.values()), dtype=torch.float64)
    return dict(zip(own, engine.sum(each).tolist(), strict=True))


def peak_memory() -> int:
    """The most bytes that this process held at a time: of its device, or of main memory where it has none."""
    if torch.accelerator.is_available():
        return int(torch.accelerator.max_memory_allocated())
    if sys.platform == "win32":
        return 0
    import resource  # of POSIX only

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
