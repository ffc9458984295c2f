"""Progressive rule refinement: the criterion tightens as training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from vision_r1_grpo.rewards.names import known_names
from vision_r1_ops import Thresholds

Kind = Literal["staged", "linear", "cosine", "adaptive"]


@dataclass(frozen=True)
class RefinementState:
    """How far an adaptive refinement has come.

    Args:
        stage: the row of thresholds that is in force.
        held: for how many steps on end the share has been high enough.
    """

    stage: int = 0
    held: int = 0


_START = RefinementState()


@dataclass(frozen=True)
class Refinement:
    """Progress of a run in [0, 1] -> thresholds of the criterion.

    A row of thresholds is reached at its `begins`. In between,

        staged    the row before holds (the paper's)
        linear    they go straight from one row to the next
        cosine    they go along half a cosine, slowly near both rows
        adaptive  the row holds until the run has learnt it, whatever the progress: `advance` goes on to the
                  next when the share of matched boxes at or above the present xi2 was at least `level` for
                  `window` steps on end

    Why xi2: a box at or above it is worth 1, so the present row has nothing more to ask of it; xi0 and xi1
    say only that a box is worth something. In the paper's rows the next xi0 is the present xi2, so the share
    is also what of the matched boxes will still count in the next stage.

    The default never leaves the paper's first stage (STEP = 1, its best setting for Qwen2.5-VL).

    Args:
        begins: the progress at which each row is reached, rising from 0; not of adaptive.
        thresholds: rows of (xi0, xi1, xi2).
        kind: "staged", "linear", "cosine" or "adaptive".
        level: of adaptive, the share in (0, 1] that is high enough.
        window: of adaptive, for how many steps on end.

    Raises:
        ValueError: there is no such kind, the rows do not begin at 0 and rise, a threshold is invalid, or a
            setting is of another kind.

    Source: arXiv 2503.18013, Eq. 8 and "staged progression".

    Example:
        >>> refinement = Refinement.staged(0.5)
        >>> refinement(0.2), refinement(0.5)
        (Thresholds(xi0=0.5, xi1=0.5, xi2=0.75), Thresholds(xi0=0.75, xi1=0.75, xi2=0.9))
        >>> rows = ((0.5, 0.5, 0.75), (0.75, 0.75, 1.0))
        >>> Refinement((0.0, 1.0), rows, "linear")(0.5)
        Thresholds(xi0=0.625, xi1=0.625, xi2=0.875)
        >>> refinement = Refinement(thresholds=rows, kind="adaptive", level=0.8, window=2)
        >>> state = refinement.advance(RefinementState(), share=0.85)
        >>> refinement.advance(state, share=0.9)
        RefinementState(stage=1, held=0)
    """

    begins: tuple[float, ...] = (0.0,)
    thresholds: tuple[tuple[float, float, float], ...] = ((0.5, 0.5, 0.75),)
    kind: Kind = "staged"
    level: float = 0.8
    window: int = 20

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            known = known_names(get_args(Kind), self.kind)
            raise ValueError(f"unknown refinement.kind {self.kind!r}; known are {known}")
        if self.kind == "adaptive":
            self._check_adaptive()
        else:
            self._check_begins()
        if self.kind != "staged" and len(self.thresholds) < 2:
            raise ValueError(
                f"refinement.thresholds must have at least 2 rows for {self.kind}, got {len(self.thresholds)}"
            )
        rows = tuple(tuple(row) for row in self.thresholds)  # YAML gives lists
        object.__setattr__(self, "thresholds", rows)
        for row in rows:
            if len(row) != 3:
                raise ValueError(f"refinement.thresholds must be rows of (xi0, xi1, xi2), got {row}")
            Thresholds(*row)

    @classmethod
    def staged(cls, step: float) -> Refinement:
        """The paper's two stages, the second beginning at progress `step`."""
        first, second = (0.5, 0.5, 0.75), (0.75, 0.75, 0.9)
        return cls() if step >= 1 else cls((0.0, step), (first, second))

    def __call__(self, progress: float, state: RefinementState = _START) -> Thresholds:
        """The thresholds at that progress; those of an adaptive refinement are its state's."""
        stage = self.stage(progress, state)
        row = self.thresholds[stage]
        if self.kind in ("staged", "adaptive") or stage + 1 == len(self.thresholds):
            return Thresholds(*row)
        way = (progress - self.begins[stage]) / (self.begins[stage + 1] - self.begins[stage])
        if self.kind == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        xi0, xi1, xi2 = (
            (1 - way) * a + way * b for a, b in zip(row, self.thresholds[stage + 1], strict=True)
        )
        return Thresholds(xi0, xi1, xi2)

    def stage(self, progress: float, state: RefinementState = _START) -> int:
        """The last row that has been reached, from 0."""
        if self.kind == "adaptive":
            return min(state.stage, len(self.thresholds) - 1)  # a resumed run may have fewer rows
        return max(sum(begin <= progress for begin in self.begins) - 1, 0)

    def advance(self, state: RefinementState, share: float) -> RefinementState:
        """The state after a step.

        Args:
            state: before the step.
            share: of the step's matched boxes, over all ranks, those at or above xi2; 0 if none was matched.
        """
        if self.kind != "adaptive" or state.stage + 1 >= len(self.thresholds):
            return state
        held = state.held + 1 if share >= self.level else 0
        return RefinementState(state.stage + 1) if held >= self.window else replace(state, held=held)

    def _check_begins(self) -> None:
        if len(self.begins) != len(self.thresholds):
            raise ValueError(
                f"refinement.begins and refinement.thresholds must have one entry per row, "
                f"got {len(self.begins)} and {len(self.thresholds)}"
            )
        if list(self.begins) != sorted(set(self.begins)) or self.begins[:1] != (0.0,):
            raise ValueError(f"refinement.begins must rise from 0, got {self.begins}")
        if (self.level, self.window) != (type(self).level, type(self).window):
            raise ValueError(f"refinement.level and refinement.window are of adaptive; kind is {self.kind}")

    def _check_adaptive(self) -> None:
        if self.begins != (0.0,):
            raise ValueError("refinement.begins is not of adaptive, which goes by level and window")
        if not 0 < self.level <= 1:
            raise ValueError(f"refinement.level must be above 0 and at most 1, got {self.level}")
        if self.window < 1:
            raise ValueError(f"refinement.window must be at least 1, got {self.window}")
