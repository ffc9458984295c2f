"""Which parameters are trained: whole parts of the model, or adapters of low rank beside its weights."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from vision_r1_grpo.config import ConfigError, LoraConfig, TrainableConfig
from vision_r1_grpo.families import Family

if TYPE_CHECKING:
    from vision_r1_grpo.engine import Engine
    from vision_r1_grpo.policy import Policy

_ADAPTER = re.compile(r"\.lora_[A-Za-z_]+\.")


@dataclass(frozen=True)
class Trainable:
    """How many parameters each part has, and how many of them are trained; printed, a table.

    Args:
        parts: part -> parameters and trained parameters. Adapters are a part of their own.
    """

    parts: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        rows = [("part", "parameters", "trainable")]
        rows += [(part, f"{size:,}", f"{trained:,}") for part, (size, trained) in self.parts.items()]
        size, trained = (sum(column) for column in zip(*self.parts.values(), strict=True))
        rows.append(("total", f"{size:,}", f"{trained:,}"))
        return "\n".join(f"{part:16}{size:>18}{trained:>18}" for part, size, trained in rows)


def choose_trainable(policy: Policy, config: TrainableConfig, seed: int = 0) -> Trainable:
    """Let exactly the parameters that the config names require gradients.

    Args:
        policy: its model gets the adapters that are asked for, in place.
        config: the parts and adapters to train.
        seed: of the values that new adapters begin with.

    Returns:
        The parameters of each part, counted.

    Raises:
        ConfigError: the model lacks a part that is named, nothing would be trained, adapters are asked for
            where there are some, fit no layer, or need peft, which is not installed.
    """
    model, family = policy.model, policy.family
    chosen = config.chosen()
    present = {family.part_of(name) for name, _ in model.named_parameters()}
    for part in chosen:
        if part not in present:
            raise ConfigError(
                f"trainable.{part}: this {family.name} model has no such part, but "
                f"{', '.join(sorted(present))}"
            )
    if config.lora is not None:
        _add_adapters(model, family, config.lora, seed)
    wanted: set[str] = set()
    for name, parameter in model.named_parameters():
        is_adapter = _is_adapter(name)
        trained = is_adapter or (family.part_of(name) in chosen)
        parameter.requires_grad_(trained)
        if trained:
            wanted.add(name)
    if not wanted:
        raise ConfigError("trainable: nothing is left to train; give a part or trainable.lora")
    if config.gradient_checkpointing != "none":
        whole = config.gradient_checkpointing == "all"
        layers = model if whole else model.get_submodule(family.parts["vision_tower"][0])
        with warnings.catch_warnings():  # its newer name is not in all versions of transformers that we allow
            warnings.simplefilter("ignore", FutureWarning)
            layers.gradient_checkpointing_enable({"use_reentrant": False})
    _set_modes(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == wanted
    return count_trainable(model, family)


def count_trainable(model: Any, family: Family) -> Trainable:
    """The parameters of each part, and how many of them require gradients."""
    parts = dict.fromkeys(family.parts, (0, 0))
    for name, parameter in model.named_parameters():
        part = "adapters" if _is_adapter(name) else family.part_of(name)
        size, trained = parts.get(part, (0, 0))
        parts[part] = (
            size + parameter.numel(),
            trained + parameter.numel() * parameter.requires_grad,
        )
    return Trainable({part: counts for part, counts in parts.items() if counts[0]})


class Reference:
    """A module as it is now, however the model in it is trained from here on.

    Where only adapters are trained, and they are fresh, it is the module itself without them, and takes no
    memory; else a copy, to be made before an engine takes the weights over.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        fresh = not any(layer.lora_B["default"].weight.any() for _, layer in _adapted(module))
        itself = all(map(_is_adapter, trained)) and fresh
        self.copy = None if itself else copy.deepcopy(module).eval().requires_grad_(False)

    def forward(self, engine: Engine) -> Callable[..., Any]:
        """Its forward pass, where the engine runs the module."""
        if self.copy is not None:
            return engine.shard(self.copy)

        def without_adapters(*inputs: Any) -> Any:
            with _adapters_off(self.module):
                return engine.forward(*inputs)

        return without_adapters


def has_adapters(model: Any) -> bool:
    """Whether the model has adapters beside its weights."""
    return any(_is_adapter(name) for name, _ in model.named_parameters())


def merged_weights(model: Any) -> dict[str, Tensor]:
    """The weights as of a model without adapters, which are merged into them; the model keeps its own."""
    weights: dict[str, Tensor] = model.state_dict()
    if not has_adapters(model):
        return weights
    merged = {
        name.replace(".base_layer.", "."): value for name, value in weights.items() if not _is_adapter(name)
    }
    for name, layer in _adapted(model):
        weight = merged[f"{name}.weight"]
        delta = layer.get_delta_weight("default")
        merged[f"{name}.weight"] = (weight.float() + delta.float()).to(weight.dtype)
    return merged


def save_adapter(model: Any, path: Path) -> None:
    """Write the adapters alone, as `peft.PeftModel.from_pretrained(base, path)` reads them."""
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    weights = {
        "base_model.model." + name.replace(".default.", "."): value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if _is_adapter(name)
    }
    save_file(weights, path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy.deepcopy(model.peft_config["default"])
    config.base_model_name_or_path, config.inference_mode = model.config.name_or_path, True
    config.save_pretrained(path)


def _add_adapters(model: Any, family: Family, lora: LoraConfig, seed: int) -> None:
    try:
        import peft
    except ModuleNotFoundError:
        raise ConfigError(
            "trainable.lora needs peft; install it with pip install 'vision-r1-grpo[lora]'"
        ) from None
    linear = [
        name.removesuffix(".base_layer")
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and not _is_adapter(name + ".")
    ]
    if lora.target_modules == "all-linear":
        targets = [name for name in linear if name != "lm_head" and family.part_of(name) == "language_model"]
    else:
        targets = [name for name in linear if re.fullmatch(lora.target_modules, name)]
    if not targets:
        raise ConfigError(
            f"trainable.lora.target_modules: {lora.target_modules!r} is the full name of no linear layer; "
            f"give all-linear, or a pattern of names such as {linear[-2]!r}"
        )
    if has_adapters(model):
        of = model.peft_config["default"]
        there = (of.r, of.lora_alpha, of.lora_dropout, {name for name, _ in _adapted(model)})
        if there != (lora.rank, lora.alpha, lora.dropout, set(targets)):
            raise ConfigError(
                "trainable.lora: the model has other adapters; save it and load it anew, which merges them"
            )
        return
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(settings, model)
    model.peft_config = {"default": settings}


def _set_modes(model: Any) -> None:
    """Checkpointed layers and the dropout of adapters are in training mode; all else is as in sampling."""
    model.eval()
    for name, module in model.named_modules():
        if isinstance(module, GradientCheckpointingLayer) or _is_adapter(name + "."):
            module.training = True


def _is_adapter(name: str) -> bool:
    return _ADAPTER.search(name) is not None


def _adapted(model: Any) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]


@contextmanager
def _adapters_off(module: torch.nn.Module) -> Iterator[None]:
    layers = [layer for _, layer in _adapted(module)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
