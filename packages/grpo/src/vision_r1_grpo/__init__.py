"""Vision-guided rewards, rollouts and GRPO training of vision-language models."""

from typing import TYPE_CHECKING, Any

from vision_r1_grpo.config import ConfigError, GRPOConfig
from vision_r1_grpo.config_file import load_config, save_config
from vision_r1_grpo.rewards import (
    Refinement,
    RewardBatch,
    Target,
    TaskRewards,
    VisionReward,
    reward_of_tasks,
)

if TYPE_CHECKING:
    from vision_r1_grpo.policy import Policy
    from vision_r1_grpo.sft import SFTTrainer
    from vision_r1_grpo.trainer import GRPOTrainer, TrainingResult

__all__ = [
    "ConfigError",
    "GRPOConfig",
    "GRPOTrainer",
    "Policy",
    "Refinement",
    "RewardBatch",
    "SFTTrainer",
    "Target",
    "TaskRewards",
    "TrainingResult",
    "VisionReward",
    "load_config",
    "reward_of_tasks",
    "save_config",
]


def __getattr__(name: str) -> Any:
    """What needs transformers and DeepSpeed, when it is asked for: rewards run in trainers without them."""
    if name == "Policy":
        from vision_r1_grpo.policy import Policy

        return Policy
    if name == "SFTTrainer":
        from vision_r1_grpo.sft import SFTTrainer

        return SFTTrainer
    if name in ("GRPOTrainer", "TrainingResult"):
        from vision_r1_grpo import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
