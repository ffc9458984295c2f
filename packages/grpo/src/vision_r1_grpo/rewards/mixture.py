"""A reward for each task of a mixture. Axes: N completions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import torch

from vision_r1_data import Answer, Dialect, get_dialect
from vision_r1_data.prompts import TASKS
from vision_r1_grpo.rewards.names import known_names
from vision_r1_grpo.rewards.presets import PRESETS
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.scene import Target
from vision_r1_grpo.rewards.vision import Part, RewardBatch, VisionReward, check_lengths
from vision_r1_ops import Thresholds

AUTO = "auto"
"""In place of a preset: each task has its own, the one of its name, and detection has strict."""


@dataclass(frozen=True)
class TaskRewards:
    """Scores each completion by the reward of its target's task; otherwise it is as a `VisionReward`.

    Groups compare completions of one prompt, so of one task, and the totals of all presets lie between 0 and
    3 where no weight says otherwise: no task outweighs another.

    Args:
        by_task: task -> its reward; all of one dialect, one refinement and the same added parts.

    Raises:
        ValueError: a reward does not score its task, or they do not go together.

    Example:
        >>> from vision_r1_data import Frame
        >>> frame = Frame(100, 100, 100, 100)
        >>> cat = Target(((0, 0, 50, 50),), ("cat",), ("cat",), frame)
        >>> cats = Target(cat.boxes, cat.labels, cat.categories, frame, task="counting")
        >>> text = '```json\\n[{"bbox_2d": [0, 0, 50, 50], "label": "cat"}]\\n```'
        >>> reward = reward_of_tasks(["detection", "counting"], "qwen2_5_vl")
        >>> scored = reward([text, "1"], [cat, cats], progress=0.0)
        >>> scored.total, scored.parts["count"]
        (tensor([3., 3.]), tensor([nan, 1.]))
    """

    by_task: Mapping[str, VisionReward]

    def __post_init__(self) -> None:
        if not self.by_task:
            raise ValueError("by_task must hold the reward of at least one task, got none")
        first = next(iter(self.by_task.values()))
        for task, reward in self.by_task.items():
            reward.of(task)
            if reward.refinement != first.refinement:
                raise ValueError(
                    f"the tasks of a run share their thresholds: preset {reward.preset!r} of {task!r} has "
                    f"others than {first.preset!r}; score both with one preset, or leave out one of the tasks"
                )
            if (reward.dialect, reward.added) != (first.dialect, first.added):
                raise ValueError(f"the reward of {task!r} must have the dialect and added parts of the rest")

    @property
    def preset(self) -> str:
        """The names of its presets, such as "strict + counting"."""
        return " + ".join(dict.fromkeys(reward.preset for reward in self.by_task.values()))

    @property
    def dialect(self) -> Dialect:
        """How completions write their answers."""
        return self._first.dialect

    @property
    def refinement(self) -> Refinement:
        """Progress of the run -> thresholds."""
        return self._first.refinement

    @property
    def added(self) -> Mapping[str, Part]:
        """Name -> part that is not a criterion's."""
        return self._first.added

    @property
    def most(self) -> float:
        """The most that a completion can earn."""
        return max(reward.most for reward in self.by_task.values())

    def of(self, task: str) -> VisionReward:
        """The reward that scores the answers of a task.

        Raises:
            ValueError: there is none.
        """
        if task not in self.by_task:
            raise ValueError(f"there is no reward for task {task!r}; there are {', '.join(self.by_task)}")
        return self.by_task[task]

    def __call__(
        self,
        completions: Sequence[str],
        targets: Sequence[Target],
        *,
        progress: float | None = None,
        thresholds: Thresholds | None = None,
    ) -> RewardBatch:
        """Score N completions, those of one reward together.

        Args:
            completions: N texts.
            targets: N truths, whose tasks say how.
            progress: of the run, in [0, 1].
            thresholds: in place of progress.

        Raises:
            ValueError: a task has no reward, or as `VisionReward` says.
        """
        check_lengths(completions, targets)
        size, names = len(targets), dict.fromkeys(name for r in self.by_task.values() for name in r.weights)
        total, (matched, saturated) = torch.zeros(size), torch.zeros(2, size, dtype=torch.long)
        parts = {name: torch.full((size,), math.nan) for name in names}
        answers: list[Answer] = [Answer()] * size
        for reward, rows in self._rows(targets):
            some = [completions[n] for n in rows], [targets[n] for n in rows]
            scored = reward(*some, progress=progress, thresholds=thresholds)
            total[rows], matched[rows], saturated[rows] = scored.total, scored.matched, scored.saturated
            for name, part in scored.parts.items():
                parts[name][rows] = part
            for n, answer in zip(rows, scored.answers, strict=True):
                answers[n] = answer
        asked = {
            task: torch.tensor([target.task == task for target in targets], dtype=torch.bool)
            for task in self.by_task
        }
        by_task = {task: torch.where(of_it, total, math.nan) for task, of_it in asked.items()}
        return RewardBatch(total, parts, tuple(answers), matched, saturated, by_task)

    @property
    def _first(self) -> VisionReward:
        return next(iter(self.by_task.values()))

    def _rows(self, targets: Sequence[Target]) -> Iterable[tuple[VisionReward, list[int]]]:
        """Each reward, and the completions that it scores."""
        rows: dict[int, tuple[VisionReward, list[int]]] = {}
        for n, target in enumerate(targets):
            reward = self.of(target.task)
            rows.setdefault(id(reward), (reward, []))[1].append(n)
        return rows.values()


Reward = VisionReward | TaskRewards
"""What scores the completions of a run."""


def reward_of_tasks(
    tasks: Iterable[str],
    dialect: str,
    *,
    preset: str = AUTO,
    by_task: Mapping[str, str] | None = None,
    refinement: Refinement | None = None,
    weights: Mapping[str, float] | None = None,
    added: Mapping[str, Part] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Reward:
    """The reward of samples with these tasks: of one preset where that scores all of them.

    Args:
        tasks: what is asked, names of `vision_r1_data.prompts.TASKS`.
        dialect: how completions write their answers.
        preset: of all tasks; by default each task has its own, the one of its name, and detection has strict.
        by_task: task -> another preset.
        refinement: progress of the run -> thresholds, of all tasks.
        weights: part name -> weight, in every preset that has the part.
        added: name -> part of one's own, in every preset.
        options: of every preset that has them.

    Raises:
        ValueError: a task does not exist, its preset scores another form or the dialect does not write it, no
            preset has a part or an option, or as `VisionReward.from_preset` says.
        TypeError: an added part is not callable.

    Example:
        >>> reward_of_tasks(["detection", "counting"], "qwen2_5_vl").preset
        'strict + counting'
        >>> reward_of_tasks(["detection", "rec"], "qwen2_5_vl", preset="paper").preset
        'paper'
    """
    weights, added, options, by_task = weights or {}, added or {}, options or {}, by_task or {}
    chosen = {task: by_task.get(task, own_preset(task) if preset == AUTO else preset) for task in tasks}
    for task, name in {**by_task, **chosen}.items():
        _check_preset(task, name)
    for task in chosen:
        _check_dialect(task, dialect)
    names = list(dict.fromkeys(chosen.values()))
    settings: dict[str, Any] = {"refinement": refinement, "added": added}
    if len(names) == 1:
        return VisionReward.from_preset(names[0], dialect, weights=weights, **settings, **options)
    parts = {name: [*PRESETS[name].weights, *added] for name in names}
    known = {name: [option.name for option in fields(PRESETS[name].criterion)] for name in names}
    rewards = {
        name: VisionReward.from_preset(name, dialect, weights=of_part, **settings, **of_option)
        for name, of_part, of_option in zip(
            names, _shared("part", weights, parts), _shared("option", options, known), strict=True
        )
    }
    return TaskRewards({task: rewards[name] for task, name in chosen.items()})


def own_preset(task: str) -> str:
    """The preset of a task where none is given."""
    return "strict" if task == "detection" else task


def _check_preset(task: str, name: str) -> None:
    """A task is there, and its preset scores the form that it asks for."""
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; known are {known_names(TASKS, task)}")
    if name not in PRESETS:
        raise ValueError(
            f"unknown reward preset {name!r} of task {task!r}; known are {known_names(PRESETS, name)}"
        )
    asked, scored = TASKS[task].form, TASKS[PRESETS[name].task].form
    if asked != scored:
        raise ValueError(
            f"preset {name!r} scores {scored}, and task {task!r} asks for {asked}; "
            f"give it {own_preset(task)!r} by reward.by_task, or every task its own by reward.preset={AUTO}"
        )


def _check_dialect(task: str, dialect: str) -> None:
    form, forms = TASKS[task].form, get_dialect(dialect).forms
    if form not in (*forms, "number"):
        raise ValueError(
            f"task {task!r} asks for {form}, and dialect {dialect!r} writes {', '.join(forms)}; "
            "leave out its samples, or give another dialect"
        )


def _shared(kind: str, given: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Of what is given, that which each preset knows; each of it must be known to one."""
    every = dict.fromkeys(chain.from_iterable(known.values()))
    for one in given:
        if one not in every:
            raise ValueError(
                f"none of {', '.join(known)} has the {kind} {one!r}; there are {known_names(every, one)}"
            )
    return [{one: given[one] for one in given if one in names} for names in known.values()]
