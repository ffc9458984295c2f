import json
import os
import subprocess
import sys

import pytest
import torch

from vision_r1_grpo.config import ConfigError, GRPOConfig, OptimizerConfig
from vision_r1_grpo.config_file import load_config
from vision_r1_grpo.engine import Engine


def engine(dtype=torch.float32, weight_decay=0.0, **settings):
    torch.manual_seed(0)
    optimizer = OptimizerConfig(learning_rate=0.1, max_grad_norm=1.0, weight_decay=weight_decay)
    return Engine(torch.nn.Linear(3, 2, dtype=dtype), optimizer, settings)


def test_values_go_to_the_monitors_of_the_configuration(tmp_path):
    csv = {"enabled": True, "output_path": str(tmp_path), "job_name": "run"}
    monitored = engine(csv_monitor=csv)
    for step, reward in ((1, 0.5), (2, 0.75)):
        monitored.log({"reward": reward, "eval/mAP": 0.25}, step)
    assert (tmp_path / "run" / "reward.csv").read_text().split() == ["step,reward", "1,0.5", "2,0.75"]
    assert (tmp_path / "run" / "eval_mAP.csv").read_text().split() == ["step,mAP", "1,0.25", "2,0.25"]


def test_without_monitors_values_go_nowhere():
    engine().log({"reward": 0.5}, 1)


OFFLOAD = {"offload_optimizer": {"device": "cpu"}}
ZERO = {
    "as chosen": {},
    **{f"stage {stage}": {"stage": stage} for stage in range(4)},
    "stage 2, offloaded": {"stage": 2} | OFFLOAD,
    "stage 3, offloaded": {"stage": 3, "offload_param": {"device": "cpu"}} | OFFLOAD,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("zero", ZERO)
def test_a_step_by_hand(zero, dtype):
    """A row of the weights has the gradient (3, 4, 0), its bias 1; Adam's first step is the learning rate."""
    stepped = engine(dtype, zero_optimization=ZERO[zero])
    model = stepped._engine.module
    with stepped.gathered():
        before = model.weight.clone()
    loss = stepped.forward(torch.tensor([[3.0, 4.0, 0.0]], dtype=dtype)).sum()
    stepped.backward(loss)
    assert stepped.step(0.05) == pytest.approx((2 * 26) ** 0.5, rel=1e-2 if dtype == torch.bfloat16 else 1e-6)
    with stepped.gathered():
        moved = (model.weight - before).float()
    expected = torch.tensor([[-0.05, -0.05, 0.0]] * 2)
    torch.testing.assert_close(moved, expected, atol=4e-3 if dtype == torch.bfloat16 else 1e-6, rtol=0)


@pytest.mark.parametrize("zero", ["as chosen", "stage 1", "stage 3"])
def test_gradients_are_clipped_whatever_the_stage(zero):
    """Under plain descent what a step moves is the clipped gradient."""
    settings = {"optimizer": {"type": "SGD"}, "zero_allow_untested_optimizer": True}
    stepped = engine(**settings, zero_optimization=ZERO[zero])
    with stepped.gathered():
        before = stepped._engine.module.weight.clone()
    stepped.backward(stepped.forward(torch.tensor([[3.0, 4.0, 0.0]])).sum())
    stepped.step(1.0)
    with stepped.gathered():
        moved = stepped._engine.module.weight - before
    torch.testing.assert_close(moved, torch.tensor([[-3.0, -4.0, 0.0]] * 2) / 52**0.5)


DECIDED = {
    "train_batch_size": ({"train_batch_size": 4}, "follows from prompts_per_step"),
    "gradient_accumulation_steps": ({"gradient_accumulation_steps": 2}, "follows from prompts_per_step"),
    "gradient_clipping": ({"gradient_clipping": 0.5}, "follows from optimizer.max_grad_norm"),
    "scheduler": ({"scheduler": {"type": "WarmupLR"}}, "follows from optimizer.warmup_steps"),
    "optimizer.params.lr": ({"optimizer": {"params": {"lr": 1.0}}}, "follows from optimizer.learning_rate"),
    "optimizer.params.betas": ({"optimizer": {"params": {"betas": [0.9, 0.95]}}}, "optimizer.betas"),
    "bf16.enabled": ({"bf16": {"enabled": True}}, "follows from the dtype of the model"),
    "fp16.enabled": ({"fp16": {"enabled": True}}, "follows from the dtype of the model"),
    "zero_optimization.stage": ({"zero_optimization": {"stage": 4}}, "must be 0, 1, 2 or 3, got 4"),
}


@pytest.mark.parametrize("key", DECIDED)
def test_what_the_run_decides_is_refused_in_one_line(key):
    settings, said = DECIDED[key]
    with pytest.raises(ConfigError, match=f"^deepspeed.{key} .*{said}"):
        engine(**settings)


def test_what_is_auto_is_as_if_left_out():
    settings = {
        "train_batch_size": "auto",
        "bf16": {"enabled": "auto"},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "eps": 1e-6}},
        "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"},
    }
    passed = engine(**settings)._engine
    assert passed.zero_optimization_stage() == 2
    assert passed.optimizer.param_groups[0]["eps"] == 1e-6
    assert passed.optimizer.param_groups[0]["lr"] == 0.1


def test_settings_may_be_a_file_of_json(tmp_path):
    file = tmp_path / "ds.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert load_config(GRPOConfig, None, [f"deepspeed={file}"]).deepspeed == {
        "zero_optimization": {"stage": 2}
    }
    with pytest.raises(ConfigError, match=r"^deepspeed: .*none.json cannot be read as JSON"):
        load_config(GRPOConfig, None, [f"deepspeed={tmp_path / 'none.json'}"])
    file.write_text("[1]")
    with pytest.raises(ConfigError, match=r"^deepspeed must be a dict or the path of one, got \[1\]"):
        load_config(GRPOConfig, None, [f"deepspeed={file}"])
    merged = load_config(GRPOConfig, None, ["deepspeed.zero_optimization.stage=3"])
    assert merged.deepspeed == {"zero_optimization": {"stage": 3}}


PATIENCE = """
import torch
from vision_r1_grpo.engine import init_distributed

init_distributed()
group = torch.distributed.group.WORLD
print(group._get_backend(torch.device("cpu")).options._timeout)
"""


def test_ranks_wait_for_as_long_as_the_first_one_measures():
    """DeepSpeed's own ten minutes are less than a model of billions takes for a thousand images."""
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {name: value for name, value in os.environ.items() if name != "DEEPSPEED_TIMEOUT"}
    done = subprocess.run(
        [sys.executable, "-c", PATIENCE],
        env=environment | launched | {"MASTER_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "1 day, 0:00:00"
