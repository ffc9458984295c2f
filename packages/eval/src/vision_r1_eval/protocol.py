"""The choices that change a number, said beside the number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CategoryMode = Literal["all"]
ScoreMode = Literal["constant"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How answers were asked for and how they are scored.

    Args:
        category_mode: "all": one prompt asks for all categories of a sample.
        score_mode: "constant": every box has the same score, because the answers carry none. Ties are
            broken by emission order within an image, and by the order of the samples across images.
        max_dets: the most boxes of one category that count in one image, the first ones emitted. COCO's
            AP and AR only; the score-free metrics count every box.

    Raises:
        ValueError: a mode is unknown, or `max_dets` is not a positive integer.

    Example:
        >>> print(Protocol())
        all categories in one prompt; constant scores, ties broken by emission order; maxDets 100
    """

    category_mode: CategoryMode = "all"
    score_mode: ScoreMode = "constant"
    max_dets: int = 100

    def __post_init__(self) -> None:
        for name, mode in (("category_mode", CategoryMode), ("score_mode", ScoreMode)):
            if getattr(self, name) not in get_args(mode):
                known = ", ".join(map(repr, get_args(mode)))
                raise ValueError(f"Protocol.{name} must be one of {known}, got {getattr(self, name)!r}")
        if type(self.max_dets) is not int or self.max_dets < 1:
            raise ValueError(f"Protocol.max_dets must be a positive integer, got {self.max_dets!r}")

    def __str__(self) -> str:
        return (
            "all categories in one prompt; constant scores, ties broken by emission order; "
            f"maxDets {self.max_dets}"
        )


DEFAULT = Protocol()
