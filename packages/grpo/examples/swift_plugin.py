"""The reward for ms-swift. Beside images and messages, the rows hold the columns of `integrations.columns`.

swift rlhf --rlhf_type grpo --external_plugins swift_plugin.py --dataset rows.jsonl ... \\
    --reward_funcs vision_r1 vision_r1_format vision_r1_f_measure --reward_weights 1 0 0
"""

from swift.rewards import orms

from vision_r1_grpo.integrations.swift import vision_orms

orms.update(vision_orms("strict", "qwen2_5_vl"))
