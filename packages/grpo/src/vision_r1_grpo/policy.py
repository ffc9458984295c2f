"""The model that is trained, and prompts as it reads them. Axes: P prompts, L prompt tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from vision_r1_data import Frame, VisionProcessor
from vision_r1_data.prompts import Message
from vision_r1_grpo import attention
from vision_r1_grpo.families import Family, find_family
from vision_r1_grpo.processor import FamilyProcessor
from vision_r1_grpo.trainable import has_adapters, merged_weights, save_adapter


@dataclass(frozen=True)
class Prompt:
    """One prompt with its image.

    Args:
        input_ids: (L,) token ids, image tokens expanded.
        position_ids: (D, L) positions: D = 3, in time, height and width, for M-RoPE; else 1.
        vision: what the model takes of the image, such as pixel_values and image_grid_thw; those of several
            prompts are joined along the first axis.
        frame: how the image's pixels map to what the model sees.
    """

    input_ids: Int[Tensor, " l"]
    position_ids: Int[Tensor, "d l"]
    vision: Mapping[str, Tensor]
    frame: Frame


@dataclass(frozen=True)
class Policy:
    """A model of a known family, and its processor."""

    model: Any
    processor: VisionProcessor

    def __post_init__(self) -> None:
        self.model.set_attn_implementation({"text_config": attention.NAME})

    @classmethod
    def from_pretrained(
        cls,
        path: Path | str,
        dtype: str = "float32",
        device: str | None = None,
        max_pixels: int | None = None,
    ) -> Policy:
        """Load a folder or hub name.

        Args:
            path: the folder or name.
            dtype: of the weights, a name of torch.
            device: by default this process's GPU where there is one, else the CPU.
            max_pixels: larger images are scaled down to this many; by default the processor's own limit.

        Raises:
            ValueError: the model is of no known family, or its attention cannot share prompts.
            ConfigError: `max_pixels` is given for a family whose images are always of certain sizes.
        """
        family = find_family(AutoConfig.from_pretrained(path))
        processor = FamilyProcessor.from_pretrained(path, family, max_pixels=max_pixels)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=getattr(torch, dtype)).to(device)
        return cls(model, processor)

    @cached_property
    def family(self) -> Family:
        """What sets this kind of model apart."""
        return find_family(self.model.config)

    def save_pretrained(self, path: Path) -> None:
        """Write weights, tokenizer and image processor in Hugging Face format.

        Adapters are merged into the weights of the copy that is written; they are in `path/adapter` alone.
        """
        self.processor.save_pretrained(path)
        if has_adapters(self.model):
            self.model.save_pretrained(path, state_dict=merged_weights(self.model))
            save_adapter(self.model, path / "adapter")
        else:
            self.model.save_pretrained(path)

    def encode(self, messages: Sequence[Message], image: Image.Image) -> Prompt:
        """The prompt of chat messages that hold one image."""
        encoded = self.processor.encode(messages, image)
        ids = torch.from_numpy(encoded.input_ids)
        vision = {name: torch.as_tensor(values) for name, values in encoded.vision.items()}
        # Positions are given explicitly everywhere: what the model would infer depends on its last call.
        if self.family.mrope:
            is_image = torch.from_numpy(encoded.is_image)[None].long()
            positions, _ = self.model.model.get_rope_index(
                ids[None], mm_token_type_ids=is_image, image_grid_thw=vision["image_grid_thw"]
            )
            return Prompt(ids, positions[:, 0], vision, encoded.frame)
        first = self.family.first_position
        return Prompt(ids, torch.arange(first, first + len(ids))[None], vision, encoded.frame)

    @property
    def stop_token_ids(self) -> list[int]:
        """The tokens that end a completion."""
        stop = self.model.generation_config.eos_token_id
        if stop is None:
            stop = self.processor.tokenizer.eos_token_id
        return [stop] if isinstance(stop, int) else list(stop)

    @cached_property
    def banned_token_ids(self) -> list[int]:
        """The tokens that a completion never holds: those that stand for images, or mark their places.

        A sampled image placeholder would ask the next forward pass for an image that is not there.
        """
        outputs = self.model.config.get_text_config().vocab_size
        return [i for i in self.family.banned(self.processor.tokenizer.get_vocab()) if i < outputs]

    def prompt_arguments(self, input_ids: Int[Tensor, "p l"]) -> dict[str, Tensor]:
        """What the model must be told to read prompts alone, beside what it sees."""
        if not self.family.bidirectional_prompt:
            return {}
        return {"token_type_ids": torch.zeros_like(input_ids)}  # 0 is a prompt's, which sees itself whole


def positions_for(position_ids: Int[Tensor, "d p l"]) -> Int[Tensor, "d p l"] | Int[Tensor, "p l"]:
    """Positions as a model takes them: without the axis D where there is one kind only."""
    return position_ids[0] if len(position_ids) == 1 else position_ids


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model without dropout and checkpointing; afterwards each of its modules is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of several lengths, padded on the left so that all end in one column."""

    input_ids: Int[Tensor, "p l"]
    mask: Bool[Tensor, "p l"]
    position_ids: Int[Tensor, "d p l"]
    vision: Mapping[str, Tensor]
    next_position: Int[Tensor, " p"]


def collate(prompts: Sequence[Prompt], pad_token_id: int, device: torch.device) -> PromptBatch:
    """Pad prompts on the left and join their images, on the device."""
    longest = max(len(prompt.input_ids) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad_token_id)
    mask = torch.zeros(len(prompts), longest, dtype=torch.bool)
    positions = torch.zeros(len(prompts[0].position_ids), len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        start = longest - len(prompt.input_ids)
        ids[row, start:] = prompt.input_ids
        mask[row, start:] = True
        positions[:, row, start:] = prompt.position_ids
    return PromptBatch(
        ids.to(device),
        mask.to(device),
        positions.to(device),
        {name: torch.cat([p.vision[name] for p in prompts]).to(device) for name in prompts[0].vision},
        torch.stack([prompt.position_ids.max() + 1 for prompt in prompts]).to(device),
    )
