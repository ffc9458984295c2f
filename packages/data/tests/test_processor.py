"""The processor's own arithmetic with stand-ins, and its agreement with transformers where that is there."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vision_r1_data import Frame, VisionProcessor
from vision_r1_data.prompts import Message

PAD = "<|image_pad|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|>"
    f"{PAD}<|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class CharTokenizer:
    """One token a character; the image placeholder is `#`."""

    def convert_tokens_to_ids(self, token: str) -> int:
        assert token == PAD
        return ord("#")

    def apply_chat_template(
        self, messages: list[Message], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        assert add_generation_prompt
        parts = [part for message in messages for part in message["content"]]
        return "".join("#" if part["type"] == "image" else part["text"] for part in parts) + ">"

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(c) for c in text]}


class GridImages:
    """An image processor of patch 14 and merge 2 that cuts the image down to whole cells of 28 pixels."""

    patch_size, merge_size = 14, 2

    def __call__(self, images: list[Image.Image], return_tensors: str) -> dict[str, Any]:
        assert return_tensors == "np"
        (image,) = images
        grid = [1, image.height // 28 * 2, image.width // 28 * 2]
        return {"image_grid_thw": [grid], "pixel_values": np.zeros((int(np.prod(grid)), 6))}


def ask(*kinds: str) -> list[Message]:
    content = [{"type": "image"} if kind == "image" else {"type": "text", "text": kind} for kind in kinds]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(("width", "height"), [(112, 56), (56, 112), (28, 28), (100, 60)])
def test_the_placeholder_grows_to_one_token_a_cell(width: int, height: int) -> None:
    columns, rows = width // 28, height // 28
    prompt = VisionProcessor(CharTokenizer(), GridImages()).encode(
        ask("a", "image", "b"), blank(width, height)
    )
    assert "".join(map(chr, prompt.input_ids)) == "a" + "#" * (rows * columns) + "b>"
    assert prompt.is_image.tolist() == [c == "#" for c in map(chr, prompt.input_ids)]
    assert prompt.vision["image_grid_thw"].tolist() == [[1, rows * 2, columns * 2]]
    assert prompt.frame == Frame(width, height, columns * 28, rows * 28)
    assert (prompt.input_ids.dtype, prompt.vision["pixel_values"].dtype) == (np.int64, np.float32)


@pytest.mark.parametrize(("kinds", "count"), [(("a",), 0), (("image", "image"), 2), (("image", "#"), 2)])
def test_messages_hold_one_image(kinds: tuple[str, ...], count: int) -> None:
    with pytest.raises(ValueError, match=f"exactly one image, their chat template wrote {count}"):
        VisionProcessor(CharTokenizer(), GridImages()).encode(ask(*kinds), blank(56, 56))


@pytest.fixture(scope="module")
def real() -> SimpleNamespace:
    """transformers' image processor, and a tokenizer of single bytes built here."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    core = tokenizers.Tokenizer(tokenizers.models.BPE({c: k for k, c in enumerate(alphabet)}, []))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", PAD]
    core.add_special_tokens(special)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, chat_template=TEMPLATE)
    module = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl
    images = module.Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 40)
    return SimpleNamespace(tokenizer=tokenizer, images=images)


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (31, 333), (1000, 700), (112, 112)])
def test_sizes_agree_with_transformers(real: SimpleNamespace, width: int, height: int) -> None:
    prompt = VisionProcessor(real.tokenizer, real.images).encode(ask("image", "Where?"), blank(width, height))
    time, rows, columns = prompt.vision["image_grid_thw"][0].tolist()
    assert time == 1
    assert (prompt.frame.width, prompt.frame.height) == (width, height)
    assert (prompt.frame.model_width, prompt.frame.model_height) == (columns * 14, rows * 14)
    assert (columns > rows) == (width > height)
    assert prompt.vision["pixel_values"].shape == (rows * columns, 3 * 2 * 14 * 14)
    assert prompt.is_image.sum() == rows * columns // 4
    text = real.tokenizer.decode(prompt.input_ids)
    assert text.replace(PAD, "") == (
        "<|im_start|>user\n<|vision_start|><|vision_end|>Where?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_rows_and_columns_are_not_swapped(real: SimpleNamespace) -> None:
    image = blank(224, 56)
    image.paste("white", (112, 0, 224, 56))
    prompt = VisionProcessor(real.tokenizer, real.images).encode(ask("image"), image)
    assert prompt.vision["image_grid_thw"].tolist() == [[1, 4, 16]]
    # Patches come in cells of 2 x 2; of the 8 cells of each row of cells, the right half is white.
    cells = prompt.vision["pixel_values"].reshape(2, 8, -1).mean(axis=2)
    assert (cells[:, :4] < 0).all()
    assert (cells[:, 4:] > 0).all()


def blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height))
