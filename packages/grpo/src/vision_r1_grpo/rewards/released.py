"""What the released Vision-R1 code computes, quirks included. Axes: N completions, M predicted, K true boxes.

Two readings of one text, both laxer than the dialect's and neither implying the other:

    format  The fences "```json<newline>" and "<newline>```" are cut out wherever they stand. What is left
            must be JSON of any kind; in a list, a dict that has both keys must have a list of four as box.
            So `[]`, `null`, a bare dict, numbers out of bounds, strings as numbers and swapped corners
            pass, and text around the fence does not.
    boxes   A first line that begins with "```json" is dropped, and all from the next "```" on. Of a JSON
            list, the dicts with a list of four as their box count: coordinates go through Python's int(), so
            12.9 is 12, " 12 " is 12 and true is 1, and a box whose corners are not in order is left out.
            Where that gives nothing, whatever the reason, the whole text is searched for items exactly of the
            form `{"bbox_2d": [1, 2, 3, 4], "label": "cat"}`, of coordinates with one to three digits or 1000.

Labels are compared in lower case, and only the predicted one is stripped; one that is no string or that was
not asked for equals none. Where the released code stops with an error or reckons with infinity, this one goes
on: boxes where there is no truth are worth 0, coordinates beyond 2^59 pixels are cut there, and JSON that is
nested too deeply is no JSON.

Source: Zhan et al. 2025 (arXiv 2503.18013), the released code of its Qwen2.5-VL training.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vision_r1_data import Answer, Frame
from vision_r1_grpo.rewards.refinement import Refinement
from vision_r1_grpo.rewards.scene import Scene, Scores
from vision_r1_ops import Thresholds, match_boxes

_FENCE = "```"
_FENCES = re.compile(r"```json\n|\n```")
_NUMBER = r"(\d{1,3}|1000)"
_ITEM = re.compile(rf'\{{"bbox_2d": \[{", ".join([_NUMBER] * 4)}\], "label": "([^"]+)"\}}')
_FARTHEST = 2**59  # pixels; areas of what lies within are finite in float32
_UNREADABLE = object()

Corners = tuple[int, ...]  # four


class _Item(msgspec.Struct, gc=False):
    bbox_2d: tuple[int, int, int, int]
    label: str


_VALID_LIST = msgspec.json.Decoder(list[_Item])


@dataclass(frozen=True)
class Released:
    """Format, recall and precision as the released code computes them; GIoU where the paper says IoU.

    Pairs are those with the least L1 in pixels - [labels equal] - GIoU, so L1 decides.

        recall     f( sum over pairs of [GIoU > xi0] / K )
        precision  mean over the min(M, K) pairs of f(GIoU), so boxes beyond the K best are free
        f(x)       1 if x > xi2, 0 if x < xi1, else x; a GIoU of exactly xi0 counts xi0 in the recall

    Without `adaptive`, precision's f is max(x, 0), recall's is x, and xi0 is 0.5 throughout. With it,
    recall's f keeps 0.5 and 0.75 in both stages; xi0 and precision's f follow the stage.

    Empty cases:

        ground truth | text              | format          | recall, precision
        none         | no boxes are read | 1 - well formed | 1, of unreadable text too
        none         | some              | 1 - well formed | 0: hallucination
        some         | no boxes are read | well formed     | 0: silence

    Args:
        adaptive: the two stages of the `--adaptive` flag, the second from half of the run on, where the
            released code says optimiser step 1500 of about 3060. Its launch script does not set the flag.
    """

    adaptive: bool = False

    def __post_init__(self) -> None:
        if self.adaptive not in (True, False):
            raise ValueError(f"option adaptive must be true or false, got {self.adaptive!r}")

    @property
    def refinement(self) -> Refinement:
        """The code's own thresholds; xi1 = 0 and xi2 = 1 differentiate nothing."""
        return Refinement.staged(0.5) if self.adaptive else Refinement(thresholds=((0.5, 0.0, 1.0),))

    def __call__(self, scene: Scene, thresholds: Thresholds) -> Scores:
        """Score the scene."""
        match = match_boxes(
            scene.pred,
            scene.true,
            scene.n_pred,
            scene.n_true,
            pred_labels=scene.pred_labels,
            true_labels=scene.true_labels,
            cost="released",
        )
        paired = match.index >= 0
        n_pairs, some_true = paired.sum(dim=1), scene.n_true > 0
        counted = _refine(match.giou, thresholds.xi0, thresholds.xi0) * paired
        recall = counted.sum(dim=1) / scene.n_true.clamp(min=1)
        if self.adaptive:
            recall = _refine(recall, 0.5, 0.75)
        worth = _refine(match.giou, thresholds.xi1, thresholds.xi2) * paired
        precision = worth.sum(dim=1) / n_pairs.clamp(min=1)
        rejected = (~some_true & (scene.n_pred == 0)).float()
        parts = {
            "format": torch.where(some_true, scene.well_formed, ~scene.well_formed).float(),
            "recall": recall + rejected,
            "precision": precision + rejected,
        }
        return Scores(parts, n_pairs, (paired & (match.giou >= thresholds.xi2)).sum(dim=1))


def read_qwen2_5_vl(text: str, frame: Frame) -> Answer:
    """The boxes and the form that the released code finds in a text of Qwen2.5-VL."""
    form, body = _FENCES.sub("", text).strip(), _body(text.strip())
    faultless = _faultless(body) if body == form else None
    problems, listed = (_problems(form), _listed(body)) if faultless is None else ((), faultless)
    found = listed or _searched(text)
    corners = [x if -_FARTHEST < x < _FARTHEST else _cut(x) for box, _ in found for x in box]
    # In float32 and in this order, as the released code scales: a threshold may lie in between.
    size = np.array([frame.width, frame.height] * 2, np.float32)
    model_size = np.array([frame.model_width, frame.model_height] * 2, np.float32)
    scaled = np.array(corners, np.float32).reshape(-1, 4) / model_size * size
    boxes = scaled.clip(-_FARTHEST, _FARTHEST).tolist()
    return Answer(
        tuple([(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes]),
        tuple([label.strip() if isinstance(label, str) else "" for _, label in found]),
        well_formed=not problems,
        problems=problems,
    )


def _body(text: str) -> str:
    """Where the boxes are listed, without what JSON calls white space."""
    first, *rest = text.splitlines() or [""]
    body = "\n".join(rest) if first.startswith(_FENCE + "json") else text
    return body.split(_FENCE)[0].strip(" \t\r\n")


def _faultless(text: str) -> list[tuple[Corners, Any]] | None:
    """Both readings at once of a list of nothing but valid items, much faster; else None."""
    try:
        items = _VALID_LIST.decode(text)
    except ValueError:
        return None
    return [(item.bbox_2d, item.label) for item in items if _is_ordered(item.bbox_2d)]


def _problems(text: str) -> tuple[str, ...]:
    """What the format check finds wrong."""
    value = _json(text)
    if value is _UNREADABLE:
        return ("bad_json",)
    items = value if isinstance(value, list) else []
    dicts = [item for item in items if isinstance(item, dict)]
    boxes = [item["bbox_2d"] for item in dicts if "bbox_2d" in item and "label" in item]
    return () if all(isinstance(box, list) and len(box) == 4 for box in boxes) else ("bad_item",)


def _listed(text: str) -> list[tuple[Corners, Any]]:
    """The box and label of each valid item of a JSON list."""
    value = _json(text)
    items = value if isinstance(value, list) else []
    read = [(_box(item.get("bbox_2d")), item.get("label")) for item in items if isinstance(item, dict)]
    return [(box, label) for box, label in read if box is not None and _is_ordered(box)]


def _searched(text: str) -> list[tuple[Corners, Any]]:
    """The box and label of each item that stands in the text in exactly the expected form."""
    read = [(tuple(map(int, corners)), label) for *corners, label in _ITEM.findall(text)]
    return [(box, label) for box, label in read if _is_ordered(box)]


@functools.lru_cache(maxsize=1)  # both readings mostly come to the same text
def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _box(value: Any) -> Corners | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    try:
        return tuple(map(int, value))
    except (ValueError, TypeError, OverflowError):  # such as "12.5", null and Infinity
        return None


def _cut(x: int) -> int:
    return max(-_FARTHEST, min(x, _FARTHEST))


def _is_ordered(box: Corners) -> bool:
    return box[0] < box[2] and box[1] < box[3]


def _refine(x: Float[Tensor, "*n"], xi1: float, xi2: float) -> Float[Tensor, "*n"]:
    """f of Eq. 8, but for x = xi2, which stays what it is."""
    return torch.where(x > xi2, 1.0, torch.where(x < xi1, 0.0, x))
