"""A small run whose completions are fixed, so that it is the same on any number of ranks.

As a script: `replay.py MODEL RUNS` does one run after another on the ranks of its launcher.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vision_r1_data import Frame, Objects, Sample, get_dialect, read_coco
from vision_r1_data.scenes import SIZE, write_scenes
from vision_r1_grpo import GRPOConfig, GRPOTrainer, Policy, Refinement, VisionReward
from vision_r1_grpo.config import LossConfig, OptimizerConfig, SamplingConfig
from vision_r1_grpo.policy import Prompt
from vision_r1_grpo.rollout import Rollout, Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler

DIALECT = get_dialect("qwen2_5_vl")
GROUP = 4


class ReplaySampler:
    """Gives each image the same completions again; by default right, half right, silent, unreadable."""

    def __init__(
        self,
        policy: Policy,
        samples: Sequence[Sample],
        completions: Callable[[Sample], list[str]] = lambda sample: _completions(sample),
    ) -> None:
        self.tokenizer = policy.processor.tokenizer
        self.completions = {
            _key(policy.encode(DIALECT.prompt(s), s.load_image())): completions(s) for s in samples
        }

    def generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        texts = [text for p in prompts for text in self.completions[_key(p)]]
        assert len(texts) == len(prompts) * group_size
        ids = [self.tokenizer(text + "<|im_end|>")["input_ids"] for text in texts]
        lengths = torch.tensor([len(one) for one in ids])
        tokens = torch.tensor([one + [0] * (int(lengths.max()) - len(one)) for one in ids])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        return Rollout(
            tokens, mask, torch.zeros(tokens.shape), tuple(texts), torch.zeros(len(texts), dtype=bool)
        )


def _key(prompt: Prompt) -> float:
    """The image, as a number."""
    return prompt.vision["pixel_values"].sum().item()


def _completions(sample: Sample) -> list[str]:
    truth, frame = sample.objects, Frame(SIZE, SIZE, SIZE, SIZE)
    loose = Objects(tuple((x1, y1, x2, (y1 + 2 * y2) / 3) for x1, y1, x2, y2 in truth.boxes), truth.labels)
    return [
        DIALECT.encode(truth, frame),
        DIALECT.encode(loose, frame),
        DIALECT.encode(Objects(), frame),
        "no",
    ]


def make_scenes(folder: Path) -> list[Sample]:
    """Six drawn scenes, and one image with nothing in it."""
    path = folder / "scenes" / "instances.json"
    if not path.exists():
        write_scenes(path.parent, 7, seed=3)
        content = json.loads(path.read_text())
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 2]
        path.write_text(json.dumps(content))
    return list(read_coco(path, path.parent / "images"))


def make_trainer(folder: Path, policy: Policy, steps: int, resume: bool = False, **settings) -> GRPOTrainer:
    samples = make_scenes(folder.parent)
    config = GRPOConfig(
        sampling=SamplingConfig(group_size=GROUP),
        loss=LossConfig(beta=0.1),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2),
        prompts_per_step=4,
        prompts_per_forward=2,
        max_steps=steps,
        **settings,
    )
    folder.mkdir(exist_ok=True)
    # Half of the matched boxes are exact, so the second stage begins after two steps.
    rows = ((0.5, 0.5, 0.75), (0.75, 0.75, 0.9))
    refinement = Refinement(thresholds=rows, kind="adaptive", level=0.4, window=2)
    reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl", refinement=refinement)
    sampler = ReplaySampler(policy, samples)
    return GRPOTrainer(config, policy, reward, samples, folder=folder, sampler=sampler, resume=resume)


class UnequalSampler:
    """Draws completions of another length on each rank, and gives those of a replay; one rank is silent."""

    def __init__(self, policy: Policy, replay: ReplaySampler, rank: int) -> None:
        self.drawn, self.replay, self.rank = TransformersSampler(policy), replay, rank

    def generate(self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling) -> Rollout:
        self.drawn.generate(prompts, group_size, replace(sampling, max_new_tokens=2 + 10 * self.rank))
        if self.rank == 1:
            self.replay.completions = {key: ["no"] * GROUP for key in self.replay.completions}
        return self.replay.generate(prompts, group_size, sampling)


def plant(trainer: GRPOTrainer, fault: str, step: int) -> None:
    """Let a fault strike this process once `step` steps are done."""

    def struck(call: Callable, blow: Callable) -> Callable:
        def wrapped(*arguments, **options):
            if trainer.state.step == step:
                blow(*arguments)
            return call(*arguments, **options)

        return wrapped

    def kill(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if fault == "killed in the update":
        trainer.engine.step = struck(trainer.engine.step, kill)
    elif fault == "killed while saving":
        torch.save = struck(torch.save, lambda _, path: Path(path).write_bytes(b"half") and kill())
    else:
        assert fault == "asked to stop"
        ask = struck(trainer.sampler.generate, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        trainer.sampler.generate = ask


def run(model: str, folder: str, fault: dict | None = None, unequal: bool = False, **settings) -> None:
    policy = Policy.from_pretrained(model)
    trainer = make_trainer(Path(folder), policy, **settings)
    if unequal:
        sampler = trainer.sampler = UnequalSampler(policy, trainer.sampler, trainer.engine.rank)
        some = [trainer._prompt(trainer.dataset[0])]
        trainer.evaluate = lambda: {
            "mAP": 1 / sampler.drawn.generate(some, 2, Sampling(1.0, 3)).tokens.numel()
        }
    if fault and trainer.engine.rank == fault["rank"]:
        plant(trainer, fault["fault"], fault["step"])
    print(f"{Path(folder).name} interrupted: {trainer.train().interrupted}", flush=True)
    trainer.export(Path(folder) / "model")


if __name__ == "__main__":
    model, runs = sys.argv[-2:]  # the deepspeed launcher puts --local_rank before them
    for settings in json.loads(runs):
        run(model, **settings)
