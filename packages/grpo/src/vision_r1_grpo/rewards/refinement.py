"""Progressive rule refinement: the criterion tightens as training goes on."""

from __future__ import annotations

from dataclasses import dataclass

from vision_r1_ops import Thresholds


@dataclass(frozen=True)
class Refinement:
    """Progress of a run in [0, 1] -> thresholds of the criterion, in stages.

    The default never leaves the paper's first stage (STEP = 1, its best setting for Qwen2.5-VL).

    Args:
        begins: the progress at which each stage begins, rising from 0.
        thresholds: (xi0, xi1, xi2) of each stage.

    Raises:
        ValueError: the stages do not begin at 0 and rise, or the two differ in length.

    Source: arXiv 2503.18013, Eq. 8 and "staged progression".

    Example:
        >>> refinement = Refinement.staged(0.5)
        >>> refinement(0.2), refinement(0.5)
        (Thresholds(xi0=0.5, xi1=0.5, xi2=0.75), Thresholds(xi0=0.75, xi1=0.75, xi2=0.9))
    """

    begins: tuple[float, ...] = (0.0,)
    thresholds: tuple[tuple[float, float, float], ...] = ((0.5, 0.5, 0.75),)

    def __post_init__(self) -> None:
        if len(self.begins) != len(self.thresholds):
            raise ValueError(
                f"refinement.begins and refinement.thresholds must have one entry per stage, "
                f"got {len(self.begins)} and {len(self.thresholds)}"
            )
        if list(self.begins) != sorted(set(self.begins)) or self.begins[:1] != (0.0,):
            raise ValueError(f"refinement.begins must rise from 0, got {self.begins}")
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

    def __call__(self, progress: float) -> Thresholds:
        """The thresholds at that progress."""
        stage = sum(begin <= progress for begin in self.begins) - 1
        return Thresholds(*self.thresholds[max(stage, 0)])
