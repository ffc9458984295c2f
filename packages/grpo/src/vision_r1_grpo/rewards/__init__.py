"""Rewards that annotated boxes give to answers, without a reward model."""

from vision_r1_grpo.rewards.mixture import Reward, TaskRewards, reward_of_tasks
from vision_r1_grpo.rewards.refinement import Refinement, RefinementState
from vision_r1_grpo.rewards.scene import Target
from vision_r1_grpo.rewards.vision import RewardBatch, VisionReward

__all__ = [
    "Refinement",
    "RefinementState",
    "Reward",
    "RewardBatch",
    "Target",
    "TaskRewards",
    "VisionReward",
    "reward_of_tasks",
]
