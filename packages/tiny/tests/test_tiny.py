import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import vision_r1_tiny
from vision_r1_data import Frame, Sample, get_dialect
from vision_r1_data.scenes import LABELS, SIZE, draw_scene

DIALECT, FRAME = get_dialect("qwen2_5_vl"), Frame(SIZE, SIZE, SIZE, SIZE)


@pytest.fixture(scope="module")
def loaded():
    return vision_r1_tiny.load()


def test_the_weights_are_small():
    files = [path for path in vision_r1_tiny.path().iterdir() if path.suffix == ".safetensors"]
    assert [path.name for path in files] == ["model.safetensors"]
    assert files[0].stat().st_size <= 6_000_000


def test_the_model_loads_in_float32(loaded):
    model, _ = loaded
    assert 1.5e6 < model.num_parameters() < 3e6
    assert model.dtype == torch.float32
    assert not model.training


def test_torchvision_is_not_needed():
    script = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import vision_r1_tiny; model, processor = vision_r1_tiny.load()\n"
        "print(type(model).__name__, type(processor.image_processor).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Qwen2_5_VLForConditionalGeneration", "Qwen2VLImageProcessorPil"]


def test_answers_to_scenes_are_mostly_of_the_right_form(loaded):
    """A part of what it learned from had no fence, so not all answers have one."""
    model, processor = loaded
    rng = random.Random(4)
    question = DIALECT.prompt(Sample("1", "1.png", SIZE, SIZE, categories=LABELS))
    answers = []
    for _ in range(8):
        prompt = processor.encode(question, draw_scene(rng)[0])
        ids = torch.from_numpy(prompt.input_ids)[None]
        tokens = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=torch.from_numpy(prompt.is_image.astype(np.int64))[None],
            pixel_values=torch.from_numpy(prompt.vision["pixel_values"]),
            image_grid_thw=torch.from_numpy(prompt.vision["image_grid_thw"]),
            do_sample=False,
            max_new_tokens=80,
        )[0, ids.shape[1] :]
        answers.append(DIALECT.decode(processor.tokenizer.decode(tokens, skip_special_tokens=True), FRAME))
    assert sum(answer.well_formed for answer in answers) >= 5
    assert {label for answer in answers for label in answer.labels} <= set(LABELS)
    assert sum(len(answer) for answer in answers) >= 5
