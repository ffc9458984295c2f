"""How much memory a run will need, from the shapes of its model and its settings.

Axes: P prompts of a rank, F prompts of a forward pass, G completions per prompt, L prompt tokens, T the most
tokens of a completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vision_r1_grpo.config import GRPOConfig
from vision_r1_grpo.engine import default_stage, without_auto

_ADVICE = {
    "weights": "a smaller model, or ZeRO stage 3",
    "gradients": "ZeRO stage 2, more processes, or LoRA",
    "optimizer": "more processes, deepspeed.zero_optimization.offload_optimizer, or LoRA",
    "step of the optimizer": "more processes, deepspeed.zero_optimization.offload_optimizer, or LoRA",
    "reference model": "loss.beta=0, or LoRA",
    "whole weights of the rollout": "a smaller model, or ZeRO stage 2 where it fits",
    "cache of the rollout": "fewer prompts_per_step, sampling.group_size or sampling.max_new_tokens",
    "activations of the update": "fewer prompts_per_forward, gradient checkpointing, or a lower max_pixels",
    "logits of the update": "fewer prompts_per_forward or a lower sampling.max_new_tokens",
}
_PHASES = (
    ("whole weights of the rollout", "cache of the rollout"),
    ("gradients", "activations of the update", "logits of the update"),
    ("gradients", "step of the optimizer"),
)
_LOGITS = 2**24  # elements of a chunk, see TokenLogprobs


@dataclass(frozen=True)
class MemoryEstimate:
    """What one process will hold.

    Args:
        parts: name -> bytes. Weights, the optimiser's state and the reference model are always there, the
            rest in its phase of a step.
        device: bytes of the device's memory; None on a CPU.
    """

    parts: Mapping[str, int]
    device: int | None

    @property
    def peak(self) -> int:
        """The most that is held at a time: while completions are drawn, learnt from, or the weights move."""
        of_a_phase = {name for phase in _PHASES for name in phase}
        always = sum(size for name, size in self.parts.items() if name not in of_a_phase)
        return always + max(sum(self.parts[name] for name in phase) for phase in _PHASES)

    @property
    def advice(self) -> str:
        """What would lower the two largest parts."""
        largest = sorted(self.parts, key=lambda name: -self.parts[name])[:2]
        return "; ".join(f"{name}: {_ADVICE[name]}" for name in largest)


def estimate_memory(
    model: Any,
    config: GRPOConfig,
    *,
    prompt_tokens: int,
    patches: int,
    ranks: int,
    group_size: int | None = None,
) -> MemoryEstimate:
    """Estimate the peak of a process from shapes alone.

    A layer keeps 16 C + 4 I numbers a token for its gradient, C channels and I those of its feed-forward
    part: counted in transformers' Qwen2.5-VL. With gradient checkpointing it keeps C, and one layer at a time
    the rest. Each trained weight has two moments. Under ZeRO and in bfloat16 it also has a float32 copy, and
    while AdamW moves it two numbers more; on one process in float32 AdamW moves it in place.
    Under ZeRO these (from stage 1), gradients (from stage 2) and weights (stage 3) are shared out to ranks;
    in stage 3 every rank holds the whole weights as well while it draws completions.

    It was held against measured peaks on the CPU only, in float32 on one process. There it is too low by what
    libraries take whatever the model, some hundred MiB, and an allocator that keeps what is free may hold a
    quarter as much again. Other types, devices and ZeRO stages have not been measured.

    Args:
        model: of transformers; what requires no gradient is frozen.
        config: the run.
        prompt_tokens: L, of the longest prompt.
        patches: of its image, as the vision tower sees them; 0 if unknown.
        ranks: processes that share the run.
        group_size: G; by default that of the config.
    """
    text, vision = model.config.get_text_config(), getattr(model.config, "vision_config", None)
    width = next(model.parameters()).element_size()
    zero = without_auto(config.deepspeed).get("zero_optimization", {})
    half = width < 4
    stage = zero.get("stage", default_stage(half, ranks))
    offloaded = zero.get("offload_optimizer", {}).get("device", "none") != "none"
    numbers = sum(_size(p) for p in model.parameters())
    trained = sum(_size(p) for p in model.parameters() if p.requires_grad)

    group, most = group_size or config.sampling.group_size, config.sampling.max_new_tokens
    own = -(-config.prompts_per_step // ranks)
    together = min(config.prompts_per_forward, own)
    kept = own * (prompt_tokens + group * most)  # tokens in the cache
    read = together * (prompt_tokens + group * most)  # and of a forward pass
    kv_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    again = config.trainable.gradient_checkpointing
    tower = int(getattr(vision, "depth", 0) or getattr(vision, "num_hidden_layers", 0))
    activations = _activations(read, text, text.num_hidden_layers, again == "all")
    activations += _activations(together * patches, vision, tower, again != "none")
    moved = 0 if offloaded else trained // (ranks if stage >= 1 else 1)
    shared = ranks if stage == 3 else 1
    copied = half or stage >= 1  # into a flat float32 copy of the weights, and of the gradients at a step
    scored = together * group * most * text.vocab_size
    return MemoryEstimate(
        {
            "weights": numbers * width // shared,
            "gradients": trained * width // (ranks if stage >= 2 else 1),
            "optimizer": (12 if copied else 8) * moved,
            "step of the optimizer": 8 * moved if copied else 0,
            "reference model": numbers * width // shared
            if config.loss.beta and config.trainable.chosen()
            else 0,
            "whole weights of the rollout": numbers * width if shared > 1 else 0,
            "cache of the rollout": 2 * text.num_hidden_layers * kv_heads * head * kept * width,
            "activations of the update": activations * width,
            "logits of the update": 3 * 4 * min(scored, _LOGITS),
        },
        torch.cuda.get_device_properties(model.device).total_memory if model.device.type == "cuda" else None,
    )


def _activations(tokens: int, settings: Any, layers: int, checkpointed: bool) -> int:
    """Numbers that the layers keep for the gradient."""
    if not tokens or not layers:
        return 0
    channels = getattr(settings, "hidden_size", None) or settings.embed_dim
    inner = getattr(settings, "intermediate_size", None) or 4 * channels
    one = 16 * channels + 4 * inner
    return int(tokens * (layers * channels + one if checkpointed else layers * one))


def _size(parameter: torch.nn.Parameter) -> int:
    """Numbers of a parameter, also where ZeRO-3 has shared it out."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
