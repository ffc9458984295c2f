"""GRPO on detection data with TRL: `python trl_train.py MODEL instances.json IMAGES OUT`.

Needs trl beside vision-r1-grpo. MODEL is of the Qwen2.5-VL family; the data is in COCO format.
"""

import sys
from collections.abc import Sequence
from typing import Any

from vision_r1_data import Sample, image_frame, read_coco
from vision_r1_data.prompts import detection_text
from vision_r1_grpo import Target
from vision_r1_grpo.integrations.columns import write_row
from vision_r1_grpo.integrations.trl import vision_reward


def to_row(sample: Sample, image_processor: Any) -> dict[str, Any]:
    """The prompt and image that TRL asks for, and the columns that the reward does."""
    frame = image_frame(sample.load_image(), image_processor)
    return {
        "prompt": [{"role": "user", "content": detection_text(sample.categories)}],
        "image": str(sample.image),
        **write_row(Target.of(sample, frame)),
    }


def train(model: str, samples: Sequence[Sample], **settings: Any) -> Any:
    """Train the model; settings are those of TRL's GRPOConfig."""
    from datasets import Dataset, Image
    from transformers import AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    processor = AutoProcessor.from_pretrained(model)
    rows = [to_row(sample, processor.image_processor) for sample in samples]
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=vision_reward("strict", "qwen2_5_vl"),
        args=GRPOConfig(**settings),
        train_dataset=Dataset.from_list(rows).cast_column("image", Image()),
        processing_class=processor,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    model, annotations, images, out = sys.argv[1:]
    train(model, read_coco(annotations, images), output_dir=out, max_completion_length=512)
