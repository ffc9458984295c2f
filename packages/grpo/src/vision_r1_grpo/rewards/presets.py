"""The presets: criteria, each a small composition over ops, and what their parts weigh.

Axes: N completions, M predicted, K true boxes. Empty cases of all but released, which pays for unreadable
text where there is nothing to find and says so in its docstring:

    ground truth | prediction            | format | all other parts
    none         | none, well formed     | 1      | 1: a correct rejection
    none         | some                  | form   | 0: hallucination
    some         | none, well formed     | 1      | 0: silence
    any          | nothing can be read   | 0      | 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from vision_r1_data import Answer, Frame
from vision_r1_grpo.rewards.f_measure import box_quality, f_measure
from vision_r1_grpo.rewards.names import known_names
from vision_r1_grpo.rewards.released import Released, read_qwen2_5_vl
from vision_r1_grpo.rewards.scene import Scene, Scores
from vision_r1_grpo.rewards.tasks import Counting, Grounding, Ocr, Pointing, Rec, Segmentation
from vision_r1_ops import Thresholds, localization_rewards

Denominator = Literal["predicted", "matched"]


@dataclass(frozen=True)
class Paper:
    """Format, recall and precision as published; boxes are matched and scored whatever their labels.

    f of Eq. 8 differentiates each instance's IoU for the precision, and the completion's recall.

    Two holes stay, whatever the reading of M: a wrong label costs nothing, and one sure box alone has full
    precision, which pays for silence.

    Args:
        denominator: what M of Eq. 6 counts, which the paper leaves open. "predicted" counts every prediction,
            so that a junk box costs. "matched" counts those that were given a true box, at most K: then every
            box beyond is free, a known exploit, which makes it the worse default though the released code
            averages so.

    Source: arXiv 2503.18013, Eq. 3-8.
    """

    denominator: Denominator = "predicted"

    def __post_init__(self) -> None:
        if self.denominator not in get_args(Denominator):
            known = known_names(get_args(Denominator), self.denominator)
            raise ValueError(f"option denominator must be one of {known}, got {self.denominator!r}")

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        boxes = (scene.pred, scene.true, scene.n_pred, scene.n_true)
        rewards = localization_rewards(*boxes, thresholds, denominator=self.denominator)
        parts = {
            "format": scene.well_formed.float(),
            "recall": rewards.recall * scene.readable,
            "precision": rewards.precision * scene.readable,
        }
        paired = rewards.match.index >= 0
        saturated = paired & (rewards.match.iou >= thresholds.xi2)
        return Scores(parts, paired.sum(dim=1), saturated.sum(dim=1))


@dataclass(frozen=True)
class Strict:
    """Format, and an F-measure in which a missed object and an invented one both cost.

    F = 5 * sum_m q_m / (M + 4 * K), the F-measure with beta = 2. q_m is the quality of a matched pair: 0 if
    the labels differ or IoU < xi0; else f(IoU) of Eq. 8: 1 from xi2 on, 0 below xi1, IoU between.
    """

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        return f_measure(scene, box_quality(scene, thresholds))


Criterion = Strict | Paper | Released | Grounding | Rec | Pointing | Segmentation | Ocr | Counting


@dataclass(frozen=True)
class Preset:
    """A criterion and how its parts add up.

    Args:
        criterion: its dataclass fields are the preset's options.
        weights: of each of its parts in the total.
        task: what is asked, a name of `vision_r1_data.prompts.TASKS`; it says what form the answers have.
        readers: dialect -> how completions are read, for a preset that reads them in its own way; a dialect
            that is not among them cannot be scored.
        same_label: labels are equal if this makes them equal.
        compares_labels: whether the criterion asks what an object is called.
    """

    criterion: type[Criterion]
    weights: dict[str, float]
    task: str = "detection"
    readers: Mapping[str, Callable[[str, Frame], Answer]] = field(default_factory=dict)
    same_label: Callable[[str], str] = str
    compares_labels: bool = True


_PARTS = {"format": 1.0, "recall": 1.0, "precision": 1.0}
_F_MEASURE = {"format": 1.0, "f_measure": 2.0}
PRESETS = {
    "strict": Preset(Strict, _F_MEASURE),
    "paper": Preset(Paper, _PARTS, compares_labels=False),
    "released": Preset(Released, _PARTS, readers={"qwen2_5_vl": read_qwen2_5_vl}, same_label=str.lower),
    "grounding": Preset(Grounding, {"format": 1.0, "mean_f": 2.0}, "grounding"),
    "rec": Preset(Rec, {"format": 1.0, "accuracy": 2.0}, "rec", compares_labels=False),
    "pointing": Preset(Pointing, _F_MEASURE, "pointing"),
    "segmentation": Preset(Segmentation, _F_MEASURE, "segmentation"),
    "ocr": Preset(Ocr, _F_MEASURE, "ocr", compares_labels=False),
    "counting": Preset(Counting, {"format": 1.0, "count": 2.0}, "counting", compares_labels=False),
}
