"""A tiny random model of every family, saved as checkpoints are, with tokenizer and image processor."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

END, PAD, START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
    "bos_token_id": None,
}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 14,
    "image_size": 28,
    "vision_use_head": False,
}
QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|box_start|>")
GLM_TOKENS = tuple(
    f"<|{name}|>"
    for name in (
        *("image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video"),
        "begin_of_box",
    )
)


def template(image: str) -> str:
    """A chat template that writes an image as given."""
    return (
        f"{{% for m in messages %}}{START}{{{{ m['role'] }}}}\n{{% for c in m['content'] %}}"
        f"{{% if c['type'] == 'image' %}}{image}{{% else %}}{{{{ c['text'] }}}}{{% endif %}}"
        f"{{% endfor %}}{END}\n{{% endfor %}}{{% if add_generation_prompt %}}{START}assistant\n{{% endif %}}"
    )


def build_tokenizer(special: tuple[str, ...], image: str | None, **named: str) -> Any:
    """A token a byte, and the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True) for t in (PAD, START, END, "<bos>", *special)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        bos_token="<bos>",
        extra_special_tokens=named or list(special),
        chat_template=image and template(image),
    )


def image_processor(package: str, name: str, **settings: Any) -> Any:
    module = import_module(f"transformers.models.{package}.image_processing_pil_{package}")
    return getattr(module, name)(**settings)


def qwen(kind: str) -> tuple[Any, Any, dict, dict]:
    tokenizer = build_tokenizer(QWEN_TOKENS, "<|vision_start|><|image_pad|><|vision_end|>")
    patch = 16 if kind == "qwen3_vl" else 14
    images = image_processor(
        "qwen2_vl",
        "Qwen2VLImageProcessorPil",
        patch_size=patch,
        size={"shortest_edge": (2 * patch) ** 2, "longest_edge": 20 * (2 * patch) ** 2},
    )
    ids = tokenizer.convert_tokens_to_ids
    vision = {"depth": 2, "num_heads": 4, "patch_size": patch, "initializer_range": 0.2}
    vision |= {
        "qwen2_vl": {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
        "qwen2_5_vl": {
            **{"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32, "window_size": 56},
            "fullatt_block_indexes": [1],
        },
        "qwen3_vl": {
            **{"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32},
            **{"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        },
    }[kind]
    rope = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [1, 1, 2]}
    config = {
        "text_config": {**TEXT, "rope_parameters": rope},
        "vision_config": vision,
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    return tokenizer, images, {}, config


def glm4v() -> tuple[Any, Any, dict, dict]:
    tokenizer = build_tokenizer(GLM_TOKENS, "<|begin_of_image|><|image|><|end_of_image|>")
    limits = {"shortest_edge": 2 * 28**2, "longest_edge": 2 * 20 * 28**2}
    images = image_processor("glm4v", "Glm4vImageProcessorPil", size=limits)
    ids = tokenizer.convert_tokens_to_ids
    vision = {
        **{"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48, "out_hidden_size": 32},
        **{"image_size": 112, "initializer_range": 0.2},
    }
    # GLM-4V rotates a half of each head.
    rope = {
        "rope_type": "default",
        "rope_theta": 100.0,
        "mrope_section": [1, 1, 0],
        "partial_rotary_factor": 0.5,
    }
    config = {"text_config": {**TEXT, "rope_parameters": rope}, "vision_config": vision}
    for name in ("image", "video"):
        config[f"{name}_token_id"] = ids(f"<|{name}|>")
        config[f"{name}_start_token_id"] = ids(f"<|begin_of_{name}|>")
        config[f"{name}_end_token_id"] = ids(f"<|end_of_{name}|>")
    return tokenizer, images, {}, config


def internvl() -> tuple[Any, Any, dict, dict]:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = build_tokenizer((*named.values(), "<box>"), "<IMG_CONTEXT>\n", **named)
    images = image_processor(
        "got_ocr2", "GotOcr2ImageProcessorPil", size={"height": 28, "width": 28}, max_patches=6
    )
    vision = {
        **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"image_size": [28, 28], "patch_size": [7, 7], "initializer_range": 0.2},
    }
    config = {
        "text_config": {"model_type": "qwen2", **TEXT},
        "vision_config": vision,
        "image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        "image_seq_length": 4,
    }
    return tokenizer, images, {"image_seq_length": 4}, config


def llava_onevision() -> tuple[Any, Any, dict, dict]:
    tokenizer = build_tokenizer(("<image>", "<video>"), "<image>\n")
    pinpoints = [[28 * rows, 28 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
    images = image_processor(
        "llava_onevision",
        "LlavaOnevisionImageProcessorPil",
        size={"height": 28, "width": 28},
        image_grid_pinpoints=pinpoints,
    )
    config = {
        "text_config": {"model_type": "qwen2", **TEXT},
        "vision_config": {**SIGLIP, "patch_size": 7},
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "video_token_index": tokenizer.convert_tokens_to_ids("<video>"),
        "image_grid_pinpoints": pinpoints,
    }
    settings = {
        "num_image_tokens": 16,
        "vision_feature_select_strategy": "full",
        "vision_aspect_ratio": "anyres_max_9",
    }
    return tokenizer, images, settings, config


def paligemma() -> tuple[Any, Any, dict, dict]:
    places = (*(f"<loc{i:04}>" for i in range(1024)), *(f"<seg{i:03}>" for i in range(128)))
    tokenizer = build_tokenizer(("<image>", *places), None)
    images = image_processor("siglip", "SiglipImageProcessorPil", size={"height": 28, "width": 28})
    images.image_seq_length = 4
    config = {
        "text_config": {"model_type": "gemma", **TEXT},
        "vision_config": SIGLIP,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "projection_dim": 32,
        "hidden_size": 32,
    }
    return tokenizer, images, {}, config


def idefics(kind: str) -> tuple[Any, Any, dict, dict]:
    rows = tuple(f"<row_{i}_col_{j}>" for i in range(1, 5) for j in range(1, 5))
    special = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows)
    tokenizer = build_tokenizer(special, "<image>")
    name = "SmolVLM" if kind == "smolvlm" else "Idefics3"
    images = image_processor(
        kind,
        f"{name}ImageProcessorPil",
        size={"longest_edge": 84},
        max_image_size={"longest_edge": 28},
    )
    vision = {name: SIGLIP[name] for name in SIGLIP if name not in ("vision_use_head", "model_type")}
    config = {
        "text_config": {"model_type": "llama", **TEXT, "pad_token_id": 0},
        "vision_config": {**vision, "patch_size": 7},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }
    return tokenizer, images, {"image_seq_len": 4, "processor_class": f"{name}Processor"}, config


BUILDERS: dict[str, Callable[[], tuple[Any, Any, dict, dict]]] = {
    "qwen2_vl": lambda: qwen("qwen2_vl"),
    "qwen2_5_vl": lambda: qwen("qwen2_5_vl"),
    "qwen3_vl": lambda: qwen("qwen3_vl"),
    "glm4v": glm4v,
    "internvl": internvl,
    "llava_onevision": llava_onevision,
    "paligemma": paligemma,
    "smolvlm": lambda: idefics("smolvlm"),
    "idefics3": lambda: idefics("idefics3"),
}


def save_tiny(kind: str, folder: Path) -> Path:
    """Write an untrained model of a family, and all that a checkpoint of it has."""
    from transformers import AutoConfig

    tokenizer, images, settings, config = BUILDERS[kind]()
    config["text_config"] |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config["text_config"] |= {"pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # large enough for answers to depend on the image
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15, generator=generator)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    if settings:
        (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder
