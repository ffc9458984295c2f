"""How a run is asked to stop."""

from __future__ import annotations

import signal
from types import FrameType

import torch

from vision_r1_grpo.engine import Engine


class StopRequest:
    """The first SIGINT or SIGTERM asks for a stop after the present step; the second one interrupts.

    A signal reaches one rank at any moment; `requested` changes on all ranks at once, when they share.
    """

    requested = False
    _asked = False

    def __enter__(self) -> StopRequest:
        self._before = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def share(self, engine: Engine) -> None:
        """Every rank stops if one was asked to."""
        self.requested = bool(engine.sum(torch.tensor([float(self._asked)])).item())
