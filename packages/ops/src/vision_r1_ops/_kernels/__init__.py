"""Triton kernels for CUDA tensors; `TRITON_INTERPRET=1` runs them on CPU tensors, slowly, to test them.

Each module holds kernels and, under the public function's name, what launches them. Launchers trust the
shapes, types and devices of their arguments but not the values: a problem with invalid values gets no
assignment, and INVALID for its number of steps.
"""

import triton

if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 3):
    raise ImportError(f"the kernels need Triton 3.3 or newer, {triton.__version__} is installed")

from vision_r1_ops._kernels.assignment import INVALID, WIDEST, linear_sum_assignment
from vision_r1_ops._kernels.fused import localization_rewards
from vision_r1_ops._kernels.iou import box_iou

__all__ = ["INVALID", "WIDEST", "box_iou", "linear_sum_assignment", "localization_rewards"]
