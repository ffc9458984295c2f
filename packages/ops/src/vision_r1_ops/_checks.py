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
_LARGEST = {np.dtype(np.float32): 2.0**60, np.dtype(np.float64): 2.0**500}


class Problems(NamedTuple):
    """Checked matching problems as contiguous arrays on the CPU; integers are int64."""

    pred: NDArray[Any]  # (N, M, 4) float32 or float64
    true: NDArray[Any]  # (N, K, 4) of the same dtype
    n_pred: NDArray[np.int64]  # (N,)
    n_true: NDArray[np.int64]  # (N,)
    pred_labels: NDArray[np.int64]  # (N, M), zeros where none were given
    true_labels: NDArray[np.int64]  # (N, K)


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
    """Check the arguments of a matching; `labels_for` names the option that needs labels, if one does."""
    if pred.ndim != 3 or pred.shape[2] != 4:
        raise ValueError(f"pred must have shape (N, M, 4), got {tuple(pred.shape)}")
    check_shape("true", true, (len(pred), None, 4), "K")
    named = {"pred": pred, "true": true, "n_pred": n_pred, "n_true": n_true}
    if (pred_labels is None) != (true_labels is None):
        raise ValueError("pred_labels and true_labels must be given together")
    if pred_labels is not None and true_labels is not None:
        named |= {"pred_labels": pred_labels, "true_labels": true_labels}
    elif labels_for is not None:
        raise ValueError(f"{labels_for} needs pred_labels and true_labels")
    check_device(**named)

    dtype = working_dtype(pred=pred, true=true)
    rows, columns = tuple(pred.shape[:2]), tuple(true.shape[:2])
    problems = Problems(
        to_numpy(pred, dtype),
        to_numpy(true, dtype),
        check_counts("n_pred", n_pred, rows[:1], rows[1], "rows of pred"),
        check_counts("n_true", n_true, columns[:1], columns[1], "rows of true"),
        _labels("pred_labels", pred_labels, rows),
        _labels("true_labels", true_labels, columns),
    )
    _check_coordinates("pred", problems.pred, problems.n_pred)
    _check_coordinates("true", problems.true, problems.n_true)
    return problems


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
    """All tensors on the device of the first."""
    (first, reference), *others = named.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(
                f"{name} must be on the device of {first}, {reference.device}, got {tensor.device}"
            )


def check_integers(name: str, tensor: Tensor) -> None:
    """Integers of any width, not booleans."""
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must be of integers, got {tensor.dtype}")


def check_counts(
    name: str, counts: Tensor, shape: tuple[int, ...], size: int | None = None, padded: str = ""
) -> NDArray[np.int64]:
    """How much of a padded axis is valid, per problem; None where there is no such axis."""
    check_shape(name, counts, shape)
    check_integers(name, counts)
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


def _labels(name: str, labels: Tensor | None, shape: tuple[int, ...]) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(shape, np.int64)
    check_shape(name, labels, shape)
    check_integers(name, labels)
    return to_numpy(labels, torch.int64)


def _check_coordinates(name: str, boxes: NDArray[Any], counts: NDArray[np.int64]) -> None:
    limit = _LARGEST[boxes.dtype]
    valid = np.arange(boxes.shape[1]) < counts[:, None]
    wrong = valid[:, :, None] & ~(np.abs(boxes) <= limit)  # NaN compares false
    if wrong.any():
        problem, row, corner = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} must hold finite coordinates below {limit:.3g} in magnitude, "
            f"got {boxes[problem, row, corner]} in row {row} of problem {problem}"
        )
