"""How model families write boxes as text: one codec for data, rewards and evaluation."""

from __future__ import annotations

from typing import Protocol

from vision_r1_data.dialects.qwen2_5_vl import Qwen25VL
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Form, Message
from vision_r1_data.sample import Answer, Objects, Sample


class Dialect(Protocol):
    """A model family's way to write boxes as text."""

    name: str
    forms: tuple[Form, ...]
    """What it can write beside a number, which all dialects write alike (`decode_number`)."""

    def encode(self, objects: Objects, frame: Frame, form: Form = "boxes") -> str:
        """The text that a perfect model would answer."""

    def decode(self, text: str, frame: Frame, form: Form = "boxes") -> Answer:
        """What a completion says. Never raises: a malformed text is an answer that says what is wrong."""

    def prompt(self, sample: Sample) -> list[Message]:
        """The chat messages that ask the sample's question."""


_DIALECTS: dict[str, Dialect] = {"qwen2_5_vl": Qwen25VL()}


def get_dialect(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        ValueError: there is none.

    Example:
        >>> from vision_r1_data import Frame, Objects
        >>> frame = Frame(640, 480, 640, 480)
        >>> text = get_dialect("qwen2_5_vl").encode(Objects(((8, 16, 32, 64),), ("cat",)), frame)
        >>> get_dialect("qwen2_5_vl").decode(text, frame).boxes
        ((8.0, 16.0, 32.0, 64.0),)
    """
    if name not in _DIALECTS:
        raise ValueError(f"unknown dialect {name!r}; known are {', '.join(list_dialects())}")
    return _DIALECTS[name]


def list_dialects() -> tuple[str, ...]:
    """The names that `get_dialect` knows."""
    return tuple(sorted(_DIALECTS))
