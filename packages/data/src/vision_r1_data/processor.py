"""From chat messages and an image to what a model reads, without torchvision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vision_r1_data.frame import Frame
from vision_r1_data.prompts import Message


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """One prompt as a model reads it.

    Args:
        input_ids: (L,) token ids, the image placeholder repeated once per image token.
        is_image: (L,) true at the image tokens.
        vision: what the model takes of the image: of a Qwen2-VL-like one pixel_values (patches, patch_dim)
            float32, and image_grid_thw (1, 3) patches of the image in time, height and width.
        frame: how the image's pixels map to what the model sees.
    """

    input_ids: npt.NDArray[np.int64]
    is_image: npt.NDArray[np.bool_]
    vision: Mapping[str, npt.NDArray[Any]]
    frame: Frame


class VisionProcessor:
    """A tokenizer and an image processor, joined for prompts that hold one image.

    transformers' AutoProcessor for Qwen2.5-VL needs torchvision for videos; images alone do not.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        image_processor: a transformers Qwen2-VL image processor.
        image_token: the placeholder that the chat template writes once per image.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, image_token: str = "<|image_pad|>") -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.image_token_id = int(tokenizer.convert_tokens_to_ids(image_token))

    def encode(self, messages: Sequence[Message], image: Image.Image) -> EncodedPrompt:
        """Render the chat template, resize the image, and expand the image placeholder.

        Args:
            messages: chat messages that hold exactly one image part.
            image: an RGB image.

        Raises:
            ValueError: the rendered messages do not hold exactly one image placeholder.
        """
        vision = self.image_processor(images=[image], return_tensors="np")
        grid = np.asarray(vision["image_grid_thw"], dtype=np.int64)
        merge = self.image_processor.merge_size
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        ids = np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
        places = np.flatnonzero(ids == self.image_token_id)
        if len(places) != 1:
            raise ValueError(f"messages must hold exactly one image, their chat template wrote {len(places)}")
        image_ids = np.full(int(grid.prod()) // merge**2, self.image_token_id)
        ids = np.concatenate([ids[: places[0]], image_ids, ids[places[0] + 1 :]])
        return EncodedPrompt(
            input_ids=ids,
            is_image=ids == self.image_token_id,
            vision={
                "pixel_values": np.asarray(vision["pixel_values"], dtype=np.float32),
                "image_grid_thw": grid,
            },
            frame=_frame(image, grid, self.image_processor),
        )

    def picture(self, encoded: EncodedPrompt, image: Image.Image) -> npt.NDArray[Any]:
        """(3, height, width) what the model sees of an image that is laid out otherwise than in patches."""
        raise NotImplementedError("a processor whose images are no patches says how they are put together")

    def save_pretrained(self, path: Path) -> None:
        """Write tokenizer and image processor in Hugging Face format."""
        self.tokenizer.save_pretrained(path)
        self.image_processor.save_pretrained(path)


def image_frame(image: Image.Image, image_processor: Any, **options: Any) -> Frame:
    """How the pixels of an image map to what a model sees, from its image processor's own resizing.

    Args:
        image: an RGB image.
        image_processor: a transformers Qwen2-VL image processor.
        options: of its call, such as do_resize=False.
    """
    vision = image_processor(images=[image], return_tensors="np", **options)
    return _frame(image, np.asarray(vision["image_grid_thw"], dtype=np.int64), image_processor)


def _frame(image: Image.Image, grid: npt.NDArray[np.int64], image_processor: Any) -> Frame:
    (_, rows, columns), patch = grid[0].tolist(), image_processor.patch_size
    return Frame(image.width, image.height, columns * patch, rows * patch)
