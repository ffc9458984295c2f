"""Overlap of pairs of boxes on a GPU.

Divisions are correctly rounded and no product is fused into a sum, so every value equals NumPy's: an IoU of
exactly 0.5 compares as such. NaN is passed on as there, which makes the overlap 0.

Axes: B leading indices, M boxes of one set, K of the other.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

# of a tile: rows and columns, as few columns as the boxes need
TILE = 1024
COLUMNS = (32, 256)


@triton.jit
def area(x1, y1, x2, y2):
    """A box with swapped corners has none."""
    return _larger(x2 - x1, 0.0) * _larger(y2 - y1, 0.0)


@triton.jit
def _larger(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _smaller(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def ratio(numerator, denominator):
    """The quotient, rounded correctly; 0 where the denominator is."""
    positive = denominator > 0
    divisor = tl.where(positive, denominator, 1.0)
    quotient = tl.div_rn(numerator, divisor) if numerator.dtype == tl.float32 else numerator / divisor
    return tl.where(positive, quotient, 0.0)


@triton.jit
def overlap(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, KIND: tl.constexpr):
    """The overlap of two boxes, in the order of operations of reference.box_iou."""
    intersection = area(_larger(ax1, bx1), _larger(ay1, by1), _smaller(ax2, bx2), _smaller(ay2, by2))
    union = area(ax1, ay1, ax2, ay2) + area(bx1, by1, bx2, by2) - intersection
    value = ratio(intersection, union)
    if KIND != "iou":
        x1, y1 = _smaller(ax1, bx1), _smaller(ay1, by1)
        x2, y2 = _larger(ax2, bx2), _larger(ay2, by2)
        if KIND == "giou":
            enclosing = area(x1, y1, x2, y2)
            value -= ratio(enclosing - union, enclosing)
        else:
            # twice the centres, so four times the squared distance
            across, down = (ax1 + ax2) - (bx1 + bx2), (ay1 + ay2) - (by1 + by2)
            width, height = x2 - x1, y2 - y1
            value -= ratio((across * across + down * down) / 4, width * width + height * height)
    return value


@triton.jit
def load_boxes(boxes, rows, wanted):
    """The four coordinates of rows (..., 4), zeros where not wanted."""
    corner = boxes + rows * 4
    x1 = tl.load(corner, mask=wanted, other=0.0)
    y1 = tl.load(corner + 1, mask=wanted, other=0.0)
    x2 = tl.load(corner + 2, mask=wanted, other=0.0)
    y2 = tl.load(corner + 3, mask=wanted, other=0.0)
    return x1, y1, x2, y2


@triton.jit
def box_iou_kernel(boxes1, boxes2, values, M, K, KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """One tile of ROWS x BLOCK pairs a program."""
    across, down = tl.cdiv(K, BLOCK), tl.cdiv(M, ROWS)
    # one axis of programs: the others end at 65,535
    tile = tl.program_id(0)
    batch = (tile // (across * down)).to(tl.int64)
    row = (tile // across % down).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = (tile % across).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    ax1, ay1, ax2, ay2 = load_boxes(boxes1 + batch * M * 4, row, row < M)
    bx1, by1, bx2, by2 = load_boxes(boxes2 + batch * K * 4, column, column < K)
    value = overlap(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, KIND)
    tl.store(values + batch * M * K + row * K + column, value, mask=(row < M) & (column < K))


def box_iou(boxes1: Tensor, boxes2: Tensor, *, kind: str) -> Tensor:
    """Overlap (..., M, K) of boxes (..., M, 4) and (..., K, 4) of one float dtype."""
    *batch, rows, _ = boxes1.shape
    columns = boxes2.shape[-2]
    values = boxes1.new_empty((*batch, rows, columns))
    if values.numel():
        block = min(max(triton.next_power_of_2(columns), COLUMNS[0]), COLUMNS[1])
        tile_rows = TILE // block
        grid = (math.prod(batch) * triton.cdiv(rows, tile_rows) * triton.cdiv(columns, block),)
        with torch.cuda.device_of(values):
            box_iou_kernel[grid](
                boxes1.contiguous(),
                boxes2.contiguous(),
                values,
                rows,
                columns,
                KIND=kind,
                ROWS=tile_rows,
                BLOCK=block,
                enable_fp_fusion=False,
            )
    return values
