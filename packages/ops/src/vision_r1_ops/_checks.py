"""What public functions check once, and tensors made ready for the arithmetic on arrays.

Axes: N problems, M predicted boxes, K true boxes, both padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Areas and sums of areas of boxes with larger coordinates would overflow.
LARGEST = {torch.float32: 2.0**60, torch.float64: 2.0**500}


class Problems(NamedTuple):
    """Matching problems of checked shapes, types and devices; their values are still to be checked."""

    pred: Tensor  # (N, M, 4) float32 or float64
    true: Tensor  # (N, K, 4) of the same dtype
    n_pred: Tensor  # (N,)
    n_true: Tensor  # (N,)
    pred_labels: Tensor | None  # (N, M) int64
    true_labels: Tensor | None  # (N, K) int64


def check_problems(
    pred: Tensor,
    true: Tensor,
    n_pred: Tensor,
    n_true: Tensor,
    pred_labels: Tensor | None,
    true_labels: Tensor | None,
    *,
    labels_for: str | None,
) -> Problems:
    """Check the arguments of a matching but for values; `labels_for` names the option that needs labels."""
    named = {"pred": pred, "true": true, "n_pred": n_pred, "n_true": n_true}
    if (pred_labels is None) != (true_labels is None):
        raise ValueError("pred_labels and true_labels must be given together")
    if pred_labels is not None and true_labels is not None:
        named |= {"pred_labels": pred_labels, "true_labels": true_labels}
    elif labels_for is not None:
        raise ValueError(f"{labels_for} needs pred_labels and true_labels")
    check_device(**named)
    if pred.ndim != 3 or pred.shape[2] != 4:
        raise ValueError(f"pred must have shape (N, M, 4), got {tuple(pred.shape)}")
    check_shape("true", true, (len(pred), None, 4), "K")
    check_integers("n_pred", n_pred, (len(pred),))
    check_integers("n_true", n_true, (len(pred),))
    dtype = working_dtype(pred=pred, true=true)
    if pred_labels is not None and true_labels is not None:
        check_integers("pred_labels", pred_labels, pred.shape[:2])
        check_integers("true_labels", true_labels, true.shape[:2])
        pred_labels, true_labels = pred_labels.to(torch.int64), true_labels.to(torch.int64)
    pred, true = pred.detach().to(dtype), true.detach().to(dtype)
    return Problems(pred, true, n_pred, n_true, pred_labels, true_labels)


def checked_arrays(problems: Problems) -> tuple[NDArray[Any], ...]:
    """The problems as contiguous arrays on the CPU, integers as int64, after a look at all values."""
    pred, true, n_pred, n_true, pred_labels, true_labels = problems
    counts = check_counts("n_pred", n_pred, pred.shape[1], "rows of pred")
    true_counts = check_counts("n_true", n_true, true.shape[1], "rows of true")
    arrays = to_numpy(pred, pred.dtype), to_numpy(true, pred.dtype)
    _check_coordinates("pred", arrays[0], counts, LARGEST[pred.dtype])
    _check_coordinates("true", arrays[1], true_counts, LARGEST[pred.dtype])
    labels = (
        np.zeros(boxes.shape[:2], np.int64) if labels is None else to_numpy(labels, torch.int64)
        for boxes, labels in zip(arrays, (pred_labels, true_labels), strict=True)
    )
    return (*arrays, counts, true_counts, *labels)


def check_option(name: str, value: str, options: Sequence[str]) -> None:
    """One of a few words."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


def check_shape(name: str, tensor: Tensor, shape: Sequence[int | None], free: str = "") -> None:
    """A shape in which None is any size, called `free` in the message."""
    fits = tensor.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        sizes = [free if size is None else str(size) for size in shape]
        expected = f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"
        raise ValueError(f"{name} must have shape {expected}, got {tuple(tensor.shape)}")


def check_device(**named: Tensor) -> None:
    """All of them tensors, on the device of the first."""
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    (first, reference), *others = named.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(
                f"{name} must be on the device of {first}, {reference.device}, got {tensor.device}"
            )


def check_integers(name: str, tensor: Tensor, shape: Sequence[int | None]) -> None:
    """A shape, and integers of any width, not booleans."""
    check_shape(name, tensor, shape)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must be of integers, got {tensor.dtype}")


def check_counts(name: str, counts: Tensor, size: int | None = None, padded: str = "") -> NDArray[np.int64]:
    """How much of a padded axis is valid, per problem; None where there is no such axis."""
    values: NDArray[np.int64] = to_numpy(counts, torch.int64)
    if (values < 0).any():
        raise ValueError(f"{name} must not be negative, got {values.min()}")
    if size is not None and (values > size).any():
        raise ValueError(f"{name} must be at most the {size} {padded}, got {values.max()}")
    return values


def working_dtype(**named: Tensor) -> torch.dtype:
    """float64 if one of the tensors is, else float32."""
    for name, tensor in named.items():
        if tensor.is_complex() or tensor.dtype == torch.bool:
            raise TypeError(f"{name} must be of floats or integers, got {tensor.dtype}")
    wide = any(tensor.dtype == torch.float64 for tensor in named.values())
    return torch.float64 if wide else torch.float32


def to_numpy(tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """A contiguous array on the CPU; shares memory where it can, so it is only read."""
    array: NDArray[Any] = tensor.detach().to("cpu", dtype).contiguous().numpy()
    return array


def _check_coordinates(name: str, boxes: NDArray[Any], counts: NDArray[np.int64], largest: float) -> None:
    good = np.abs(boxes) <= largest  # NaN compares false
    if good.all():  # the padding too: the usual case, and a quick one
        return
    valid = np.arange(boxes.shape[1]) < counts[:, None]
    wrong = valid[:, :, None] & ~good
    if wrong.any():
        problem, row, corner = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} must hold finite coordinates below {largest:.3g} in magnitude, "
            f"got {boxes[problem, row, corner]} in row {row} of problem {problem}"
        )
