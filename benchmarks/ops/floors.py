"""How fast a GPU could be at most: what must be moved, and what must be issued.

A warp issues at most one instruction a cycle, and a multiprocessor at most four, one from each of its
schedulers. So a batch takes no less time than the longest problem takes one of its warps, and no less than
the warps of all problems, spread evenly over all schedulers.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SCHEDULERS = 4  # of a multiprocessor
NARROWEST = 32  # columns that a kernel works on, at least
INSTRUCTIONS = Path(__file__).parent / "kernels.json"


@dataclass(frozen=True)
class Card:
    """A GPU's name and its bounds."""

    name: str
    arch: int  # 90 is compute capability 9.0
    multiprocessors: int
    clock_hertz: float  # the highest
    clock_source: str
    bytes_per_second: float  # of a large copy within the device, read and written


@functools.cache
def card() -> Card:
    properties = torch.cuda.get_device_properties("cuda")
    clock, source = _highest_clock()
    arch = 10 * properties.major + properties.minor
    return Card(properties.name, arch, properties.multi_processor_count, clock, source, _bandwidth())


def _highest_clock() -> tuple[float, str]:
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
        said = subprocess.run(query, check=True, capture_output=True, text=True).stdout
        return float(said.split()[0]) * 1e6, "nvidia-smi --query-gpu=clocks.max.sm"
    return torch.cuda.get_device_properties("cuda").clock_rate * 1e3, "torch.cuda.get_device_properties"


def _bandwidth(size: int = 2**30, copies: int = 20) -> float:
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(copies):
        target.copy_(source)
    torch.cuda.synchronize()
    return 2 * size * copies / (time.perf_counter() - start)


def bytes_floor(size: int) -> float:
    """Seconds to move so many bytes."""
    return size / card().bytes_per_second


def slots_floor(kernel: str, variant: str, widest: int, steps: Tensor) -> float | None:
    """Seconds to issue the steps of all problems; None for a kernel whose instructions are not known."""
    block = max(NARROWEST, 1 << (widest - 1).bit_length())
    row = compiled_for((kernel, "fp32", variant, block), card().arch)
    if row is None:
        return None
    spread = steps.sum().item() * row["warps"] / (card().multiprocessors * SCHEDULERS)
    return float(max(steps.max().item(), spread) * row["step_instructions"] / card().clock_hertz)


def compiled_for(wanted: tuple[str, str, str, int], arch: int) -> dict[str, Any] | None:
    """A kernel with a dtype, variant and block, on the nearest architecture that is not newer."""
    rows = json.loads(INSTRUCTIONS.read_text())["rows"] if INSTRUCTIONS.exists() else []
    known = {
        row["arch"]: row
        for row in rows
        if (row["kernel"], row["dtype"], row["variant"], row["block"]) == wanted and row["arch"] <= arch
    }
    return known[max(known)] if known else None
