"""Which arithmetic does the work on arrays: the compiled one where Numba is installed, else the reference."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType


@functools.cache
def backend() -> ModuleType:
    """A module with linear_sum_assignment, match_boxes and localization_rewards on NumPy arrays.

    Imported at the first call: Numba and SciPy would double the time of `import vision_r1_ops`.
    """
    try:
        return importlib.import_module("vision_r1_ops._cpu")
    except ImportError:
        return importlib.import_module("vision_r1_ops.reference")
