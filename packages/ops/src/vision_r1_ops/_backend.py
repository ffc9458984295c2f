"""Which arithmetic does the work: kernels on a GPU; on the CPU what Numba compiles, else the reference."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

import torch
from torch import Tensor


@functools.cache
def backend() -> ModuleType:
    """A module with linear_sum_assignment, match_boxes and localization_rewards on NumPy arrays.

    Imported at the first call: Numba and SciPy would double the time of `import vision_r1_ops`.
    """
    try:
        return importlib.import_module("vision_r1_ops._cpu")
    except ImportError as error:
        if importlib.util.find_spec("numba") is not None:
            warnings.warn(f"boxes are matched by SciPy, which is slow: {error}", stacklevel=3)
        return importlib.import_module("vision_r1_ops.reference")


def kernels(tensor: Tensor, *widths: int) -> ModuleType | None:
    """The kernels, if they take a tensor with problems of these widths; None where the CPU does."""
    is_nvidia = tensor.is_cuda and torch.version.hip is None
    module = _triton_kernels() if is_nvidia else None
    return module if module and max(widths, default=0) <= module.WIDEST else None


@functools.cache
def _triton_kernels() -> ModuleType | None:
    try:
        return importlib.import_module("vision_r1_ops._kernels")
    except ImportError as error:
        reason = f'{error}; pip install "vision-r1-ops[gpu]" brings it'
        warnings.warn(f"CUDA tensors are matched on the CPU: {reason}", stacklevel=4)
        return None
