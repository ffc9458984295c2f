"""Data for verl, from rows as the Vision-R1 data has them: `python verl_data.py MODEL DATASET train.parquet`.

Needs datasets and qwen-vl-utils beside vision-r1-grpo. The reward needs no file of its own:

    python -m verl.trainer.main_ppo ... data.train_files=train.parquet \\
        reward.custom_reward_function.path=pkg://vision_r1_grpo.integrations.verl \\
        +reward.custom_reward_function.reward_kwargs.preset=strict \\
        +reward.custom_reward_function.reward_kwargs.dialect=qwen2_5_vl
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from vision_r1_grpo.integrations.columns import ground_truth, image_columns


def to_row(
    row: Mapping[str, Any], image_processor: Any, resize: Callable[[Image.Image], Image.Image]
) -> dict[str, Any]:
    """A row with the columns image, problem and solution as verl reads it."""
    sizes = image_columns(row["image"], image_processor, resize=resize)
    return {
        "data_source": "vision_r1",
        "prompt": [{"role": "user", "content": f"<image>{row['problem']}"}],
        "images": [row["image"]],
        "reward_model": {"style": "rule", "ground_truth": ground_truth({**row, **sizes})},
    }


if __name__ == "__main__":
    from datasets import load_dataset
    from qwen_vl_utils import fetch_image
    from transformers import AutoProcessor

    model, name, out = sys.argv[1:]
    image_processor = AutoProcessor.from_pretrained(model).image_processor
    data = load_dataset(name, split="train")
    data.map(
        lambda row: to_row(row, image_processor, lambda image: fetch_image({"image": image})),
        remove_columns=data.column_names,
    ).to_parquet(out)
