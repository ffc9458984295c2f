"""The same work done by TRL's GRPOTrainer, in an environment of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

if torch.version.cuda is None:
    # As in packages/grpo/tests/integrations/run_trl.py: torchvision's Python parts import beside any torch.
    torchvision = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        torchvision.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from datasets import Dataset, Image
from transformers import AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]  # in its own environment
from work import CATEGORIES, Stopwatch, Work, arguments, score

from vision_r1_data.prompts import detection_text


def main(folder: Path, work: Work, threads: int) -> None:
    """Train, and print what was measured."""
    torch.set_num_threads(threads)
    processor = AutoProcessor.from_pretrained(folder / "model")
    prompt = [{"role": "user", "content": detection_text(CATEGORIES)}]
    rows = [{"prompt": prompt, "image": str(path)} for path in sorted((folder / "images").iterdir())]
    ids = processor.tokenizer.convert_tokens_to_ids
    vision = [
        ids(token) for token in ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ]
    steps = work.prompts // work.peer_at_once
    lengths: list[int] = []

    def noise(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.extend(map(len, completion_ids))
        return [score(completion[0]["content"]) for completion in completions]

    with tempfile.TemporaryDirectory() as out:
        trainer = GRPOTrainer(
            model=str(folder / "model"),
            reward_funcs=noise,
            args=GRPOConfig(
                output_dir=out,
                per_device_train_batch_size=work.peer_at_once * work.group,
                gradient_accumulation_steps=steps,
                num_generations=work.group,
                max_completion_length=work.tokens,
                # Without these a random policy draws image placeholders, and ends completions early.
                generation_kwargs={"suppress_tokens": vision, "min_new_tokens": work.tokens},
                temperature=1.0,
                beta=0.0,
                max_steps=work.steps,
                learning_rate=1e-5,
                gradient_checkpointing=work.peer_checkpointing,
                model_init_kwargs={"dtype": "float32"},
                use_cpu=True,
                bf16=False,
                logging_steps=1,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                seed=0,
            ),
            train_dataset=Dataset.from_list(rows).cast_column("image", Image()),
            processing_class=processor,
        )
        watch = Stopwatch()

        class Ends(TrainerCallback):  # type: ignore[misc]  # TRL and transformers have no types here
            """The end of a step."""

            def on_step_end(self, *_: Any, **__: Any) -> None:
                watch.step()

        trainer.add_callback(Ends())
        trainer.train()
    assert set(lengths) == {work.tokens}, f"completions must have {work.tokens} tokens, got {set(lengths)}"
    assert all(row["grad_norm"] > 0 for row in trainer.state.log_history if "grad_norm" in row)
    watch.tell()


if __name__ == "__main__":
    main(*arguments())
