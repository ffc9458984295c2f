import copy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from vision_r1_grpo import ConfigError, GRPOConfig, GRPOTrainer, Policy, VisionReward
from vision_r1_grpo.config import LossConfig, SamplingConfig, TrainableConfig
from vision_r1_grpo.memory import estimate_memory
from vision_r1_grpo.preflight import check_prompts, preflight
from vision_r1_tiny import path

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, make_scenes


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A run of the tiny model that is about to start."""
    folder = tmp_path_factory.mktemp("preflight") / "run"
    folder.mkdir()
    config = GRPOConfig(SamplingConfig(GROUP, 1.0, 80), prompts_per_step=2, max_steps=1)
    reward = VisionReward.from_preset("strict", "qwen2_5_vl")
    return GRPOTrainer(
        config, Policy.from_pretrained(path()), reward, make_scenes(folder.parent), folder=folder
    )


@pytest.fixture(scope="module")
def seen(trainer):
    return preflight(trainer)


def test_the_images_reach_the_real_model(seen):
    assert seen.change > 1


def test_a_model_whose_image_features_are_dropped_is_refused(trainer):
    """All else is as it should be: placeholders, positions, and pixel values that are handed over."""
    merger = trainer.policy.model.model.visual.merger
    hook = merger.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    with hook, pytest.raises(ConfigError, match="images do not reach the model"):
        preflight(trainer)


def test_a_group_is_scored_and_shown(seen):
    console = Console(width=150)
    with console.capture() as capture:
        console.print(seen)
    shown = capture.get()
    assert "Locate every item" in shown
    assert shown.count("f_measure") == len(seen.group.rollout.texts) == 4
    for total in seen.group.scored.total.tolist():
        assert f"{total:.2f}" in shown
    assert "GiB a process" in shown
    assert "what would lower it. activations of the update: fewer prompts_per_forward" in shown
    assert ("teaches nothing" in shown) == (not seen.group.informative)


@pytest.mark.parametrize(("device", "said"), [(2**30, "this may not fit"), (2**40, "its device has 1024")])
def test_the_memory_is_compared_with_that_of_the_device(seen, device, said):
    tight = replace(
        seen, memory=replace(seen.memory, parts=seen.memory.parts | {"weights": 2**30}, device=device)
    )
    console = Console(width=150)
    with console.capture() as capture:
        console.print(tight)
    assert said in capture.get()


def test_prompts_are_held_to_the_budget(trainer, seen):
    encoded = [(sample, trainer.feed.encode(sample)) for sample in trainer.dataset]
    lengths = {sample.id: len(prompt.input_ids) for sample, prompt in encoded}
    assert seen.prompts.longest == max(lengths.values())
    assert seen.prompts.too_long == ()
    first, second = (encoded[0], encoded[1])
    longer = (first[0], replace(first[1], input_ids=torch.zeros(500, dtype=torch.long)))
    checked = check_prompts([longer, second], replace(trainer.config, max_prompt_tokens=499), None)
    assert (checked.longest, checked.too_long) == (lengths[second[0].id], (first[0].id,))
    with pytest.raises(ConfigError, match="max_prompt_tokens 7: all of the first 2 prompts have more"):
        check_prompts([first, second], replace(trainer.config, max_prompt_tokens=7), None)
    with pytest.raises(
        ConfigError, match=f"the 500 tokens of the prompt of sample '{first[0].id}' .* 579 pos"
    ):
        check_prompts([longer, second], trainer.config, 579)
    assert check_prompts([longer, second], trainer.config, 580).longest == 500


def estimate(model, ranks=1, **settings):
    config = GRPOConfig(SamplingConfig(8, 1.0, 80), **{"prompts_per_step": 8} | settings)
    return estimate_memory(model, config, prompt_tokens=84, patches=64, ranks=ranks)


def test_memory_by_hand(trainer):
    model = trainer.policy.model
    n = sum(p.numel() for p in model.parameters())
    parts = estimate(model).parts
    assert parts["weights"] == parts["gradients"] == 4 * n
    assert parts["optimizer"] == 8 * n  # two moments in float32
    sharded = estimate(model, deepspeed=ZERO[1]).parts
    assert sharded["optimizer"] == 12 * n  # and the weights once more
    assert sharded["step of the optimizer"] == 8 * n
    assert parts["reference model"] == 0
    assert estimate(model, loss=LossConfig(beta=0.1)).parts["reference model"] == 4 * n
    # 5 layers, keys and values of 128 channels, 8 prompts of 84 tokens with 8 x 80 of completions
    assert parts["cache of the rollout"] == 5 * 2 * 128 * 8 * (84 + 8 * 80) * 4


ZERO = {stage: {"zero_optimization": {"stage": stage}} for stage in (0, 1, 2, 3)}


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"), [(0, 1, 1, 1), (1, 1, 1, 4), (2, 1, 4, 4), (3, 4, 4, 4)]
)
def test_zero_shares_out_what_it_says(trainer, stage, weights, gradients, optimizer):
    alone = estimate(trainer.policy.model, deepspeed=ZERO[stage]).parts
    shared = estimate(trainer.policy.model, ranks=4, deepspeed=ZERO[stage]).parts
    for name, by in (("weights", weights), ("gradients", gradients), ("optimizer", optimizer)):
        assert shared[name] == alone[name] // by, name
    # Stage 3 shares the reference out too, and gathers the weights to draw completions.
    assert shared["whole weights of the rollout"] == (alone["weights"] if stage == 3 else 0)
    held = estimate(trainer.policy.model, ranks=4, deepspeed=ZERO[stage], loss=LossConfig(beta=0.1)).parts
    assert held["reference model"] == alone["weights"] // weights


def test_stage_3_may_hold_most_while_it_draws_completions(trainer):
    shared = estimate(trainer.policy.model, ranks=4, prompts_per_forward=1, deepspeed=ZERO[3])
    drawing = ("whole weights of the rollout", "cache of the rollout", "weights", "optimizer")
    assert shared.peak >= sum(shared.parts[name] for name in drawing)


def test_what_lowers_the_peak(trainer):
    model = copy.deepcopy(trainer.policy.model)
    full = estimate(model)
    assert estimate(model, prompts_per_forward=1).peak < full.peak
    offload = {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}
    assert estimate(model, deepspeed=offload).parts["optimizer"] == 0
    assert "activations of the update: fewer prompts_per_forward" in full.advice
    tower, everything = (
        estimate(model, trainable=TrainableConfig(gradient_checkpointing=which))
        for which in ("vision_tower", "all")
    )
    assert everything.peak < full.peak / 2
    assert everything.peak < tower.peak < full.peak
    model.model.visual.requires_grad_(False)
    assert estimate(model).parts["gradients"] < full.parts["gradients"]


def test_what_is_auto_is_chosen_before_memory_is_estimated(trainer):
    zero = {"stage": "auto", "offload_optimizer": {"device": "auto"}}
    assert estimate(trainer.policy.model, deepspeed={"zero_optimization": zero}) == estimate(
        trainer.policy.model
    )


def test_dropout_is_not_taken_for_another_image(trainer):
    """As of adapters in a run that is resumed: they are in training mode, and no longer zero."""
    mlp = trainer.policy.model.model.language_model.layers[0].mlp
    hook = mlp.register_forward_hook(
        lambda module, inputs, output: torch.nn.functional.dropout(output, 0.5, module.training)
    )
    mlp.training = True
    with hook:
        assert preflight(trainer).change > 1
    assert mlp.training
    mlp.training = False


def test_the_group_is_drawn_as_those_of_the_run(trainer, seen):
    other = copy.copy(trainer)
    end = int(seen.group.rollout.tokens[0, 3])
    other.stop_token_ids = (end,)
    rollout = preflight(other).group.rollout
    drawn = [row[kept].tolist() for row, kept in zip(rollout.tokens, rollout.mask, strict=True)]
    assert drawn[0] == seen.group.rollout.tokens[0, :4].tolist()
    assert all(end not in tokens[:-1] for tokens in drawn)


def test_equal_images_are_told_from_equal_answers(trainer):
    """A plain grey image and its negative differ by one level, and still the model sees it."""
    flat = [
        replace(sample, image=trainer.folder.parent / "grey.png", width=112, height=112)
        for sample in trainer.dataset[:1]
    ]
    Image.new("RGB", (112, 112), (127, 127, 127)).save(flat[0].image)
    other = copy.copy(trainer)
    other.feed = copy.copy(trainer.feed)
    other.dataset = other.feed.dataset = flat
    assert 0 < preflight(other).change < 1
