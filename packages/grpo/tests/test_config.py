import dataclasses

import pytest

from vision_r1_grpo import ConfigError, GRPOConfig, Refinement, load_config, save_config
from vision_r1_grpo.config import LossConfig, OptimizerConfig, RewardConfig, SamplingConfig


def refused(*overrides, file=None):
    """The one line that says why."""
    with pytest.raises(ConfigError) as caught:
        load_config(GRPOConfig, file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "full_key" not in message
    assert "object_type" not in message
    return message


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("max_step=3", "max_steps"),
        ("sampling.groupsize=4", "sampling.group_size"),
        ("reward.presets=paper", "reward.preset"),
        ("optimizer.lr=1", "there are learning_rate, warmup_steps"),
        ("reward.refinement.begin=[0]", "reward.refinement.begins"),
        ("xyz=1", "there are sampling, reward"),
    ],
)
def test_an_unknown_key_gives_the_nearest_one(override, near):
    message = refused(override)
    assert f"there is no setting {override.split('=')[0]!r}" in message
    assert near in message


def test_an_unknown_key_in_yaml_gives_the_nearest_one(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sampling:\n  temperatur: 0.9\n")
    assert "did you mean 'sampling.temperature'?" in refused(file=recipe)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("max_steps=many", "max_steps"),
        ("sampling.temperature=hot", "sampling.temperature"),
        ("sampling=5", "sampling"),
        ("sampling.group_size=2.5", "sampling.group_size"),
        ("loss.scale_advantages=perhaps", "loss.scale_advantages"),
        ("reward.weights.format=much", "reward.weights.format"),
        ("reward.preset=lenient", "reward.preset"),
        ("reward.refinement.kind=cosin", "'staged', 'linear', 'cosine', 'adaptive'"),
        ("reward.options=matched", "reward.options"),
        ("loss.reduction=sum", "loss.reduction"),
        ("loss.kind=ppo", "loss.kind"),
        ("prompts_per_step.x=1", "prompts_per_step"),
        ("optimizer.betas=0.9", "optimizer.betas"),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("reward.refinement.thresholds=[[0.5, 0.5]]", "refinement.thresholds"),
        ("max_steps=[", "max_steps"),
        ("prompts_per_step=null", "prompts_per_step"),
    ],
)
def test_a_wrong_type_names_its_key(override, key):
    assert key in refused(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.group_size=1", "sampling.group_size must be at least 2, to compare answers, got 1"),
        ("sampling.temperature=0", "sampling.temperature must be above 0, got 0.0"),
        ("sampling.max_new_tokens=0", "sampling.max_new_tokens must be at least 1, got 0"),
        ("loss.clip_low=0", "loss.clip_low must be above 0 and at most 1, got 0.0"),
        ("loss.clip_high=0", "loss.clip_high must be above 0, got 0.0"),
        ("loss.dual_clip=1.2", "loss.dual_clip must be above 1 + loss.clip_high = 1.28, got 1.2"),
        ("loss.importance_cap=0.5", "loss.importance_cap must be at least 1, got 0.5"),
        (
            "loss.overlong_buffer=9",
            "loss.overlong_buffer must be given with loss.truncated penalise, and only",
        ),
        (
            "loss.truncated=penalise",
            "loss.overlong_buffer must be given with loss.truncated penalise, and only",
        ),
        ("loss.kl=k1", "loss.kl must be left out where loss.beta is 0, got k1"),
        ("epochs_per_rollout=0", "epochs_per_rollout must be at least 1, got 0"),
        ("resample_rounds=-1", "resample_rounds must be at least 0, got -1"),
        ("minibatches=3", "minibatches must be a divisor of prompts_per_step = 8, got 3"),
        ("loss.beta=-0.1", "loss.beta must be at least 0, got -0.1"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate must be above 0, got 0.0"),
        ("optimizer.decay=1.5", "optimizer.decay must be between 0 and 1, got 1.5"),
        ("prompts_per_step=0", "prompts_per_step must be at least 1, got 0"),
        ("prompts_per_forward=0", "prompts_per_forward must be at least 1, got 0"),
        ("keep_checkpoints=0", "keep_checkpoints must be at least 1, got 0"),
        ("max_steps=0", "max_steps must be at least 1, got 0"),
        ("max_prompt_tokens=0", "max_prompt_tokens must be at least 1, got 0"),
        ("overlay_every=-1", "overlay_every must be at least 0, got -1"),
        ("max_minutes=0", "max_minutes must be above 0, got 0.0"),
        ("reward.refinement.begins=[0.5]", "refinement.begins must rise from 0"),
        ("reward.options.weights=1", "reward.options must be an option of the preset, got weights"),
        ("nothing", "override 'nothing' is not of the form key=value"),
    ],
)
def test_an_invalid_value_says_what_would_be_valid(override, message):
    assert message in refused(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["loss.kind=gspo", "loss.reduction=token_mean"],
            "loss.reduction must be sequence_mean with loss.kind",
        ),
        (["loss.kind=cispo", "loss.dual_clip=9"], "loss.dual_clip must be left out with loss.kind cispo"),
        (
            ["loss.truncated=penalise", "loss.overlong_buffer=513"],
            "loss.overlong_buffer must be at most sampling.max_new_tokens = 512, got 513",
        ),
        (["loss.truncated=penalise", "loss.overlong_buffer=0"], "loss.overlong_buffer must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides, message):
    assert message in refused(*overrides)


def test_what_is_given_wins_over_what_the_kind_says():
    config = load_config(
        GRPOConfig, None, ["loss.kind=grpo", "loss.clip_high=0.3", "loss.reduction=constant"]
    )
    objective = config.loss.objective
    assert (objective.clip_low, objective.clip_high, objective.reduction) == (0.2, 0.3, "constant")
    assert config.loss.clip_low is None  # a saved recipe says what was given, and another kind brings its own


def test_a_recipe_that_is_not_there(tmp_path):
    assert refused(file=tmp_path / "none.yaml").endswith(
        "none.yaml: there is no such file; give the path of a YAML recipe"
    )


@pytest.mark.parametrize("text", ["a: [1", "\tmax_steps: 3", "max_steps: 1: 2", "- 1\n- 2\n"])
def test_a_recipe_that_is_not_one(tmp_path, text):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    assert "recipe.yaml" in refused(file=recipe)


def test_a_folder_is_no_recipe(tmp_path):
    assert str(tmp_path) in refused(file=tmp_path)


def test_overrides_win_over_yaml_and_yaml_over_defaults(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("max_steps: 5\nsampling:\n  group_size: 4\n")
    config = load_config(GRPOConfig, recipe, ["sampling.group_size=16", "optimizer.betas=[0.8,0.9]"])
    assert (config.max_steps, config.sampling.group_size, config.seed) == (5, 16, 0)
    assert config.optimizer.betas == (0.8, 0.9)
    assert config.sampling.temperature == SamplingConfig().temperature


def test_an_empty_recipe_is_the_defaults(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("")
    assert load_config(GRPOConfig, recipe) == GRPOConfig()


def test_what_is_saved_is_what_is_loaded(tmp_path):
    config = GRPOConfig(
        SamplingConfig(4, 0.7, 99),
        RewardConfig(
            "paper",
            {"recall": 2.0},
            {"short": "mine.py:f"},
            Refinement.staged(0.25),
            {"denominator": "matched"},
        ),
        LossConfig("gspo", scale_advantages="none", beta=0.2, truncated="penalise", overlong_buffer=9),
        OptimizerConfig(3e-5, 10, 0.1, (0.8, 0.95)),
        max_minutes=1.5,
        deepspeed={"zero_optimization": {"stage": 2}, "bf16": {"enabled": True}},
    )
    save_config(config, tmp_path / "config.yaml")
    assert load_config(GRPOConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize("config", [GRPOConfig(), RewardConfig(), LossConfig(), OptimizerConfig()])
def test_configs_are_frozen(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)
