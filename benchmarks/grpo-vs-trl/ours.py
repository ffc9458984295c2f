"""The work done by vision-r1-grpo."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from work import CATEGORIES, Stopwatch, Work, arguments, score

from vision_r1_data import Sample
from vision_r1_grpo import GRPOConfig, GRPOTrainer, Policy, VisionReward
from vision_r1_grpo.config import OptimizerConfig, SamplingConfig, TrainableConfig


def main(folder: Path, work: Work, threads: int) -> None:
    """Train, and print what was measured."""
    torch.set_num_threads(threads)
    policy = Policy.from_pretrained(folder / "model")
    # A token that is never drawn: no completion stops early.
    policy.model.generation_config.eos_token_id = policy.model.config.vision_end_token_id
    images = sorted((folder / "images").iterdir())
    samples = [Sample(path.stem, path, work.side, work.side, categories=CATEGORIES) for path in images]
    noise = {"noise": lambda texts, targets: [score(text) for text in texts]}
    config = GRPOConfig(
        sampling=SamplingConfig(group_size=work.group, max_new_tokens=work.tokens),
        optimizer=OptimizerConfig(learning_rate=1e-5),
        trainable=TrainableConfig(gradient_checkpointing=work.checkpointing),
        prompts_per_step=work.prompts,
        prompts_per_forward=1,
        max_steps=work.steps,
    )
    with tempfile.TemporaryDirectory() as out:
        reward = VisionReward.from_preset("strict", "qwen2_5_vl", added=noise)
        trainer = GRPOTrainer(config, policy, reward, samples, folder=Path(out))
        watch = Stopwatch()
        log = trainer.records.log
        rows: list[dict[str, float]] = []

        def logged(row: dict[str, float]) -> None:
            watch.step()
            rows.append(row)
            log(row)

        trainer.records.log = logged  # type: ignore[method-assign]  # the end of a step
        trainer._save = lambda: None  # type: ignore[method-assign]  # the peer saves nothing either
        trainer.train()
    tokens = trainer.policy.encode(reward.dialect.prompt(samples[0]), samples[0].load_image()).input_ids
    seconds = {name: [row[f"seconds/{name}"] for row in rows] for name in ("rollout", "update")}
    assert all(row["tokens"] == work.tokens and row["grad_norm"] > 0 for row in rows)
    watch.tell(prompt_tokens=len(tokens), seconds=seconds)


if __name__ == "__main__":
    main(*arguments())
