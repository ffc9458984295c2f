from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vision_r1_ops import Match, box_iou, match_boxes

COSTS = ["box", "released", "box_label"]


def same(one: Match, other: Match) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("index", "iou", "giou"))


def single(
    pred: list[list[int]],
    true: list[list[int]],
    labels: tuple[list[int], list[int]] | None = None,
    **options: Any,
) -> Match:
    if labels is not None:
        options |= {"pred_labels": torch.tensor([labels[0]]), "true_labels": torch.tensor([labels[1]])}
    return match_boxes(
        torch.tensor([pred]),
        torch.tensor([true]),
        torch.tensor([len(pred)]),
        torch.tensor([len(true)]),
        **options,
    )


def test_by_hand() -> None:
    match = single(
        [[0, 0, 50, 100], [0, 0, 9, 9], [200, 200, 300, 300]], [[200, 200, 300, 300], [0, 0, 100, 100]]
    )
    assert match.index.tolist() == [[1, -1, 0]]
    assert match.iou.tolist() == [[0.5, 0, 1]]
    assert match.giou.tolist() == [[0.5, 0, 1]]


def test_pairs_without_overlap_go_to_the_nearest() -> None:
    pred, true = [[0, 0, 10, 10], [100, 0, 110, 10]], [[120, 0, 130, 10], [15, 0, 25, 10]]
    match = single(pred, true)
    assert match.index.tolist() == [[1, 0]]
    assert match.iou.tolist() == [[0, 0]]
    assert (match.giou < 0).all()


def test_labels_decide_among_overlapping_boxes() -> None:
    pred, true = [[0, 0, 10, 10], [0, 0, 10, 9]], [[0, 0, 10, 10], [0, 0, 10, 8]]
    labels = ([1, 2], [2, 1])
    assert single(pred, true, labels, cost="box").index.tolist() == [[0, 1]]
    assert single(pred, true, labels, cost="box_label").index.tolist() == [[1, 0]]


def test_pixels_dominate_the_released_cost() -> None:
    # the first true box overlaps but is 400 pixels off, the second one does not and is 210 off
    pred, true = [[0, 0, 100, 100]], [[0, 0, 300, 300], [105, 0, 205, 100]]
    assert single(pred, true).index.tolist() == [[0]]
    assert single(pred, true, ([7], [7, 8]), cost="released").index.tolist() == [[1]]


def test_labels_decide_the_released_cost_among_like_boxes() -> None:
    pred, true = [[0, 0, 10, 10], [0, 0, 10, 10]], [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert single(pred, true, ([1, 2], [2, 1]), cost="released").index.tolist() == [[1, 0]]


@pytest.mark.parametrize("cost", COSTS)
def test_the_pairs_cost_the_least(random_problems: Callable[..., dict[str, Tensor]], cost: Any) -> None:
    given = random_problems(1)
    match = match_boxes(**given, cost=cost)
    giou, iou = box_iou(given["pred"], given["true"], kind="giou"), box_iou(given["pred"], given["true"])
    equal = (given["pred_labels"][:, :, None] == given["true_labels"][:, None]).float()
    l1 = (given["pred"][:, :, None] - given["true"][:, None]).abs().sum(-1)
    table = {"box": -giou, "box_label": 1 - equal - giou, "released": l1 - giou - equal}[cost].double()
    for b, (n, m) in enumerate(zip(given["n_pred"].tolist(), given["n_true"].tolist(), strict=True)):
        rows = torch.nonzero(match.index[b] >= 0).flatten()
        columns = match.index[b, rows]
        assert len(rows) == min(n, m) == len(columns.unique())
        assert rows.numel() == 0 or (rows.max() < n and columns.max() < m)
        best = linear_sum_assignment(table[b, :n, :m].numpy())
        assert table[b, rows, columns].sum().item() == pytest.approx(
            table[b, :n, :m].numpy()[best].sum(), abs=1e-4
        )
        # the pairs' overlaps are box_iou's, to the last bit
        assert torch.equal(match.iou[b, rows], iou[b, rows, columns])
        assert torch.equal(match.giou[b, rows], giou[b, rows, columns])
        unmatched = match.index[b] < 0
        assert (match.iou[b, unmatched] == 0).all()
        assert (match.giou[b, unmatched] == 0).all()


@pytest.mark.parametrize("cost", COSTS)
def test_padding_is_not_read(random_problems: Callable[..., dict[str, Tensor]], cost: Any) -> None:
    given = random_problems(2)
    expected = match_boxes(**given, cost=cost)
    for side in ("pred", "true"):
        padding = torch.arange(given[side].shape[1]) >= given[f"n_{side}"][:, None]
        given[side][padding] = float("nan")
        given[f"{side}_labels"][padding] = -(2**62)
    assert same(match_boxes(**given, cost=cost), expected)


def test_batch_order_and_single_problems(random_problems: Callable[..., dict[str, Tensor]]) -> None:
    given = random_problems(3, size=(20, 4, 6))
    match = match_boxes(**given)
    back = match_boxes(**{name: tensor.flip(0) for name, tensor in given.items()})
    assert same(back, Match(match.index.flip(0), match.iou.flip(0), match.giou.flip(0)))
    one = match_boxes(**{name: tensor[7:8] for name, tensor in given.items()})
    assert same(one, Match(match.index[7:8], match.iou[7:8], match.giou[7:8]))


def test_scale_changes_nothing(random_problems: Callable[..., dict[str, Tensor]]) -> None:
    given = random_problems(4)
    match = match_boxes(**given)
    assert same(match_boxes(**given | {"pred": given["pred"] * 64, "true": given["true"] * 64}), match)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_dtypes(dtype: torch.dtype, expected: torch.dtype) -> None:
    box = torch.tensor([[[0, 0, 400, 300]]], dtype=dtype)  # the area overflows float16
    one = torch.tensor([1], dtype=torch.int32)
    match = match_boxes(box, box, one, one)
    assert match.iou.dtype == match.giou.dtype == expected
    assert match.iou.item() == 1


def test_transposed_storage_and_gradients(random_problems: Callable[..., dict[str, Tensor]]) -> None:
    given = random_problems(5)
    match = match_boxes(**given)
    given["pred"] = given["pred"].permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    assert same(match_boxes(**given), match)


@pytest.mark.parametrize(("n", "m", "k"), [(0, 3, 2), (2, 0, 2), (2, 3, 0), (2, 0, 0), (0, 0, 0)])
def test_nothing_to_match(n: int, m: int, k: int) -> None:
    match = match_boxes(torch.zeros(n, m, 4), torch.zeros(n, k, 4), torch.full((n,), m), torch.full((n,), k))
    assert match.index.shape == match.iou.shape == match.giou.shape == (n, m)
    assert (match.index == -1).all()


def test_boxes_without_area() -> None:
    match = single([[5, 5, 5, 5], [9, 9, 1, 1], [0, 0, 10, 10]], [[5, 5, 5, 5], [0, 0, 10, 10]])
    assert match.iou.isfinite().all()
    assert match.index[0, 2] == 1


ONE = torch.tensor([1])
BOX = torch.tensor([[[0.0, 0, 1, 1]]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pred": BOX[0]}, ValueError, r"pred must have shape \(N, M, 4\), got \(1, 4\)"),
        ({"true": BOX.repeat(2, 1, 1)}, ValueError, r"true must have shape \(1, K, 4\), got \(2, 1, 4\)"),
        ({"n_pred": ONE * 2}, ValueError, "n_pred must be at most the 1 rows of pred, got 2"),
        ({"n_true": -ONE}, ValueError, "n_true must not be negative, got -1"),
        ({"n_true": ONE.float()}, TypeError, "n_true must be of integers, got torch.float32"),
        ({"true": BOX.to("meta")}, ValueError, "true must be on the device of pred, cpu, got meta"),
        ({"pred": BOX.bool()}, TypeError, "pred must be of floats or integers, got torch.bool"),
        ({"true": BOX * float("nan")}, ValueError, "true must hold finite coordinates .* got nan in row 0"),
        ({"pred": BOX * float("inf")}, ValueError, "pred must hold finite coordinates .* of problem 0"),
        ({"pred": BOX * 1e20}, ValueError, "pred must hold finite coordinates below 1.15e.18 in magnitude"),
        ({"cost": "l1"}, ValueError, "cost must be one of box, released, box_label, got 'l1'"),
        ({"cost": "released"}, ValueError, "cost 'released' needs pred_labels and true_labels"),
        ({"cost": "box_label"}, ValueError, "cost 'box_label' needs pred_labels and true_labels"),
        ({"pred_labels": ONE[None]}, ValueError, "pred_labels and true_labels must be given together"),
        (
            {"pred_labels": ONE, "true_labels": ONE[None]},
            ValueError,
            r"pred_labels must have shape \(1, 1\), got \(1,\)",
        ),
        (
            {"pred_labels": ONE[None], "true_labels": ONE[None].float()},
            TypeError,
            "true_labels must be of integers",
        ),
    ],
)
def test_bad_arguments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"pred": BOX, "true": BOX, "n_pred": ONE, "n_true": ONE}
    with pytest.raises(error, match=message):
        match_boxes(**given | change)


def test_the_largest_coordinates() -> None:
    box = torch.tensor([[[-(2.0**60), -(2.0**60), 2.0**60, 2.0**60]]])
    assert match_boxes(box, box, ONE, ONE).giou.item() == 1
