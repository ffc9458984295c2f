"""Real parts for the tests: the tiny architecture, untrained, and drawn scenes of several sizes."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from PIL import Image

from vision_r1_data import Sample, VisionProcessor, get_dialect
from vision_r1_grpo import Policy
from vision_r1_grpo.policy import Prompt
from vision_r1_tiny.architecture import build_image_processor, build_model, build_tokenizer


@pytest.fixture(scope="session")
def policy() -> Policy:
    """An untrained model whose weights are large enough for its answers to depend on the image."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return Policy(model, VisionProcessor(tokenizer, build_image_processor()))


@pytest.fixture(scope="session")
def start(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that runs start from."""
    folder = tmp_path_factory.mktemp("start") / "model"
    policy.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prompts(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[Prompt]:
    """Two prompts of different lengths, with images of different sizes and grids."""
    folder = tmp_path_factory.mktemp("images")
    encoded = []
    for number, (size, categories) in enumerate([((112, 84), ("cat",)), ((56, 140), ("red circle", "dog"))]):
        path = folder / f"{number}.png"
        Image.effect_noise(size, 90).convert("RGB").save(path)
        sample = Sample(str(number), path, *size, categories=categories)
        encoded.append(policy.encode(get_dialect("qwen2_5_vl").prompt(sample), sample.load_image()))
    return encoded
