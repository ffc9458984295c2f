import random
from dataclasses import dataclass

import pytest

from vision_r1_data import get_dialect
from vision_r1_grpo import Target, VisionReward
from vision_r1_grpo.integrations.columns import write_row
from vision_r1_grpo.rewards.audit.scenes import random_scenes


@dataclass(frozen=True)
class Batch:
    """Completions, right, half right and unreadable, and what they are about."""

    completions: list[str]
    targets: list[Target]

    @property
    def rows(self):
        return [write_row(target) for target in self.targets]

    def scored(self, preset="strict", progress=0.0, **options):
        reward = VisionReward.from_preset(preset, "qwen2_5_vl", **options)
        return reward(self.completions, self.targets, progress=progress)


@pytest.fixture(scope="session")
def batch():
    scenes = random_scenes(24, 0, get_dialect("qwen2_5_vl"))
    rng = random.Random(0)
    texts = [rng.choice((scene.perfect, scene.attempt, scene.attempt, "nothing")) for scene in scenes]
    return Batch(texts, [scene.target for scene in scenes])
