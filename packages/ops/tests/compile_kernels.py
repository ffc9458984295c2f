"""Compile every kernel for GPUs that need not be there, and say what each variant uses.

    python compile_kernels.py [--blocks 32 64] [--archs 90] [--json FILE]

To be run in a process without TRITON_INTERPRET.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from vision_r1_ops._kernels import assignment, fused, iou

LARGEST = {"fp32": 2.0**60, "fp64": 2.0**500}
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
COLUMNS = (
    *("kernel", "dtype", "variant", "block", "arch"),
    *("warps", "registers", "stack", "shared", "step_instructions"),
)


def variants(block: int) -> Iterator[tuple[Any, str, str, dict[str, str], dict[str, Any]]]:
    """Each kernel with a dtype and the name of a variant, and its types and constants as of a call.

    A call of box_iou_kernel is specialised further, by the alignment of its arguments.
    """
    for dtype, kind in (("fp32", "giou"), ("fp64", "diou")) if block <= iou.COLUMNS[1] else ():
        signature = {**dict.fromkeys(("boxes1", "boxes2", "values"), f"*{dtype}"), "M": "i32", "K": "i32"}
        constants = {"KIND": kind, "ROWS": iou.TILE // block, "BLOCK": block}
        yield iou.box_iou_kernel, dtype, kind, signature, constants
    for dtype, duals in (("fp32", False), ("fp32", True), ("i64", False)):
        signature = {**dict.fromkeys(("n_rows", "n_columns", "index"), "*i64"), "cost": f"*{dtype}"}
        signature |= {"steps": "*i32", "row_duals": "*fp64", "column_duals": "*fp64"}
        signature |= dict.fromkeys(("stride_n", "stride_row", "stride_column", "M", "K"), "i32")
        constants = {"SIGN": 1.0, "BLOCK": block}
        constants |= {} if duals else {"row_duals": None, "column_duals": None}
        name = "with duals" if duals else "index only"
        yield assignment.linear_sum_assignment_kernel, dtype, name, signature, constants
    for dtype, cost, labels in (
        ("fp32", "box", False),
        ("fp32", "released", True),
        ("fp64", "box_label", True),
    ):
        signature = dict.fromkeys(("pred", "true", "iou", "giou", "recall", "precision"), f"*{dtype}")
        integers = ("n_pred", "n_true", "pred_labels", "true_labels", "index")
        signature |= {**dict.fromkeys(integers, "*i64"), "steps": "*i32", "M": "i32", "K": "i32"}
        signature |= dict.fromkeys(("xi0", "xi1", "xi2"), "fp64")
        constants = {"COST": cost, "PER_PREDICTED": True, "LABEL_CHECKED": labels, "LIMIT": LARGEST[dtype]}
        constants |= (
            {"BLOCK": block} if labels else {"BLOCK": block, "pred_labels": None, "true_labels": None}
        )
        yield fused.localization_rewards_kernel, dtype, cost, signature, constants


def usage(
    kernel: Any, dtype: str, signature: dict[str, str], constants: dict[str, Any], arch: int
) -> dict[str, int]:
    """What the machine code for an architecture uses: registers, bytes of memory, instructions."""
    options = {"enable_fp_fusion": False}
    if kernel is assignment.linear_sum_assignment_kernel:
        options = {"num_warps": 1, **assignment.REGISTERS}
    elif kernel is fused.localization_rewards_kernel:
        options = fused.launch_options(constants["BLOCK"], int(dtype[-2:]) // 8)
    types = {**signature, **dict.fromkeys(constants, "constexpr")}
    ordered = {name: types[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=ordered, constexprs=constants)
    result = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(result.asm["cubin"])
        resources, code = (cuobjdump(option, file.name) for option in ("-res-usage", "-sass"))
    used = {name: int(value) for name, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", resources)}
    return {
        "warps": result.metadata.num_warps,
        "registers": used["REG"],
        "stack": used["STACK"] + used["LOCAL"],
        "shared": max(used["SHARED"], result.metadata.shared),
        "step_instructions": step_instructions(code),
    }


def cuobjdump(option: str, path: str) -> str:
    """What NVIDIA's tool, which Triton brings, says of a cubin."""
    return subprocess.run([CUOBJDUMP, option, path], capture_output=True, text=True, check=True).stdout


def step_instructions(code: str) -> int:
    """Instructions of a step of the search: of the smallest loop that both loads and adds float64; else 0."""
    lines = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;/]+);", code)]
    sizes = []
    for end, text in lines:
        branch = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if branch and (start := int(branch[1], 16)) < end:
            loop = [inside for at, inside in lines if start <= at <= end]
            if any("DADD" in inside for inside in loop) and any("LDG" in inside for inside in loop):
                sizes.append(len(loop))
    return min(sizes, default=0)


def main() -> None:
    """Print a table and, if asked, write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--archs", type=int, nargs="+", default=[80, 90, 100])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    layout = "{:30}{:6}{:12}{:>6}{:>6}{:>7}{:>11}{:>7}{:>8}{:>19}"
    print(layout.format(*COLUMNS))
    for arch, block in itertools.product(options.archs, options.blocks):
        for kernel, dtype, variant, signature, constants in variants(block):
            used = usage(kernel, dtype, signature, constants, arch)
            rows.append(
                dict(
                    zip(COLUMNS, (kernel.__name__, dtype, variant, block, arch, *used.values()), strict=True)
                )
            )
            print(layout.format(*rows[-1].values()), flush=True)
    if options.json:
        command = " ".join(["python", "packages/ops/tests/compile_kernels.py", *sys.argv[1:]])
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        head = json.dumps({"command": command, "triton": triton.__version__})[1:-1]
        options.json.write_text(f'{{{head},\n "rows": [\n  {lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
