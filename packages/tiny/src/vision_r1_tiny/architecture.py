"""The tokenizer, the image processor and the untrained model."""

from __future__ import annotations

import random
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vision_r1_data import Frame, get_dialect
from vision_r1_data.prompts import detection_text
from vision_r1_data.scenes import LABELS, SIZE, draw_scene

PATCH, MERGE = 14, 2
END, PAD = "<|im_end|>", "<|endoftext|>"
_SPECIAL = (
    PAD,
    "<|im_start|>",
    END,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The JSON frame is a few whole pieces, so an answer is short; digits stay single, as in Qwen's tokenizer.
_FRAME = (
    r"```json\n",
    r"\n```",
    r'\[\n\t\{"bbox_2d": \[',
    r'\], "label": "',
    r'"\},\n\t\{"bbox_2d": \[',
    r'"\}\n\]',
    r"\[\]",
    r", ",
)
_PIECES = "|".join([*_FRAME, r"\d", r" ?[A-Za-z]+", r"\n", r"[^\sA-Za-z\d]", r"\s"])
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer() -> Any:
    """A byte-level BPE tokenizer that learned the words of the prompts and of drawn scenes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=2,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(_SPECIAL[1:]),
        chat_template=_CHAT,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def build_image_processor() -> Any:
    """Qwen2-VL's image processor on the PIL backend, for at most SIZE x SIZE pixels."""
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, min_pixels=(PATCH * MERGE) ** 2, max_pixels=SIZE * SIZE
    )


def build_model(tokenizer: Any) -> Any:
    """An untrained Qwen2.5-VL of about 2 million parameters, float32."""
    ids = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "initializer_range": 0.03,
        "use_sliding_window": False,
        "bos_token_id": None,
        "eos_token_id": ids(END),
        "pad_token_id": ids(PAD),
        # A small base, because positions are few: Qwen's 1e6 would leave most channels without a gradient.
        "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]},
    }
    vision = {
        "depth": 3,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "window_size": SIZE,
        "out_hidden_size": 128,
        "fullatt_block_indexes": [0, 1, 2],
        "initializer_range": 0.03,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
        initializer_range=0.03,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids(END)
    model.generation_config.pad_token_id = ids(PAD)
    return model


def _corpus() -> list[str]:
    rng = random.Random(0)
    frame = Frame(SIZE, SIZE, SIZE, SIZE)
    answers = [get_dialect("qwen2_5_vl").encode(draw_scene(rng)[1], frame) for _ in range(300)]
    prompts = [detection_text(categories) for categories in ((), LABELS[:1], LABELS)]
    roles = ["system\nYou are a helpful assistant.", "user\n", "assistant\n"]
    return answers + 50 * (prompts + roles)
