"""The reward for EasyR1, which takes it from a file. In its YAML:

    worker:
      reward:
        reward_function: ./easyr1_reward.py:compute_score
        reward_function_kwargs: {preset: strict, dialect: qwen2_5_vl}

The data's answer column (data.answer_key) holds what `columns.ground_truth` writes of a row.
"""

from vision_r1_grpo.integrations.verl import easyr1_compute_score as compute_score

REWARD_NAME = "vision_r1"
REWARD_TYPE = "batch"
__all__ = ["REWARD_NAME", "REWARD_TYPE", "compute_score"]
