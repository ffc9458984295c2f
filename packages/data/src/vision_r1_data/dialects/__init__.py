"""How model families write boxes as text: one codec for data, rewards and evaluation."""

from __future__ import annotations

from typing import Protocol

from vision_r1_data.dialects import (
    deepseek_vl2,
    ferret,
    florence2,
    gemini,
    glm_v,
    griffon,
    internvl,
    kosmos2,
    llava,
    minicpm_v,
    molmo,
    molmo2,
    paligemma,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_vl,
    rex_omni,
    shikra,
)
from vision_r1_data.dialects.space import Space
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Form, Message
from vision_r1_data.sample import Answer, Objects, Sample


class Dialect(Protocol):
    """A model family's way to write boxes as text."""

    @property
    def name(self) -> str:
        """What `get_dialect` knows it by."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """What it can write beside a number, which all dialects write alike (`decode_number`)."""

    @property
    def space(self) -> Space:
        """The numbers in which it writes places."""

    @property
    def needs_special_tokens(self) -> bool:
        """Whether a completion must be decoded with its special tokens: some of the marks are such tokens."""

    @property
    def names_labels(self) -> bool:
        """Whether an answer says what its objects are; else only the question does."""

    def encode(self, objects: Objects, frame: Frame, form: Form = ...) -> str:
        """The text that a perfect model would answer.

        Raises:
            ValueError: a label cannot be written, as it holds what sets labels apart.
        """

    def decode(self, text: str, frame: Frame, form: Form = ..., categories: tuple[str, ...] = ()) -> Answer:
        """What a completion says. Never raises: a malformed text is an answer that says what is wrong.

        Args:
            text: the completion.
            frame: how the image's pixels map to what the model sees.
            form: what was asked for; by default the dialect's first.
            categories: the labels that were asked for, if they are to be compared: another label is an
                unknown_label. Where a text names no label and there is one category, it is the label.
        """

    def prompt(self, sample: Sample) -> list[Message]:
        """The chat messages that ask the sample's question."""


_DIALECTS: dict[str, Dialect] = {
    family.DIALECT.name: family.DIALECT
    for family in (
        deepseek_vl2,
        ferret,
        florence2,
        gemini,
        glm_v,
        griffon,
        internvl,
        kosmos2,
        llava,
        minicpm_v,
        molmo,
        molmo2,
        paligemma,
        qwen2_5_vl,
        qwen2_vl,
        qwen3_vl,
        rex_omni,
        shikra,
    )
}


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
