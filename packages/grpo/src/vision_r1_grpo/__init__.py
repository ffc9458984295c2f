"""Vision-guided rewards, rollouts and GRPO training of vision-language models."""

from vision_r1_grpo.config import ConfigError, GRPOConfig, load_config, save_config
from vision_r1_grpo.policy import Policy
from vision_r1_grpo.rewards import Refinement, RewardBatch, Target, VisionReward
from vision_r1_grpo.trainer import GRPOTrainer, TrainingResult

__all__ = [
    "ConfigError",
    "GRPOConfig",
    "GRPOTrainer",
    "Policy",
    "Refinement",
    "RewardBatch",
    "Target",
    "TrainingResult",
    "VisionReward",
    "load_config",
    "save_config",
]
