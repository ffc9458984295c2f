"""transformers' own processor of a family, for prompts that hold one image and without torchvision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from vision_r1_data import Frame, VisionProcessor
from vision_r1_data.processor import EncodedPrompt
from vision_r1_data.prompts import Message
from vision_r1_grpo.config import ConfigError
from vision_r1_grpo.families import Family
from vision_r1_grpo.views import Patches


class FamilyProcessor(VisionProcessor):
    """A processor of transformers, joined with the frame of its images.

    Args:
        family: of the model.
        processor: of the family's class.

    Raises:
        ConfigError: it has no chat template and its family none either.
    """

    def __init__(self, family: Family, processor: Any) -> None:
        self.family, self.processor = family, processor
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.image_token_id = int(processor.image_token_id)
        self.template = processor.chat_template or self.tokenizer.chat_template or family.template
        if self.template is None:
            raise ConfigError(
                f"this {family.name} model has no chat template; save one with its tokenizer or processor"
            )

    @classmethod
    def from_pretrained(
        cls, path: Path | str, family: Family, *, max_pixels: int | None = None
    ) -> FamilyProcessor:
        """Load tokenizer, image processor and chat template from a folder or hub name.

        Raises:
            ConfigError: `max_pixels` is given for a family whose images are always of certain sizes.
        """
        image_processor = AutoImageProcessor.from_pretrained(path)
        if max_pixels is not None:
            if not isinstance(family.view, Patches):
                raise ConfigError(
                    f"max_pixels: {family.name} has sizes of its own for images; leave it out, and set what "
                    "its preprocessor_config.json has in its place"
                )
            size = {**dict(image_processor.size), "longest_edge": max_pixels * family.view.frames}
            image_processor = AutoImageProcessor.from_pretrained(path, size=size)
        parts = {"tokenizer": AutoTokenizer.from_pretrained(path), "image_processor": image_processor}
        settings, _ = family.processor_class().get_processor_dict(path)
        return cls(family, build_processor(family.processor_class(), parts, settings))

    def encode(self, messages: Sequence[Message], image: Image.Image) -> EncodedPrompt:
        """Render the chat template, lay out the image, and expand the image placeholder.

        Args:
            messages: chat messages that hold exactly one image part.
            image: an RGB image.

        Raises:
            ValueError: the rendered messages do not hold exactly one image placeholder.
        """
        text = self.tokenizer.apply_chat_template(
            list(messages), chat_template=self.template, tokenize=False, add_generation_prompt=True
        )
        places = text.count(self.processor.image_token)
        if places != 1:
            raise ValueError(f"messages must hold exactly one image, their chat template wrote {places}")
        bos = self.tokenizer.bos_token
        data = self.processor(
            text=[text],
            images=[image],
            return_tensors="pt",
            add_special_tokens=not (bos and text.startswith(bos)),
        )
        ids = data["input_ids"][0].numpy()
        vision = self.family.view.rows({name: data[name].numpy() for name in self.family.vision})
        size = self.family.view.size(image, vision, self.image_processor)
        return EncodedPrompt(ids, ids == self.image_token_id, vision, Frame(*image.size, *size))

    def picture(self, encoded: EncodedPrompt, image: Image.Image) -> npt.NDArray[Any]:
        """(3, height, width) what the model sees of an image, put together from its patches or tiles."""
        return self.family.view.picture(image, encoded.vision, self.image_processor)

    def save_pretrained(self, path: Path) -> None:
        """Write tokenizer, image processor, chat template and the processor's own settings."""
        super().save_pretrained(path)
        if isinstance(self.processor.chat_template, str):
            (path / "chat_template.jinja").write_text(self.processor.chat_template, encoding="utf-8")
        settings = {name: value for name, value in self.processor.to_dict().items() if value is not None}
        (path / "processor_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def build_processor(kind: Any, parts: dict[str, Any], settings: dict[str, Any]) -> Any:
    """A processor of transformers that works on images only.

    transformers wants a video processor where a class has one, and that needs torchvision.

    Args:
        kind: a processor class.
        parts: name -> tokenizer and image_processor.
        settings: what processor_config.json holds.
    """

    class ForImages(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument is None and argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    # By this name a saved processor is found again.
    ForImages.__name__ = settings.get("processor_class", kind.__name__)
    return ForImages.from_args_and_dict([parts.get(name) for name in kind.get_attributes()], settings)
