"""DeepSpeed: the optimiser, the ranks, and what is saved of both."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from vision_r1_grpo.config import ConfigError, OptimizerConfig

if not torch.accelerator.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed warns when it has to find that out itself

import deepspeed
from deepspeed.accelerator import get_accelerator

T = TypeVar("T")


class Engine:
    """A model under DeepSpeed, on one process or many.

    Args:
        model: the policy's model; DeepSpeed moves it to this process's device.
        optimizer: AdamW's settings.
        settings: the user's DeepSpeed configuration. What it leaves out, or calls "auto", is chosen here.

    Raises:
        ConfigError: the settings name what the run's own configuration decides.
    """

    def __init__(self, model: torch.nn.Module, optimizer: OptimizerConfig, settings: dict[str, Any]) -> None:
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        init_distributed()
        self._config = _deepspeed_config(model, optimizer, settings)
        self._stage = self._config["zero_optimization"]["stage"]
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._engine, *_ = deepspeed.initialize(model=model, model_parameters=parameters, config=self._config)
        if self._stage == 0:
            self._engine.basic_optimizer.state.clear()  # in bfloat16 DeepSpeed has made a step of no gradient
        self._clipped_norm: Tensor | None = None
        if self._stage == 0 and self.world_size == 1:
            self._engine.enable_backward_allreduce = False  # it would copy every gradient, for nobody
        if self._config["gradient_clipping"] == 0:

            def clip(*_: object) -> None:
                self._clipped_norm = torch.nn.utils.clip_grad_norm_(parameters, optimizer.max_grad_norm)

            self._engine.basic_optimizer.register_step_pre_hook(clip)

    def forward(self, *inputs: Any) -> Any:
        """The model's forward pass."""
        return self._engine(*inputs)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients. DeepSpeed averages them over ranks, and losses here are sums over ranks."""
        self._engine.backward(loss * self.world_size, scale_wrt_gas=False)

    def step(self, learning_rate: float) -> float:
        """Update the weights with what was accumulated, and return the gradient norm before clipping."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        norm = self._engine.get_global_grad_norm() if self._clipped_norm is None else self._clipped_norm
        return float(norm)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """The whole weights on every rank, to sample, evaluate or export with; all ranks enter it together.

        ZeRO stage 3 would otherwise fetch every layer of every forward pass from all ranks, and hang as soon
        as one of them generates for longer than another.
        """
        if self._stage < 3:
            yield
            return
        offload = self._engine.optimizer.parameter_offload
        with deepspeed.zero.GatheredParameters(self._engine.module.parameters()):
            # DeepSpeed's own unwrap_model_for_generation leaves the hook in which ranks wait for each other.
            offload._remove_module_hooks()
            offload.forward_hooks.clear()
            offload.backward_hooks.clear()
            try:
                yield
            finally:
                offload.setup_zero_stage3_hooks()

    def on_first_rank(self, act: Callable[[], T]) -> T | None:
        """Do something with the whole model on the first rank; all ranks call it, for their weights."""
        with self.gathered():
            return act() if self.rank == 0 else None

    def shard(self, model: torch.nn.Module) -> Callable[..., Any]:
        """The forward pass of a model that is not trained, its weights laid out as the policy's are."""
        if self._stage < 3:
            return model.to(self.device)
        zero = {k: v for k, v in self._config["zero_optimization"].items() if k != "offload_optimizer"}
        kept = ("train_micro_batch_size_per_gpu", "bf16")
        config = {key: self._config[key] for key in kept} | {"zero_optimization": zero}
        engine, *_ = deepspeed.initialize(model=model, config=config)
        return engine  # type: ignore[no-any-return]  # DeepSpeed has no types

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write values to the monitors that the DeepSpeed configuration enables; the first rank does it."""
        if self._engine.monitor.enabled:
            self._engine.monitor.write_events([(name, value, step) for name, value in values.items()])

    def save(self, folder: Path, tag: str) -> None:
        """Write weights and optimiser to `folder/tag`; it returns once every rank has."""
        self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False)

    def load(self, folder: Path, tag: str) -> None:
        """Read weights and optimiser back from `folder/tag`."""
        path, _ = self._engine.load_checkpoint(str(folder), tag=tag)
        assert path is not None, f"{folder / tag}: DeepSpeed found no checkpoint"

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return dist.get_rank()

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return dist.get_world_size()

    @property
    def device(self) -> torch.device:
        """This process's device."""
        return torch.device(self._engine.device)

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over ranks."""
        total = values.to(self.device)
        dist.all_reduce(total)
        return total

    def barrier(self) -> None:
        """Wait for all ranks."""
        dist.barrier()


def init_distributed() -> None:
    """Join the ranks that a launcher started, or be the only one."""
    if dist.is_initialized():
        return
    if not torch.accelerator.is_available():
        # DeepSpeed would compile a shared-memory operator for a minute; gloo does without.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = get_accelerator().communication_backend_name()
    backend = "gloo" if backend == "ccl" else backend
    if "RANK" not in os.environ:  # one process talks to nobody and needs no port
        os.environ.setdefault("LOCAL_RANK", "0")
        store = dist.HashStore()  # type: ignore[attr-defined]  # torch does not list it among its exports
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    # The others wait for as long as the first rank measures a test set; DeepSpeed would end them in minutes.
    patience = {} if "DEEPSPEED_TIMEOUT" in os.environ else {"timeout": timedelta(days=1)}
    deepspeed.init_distributed(dist_backend=backend, verbose=False, **patience)
    get_accelerator().set_device(int(os.environ["LOCAL_RANK"]))  # models are loaded to this rank's own device


def default_stage(half: bool, ranks: int) -> int:
    """The ZeRO stage where the user says nothing.

    Alone in float32 there is nothing to share out, and the flat copies of stage 1 would double the memory.
    """
    return int(half or ranks > 1)


# What a run's configuration decides, and where.
_DECIDED = {
    "train_batch_size": "prompts_per_step",
    "train_micro_batch_size_per_gpu": "prompts_per_step",
    "gradient_accumulation_steps": "prompts_per_step",
    "managed_gradient_accumulation": "prompts_per_step",
    "gradient_clipping": "optimizer.max_grad_norm",
    "zero_optimization.compute_grad_norm": "optimizer.max_grad_norm",
    "scheduler": "optimizer.warmup_steps and optimizer.decay",
    "optimizer.params.lr": "optimizer.learning_rate",
}
_DECIDED_OF_ADAMW = {
    "optimizer.params.betas": "optimizer.betas",
    "optimizer.params.weight_decay": "optimizer.weight_decay",
}


def _deepspeed_config(
    model: torch.nn.Module, optimizer: OptimizerConfig, settings: dict[str, Any]
) -> dict[str, Any]:
    settings = without_auto(settings)
    chosen = {"type": "AdamW"} | settings.get("optimizer", {})
    adamw = chosen["type"] == "AdamW"
    for key, source in (_DECIDED | _DECIDED_OF_ADAMW if adamw else _DECIDED).items():
        if _look_up(settings, key) is not None:
            raise ConfigError(f"deepspeed.{key} follows from {source}; leave it out")
    half = next(model.parameters()).dtype == torch.bfloat16
    for key, enabled in (("bf16.enabled", half), ("fp16.enabled", False)):
        if _look_up(settings, key) not in (None, enabled):
            raise ConfigError(f"deepspeed.{key} follows from the dtype of the model; leave it out")
    stage = default_stage(half, dist.get_world_size())
    zero = {"stage": stage} | settings.get("zero_optimization", {})
    if zero["stage"] not in (0, 1, 2, 3):
        raise ConfigError(f"deepspeed.zero_optimization.stage must be 0, 1, 2 or 3, got {zero['stage']}")
    own: dict[str, Any] = {"lr": optimizer.learning_rate}
    if adamw:
        own |= {"betas": list(optimizer.betas), "weight_decay": optimizer.weight_decay}
        # Torch's own needs no compiler, and fused no temporaries, but only torch's knows the word.
        torch_adam = bool(chosen.get("params", {}).get("torch_adam", True))
        own |= {"torch_adam": True, "fused": True} if torch_adam else {}
    return settings | {
        "train_micro_batch_size_per_gpu": 1,
        # Losses are normalised over the whole batch here, whatever the number of backward passes.
        "managed_gradient_accumulation": False,
        # Stage 0 in float32 clips without telling the norm, so the engine does it in its place.
        "gradient_clipping": optimizer.max_grad_norm if half or zero["stage"] else 0.0,
        "bf16": settings.get("bf16", {}) | {"enabled": half},
        "optimizer": chosen | {"params": own | chosen.get("params", {})},
        "zero_optimization": zero,
    }


def without_auto(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that are "auto", as configurations written for other trainers have them."""
    return {
        key: without_auto(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if value != "auto"
    }


def _look_up(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings
