"""Freezing by part, adapters and checkpointing, on a tiny random Qwen2.5-VL and others where they differ."""

import copy
import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import peft
import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from vision_r1_grpo import ConfigError, GRPOConfig, GRPOTrainer, Policy, VisionReward, load_config
from vision_r1_grpo.config import LoraConfig, LossConfig, OptimizerConfig, SamplingConfig, TrainableConfig
from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs
from vision_r1_grpo.policy import evaluating
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler
from vision_r1_grpo.trainable import Reference, choose_trainable, merged_weights

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, ReplaySampler, make_scenes

LORA = LoraConfig(rank=2, alpha=4)


@pytest.fixture
def own(policy):
    """A policy that a test may change."""
    return Policy(copy.deepcopy(policy.model), policy.processor)


@pytest.fixture(scope="module")
def completions():
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(5) < torch.tensor([5, 1, 4, 2])[:, None]
    return torch.randint(20, 300, (4, 5), generator=generator), mask


def logprobs(policy, prompts, completions, forward=None):
    return completion_logprobs(forward or TokenLogprobs(policy.model, 1000), policy, prompts, *completions)


def reference_of(policy):
    """Where no engine has taken the weights over."""
    module = TokenLogprobs(policy.model, 1000)
    return Reference(module).forward(SimpleNamespace(forward=module, shard=lambda other: other))


def disturb(policy, part="lora_B"):
    """As if trained: what is trained of that name has other values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if part in name:
                assert parameter.requires_grad
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)


def trained(policy):
    return {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("settings", "prefixes"),
    [
        ({}, ("model.visual.", "model.language_model.", "lm_head.")),
        ({"vision_tower": False}, ("model.visual.merger.", "model.language_model.", "lm_head.")),
        ({"vision_tower": False, "language_model": False}, ("model.visual.merger.",)),
        (
            {"projector": False, "language_model": False},
            ("model.visual.blocks.", "model.visual.patch_embed."),
        ),
    ],
    ids=["all", "without the tower", "projector alone", "tower alone"],
)
def test_exactly_the_parts_that_are_named_are_trained(own, settings, prefixes):
    choose_trainable(own, TrainableConfig(**settings))
    names = {name for name, _ in own.model.named_parameters() if name.startswith(prefixes)}
    assert trained(own) == names


def test_the_table_counts_each_part(own):
    table = choose_trainable(own, TrainableConfig(vision_tower=False, projector=False, lora=LORA))
    sizes = Counter()
    for name, parameter in own.model.named_parameters():
        sizes["adapters" if "lora" in name else own.family.part_of(name)] += parameter.numel()
    # 2 x (inputs + outputs) of q, k, v, o (128, 128), gate, up, down (128, 384) in 5 layers.
    adapters = 5 * 2 * (4 * (128 + 128) + 3 * (128 + 384))
    assert sizes["adapters"] == adapters
    assert table.parts == {
        "vision_tower": (sizes["vision_tower"], 0),
        "projector": (sizes["projector"], 0),
        "language_model": (sizes["language_model"], 0),
        "adapters": (adapters, adapters),
    }
    lines = str(table).splitlines()
    assert lines[0].split() == ["part", "parameters", "trainable"]
    assert lines[-2].split() == ["adapters", f"{adapters:,}", f"{adapters:,}"]
    assert lines[-1].split() == ["total", f"{sizes.total():,}", f"{adapters:,}"]


def test_adapters_are_in_all_linear_layers_of_the_language_model_but_its_head(own):
    choose_trainable(own, TrainableConfig(lora=LORA))
    adapted = {name.split(".lora_")[0] for name in trained(own)}
    assert all(name.startswith("model.language_model.layers.") for name in adapted)
    assert len(adapted) == 5 * 7


def test_the_seed_decides_what_adapters_begin_with(policy):
    begun = []
    for other, seed in ((1, 5), (2, 5), (2, 6)):
        own = Policy(copy.deepcopy(policy.model), policy.processor)
        torch.manual_seed(other)
        choose_trainable(own, TrainableConfig(lora=LORA), seed)
        begun.append(next(p.clone() for name, p in own.model.named_parameters() if "lora_A" in name))
    assert torch.equal(begun[0], begun[1])
    assert not torch.equal(begun[1], begun[2])


def test_a_pattern_chooses_the_layers(own):
    lora = LoraConfig(rank=2, target_modules=r"model\.visual\.blocks\.\d\.attn\.qkv")
    choose_trainable(own, TrainableConfig(lora=lora, projector=True))
    assert {own.family.part_of(name) for name in trained(own) if "lora" not in name} == {"projector"}
    adapted = {name.split(".lora_")[0] for name in trained(own) if "lora" in name}
    assert adapted == {f"model.visual.blocks.{n}.attn.qkv" for n in range(3)}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainableConfig(False, False, False), "trainable: nothing is left to train; give a part"),
        (TrainableConfig(lora=LoraConfig(target_modules="q_proj")), "'q_proj' is the full name of no linear"),
    ],
    ids=["nothing", "no such layer"],
)
def test_what_cannot_be_trained_is_refused(own, config, message):
    with pytest.raises(ConfigError, match=message):
        choose_trainable(own, config)


def test_a_part_that_the_model_has_not_is_refused(own):
    own.model.model.visual.merger = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r"trainable\.projector: this Qwen2\.5-VL model has no such part"):
        choose_trainable(own, TrainableConfig(vision_tower=False, language_model=False, projector=True))


def test_adapters_need_peft(own, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install 'vision-r1-grpo\[lora\]'"):
        choose_trainable(own, TrainableConfig(lora=LORA))


def test_the_same_adapters_go_on_and_others_are_refused(own):
    choose_trainable(own, TrainableConfig(lora=LORA))
    disturb(own)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    choose_trainable(own, TrainableConfig(lora=LORA))
    assert all(torch.equal(value, before[name]) for name, value in own.model.state_dict().items())
    with pytest.raises(ConfigError, match="the model has other adapters"):
        choose_trainable(own, TrainableConfig(lora=LoraConfig(rank=3)))


def test_settings_come_from_overrides():
    overrides = ["trainable.lora.rank=8", "trainable.projector=true", "trainable.gradient_checkpointing=all"]
    config = load_config(GRPOConfig, None, overrides).trainable
    assert config == TrainableConfig(projector=True, lora=LoraConfig(rank=8), gradient_checkpointing="all")
    assert config.chosen() == ["projector"]
    with pytest.raises(ConfigError, match=r"trainable\.lora\.rank must be at least 1"):
        load_config(GRPOConfig, None, ["trainable.lora.rank=0"])


def test_adapters_change_nothing_until_they_are_trained(policy, own, prompts, completions):
    choose_trainable(own, TrainableConfig(lora=LORA))
    with torch.no_grad():
        expected = logprobs(policy, prompts, completions)
        assert torch.equal(logprobs(own, prompts, completions), expected)
        disturb(own)
        assert (logprobs(own, prompts, completions) - expected).abs().max() > 0.01


@pytest.mark.parametrize("projector", [False, True], ids=["adapters alone", "with the projector"])
def test_the_reference_is_the_model_that_training_began_with(policy, own, prompts, completions, projector):
    choose_trainable(own, TrainableConfig(lora=LORA, projector=projector))
    reference = reference_of(own)
    disturb(own)
    if projector:
        disturb(own, "merger")
    expected_trained = trained(own)
    with torch.no_grad():
        expected = logprobs(policy, prompts, completions)
        assert torch.equal(logprobs(own, prompts, completions, reference), expected)
    assert trained(own) == expected_trained
    moved = logprobs(own, prompts, completions)
    with torch.no_grad():  # between the forward pass and its gradients, as in an update
        logprobs(own, prompts, completions, reference)
    moved.sum().backward()
    assert all(own.model.get_parameter(name).grad is not None for name in expected_trained)


def test_adapters_that_were_trained_before_are_part_of_the_reference(own, prompts, completions):
    choose_trainable(own, TrainableConfig(lora=LORA))
    disturb(own)
    reference = reference_of(own)
    with torch.no_grad():
        expected = logprobs(own, prompts, completions)
        disturb(own)
        assert torch.equal(logprobs(own, prompts, completions, reference), expected)


def test_a_saved_policy_has_its_adapters_merged(own, prompts, completions, tmp_path):
    choose_trainable(own, TrainableConfig(lora=LORA))
    disturb(own)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    own.save_pretrained(tmp_path / "model")
    assert all(torch.equal(value, before[name]) for name, value in own.model.state_dict().items())
    merged = Policy.from_pretrained(tmp_path / "model", device="cpu")
    with torch.no_grad():
        expected = logprobs(own, prompts, completions)
        torch.testing.assert_close(logprobs(merged, prompts, completions), expected, atol=1e-5, rtol=1e-5)


def test_a_saved_adapter_fits_the_base_in_peft(policy, own, prompts, completions, tmp_path):
    choose_trainable(own, TrainableConfig(lora=LORA))
    disturb(own)
    own.save_pretrained(tmp_path / "model")
    policy.save_pretrained(tmp_path / "base")
    base = Policy.from_pretrained(tmp_path / "base", device="cpu")
    peft.PeftModel.from_pretrained(base.model, tmp_path / "model" / "adapter")  # puts them into the base
    with torch.no_grad():
        expected = logprobs(own, prompts, completions)
        torch.testing.assert_close(logprobs(base, prompts, completions), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("lora", [None, LORA], ids=["weights", "adapters"])
def test_checkpointing_changes_neither_logprobs_nor_gradients(policy, prompts, completions, lora):
    results = []
    for checkpointing in ("none", "all"):
        own = Policy(copy.deepcopy(policy.model), policy.processor)
        config = TrainableConfig(lora=lora, gradient_checkpointing=checkpointing)
        choose_trainable(own, config)
        if lora:
            disturb(own)
        calls = Counter()
        for name, module in own.model.named_modules():
            if isinstance(module, GradientCheckpointingLayer):
                inner = module.self_attn if hasattr(module, "self_attn") else module.attn
                inner.register_forward_hook(lambda *_, name=name, calls=calls: calls.update([name]))
        values = logprobs(own, prompts, completions)
        values.sum().backward()
        gradients = {name: own.model.get_parameter(name).grad for name in trained(own)}
        results.append((values.detach(), gradients, calls))
    (plain, plain_gradients, once), (saved, saved_gradients, twice) = results
    assert torch.equal(plain, saved)
    assert set(once.values()) == {1}
    text = {name for name in once if "language_model" in name}
    assert len(text) == 5
    assert {twice[name] for name in text} == {2}
    for name, gradient in plain_gradients.items():
        assert gradient is not None
        torch.testing.assert_close(saved_gradients[name], gradient, atol=1e-6, rtol=1e-6)


def test_the_vision_tower_alone_can_be_checkpointed(own):
    choose_trainable(own, TrainableConfig(gradient_checkpointing="vision_tower"))
    layers = {
        name: module.gradient_checkpointing and module.training
        for name, module in own.model.named_modules()
        if isinstance(module, GradientCheckpointingLayer)
    }
    assert len(layers) == 8
    assert all(checkpointed == ("visual" in name) for name, checkpointed in layers.items())


def test_dropout_of_adapters_is_of_the_update_and_not_of_sampling(own, prompts, completions):
    choose_trainable(own, TrainableConfig(lora=LoraConfig(rank=2, dropout=0.5), gradient_checkpointing="all"))
    disturb(own)
    modes = [module.training for module in own.model.modules()]
    with torch.no_grad():
        one, other = (logprobs(own, prompts, completions) for _ in range(2))
        assert not torch.equal(one, other)
        with evaluating(own.model):
            assert torch.equal(*(logprobs(own, prompts, completions) for _ in range(2)))
    draws = [TransformersSampler(own).generate(prompts, 2, Sampling(1.0, 8, seed=0)) for _ in range(2)]
    assert torch.equal(draws[0].logprobs, draws[1].logprobs)
    assert [module.training for module in own.model.modules()] == modes


@pytest.mark.parametrize("stage", [0, 3])
def test_a_step_with_adapters_changes_adapters_alone(own, tmp_path, stage):
    samples = make_scenes(tmp_path)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    config = GRPOConfig(
        sampling=SamplingConfig(group_size=GROUP),
        loss=LossConfig(beta=0.1),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        trainable=TrainableConfig(lora=LORA, gradient_checkpointing="all"),
        prompts_per_step=2,
        max_steps=2,
        deepspeed={"zero_optimization": {"stage": stage}},
    )
    reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
    sampler = ReplaySampler(own, samples)
    trainer = GRPOTrainer(config, own, reward, samples, folder=tmp_path, sampler=sampler)
    trainer.train()
    assert trainer.trainable.parts["language_model"][1] == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(row["grad_norm"] > 0 for row in rows)
    with trainer.engine.gathered():
        after = {name: value.clone() for name, value in own.model.state_dict().items()}
        own.save_pretrained(tmp_path / "model")
        probe = merged_weights(own.model)["model.language_model.layers.0.mlp.up_proj.weight"].clone()
    kept = {name.replace(".base_layer.", "."): value for name, value in after.items()}
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert any(value.any() for name, value in after.items() if "lora_B" in name)
    exported = Policy.from_pretrained(tmp_path / "model", device="cpu").model.state_dict()
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(exported[name], probe)
    assert not torch.equal(probe, before[name])
