"""How the tiny model was trained: `python -m vision_r1_tiny.train --out DIR`.

A supervised base with latent skill and the bad habits of real instruction data. It learns to find drawn
shapes from exact labels, one object first, because scenes of several from the start leave it on a plateau.
Then it sees a few labels as large annotated sets have them: objects left out, boxes loose, answers without
their fence. What it knows and no longer says is what reinforcement learning from annotated boxes brings back.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from vision_r1_data import Frame, Objects, Sample, VisionProcessor, get_dialect
from vision_r1_data.scenes import LABELS, SIZE, draw_scene
from vision_r1_tiny.architecture import END, PAD, build_image_processor, build_model, build_tokenizer

BATCH = 32
DIALECT = get_dialect("qwen2_5_vl")
FRAME = Frame(SIZE, SIZE, SIZE, SIZE)


@dataclass(frozen=True)
class Stage:
    """Some optimiser steps on one kind of scene; the learning rate goes linearly from first to last.

    Args:
        steps: optimiser steps.
        learning_rate: at the first and at the last step.
        max_objects: scenes hold 1 to this many shapes.
        dropped: the chance that an object is left out of the labels; one always stays.
        loosened: each side of a label moves outwards by up to this share of the box.
        unfenced: the share of answers written without their ```json fence.
    """

    steps: int
    learning_rate: tuple[float, float]
    max_objects: int = 3
    dropped: float = 0.0
    loosened: float = 0.0
    unfenced: float = 0.0


STAGES = (
    Stage(150, (0.0, 1e-3), max_objects=1),
    Stage(450, (1e-3, 1e-3), max_objects=1),
    Stage(1400, (1e-3, 1e-3)),
    Stage(400, (1e-3, 2e-5)),
    Stage(120, (5e-4, 1e-5), dropped=0.5, loosened=0.15, unfenced=0.3),
)


def main() -> None:
    """Train and save; about half an hour on two CPU cores, faster on a GPU."""
    parser = argparse.ArgumentParser(prog="python -m vision_r1_tiny.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model; must not exist")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already; give a new folder")
    train(arguments.out, arguments.seed)


def train(out: Path, seed: int, stages: tuple[Stage, ...] = STAGES) -> None:
    """Run the stages one after the other and save the model in bfloat16, with its tokenizer and processor."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, image_processor = build_tokenizer(), build_image_processor()
    processor = VisionProcessor(tokenizer, image_processor)
    model = build_model(tokenizer).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    step, total, start = 0, sum(stage.steps for stage in stages), time.monotonic()
    for stage in stages:
        first, last = stage.learning_rate
        for at in range(stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = first + (last - first) * at / max(stage.steps - 1, 1)
            loss = supervised_loss(model, processor, *_draw(rng, stage))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if step % 10 == 0 or step == total:
                seconds = (time.monotonic() - start) / step * (total - step)
                print(
                    f"\rstep {step}/{total}  loss {loss.item():.3f}  {seconds / 60:.1f} min left ",
                    end="",
                    flush=True,
                )
    print()
    model.to("cpu", torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    image_processor.save_pretrained(out)


def degrade(objects: Objects, stage: Stage, rng: random.Random) -> Objects:
    """The objects as a hurried annotator leaves them: some left out, the rest loose."""
    kept = [k for k in range(len(objects)) if rng.random() >= stage.dropped] or [rng.randrange(len(objects))]
    boxes = []
    for x1, y1, x2, y2 in (objects.boxes[k] for k in kept):
        width, height = x2 - x1, y2 - y1
        left, top, right, bottom = (rng.uniform(0, stage.loosened) for _ in range(4))
        boxes.append(
            (
                max(0.0, x1 - left * width),
                max(0.0, y1 - top * height),
                min(SIZE - 1.0, x2 + right * width),
                min(SIZE - 1.0, y2 + bottom * height),
            )
        )
    return Objects(tuple(boxes), tuple(objects.labels[k] for k in kept))


def supervised_loss(
    model: Any, processor: VisionProcessor, images: Sequence[Image.Image], answers: Sequence[str]
) -> torch.Tensor:
    """Mean cross entropy of the answers' tokens.

    Args:
        model: in train mode; the batch goes to its device.
        processor: of the model.
        images: SIZE x SIZE scenes, asked for every label of the drawn scenes.
        answers: the text to learn for each image.
    """
    question = DIALECT.prompt(Sample("scene", Path(), SIZE, SIZE, categories=LABELS))
    prompts = [processor.encode(question, image) for image in images]
    targets = [processor.tokenizer(text + END, add_special_tokens=False)["input_ids"] for text in answers]
    start, longest = len(prompts[0].input_ids), max(map(len, targets))
    ids = np.full((len(prompts), start + longest), processor.tokenizer.convert_tokens_to_ids(PAD))
    labels = np.full_like(ids, -100)
    for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        ids[row, :start] = prompt.input_ids
        ids[row, start : start + len(target)] = labels[row, start : start + len(target)] = target
    batch = {
        "input_ids": ids,
        "mm_token_type_ids": (ids == processor.image_token_id).astype(np.int64),
        "pixel_values": np.concatenate([prompt.vision["pixel_values"] for prompt in prompts]),
        "image_grid_thw": np.concatenate([prompt.vision["image_grid_thw"] for prompt in prompts]),
    }
    tensors = {name: torch.from_numpy(array).to(model.device) for name, array in batch.items()}
    # Padding is on the right, so causal attention needs no mask.
    logits = model(**tensors, use_cache=False).logits
    wanted = torch.from_numpy(labels).to(model.device)
    return cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=-100)


def _draw(rng: random.Random, stage: Stage) -> tuple[list[Image.Image], list[str]]:
    """BATCH scenes, and what the stage teaches to answer."""
    images, answers = [], []
    for _ in range(BATCH):
        image, objects = draw_scene(rng, max_objects=stage.max_objects)
        text = DIALECT.encode(degrade(objects, stage, rng), FRAME)
        if rng.random() < stage.unfenced:
            text = text.removeprefix("```json\n").removesuffix("\n```")
        images.append(image)
        answers.append(text)
    return images, answers


if __name__ == "__main__":
    main()
