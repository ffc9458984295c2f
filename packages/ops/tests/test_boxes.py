from collections.abc import Callable
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from vision_r1_ops import box_iou, reference

# torchvision's test values
BOXES1 = torch.tensor([[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300]])
BOXES2 = torch.tensor([[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300], [0, 0, 25, 25]])


def test_iou_of_torchvisions_values() -> None:
    expected = torch.tensor([[1.0, 0.25, 0, 0.0625], [0.25, 1, 0, 0.25], [0, 0, 1, 0]])
    assert torch.equal(box_iou(BOXES1, BOXES2), expected)


def test_giou_of_torchvisions_values() -> None:
    expected = torch.tensor(
        [[1.0, 0.25, -0.7778, 0.0625], [0.25, 1, -0.8611, 0.25], [-0.7778, -0.8611, 1, -0.8819]]
    )
    torch.testing.assert_close(box_iou(BOXES1, BOXES2, kind="giou"), expected, atol=1e-4, rtol=0)


def test_diou_by_hand() -> None:
    # centres (1, 1) and (3, 1), enclosing box 4 x 2: 0 - 4 / 20
    value = box_iou(torch.tensor([[0, 0, 2, 2]]), torch.tensor([[2, 0, 4, 2]]), kind="diou")
    assert value.item() == pytest.approx(-0.2)


def test_half_is_exactly_half() -> None:
    assert box_iou(torch.tensor([[0.0, 0, 50, 100]]), torch.tensor([[0.0, 0, 100, 100]])).item() == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.uint8])
def test_other_numbers_are_computed_in_float32(dtype: torch.dtype) -> None:
    box = torch.tensor([[0, 0, 240, 200]], dtype=dtype)  # the area overflows all but bfloat16
    value = box_iou(box, box)
    assert value.dtype == torch.float32
    assert value.item() == 1


def test_large_boxes_in_half_precision() -> None:
    box = torch.tensor([[0, 0, 400, 300]], dtype=torch.float16)
    assert box_iou(box, box, kind="giou").item() == 1


def test_float64_stays() -> None:
    third = box_iou(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 1, 3]], dtype=torch.float64))
    assert third.dtype == torch.float64
    assert third.item() == 1 / 3


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_boxes_without_area_are_finite(kind: str) -> None:
    flat = torch.tensor(
        [[5.0, 5, 5, 5], [5, 5, 9, 5], [5, 5, 5, 9], [9, 9, 5, 5], [0, 9, 5, 5], [0, 0, 9, 9]]
    )
    flat.requires_grad_()
    value = box_iou(flat, flat, kind=kind)  # type: ignore[arg-type]
    assert value.isfinite().all()
    assert ((value >= -1) & (value <= 1)).all()
    value.sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
@pytest.mark.parametrize(("m", "k"), list(product((0, 1, 7), repeat=2)))
def test_equals_the_reference(random_boxes: Callable[..., Tensor], kind: str, m: int, k: int) -> None:
    rng = np.random.default_rng(m * 10 + k)
    boxes1, boxes2 = random_boxes(rng, m), random_boxes(rng, k) * 1.1
    expected = reference.box_iou(boxes1.numpy(), boxes2.numpy(), kind=kind)
    assert np.array_equal(box_iou(boxes1, boxes2, kind=kind).numpy(), expected)  # type: ignore[arg-type]


def test_leading_dimensions_are_problems_of_their_own(random_boxes: Callable[..., Tensor]) -> None:
    rng = np.random.default_rng(0)
    boxes1, boxes2 = random_boxes(rng, 2, 3, 5), random_boxes(rng, 2, 3, 4)
    value = box_iou(boxes1, boxes2)
    assert value.shape == (2, 3, 5, 4)
    assert torch.equal(value[1, 2], box_iou(boxes1[1, 2], boxes2[1, 2]))


def test_transposed_storage(random_boxes: Callable[..., Tensor]) -> None:
    boxes = random_boxes(np.random.default_rng(1), 6)
    assert torch.equal(box_iou(boxes.T.contiguous().T, boxes), box_iou(boxes, boxes))


coordinate = st.integers(0, 64)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@settings(max_examples=200, deadline=None)
@given(a=box, b=box, power=st.integers(-8, 8))
def test_properties(a: tuple[int, ...], b: tuple[int, ...], power: int) -> None:
    one, other = torch.tensor([a]).float(), torch.tensor([b]).float()
    iou, giou = box_iou(one, other), box_iou(one, other, kind="giou")
    assert torch.equal(iou, box_iou(other, one))
    assert torch.equal(giou, box_iou(other, one, kind="giou"))
    assert -1 <= giou.item() <= iou.item() + 1e-6
    assert 0 <= iou.item() <= 1
    scale = 2.0**power
    assert torch.equal(giou, box_iou(one * scale, other * scale, kind="giou"))


@pytest.mark.parametrize(
    ("boxes1", "boxes2", "message"),
    [
        (torch.zeros(4), torch.zeros(1, 4), r"boxes1 must have shape \(..., M, 4\), got \(4,\)"),
        (torch.zeros(2, 5), torch.zeros(1, 4), r"boxes1 must have shape \(..., M, 4\), got \(2, 5\)"),
        (torch.zeros(2, 3, 4), torch.zeros(3, 4), r"boxes2 must have shape \(2, K, 4\), got \(3, 4\)"),
        (torch.zeros(2, 4), torch.zeros(3, 4, device="meta"), "boxes2 must be on the device of boxes1, cpu"),
    ],
)
def test_bad_arguments(boxes1: Tensor, boxes2: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        box_iou(boxes1, boxes2)


def test_bad_kind_and_type() -> None:
    with pytest.raises(ValueError, match="kind must be one of iou, giou, diou, got 'ciou'"):
        box_iou(BOXES1, BOXES2, kind="ciou")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"boxes2 must be of floats or integers, got torch\.bool"):
        box_iou(BOXES1, BOXES2.bool())
