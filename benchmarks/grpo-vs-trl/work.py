"""The work that both trainers are given, and how each is measured. Runs in the environment of either."""

from __future__ import annotations

import json
import resource
import sys
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

CATEGORIES = ("red circle", "blue square", "green triangle")
PIXELS = 28  # that one image token stands for, along each side


@dataclass(frozen=True)
class Work:
    """One setting.

    Args:
        prompts: of an optimiser step, each with an image of its own.
        group: completions of a prompt.
        image_tokens: of a prompt; a square number.
        tokens: of each completion, no more and no fewer.
        steps: optimiser steps; the first one warms up and is not counted.
        checkpointing: whose activations ours computes again in the backward pass: vision_tower's, or all.
        peer_checkpointing: whether the peer computes all of them again.
        peer_at_once: prompts whose groups go through the peer's model together in the update; ours has one.
    """

    prompts: int = 2
    group: int = 8
    image_tokens: int = 256
    tokens: int = 96
    steps: int = 4
    checkpointing: Literal["none", "vision_tower", "all"] = "none"
    peer_checkpointing: bool = False
    peer_at_once: int = 2

    @property
    def side(self) -> int:
        """Of an image, in pixels."""
        return int(self.image_tokens**0.5) * PIXELS


def score(text: str) -> float:
    """A reward that means nothing and differs between completions: random weights write no boxes."""
    return zlib.crc32(text.encode()) % 1000 / 1000


class Stopwatch:
    """Seconds of each step, of wall and of processor, and the most memory that the process held."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._start()

    def step(self) -> None:
        """A step is done."""
        wall, cpu = self.started
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self._start()

    def _start(self) -> None:
        self.started = time.perf_counter(), time.process_time()

    def tell(self, **more: Any) -> None:
        """Print what was measured, as the last line."""
        measured = {"wall": self.wall, "cpu": self.cpu, "peak_mib": peak_mib(), **more}
        print(json.dumps(measured))


def peak_mib() -> float:
    """The most memory that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arguments() -> tuple[Path, Work, int]:
    """The folder of the model and the images, the work, and the number of threads."""
    folder, work, threads = sys.argv[1:]
    return Path(folder), Work(**json.loads(work)), int(threads)


def as_arguments(folder: Path, work: Work, threads: int) -> list[str]:
    """What `arguments` reads."""
    return [str(folder), json.dumps(asdict(work)), str(threads)]
