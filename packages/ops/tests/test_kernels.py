"""Every kernel against the reference, element by element.

Without a GPU the kernels run in Triton's interpreter, on small problems: a step of one takes milliseconds.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vision_r1_ops import (
    Thresholds,
    assignment,
    box_iou,
    boxes,
    criterion_rewards,
    linear_sum_assignment,
    localization,
    localization_rewards,
    match_boxes,
    matching,
    reference,
)

_kernels = pytest.importorskip("vision_r1_ops._kernels", reason="Triton is not installed")

INF, NAN = float("inf"), float("nan")
THRESHOLDS = Thresholds(0.2, 0.3, 0.45)


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)], autouse=True)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where the kernels run; the memory that they are given to write to is full of rubbish."""
    if (request.param == "cuda") != torch.cuda.is_available():
        pytest.skip("no CUDA device" if request.param == "cuda" else "the kernels are tested on the GPU")
    new_empty = Tensor.new_empty

    def poisoned(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        empty = new_empty(tensor, *args, **options)
        return empty.fill_(NAN if empty.is_floating_point() else -77)

    monkeypatch.setattr(Tensor, "new_empty", poisoned)
    if request.param == "interpreter":
        for module in (assignment, boxes, localization, matching):
            monkeypatch.setattr(module, "kernels", lambda *_: _kernels)
    return torch.device("cpu" if request.param == "interpreter" else "cuda")


def solved(cost: Tensor, *counts: Tensor, **options: Any) -> np.ndarray[Any, Any]:
    """What the reference says of costs (N, n, m)."""
    if not counts:
        counts = torch.full((len(cost),), cost.shape[1]), torch.full((len(cost),), cost.shape[2])
    values = cost.double().cpu().numpy()
    return reference.linear_sum_assignment(values, *(count.cpu().numpy() for count in counts), **options)[0]


def assert_equal(ours: Tensor, theirs: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(ours.cpu().numpy(), theirs)


def on(device: torch.device, given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in given.items()}


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ([[8, 4, 7], [5, 2, 3], [9, 6, 7], [9, 4, 8]], [0, 2, -1, 1]),
        ([[INF, 1], [2, 3]], [1, 0]),
        ([[1, INF], [2, INF]], [-1, -1]),
        ([[INF, INF, INF]], [-1]),
        ([[3]], [0]),
        ([[1, 1], [1, 1]], [0, 1]),
    ],
)
def test_by_hand(cost: list[list[float]], expected: list[int], device: torch.device) -> None:
    index = linear_sum_assignment(torch.tensor(cost, device=device))
    assert index.device.type == device.type
    assert index.tolist() == expected


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 3), (2, 3, 0)])
def test_nothing_to_assign(shape: tuple[int, ...], device: torch.device) -> None:
    index = linear_sum_assignment(torch.zeros(shape, device=device))
    assert index.shape == shape[:-1]
    assert (index == -1).all()


def test_the_slow_case(device: torch.device) -> None:
    side = torch.arange(1, 33, device=device)
    index, steps, _ = _kernels.linear_sum_assignment(
        (side[:, None] * side)[None], torch.tensor([32], device=device), torch.tensor([32], device=device)
    )
    assert index[0].tolist() == list(range(31, -1, -1))
    assert steps.tolist() == [528]


@pytest.mark.parametrize(("values", "maximize"), list(product((2, 5), (False, True))))
def test_ties_are_scipys(values: int, maximize: bool, device: torch.device) -> None:
    rng = np.random.default_rng(values)
    cost = torch.from_numpy(rng.integers(0, values, (40, 7, 6)).astype(np.float32))
    cost[::3, 1] = cost[::3, 0]  # two rows alike
    rows, columns = torch.from_numpy(rng.integers(0, 8, 40)), torch.from_numpy(rng.integers(0, 7, 40))
    index = linear_sum_assignment(cost.to(device), rows.to(device), columns.to(device), maximize=maximize)
    assert_equal(index, solved(cost, rows, columns, maximize=maximize))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (9, 1), (15, 17), (33, 31), (3, 65), (130, 2)])
def test_sizes(n: int, m: int, device: torch.device) -> None:
    cost = torch.randint(0, 9, (2, n, m), generator=torch.Generator().manual_seed(n)) / 8
    assert_equal(linear_sum_assignment(cost.to(device)), solved(cost))


def test_wide_ties(device: torch.device) -> None:
    # the first and the last of 512 columns, and rows that push each other along
    cost = torch.ones(2, 4, 512)
    cost[0, :, [0, 300, 511]] = 0
    assert_equal(linear_sum_assignment(cost.to(device)), solved(cost))
    assert_equal(linear_sum_assignment(cost.mT.to(device)), solved(cost.mT))


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool],
)
def test_every_dtype_is_scipys(dtype: torch.dtype, device: torch.device) -> None:
    cost = (torch.rand(6, 5, 7, generator=torch.Generator().manual_seed(0)) * 9 - 1).relu().to(dtype)
    assert_equal(linear_sum_assignment(cost.to(device)), solved(cost))


def test_costs_of_very_different_size(device: torch.device) -> None:
    rng = np.random.default_rng(2)
    cost = torch.from_numpy(rng.integers(-50, 50, (30, 6, 6)) * 2.0 ** rng.integers(0, 40, (30, 6, 6)))
    assert_equal(linear_sum_assignment(cost.to(device)), solved(cost))
    assert_equal(linear_sum_assignment(cost.to(device) * 2.0**-60), solved(cost))


def test_zeros_of_both_signs(device: torch.device) -> None:
    cost = torch.tensor([[[0.0, -0.0, 0.0], [-0.0, 0.0, -0.0]], [[-0.0, 0.0, 1.0], [-0.0, -0.0, 0.0]]])
    assert_equal(linear_sum_assignment(cost.to(device)), solved(cost))


def test_forbidden_pairs_are_scipys(device: torch.device) -> None:
    rng = np.random.default_rng(3)
    cost = torch.from_numpy(rng.integers(0, 4, (40, 4, 5)).astype(np.float64))
    cost[torch.from_numpy(rng.random(cost.shape) < 0.5)] = INF
    index = linear_sum_assignment(cost.to(device))
    assert_equal(index, solved(cost))
    assert 3 < (index == -1).all(1).sum() < 37


@pytest.mark.parametrize("poison", [NAN, -INF])
def test_padding_is_not_read(poison: float, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(4)
    cost = torch.randint(0, 5, (20, 5, 4), generator=generator).float()
    rows, columns = (torch.randint(0, size + 1, (20,), generator=generator) for size in (5, 4))
    expected = solved(cost, rows, columns)
    cost[torch.arange(5) >= rows[:, None]] = poison
    cost.mT[torch.arange(4) >= columns[:, None]] = poison
    assert_equal(linear_sum_assignment(cost.to(device), rows.to(device), columns.to(device)), expected)


def test_storage_and_batches(device: torch.device) -> None:
    cost = torch.randint(0, 3, (4, 2, 3, 5), generator=torch.Generator().manual_seed(5)).to(device)
    index = linear_sum_assignment(cost)
    assert_equal(index.flatten(0, 1), solved(cost.flatten(0, 1)))
    assert torch.equal(
        linear_sum_assignment(cost.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)), index
    )
    assert torch.equal(linear_sum_assignment(cost.flip(0)), index.flip(0))
    assert torch.equal(linear_sum_assignment(cost[1, 1]), index[1, 1])


@pytest.mark.parametrize("maximize", [False, True])
def test_duals_prove_the_assignment(maximize: bool, device: torch.device) -> None:
    rng = np.random.default_rng(6)
    cost = torch.from_numpy(rng.normal(size=(24, 5, 6)))
    cost[torch.from_numpy(rng.random(cost.shape) < 0.3)] = -INF if maximize else INF
    rows, columns = torch.from_numpy(rng.integers(0, 6, 24)), torch.from_numpy(rng.integers(0, 7, 24))
    given = cost.to(device), rows.to(device), columns.to(device)
    solution = linear_sum_assignment(*given, maximize=maximize, return_duals=True)
    assert_equal(solution.index, solved(cost, rows, columns, maximize=maximize))
    sign = -1 if maximize else 1
    for b, (n, m) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        index, u, v = (part[b].cpu() for part in (solution.index, solution.row_duals, solution.column_duals))
        assert not u[n:].any()
        assert not v[m:].any()
        pairs = index[:n] >= 0
        if pairs.sum() < min(n, m):
            assert u[:n].isnan().all()
            assert v[:m].isnan().all()
            continue
        gap = sign * (cost[b, :n, :m] - u[:n, None] - v[:m])
        assert (gap > -1e-9).all()
        chosen = cost[b, :n][pairs, index[:n][pairs]]
        torch.testing.assert_close(u.sum() + v.sum(), chosen.sum(), rtol=0, atol=1e-9)
        assert not u[:n][~pairs].any()


@pytest.mark.parametrize(("bad", "maximize"), [(NAN, False), (NAN, True), (-INF, False), (INF, True)])
def test_bad_costs(bad: float, maximize: bool, device: torch.device) -> None:
    cost = torch.eye(2, device=device).repeat(3, 1, 1)
    cost[1, 1, 0] = bad
    sign = r"\+" if maximize else "-"
    with pytest.raises(ValueError, match=f"cost must be neither NaN nor {sign}inf .* see problem 1"):
        linear_sum_assignment(cost, maximize=maximize)
    expected = [0, 1] if maximize else [1, 0]
    index = linear_sum_assignment(cost, maximize=maximize, validate=False)
    assert index.tolist() == [expected, [-1, -1], expected]


@pytest.mark.parametrize("bad", [-1, 3, 2**32 + 1])
def test_bad_counts(bad: int, device: torch.device) -> None:
    cost, counts = torch.eye(2, device=device).repeat(2, 1, 1), torch.tensor([2, bad], device=device)
    with pytest.raises(ValueError, match=r"n_cols must (not be negative|be at most the 2 columns of cost)"):
        linear_sum_assignment(cost, n_cols=counts)
    assert linear_sum_assignment(cost, n_cols=counts, validate=False).tolist() == [[1, 0], [-1, -1]]


@pytest.mark.parametrize(
    ("kind", "dtype"), list(product(("iou", "giou", "diou"), (torch.float16, torch.float32, torch.float64)))
)
def test_overlaps(
    random_boxes: Callable[..., Tensor], kind: Any, dtype: torch.dtype, device: torch.device
) -> None:
    rng = np.random.default_rng(7)
    one, other = (random_boxes(rng, 2, 3, size) * 1.07 for size in (5, 37))
    one[0, 0, 0, :2] = one[0, 0, 0, 2:] + 3  # swapped corners
    one[0, 0, 1, 0], other[0, 0, 1, 3] = NAN, NAN
    one, other = one.to(dtype), other.to(dtype)
    values = box_iou(one.to(device), other.to(device), kind=kind)
    assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for place in product(range(2), range(3)):
        pair = (boxes.to(values.dtype).numpy()[place] for boxes in (one, other))
        assert_equal(values[place], reference.box_iou(*pair, kind=kind))


@pytest.mark.parametrize("shape", [(0, 2, 2), (2, 0, 3), (2, 3, 0)])
def test_no_boxes(shape: tuple[int, int, int], device: torch.device) -> None:
    n, m, k = shape
    assert box_iou(torch.zeros(n, m, 4, device=device), torch.zeros(n, k, 4, device=device)).shape == shape


def test_exact_overlaps(device: torch.device) -> None:
    large = torch.tensor([[0, 0, 100, 100]], device=device)
    assert box_iou(torch.tensor([[0, 0, 50, 100]], device=device), large).item() == 0.5
    half = torch.tensor([[0, 0, 400, 300]], device=device, dtype=torch.float16)
    assert box_iou(half, half).item() == 1
    point = torch.tensor([[5.0, 5, 5, 5]], device=device)
    assert [box_iou(point, point, kind=kind).item() for kind in ("iou", "giou", "diou")] == [0, 0, 0]


def test_storage_of_boxes(random_boxes: Callable[..., Tensor], device: torch.device) -> None:
    one, other = (random_boxes(np.random.default_rng(8), size).to(device) for size in (6, 3))
    across = one.T.contiguous().T
    assert torch.equal(box_iou(across[::2], other), box_iou(one[::2].contiguous(), other))


@pytest.mark.parametrize(
    ("dtype", "cost", "denominator", "checked"),
    [
        (torch.float32, "box", "predicted", False),
        (torch.float32, "box", "matched", True),
        (torch.float32, "released", "matched", True),
        (torch.float32, "box_label", "predicted", False),
        (torch.float64, "box", "predicted", True),
        (torch.float64, "released", "predicted", False),
        (torch.float16, "box_label", "matched", True),
    ],
)
def test_rewards_equal_the_reference(
    random_problems: Callable[..., dict[str, Tensor]],
    dtype: torch.dtype,
    cost: Any,
    denominator: Any,
    checked: bool,
    device: torch.device,
) -> None:
    given = random_problems(9, size=(20, 7, 5))
    given |= {side: (given[side] * 1.07).to(dtype) for side in ("pred", "true")}
    options: dict[str, Any] = {"cost": cost, "denominator": denominator, "label_checked": checked}
    rewards = localization_rewards(**on(device, given), thresholds=THRESHOLDS, **options)
    match = rewards.match
    ours = (rewards.recall, rewards.precision, match.index, match.iou, match.giou)

    working = torch.float64 if dtype == torch.float64 else torch.float32
    arrays = {
        name: (tensor.to(working) if name in ("pred", "true") else tensor).numpy()
        for name, tensor in given.items()
    }
    theirs = reference.localization_rewards(**arrays, thresholds=(0.2, 0.3, 0.45), **options)
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(one, other)
        assert one.dtype == (working if one.is_floating_point() else torch.int64)
    alone = match_boxes(**on(device, given), cost=cost)
    for name in ("index", "iou", "giou"):
        assert torch.equal(getattr(alone, name), getattr(match, name))


def test_more_problems_of_more_boxes(
    random_problems: Callable[..., dict[str, Tensor]], device: torch.device
) -> None:
    given = random_problems(10, size=(3, 30, 40))
    match = match_boxes(**on(device, given))
    arrays = {name: tensor.numpy() for name, tensor in given.items()}
    for name, theirs in zip(("index", "iou", "giou"), reference.match_boxes(**arrays), strict=True):
        assert_equal(getattr(match, name), theirs)


def test_thresholds_are_met_exactly(device: torch.device) -> None:
    # IoU .9 and .5 in float32, where .9 is more than it is in float64
    pred = torch.tensor([[[0, 0, 90, 100], [200, 0, 250, 100]]], device=device)
    true = torch.tensor([[[0, 0, 100, 100], [200, 0, 300, 100]]], device=device)
    two = torch.tensor([2], device=device)
    for dtype, xi in product((torch.float32, torch.float64), (0.9, 0.5)):
        rewards = localization_rewards(pred.to(dtype), true.to(dtype), two, two, Thresholds(xi, 0, xi))
        assert rewards.precision.item() == (1 if xi == 0.5 else 0.5)


@pytest.mark.parametrize(("n_pred", "n_true", "reward"), [(0, 0, 1), (2, 0, 0), (0, 3, 0)])
def test_empty_cases(n_pred: int, n_true: int, reward: float, device: torch.device) -> None:
    boxes = {"pred": torch.full((1, 2, 4), NAN), "true": torch.full((1, 3, 4), NAN)}
    counts = {"n_pred": torch.tensor([n_pred]), "n_true": torch.tensor([n_true])}
    for side, count in (("pred", n_pred), ("true", n_true)):
        boxes[side][:, :count] = torch.tensor([0.0, 0, 1, 1])
    rewards = localization_rewards(**on(device, {**boxes, **counts}), thresholds=Thresholds(0, 0, 0))
    assert rewards.recall.tolist() == rewards.precision.tolist() == [reward]
    assert rewards.match.iou.tolist() == [[0, 0]]


@pytest.mark.parametrize(("n", "m", "k"), [(0, 3, 2), (2, 0, 2), (2, 3, 0), (2, 0, 0)])
def test_sizes_of_zero(n: int, m: int, k: int, device: torch.device) -> None:
    given = {"pred": torch.zeros(n, m, 4), "true": torch.zeros(n, k, 4)}
    given |= {"n_pred": torch.full((n,), m), "n_true": torch.full((n,), k)}
    rewards = localization_rewards(**on(device, given), thresholds=THRESHOLDS)
    assert rewards.recall.tolist() == rewards.precision.tolist() == [float(m == k == 0)] * n
    assert rewards.match.index.shape == (n, m)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("pred", NAN, "pred must hold finite coordinates .* got nan in row 1 of problem 1"),
        ("true", INF, "true must hold finite coordinates .* got inf in row 1 of problem 1"),
        ("true", -(2.0**61), "true must hold finite coordinates"),
        ("n_pred", 3, "n_pred must be at most the 2 rows of pred, got 3"),
        ("n_true", -1, "n_true must not be negative, got -1"),
    ],
)
def test_bad_values(name: str, bad: float, message: str, device: torch.device) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]]).repeat(3, 1, 1)
    given = {
        "pred": boxes,
        "true": boxes.clone(),
        "n_pred": torch.full((3,), 2),
        "n_true": torch.full((3,), 2),
    }
    given[name][(1,) if name.startswith("n") else (1, 1, 2)] = bad
    given = on(device, given)
    for function, options in ((match_boxes, {}), (localization_rewards, {"thresholds": THRESHOLDS})):
        with pytest.raises(ValueError, match=message):
            function(**given, **options)
    rewards = localization_rewards(**given, thresholds=THRESHOLDS, validate=False)
    assert rewards.recall.tolist() == rewards.precision.tolist() == [1, 0, 1]
    assert rewards.match.index.tolist() == [[0, 1], [-1, -1], [0, 1]]


def test_labels_of_other_types(device: torch.device) -> None:
    box = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 10]]], device=device)
    two = torch.tensor([2], device=device, dtype=torch.int32)
    labels = torch.tensor([[1, 2]], device=device)
    given: dict[str, Any] = {"pred": box, "true": box, "n_pred": two, "n_true": two.long()}
    match = match_boxes(**given, pred_labels=labels.flip(1).int(), true_labels=labels, cost="box_label")
    assert match.index.tolist() == [[1, 0]]


def test_the_parts_agree_with_the_whole(
    random_problems: Callable[..., dict[str, Tensor]], device: torch.device
) -> None:
    given = on(device, random_problems(11, size=(12, 4, 3)))
    rewards = localization_rewards(**given, thresholds=THRESHOLDS)
    composed = criterion_rewards(match_boxes(**given), given["n_pred"], given["n_true"], THRESHOLDS)
    torch.testing.assert_close(rewards.recall, composed.recall, rtol=0, atol=1e-6)
    torch.testing.assert_close(rewards.precision, composed.precision, rtol=0, atol=1e-6)
    assert composed.recall.device.type == device.type
