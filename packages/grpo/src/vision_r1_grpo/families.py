"""The kinds of image-text-to-text models of transformers that are known, and what sets each apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from vision_r1_grpo.views import Canvas, Padded, Patches, View, Whole

Part = Literal["vision_tower", "projector", "language_model"]
"""What a model consists of."""

_TOWERS = {
    "vision_tower": ("model.vision_tower",),
    "projector": ("model.multi_modal_projector",),
    "language_model": ("model.language_model", "lm_head"),
}
_QWEN = {
    "vision_tower": ("model.visual",),
    "projector": ("model.visual.merger", "model.visual.deepstack_merger_list"),
    "language_model": ("model.language_model", "lm_head"),
}


@dataclass(frozen=True)
class Family:
    """What sets one kind of model apart.

    Args:
        name: as users call it.
        model_types: the `model_type` of its configurations in transformers.
        processor: package and name of its processor class in transformers.models.
        view: how its image processor lays out an image for the model.
        vision: what the model takes of an image: names in the processor's output.
        image_tokens: a pattern of the tokens that stand for images, or mark their places.
        parts: part -> prefixes of the names of its parameters; the longest that fits a name decides.
        mrope: positions are triples of time, height and width.
        first_position: of a prompt.
        bidirectional_prompt: the tokens of a prompt attend to each other in both directions.
        template: the chat template where checkpoints bring none.
    """

    name: str
    model_types: tuple[str, ...]
    processor: tuple[str, str]
    view: View
    vision: tuple[str, ...]
    image_tokens: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _TOWERS)
    mrope: bool = False
    first_position: int = 0
    bidirectional_prompt: bool = False
    template: str | None = None

    def processor_class(self) -> Any:
        """The processor class in transformers, which imports without torchvision."""
        package, name = self.processor
        return getattr(import_module(f"transformers.models.{package}.processing_{package}"), name)

    def part_of(self, parameter: str) -> Part:
        """The part that a parameter belongs to.

        Raises:
            ValueError: to none; the model has more than its family is known to have.

        Example:
            >>> FAMILIES[0].part_of("model.visual.merger.mlp.0.weight")
            'projector'
        """
        fitting = [
            (len(prefix), part)
            for part, prefixes in self.parts.items()
            for prefix in prefixes
            if parameter == prefix or parameter.startswith(prefix + ".")
        ]
        if not fitting:
            raise ValueError(f"{self.name}: parameter {parameter!r} belongs to no known part of the model")
        return max(fitting)[1]  # type: ignore[return-value]

    def banned(self, vocabulary: Mapping[str, int]) -> list[int]:
        """The ids of its image tokens, in order.

        Example:
            >>> FAMILIES[0].banned({"a": 0, "<|image_pad|>": 1, "<|box_start|>": 2, "<|vision_end|>": 3})
            [1, 3]
        """
        return sorted(i for token, i in vocabulary.items() if re.fullmatch(self.image_tokens, token))


_GRID = ("pixel_values", "image_grid_thw")
_QWEN_TOKENS = r"<\|(vision_start|vision_end|vision_pad|image_pad|video_pad)\|>"


def _qwen(name: str, model_type: str, processor: str) -> Family:
    view = Patches()
    return Family(name, (model_type,), (model_type, processor), view, _GRID, _QWEN_TOKENS, _QWEN, mrope=True)


FAMILIES = (
    _qwen("Qwen2-VL", "qwen2_vl", "Qwen2VLProcessor"),
    _qwen("Qwen2.5-VL", "qwen2_5_vl", "Qwen2_5_VLProcessor"),
    _qwen("Qwen3-VL", "qwen3_vl", "Qwen3VLProcessor"),
    Family(
        "GLM-4V",
        ("glm4v",),
        ("glm4v", "Glm4vProcessor"),
        Patches(frames=2),
        _GRID,
        r"<\|((begin_of_|end_of_)?(image|video))\|>",
        {**_QWEN, "projector": ("model.visual.downsample", "model.visual.merger")},
        mrope=True,
    ),
    Family(
        "InternVL",
        ("internvl",),
        ("internvl", "InternVLProcessor"),
        Canvas("tiles"),
        ("pixel_values",),
        r"<IMG_CONTEXT>|<img>|</img>|<video>|<image>",
    ),
    Family(
        "LLaVA-OneVision",
        ("llava_onevision",),
        ("llava_onevision", "LlavaOnevisionProcessor"),
        Padded(),
        ("pixel_values", "image_sizes"),
        r"<image>|<video>",
        # The embedding that ends a row of features goes with the projector.
        {**_TOWERS, "projector": ("model.multi_modal_projector", "model.image_newline")},
    ),
    Family(
        "PaliGemma",
        ("paligemma",),
        ("paligemma", "PaliGemmaProcessor"),
        Whole(),
        ("pixel_values",),
        r"<image>",
        first_position=1,
        bidirectional_prompt=True,
        template=(
            "{% for message in messages %}{% for part in message['content'] %}"
            "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
            "{% endfor %}{% endfor %}"
        ),
    ),
    Family(
        "SmolVLM",
        ("smolvlm", "idefics3"),
        # SmolVLM's own class differs in videos only, for which it needs one more package.
        ("idefics3", "Idefics3Processor"),
        Canvas("splits"),
        ("pixel_values", "pixel_attention_mask"),
        r"<image>|<video>|<fake_token_around_image>|<global-img>|<row_\d+_col_\d+>",
        {
            "vision_tower": ("model.vision_model",),
            "projector": ("model.connector",),
            "language_model": ("model.text_model", "lm_head"),
        },
    ),
)


def find_family(config: Any) -> Family:
    """The family of a model.

    Args:
        config: of a transformers model.

    Raises:
        ValueError: it is of no known family, or attends in a way in which prompts cannot be shared.
    """
    known = {model_type: family for family in FAMILIES for model_type in family.model_types}
    if config.model_type not in known:
        raise ValueError(
            f"model type {config.model_type!r} is of no known family; known are {', '.join(known)}"
        )
    text = config.get_text_config()
    if unlike := sorted(set(getattr(text, "layer_types", None) or ()) - {"full_attention"}):
        raise ValueError(
            f"a {config.model_type} model with {', '.join(unlike)} cannot be trained: every layer must see "
            "the whole prompt that completions share; take one whose layers have full attention"
        )
    for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(text, cap, None) is not None:
            raise ValueError(
                f"a {config.model_type} model with {cap} cannot be trained: the attention that shares "
                "prompts and the log-probabilities in chunks have none; take a model without it"
            )
    return known[config.model_type]
