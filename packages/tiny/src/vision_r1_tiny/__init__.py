"""A tiny Qwen2.5-VL-architecture model that draws boxes, for tests and the quickstart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load", "path"]


def path() -> Path:
    """The folder that transformers' `from_pretrained` loads: weights, tokenizer and image processor.

    Example:
        >>> (path() / "model.safetensors").is_file()
        True
    """
    return Path(__file__).parent / "weights"


def load() -> tuple[Any, Any]:
    """The trained model in float32, and its processor.

    Returns:
        A Qwen2_5_VLForConditionalGeneration in eval mode on the CPU, and a VisionProcessor.

    Example:
        >>> model, processor = load()
        >>> 1e6 < model.num_parameters() < 3e6
        True
    """
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    from vision_r1_data import VisionProcessor

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(path(), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path())
    return model, VisionProcessor(tokenizer, AutoImageProcessor.from_pretrained(path()))
