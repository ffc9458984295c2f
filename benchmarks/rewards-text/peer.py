"""The reward functions of the released Vision-R1 code, written anew, without its `--adaptive` flag.

They compute what those compute in the steps in which those do it: three functions that take the columns of a
batch, each of which reads every text anew, and two of which match every answer anew, with tensors of one box.
`released_functions` takes the real ones from a checkout, to be measured beside these.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import scipy.optimize
import torch
from torch import Tensor

from vision_r1_grpo import Target

_FENCES = r"```json\n|\n```"
_ITEM = (
    r'\{"bbox_2d": \[(\d{1,3}|1000), (\d{1,3}|1000), (\d{1,3}|1000), (\d{1,3}|1000)\], "label": "([^"]+)"\}'
)

Rewards = dict[str, list[float]]
Boxes = list[tuple[list[int], Any]]  # with their labels


class Row(NamedTuple):
    """A completion and its truth, as a row of the data set: lists and dicts are JSON."""

    completion: str
    solution: str  # [label, box] of each true box
    ids: str  # label: id
    size: tuple[int, int]
    input_size: tuple[int, int]


def rows_of(completions: Sequence[str], targets: Sequence[Target]) -> list[Row]:
    rows = []
    for completion, target in zip(completions, targets, strict=True):
        frame = target.frame
        solution = json.dumps(list(zip(target.labels, target.boxes, strict=True)))
        ids = json.dumps({label: i for i, label in enumerate(target.categories, start=1)})
        sizes = (frame.width, frame.height), (frame.model_width, frame.model_height)
        rows.append(Row(completion, solution, ids, *sizes))
    return rows


def score(rows: list[Row]) -> Rewards:
    return {
        "format": format_rewards(rows),
        "recall": recall_rewards(rows),
        "precision": precision_rewards(rows),
    }


def format_rewards(rows: list[Row]) -> list[float]:
    rewards = []
    for row in rows:
        well_formed = 1.0
        try:
            value = json.loads(re.sub(_FENCES, "", row.completion).strip())
            for item in value if isinstance(value, list) else []:
                if isinstance(item, dict) and "bbox_2d" in item and "label" in item:
                    box = item["bbox_2d"]
                    if not (isinstance(box, list) and len(box) == 4):
                        well_formed = 0.0
        except json.JSONDecodeError:
            well_formed = 0.0
        rewards.append(well_formed)
    return rewards


def recall_rewards(rows: list[Row]) -> list[float]:
    rewards = []
    for row in rows:
        solution = json.loads(row.solution)
        boxes = _read(row.completion.strip())
        if not boxes:
            rewards.append(0.0)
            continue
        giou = _match(row, boxes, solution)
        giou[giou < 0.5] = 0
        giou[giou > 0.5] = 1
        recall: Any = sum(giou) / len(solution)  # one pair after the other
        rewards.append(0 if recall < 0 else 1 if recall > 1 else recall)
    return rewards


def precision_rewards(rows: list[Row]) -> list[float]:
    rewards = []
    for row in rows:
        solution = json.loads(row.solution)
        boxes = _read(row.completion.strip())
        if not boxes:
            rewards.append(0.0)
            continue
        giou = _match(row, boxes, solution)
        giou[giou < 0] = 0
        giou[giou > 1] = 1
        rewards.append(torch.mean(giou).item())
    return rewards


def _read(text: str) -> Boxes:
    try:
        lines = text.splitlines()
        body = "\n".join(lines[1:]) if lines[0].startswith("```json") else text
        value = json.loads(body.split("```")[0])
    except (ValueError, IndexError):
        value = None
    boxes: Boxes = []
    for item in value if isinstance(value, list) else []:
        try:
            label, box = item.get("label"), item.get("bbox_2d")
            if isinstance(box, list) and len(box) == 4:
                box = [int(x) for x in box]
                if box[0] < box[2] and box[1] < box[3]:
                    boxes.append((box, label))
        except (ValueError, TypeError, AttributeError, OverflowError):
            continue
    if boxes:
        return boxes
    for *corners, label in re.compile(_ITEM).findall(text):
        x1, y1, x2, y2 = (int(x) for x in corners)
        if x1 < x2 and y1 < y2:
            boxes.append(([x1, y1, x2, y2], label))
    return boxes


def _match(row: Row, boxes: Boxes, solution: list[Any]) -> Tensor:
    """GIoU of each pair."""
    ids = {label.lower(): i for label, i in json.loads(row.ids).items()}
    (width, height), (input_width, input_height) = row.size, row.input_size
    pred_ids, pred = [], []
    for corners, label in boxes:
        pred_ids.append(ids.get(label.strip().lower(), 0) if isinstance(label, str) else 0)
        box = torch.tensor(corners, dtype=torch.float32).view(-1, 4)
        box[:, ::2] = box[:, ::2] / input_width * width
        box[:, 1::2] = box[:, 1::2] / input_height * height
        pred.append(box)
    true_ids, true = [], []
    for label, corners in solution:
        true_ids.append(int(ids[label.lower()]))
        true.append(torch.tensor(corners, dtype=torch.float32).view(-1, 4))
    pred_boxes, true_boxes = torch.cat(pred), torch.cat(true)
    probability = torch.zeros(len(pred), max(ids.values()) + 1)
    probability[torch.arange(len(pred)), pred_ids] = 1
    giou = _giou(pred_boxes, true_boxes)
    cost = torch.cdist(pred_boxes, true_boxes, p=1) - probability[:, torch.tensor(true_ids)] - giou
    return giou[scipy.optimize.linear_sum_assignment(cost)]


def _giou(pred: Tensor, true: Tensor) -> Tensor:
    assert (pred[:, 2:] >= pred[:, :2]).all()
    assert (true[:, 2:] >= true[:, :2]).all()
    sides = torch.min(pred[:, None, 2:], true[:, 2:]) - torch.max(pred[:, None, :2], true[:, :2])
    intersection = sides.clamp(min=0).prod(dim=2)
    union = _area(pred)[:, None] + _area(true) - intersection
    sides = torch.max(pred[:, None, 2:], true[:, 2:]) - torch.min(pred[:, None, :2], true[:, :2])
    enclosing = sides.clamp(min=0).prod(dim=2)
    return intersection / union - (enclosing - union) / enclosing


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def released_functions(checkout: Path) -> Callable[[list[Row]], Rewards]:
    """The real ones of a checkout of jefferyZhan/Griffon, whose modules import much else."""
    names: dict[str, Any] = {"torch": torch, "json": json, "re": re, "partial": functools.partial}
    names |= {"linear_sum_assignment": scipy.optimize.linear_sum_assignment, "box_area": _area}
    for file in ("griffon/coor_utils.py", "Vision-R1/vision_r1/visionr1_qwen.py"):
        module = ast.parse((checkout / file).read_text(encoding="utf-8"))
        functions = [
            part for part in module.body if isinstance(part, ast.FunctionDef) and part.name != "main"
        ]
        for function in functions:
            function.returns = None  # annotations name what is not imported
            for argument in function.args.args:
                argument.annotation = None
        module.body = list(functions)
        exec(compile(module, file, "exec"), names)

    def score(rows: list[Row]) -> Rewards:
        columns = {
            "completions": [[{"content": row.completion}] for row in rows],
            "solution": [row.solution for row in rows],
            "target_id_maps": [row.ids for row in rows],
            "width": [row.size[0] for row in rows],
            "height": [row.size[1] for row in rows],
            "input_widths": [row.input_size[0] for row in rows],
            "input_heights": [row.input_size[1] for row in rows],
            "num_instances": [len(json.loads(row.solution)) for row in rows],
            "step": None,
        }
        called = {"format": "dual_format_reward", "recall": "recall_reward", "precision": "precision_reward"}
        return {part: names[name](**columns) for part, name in called.items()}

    return score
