"""The model that is trained, and prompts as it reads them. Axes: P prompts, L prompt tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vision_r1_data import Frame, VisionProcessor
from vision_r1_data.prompts import Message
from vision_r1_grpo import attention


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
    """A Qwen2-VL-like model and its processor."""

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
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=getattr(torch, dtype)).to(device)
        tokenizer = AutoTokenizer.from_pretrained(path)
        limit = {} if max_pixels is None else {"max_pixels": max_pixels}
        return cls(model, VisionProcessor(tokenizer, AutoImageProcessor.from_pretrained(path, **limit)))

    def save_pretrained(self, path: Path) -> None:
        """Write weights, tokenizer and image processor in Hugging Face format."""
        self.model.save_pretrained(path)
        self.processor.tokenizer.save_pretrained(path)
        self.processor.image_processor.save_pretrained(path)

    def encode(self, messages: Sequence[Message], image: Image.Image) -> Prompt:
        """The prompt of chat messages that hold one image."""
        encoded = self.processor.encode(messages, image)
        ids = torch.from_numpy(encoded.input_ids)
        grid = torch.from_numpy(encoded.image_grid_thw)
        # Positions are given explicitly everywhere: what the model would infer depends on its last call.
        positions, _ = self.model.model.get_rope_index(
            ids[None], mm_token_type_ids=torch.from_numpy(encoded.is_image)[None].long(), image_grid_thw=grid
        )
        vision = {"pixel_values": torch.from_numpy(encoded.pixel_values), "image_grid_thw": grid}
        return Prompt(ids, positions[:, 0], vision, encoded.frame)

    @property
    def stop_token_ids(self) -> list[int]:
        """The tokens that end a completion."""
        stop = self.model.generation_config.eos_token_id
        if stop is None:
            stop = self.processor.tokenizer.eos_token_id
        return [stop] if isinstance(stop, int) else list(stop)

    @property
    def banned_token_ids(self) -> list[int]:
        """The tokens that a completion never holds.

        A sampled image placeholder would ask the next forward pass for an image that is not there.
        """
        names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
        return [i for name in names if (i := getattr(self.model.config, name, None)) is not None]


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
