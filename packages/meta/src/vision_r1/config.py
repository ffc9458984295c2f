"""What a whole run can be told: the model, the data, the training."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

from vision_r1_grpo import ConfigError, GRPOConfig

RECIPES = Path(str(files("vision_r1") / "recipes"))
"""The recipes that come with this package."""


@dataclass(frozen=True)
class ModelConfig:
    """The model to start from.

    Args:
        path: a folder or hub name of a model of a known family, or "tiny" for the model of vision-r1-tiny.
        dtype: of the weights, such as "bfloat16" on a GPU.
        max_pixels: larger images are scaled down to this many pixels; by default what the model's own image
            processor says. The paper trains Qwen2.5-VL with 401408.
    """

    path: str = "tiny"
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_pixels: int | None = None


@dataclass(frozen=True)
class CocoConfig:
    """A COCO-format detection set.

    Args:
        annotations: the JSON file; empty for none.
        images: the folder of its images.
    """

    annotations: str = ""
    images: str = ""

    def __post_init__(self) -> None:
        if bool(self.annotations) != bool(self.images):
            raise ConfigError(
                f"annotations and images must be given together, got {self.annotations!r} and {self.images!r}"
            )


@dataclass(frozen=True)
class DataConfig:
    """What is trained and measured on.

    Args:
        annotations: the COCO-format JSON file to train on.
        images: the folder of its images.
        samples: a folder of samples to train on in their place, which `vision-r1 curate` wrote.
        dialect: how the model writes boxes, a name of `vision_r1_data.list_dialects()`.
        bad_records: "error" or "skip": what to do with boxes outside their image, and all else that is bad.
        test: the set whose numbers stand before and after. Left out, `held_out` of the training images are
            set aside for it.
        validation: the set of the learning curve. Left out, it is the first images of the test set.
        held_out: the share of the training images that is set aside, at most 200 images.
        validation_images: how many images the learning curve is measured on.
    """

    annotations: str = ""
    images: str = ""
    samples: str = ""
    dialect: str = "qwen2_5_vl"
    bad_records: Literal["error", "skip"] = "error"
    test: CocoConfig = field(default_factory=CocoConfig)
    validation: CocoConfig = field(default_factory=CocoConfig)
    held_out: float = 0.1
    validation_images: int = 100

    def __post_init__(self) -> None:
        if self.samples and (self.annotations or self.images):
            raise ConfigError(
                "give either data.samples or data.annotations and data.images, got "
                f"{self.samples!r} and {self.annotations or self.images!r}"
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"data.held_out must lie between 0 and 1, got {self.held_out}")
        if self.validation_images < 1:
            raise ConfigError(f"data.validation_images must be at least 1, got {self.validation_images}")


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Args:
        method: "grpo", or "sft" for supervised training on the annotated answers, whose batch is
            training.prompts_per_step. The paper's baseline has batches of 128 and a learning rate of 2e-6.
    """

    method: Literal["grpo", "sft"] = "grpo"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: GRPOConfig = field(default_factory=GRPOConfig)


def find_recipe(given: Path) -> Path:
    """The file of a recipe.

    Args:
        given: a YAML file, or the name of a recipe that comes with this package.

    Raises:
        ConfigError: there is neither.

    Example:
        >>> find_recipe(Path("quickstart")).name
        'quickstart.yaml'
    """
    shipped = RECIPES / f"{given}.yaml"
    found = next((path for path in (given, shipped) if path.is_file()), None)
    if found is None:
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
        raise ConfigError(f"{given}: there is no such file or recipe; give a YAML file, or one of {known}")
    return found
