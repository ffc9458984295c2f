"""Three steps of TRL's GRPOTrainer on the CPU, with the example and the tiny model: `nox -s trl`.

Not among the tests: it needs an environment of its own, with TRL.
"""

import functools
import importlib.util
import math
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

if torch.version.cuda is None:
    # TRL loads the processor of Qwen2.5-VL, which imports torchvision, and PyPI has no CPU build of that. Its
    # Python parts import beside any torch once the operators that they describe have schemas.
    torchvision = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        torchvision.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from PIL import Image
from transformers import AutoProcessor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

import vision_r1_tiny
from vision_r1_data import Sample, read_coco
from vision_r1_data.prompts import image_question
from vision_r1_data.scenes import write_scenes
from vision_r1_grpo import Policy

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_families import BUILDERS, save_tiny

STEPS, PROMPTS, GROUP = 3, 2, 4
SIZE = (150, 130)  # no multiples of 28, so that the processor resizes


def draw(folder: Path) -> list[Sample]:
    """Scenes with a margin at the right and below."""
    samples = list(read_coco(write_scenes(folder, 16, seed=0), folder / "images"))
    for sample in samples:
        canvas = Image.new("RGB", SIZE, "white")
        canvas.paste(sample.load_image())
        canvas.save(sample.image)
    return [replace(sample, width=SIZE[0], height=SIZE[1]) for sample in samples]


def watch_images() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Where the pixels and grids of the images that the model sees are put."""
    seen = []
    forward = Qwen2_5_VisionTransformerPretrainedModel.forward

    @functools.wraps(forward)
    def watched(self, hidden_states, grid_thw, **kwargs):
        seen.append((hidden_states.detach(), grid_thw))
        return forward(self, hidden_states, grid_thw, **kwargs)

    Qwen2_5_VisionTransformerPretrainedModel.forward = watched
    return seen


def check_prompts(model: Path, samples: list[Sample]) -> None:
    """A policy reads what transformers' whole processor, with its part for videos, would give the model."""
    policy, processor = Policy.from_pretrained(model, device="cpu"), AutoProcessor.from_pretrained(model)
    for sample, size in zip(samples, [SIZE, (61, 200), (28, 28)], strict=False):
        messages, image = image_question(sample), sample.load_image().resize(size)
        prompt = policy.encode(messages, image)
        text = policy.processor.tokenizer.apply_chat_template(
            messages, chat_template=policy.processor.template, tokenize=False, add_generation_prompt=True
        )
        expected = processor(text=[text], images=[image], return_tensors="pt")
        assert torch.equal(prompt.input_ids, expected["input_ids"][0]), model
        for name, values in prompt.vision.items():  # which have a row a tile, where it has one an image
            assert torch.equal(values.flatten(), expected[name].flatten()), (model, name)


def main(folder: Path) -> None:
    """Train, and check the rewards, the logs, the images and the weights."""
    place = Path(__file__).parents[2] / "examples" / "trl_train.py"
    spec = importlib.util.spec_from_file_location("trl_train", place)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    samples, seen, model = draw(folder / "scenes"), watch_images(), str(vision_r1_tiny.path())
    check_prompts(vision_r1_tiny.path(), samples)
    for kind in set(BUILDERS) - {"smolvlm"}:  # whose processor needs num2words, and is that of Idefics3 else
        check_prompts(save_tiny(kind, folder / kind), samples)
    trainer = example.train(
        model,
        samples,
        output_dir=str(folder / "out"),
        max_steps=STEPS,
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=160,
        learning_rate=1e-4,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        seed=0,
    )

    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == STEPS
    for row in rows:
        assert math.isfinite(row["loss"])
        assert math.isfinite(row["grad_norm"])
        total = row["rewards/vision_strict/format"] + 2 * row["rewards/vision_strict/f_measure"]
        assert math.isclose(row["rewards/vision_strict/mean"], total, abs_tol=1e-5)
    assert any(row["reward"] > 0 and row["reward_std"] > 0 for row in rows)

    # Once to generate and once for the loss of each step, the model sees the images of all completions.
    image_processor = AutoProcessor.from_pretrained(model).image_processor
    known = [image_processor(images=[sample.load_image()])["pixel_values"] for sample in samples]
    said = example.to_row(samples[0], image_processor)
    assert len(seen) == 2 * STEPS
    for pixels, grids in seen:
        assert len(grids) == PROMPTS * GROUP
        assert (grids * 14 == torch.tensor([14, said["model_height"], said["model_width"]])).all()
        shown = [
            next(number for number, image in enumerate(known) if torch.equal(one, torch.as_tensor(image)))
            for one in pixels.split(grids.prod(dim=1).tolist())
        ]
        assert list(Counter(shown).values()) == [GROUP] * PROMPTS

    before = vision_r1_tiny.load()[0].state_dict()
    changed = [not torch.equal(before[name], value) for name, value in trainer.model.state_dict().items()]
    assert any(changed)
    print(f"TRL: {STEPS} steps, rewards {[round(row['reward'], 3) for row in rows]}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
