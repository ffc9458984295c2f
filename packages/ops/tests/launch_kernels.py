"""Launch every kernel as a GPU would have it, up to the machine code.

Between a launcher and its kernel Triton reads dtypes and annotations, turns a size of 1 into a constant and
looks up options: all of which the interpreter does not do. Only the driver is a stand-in.

To be run in a process without TRITON_INTERPRET.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from vision_r1_ops import _kernels

SIZES = ((3, 16, 16), (2, 1, 5), (2, 5, 1), (1, 1, 1))


class Driver:
    """An H100 that is not there."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def main() -> None:
    """Call all launchers."""
    driver.set_active(Driver())
    compiled = []
    run = JITFunction.run

    def compile_only(self: Any, *args: Any, warmup: bool, **options: Any) -> None:
        compiled.append(run(self, *args, warmup=True, **options))

    JITFunction.run = compile_only
    for (n, m, k), dtype, flag in product(SIZES, (torch.float16, torch.int32), (False, True)):
        counts = torch.full((n,), m), torch.full((n,), k, dtype=torch.int32)
        _kernels.linear_sum_assignment(torch.zeros(n, m, k).to(dtype), *counts, maximize=flag, duals=flag)
    for (n, m, k), dtype, flag in product(SIZES, (torch.float32, torch.float64), (False, True)):
        pred, true = torch.zeros(n, m, 4, dtype=dtype), torch.zeros(n, k, 4, dtype=dtype)
        _kernels.box_iou(pred, true, kind="diou" if flag else "giou")
        labels = (pred[..., 0].long(), true[..., 0].long()) if flag else (None, None)
        given = pred, true, torch.full((n,), m), torch.full((n,), k), *labels
        options = {"cost": "released" if flag else "box", "label_checked": flag, "largest": 2.0**60}
        _kernels.localization_rewards(*given, (0.1, 0.2, 0.3) if flag else None, **options)
    thresholds = {kernel.src.signature.get("xi0", "fp64") for kernel in compiled}
    assert thresholds == {"fp64"}, thresholds


if __name__ == "__main__":
    main()
