"""The replayed run in which some images say nothing, so that others are drawn, and with several epochs.

As a script: `resampled.py FOLDER MODEL STEPS` runs on the ranks of its launcher and writes the weights.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from vision_r1_grpo import GRPOConfig, GRPOTrainer, Policy, VisionReward
from vision_r1_grpo.config import LossConfig, OptimizerConfig, SamplingConfig

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, ReplaySampler, make_scenes

LOSS = LossConfig("gspo", scale_advantages="batch", beta=0.1, truncated="mask", importance_cap=2.0)


class HalfSilent(ReplaySampler):
    """Nothing but unreadable answers to three images of seven; every longest answer is cut off."""

    def __init__(self, policy, samples):
        super().__init__(policy, samples)
        for key in list(self.completions)[:3]:
            self.completions[key] = ["no"] * GROUP

    def generate(self, prompts, group_size, sampling):
        rollout = super().generate(prompts, group_size, sampling)
        lengths = rollout.mask.sum(dim=1).view(-1, group_size)
        longest = torch.nn.functional.one_hot(lengths.argmax(dim=1), group_size).bool()
        return replace(rollout, truncated=longest.flatten())


def make_resampling_trainer(folder, policy, steps, resume=False, **settings):
    samples = make_scenes(folder.parent)
    config = GRPOConfig(
        sampling=SamplingConfig(group_size=GROUP),
        optimizer=OptimizerConfig(learning_rate=1e-4),
        prompts_per_step=4,
        prompts_per_forward=1,
        max_steps=steps,
        **{"loss": LOSS, "epochs_per_rollout": 2, "resample_rounds": 3} | settings,
    )
    folder.mkdir(exist_ok=True)
    reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
    sampler = HalfSilent(policy, samples)
    return GRPOTrainer(config, policy, reward, samples, folder=folder, sampler=sampler, resume=resume)


if __name__ == "__main__":
    out, model, steps = sys.argv[1:]
    policy = Policy.from_pretrained(model)
    trainer = make_resampling_trainer(Path(out), policy, int(steps))
    trainer.train()
    if trainer.engine.rank == 0:
        torch.save(policy.model.state_dict(), Path(out) / "weights.pt")
