"""DeepSpeed: the optimiser, the ranks, and what is saved of both."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vision_r1_grpo.config import ConfigError, OptimizerConfig

if not torch.accelerator.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed warns when it has to find that out itself

import deepspeed
from deepspeed.accelerator import get_accelerator


class Engine:
    """A model under DeepSpeed, on one process or many.

    Args:
        model: the policy's model; DeepSpeed moves it to this process's device.
        optimizer: AdamW's settings.
        settings: the user's DeepSpeed configuration; it wins over what follows from the rest.

    Raises:
        ConfigError: the settings ask for ZeRO stage 3, or set a batch size.
    """

    def __init__(self, model: torch.nn.Module, optimizer: OptimizerConfig, settings: dict[str, Any]) -> None:
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        init_distributed()
        config = _deepspeed_config(model, optimizer, settings)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._engine, *_ = deepspeed.initialize(model=model, model_parameters=parameters, config=config)

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
        return float(self._engine.get_global_grad_norm() or 0.0)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write values to the monitors that the DeepSpeed configuration enables; the first rank does it."""
        if self._engine.monitor.enabled:
            self._engine.monitor.write_events([(name, value, step) for name, value in values.items()])

    def save(self, folder: Path, tag: str, state: dict[str, Any]) -> None:
        """Write weights, optimiser and `state`; `folder/latest` names the tag once all of it is there."""
        self._engine.save_checkpoint(str(folder), tag=tag, client_state={"run": state})

    def load(self, folder: Path) -> dict[str, Any]:
        """Read the latest checkpoint back and return its state."""
        _, state = self._engine.load_checkpoint(str(folder))
        return dict(state["run"])

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
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    get_accelerator().set_device(int(os.environ["LOCAL_RANK"]))  # models are loaded to this rank's own device


def _deepspeed_config(
    model: torch.nn.Module, optimizer: OptimizerConfig, settings: dict[str, Any]
) -> dict[str, Any]:
    for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"):
        if key in settings:
            raise ConfigError(f"deepspeed.{key} follows from prompts_per_step; leave it out")
    zero = {"stage": 1} | settings.get("zero_optimization", {})
    if zero["stage"] not in (0, 1, 2):
        raise ConfigError(f"deepspeed.zero_optimization.stage must be 0, 1 or 2, got {zero['stage']}")
    dtype = next(model.parameters()).dtype
    own = {
        "train_micro_batch_size_per_gpu": 1,
        # Losses are normalised over the whole batch here, whatever the number of backward passes.
        "managed_gradient_accumulation": False,
        "gradient_clipping": optimizer.max_grad_norm,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": optimizer.learning_rate,
                "betas": list(optimizer.betas),
                "weight_decay": optimizer.weight_decay,
                "torch_adam": True,
            },
        },
    }
    # Stage 1 also on one process: it reports the gradient norm, the plain float32 path does not.
    return own | settings | {"zero_optimization": zero}
