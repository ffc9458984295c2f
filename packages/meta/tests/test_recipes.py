"""The recipes that come with the package load, add up, and are explained line by line."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vision_r1.config import RECIPES, RunConfig, find_recipe
from vision_r1.run import build_reward
from vision_r1.settings import list_settings
from vision_r1_grpo import ConfigError, Policy, load_config
from vision_r1_grpo.families import find_family
from vision_r1_grpo.memory import estimate_memory
from vision_r1_grpo.trainable import choose_trainable

ROOT = Path(__file__).parents[3]
# Name -> the numbers of processes that it is for.
PROCESSES = {
    "qwen2_5_vl_3b_lora_1gpu": (1,),
    "qwen2_5_vl_3b": (8, 16),
    "qwen2_5_vl_7b_lora": (1, 2, 4, 8, 16),
    "qwen2_5_vl_7b": (8, 16),
    "paper_qwen2_5_vl_7b": (8, 16),
}
SHARED = "What ours share"


def lines(content, prefix=""):
    """Key -> value of every line of a recipe that has one."""
    found = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= lines(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def rows(text):
    """The cells of the tables of a page, of each row that begins with code."""
    table = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in table]


@pytest.fixture(scope="module")
def explained():
    """Heading of docs/recipes.md -> key -> value of each row of its table."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    return {
        heading: {row[0].strip("`"): yaml.safe_load(row[1]) for row in rows(text) if len(row) == 4}
        for heading, text in sections.items()
    }


def test_these_are_all_of_them():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*PROCESSES, "quickstart"}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_recipe_loads_and_adds_up(name):
    config = load_config(RunConfig, find_recipe(Path(name)))
    for processes in PROCESSES[name]:
        own, left = divmod(config.training.prompts_per_step, processes)
        assert left == 0
        assert own >= config.training.prompts_per_forward
    build_reward(config, ["detection", "grounding", "rec"])  # the mixture of the paper
    assert ("lora" in name) == (config.training.trainable.lora is not None)
    assert config.model.dtype == "bfloat16"
    assert not config.data.annotations, "the data is the user's"


def test_the_numbers_of_the_paper():
    training = load_config(RunConfig, find_recipe(Path("paper_qwen2_5_vl_7b"))).training
    assert (training.sampling.group_size, training.loss.beta) == (4, 0.2)
    assert (training.max_steps, training.max_minutes) == (None, None), "one pass over the data"
    assert round(49_000 / training.prompts_per_step) == 3062
    refinement = training.reward.refinement
    assert refinement is not None
    assert {refinement(progress).xi0 for progress in (0.0, 0.5, 3061 / 3062)} == {0.5}


@pytest.mark.parametrize("name", PROCESSES)
def test_every_line_is_explained(name, explained):
    recipe = lines(yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8")))
    shared = {} if name.startswith("paper") else explained[SHARED]
    assert not set(shared) & set(explained[name])
    assert shared | explained[name] == recipe


def test_the_recipe_of_the_paper_runs_in_two_processes(photographs, tmp_path):
    """Under stage 3 the first process measures and saves with weights that both of them hold."""
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "vision_r1",
        "train",
    ]
    smaller = {
        "model.path": "tiny",
        "model.max_pixels": "null",
        "data.annotations": photographs,
        "data.images": photographs.parent / "images",
        "training.prompts_per_step": 2,
        "training.max_steps": 1,
        "training.eval_every": 1,
        "training.sampling.max_new_tokens": 16,
        # The tiny model's layers are below the size that stage 3 splits up by itself.
        "training.deepspeed.zero_optimization.stage3_param_persistence_threshold": 100,
    }
    settings = [f"{key}={value}" for key, value in smaller.items()]
    command = [*launcher, "--config", "paper_qwen2_5_vl_7b", *settings, "--out", tmp_path / "run"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"model", "metrics.json", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}
    saved = Policy.from_pretrained(tmp_path / "run" / "model", device="cpu").model
    assert all(parameter.numel() for parameter in saved.parameters())


def test_a_file_wins_over_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Path("qwen2_5_vl_7b")) == RECIPES / "qwen2_5_vl_7b.yaml"
    (tmp_path / "qwen2_5_vl_7b").write_text("training: {}")
    assert find_recipe(Path("qwen2_5_vl_7b")) == Path("qwen2_5_vl_7b")


def test_an_unknown_name_tells_those_that_ship():
    with pytest.raises(ConfigError) as caught:
        find_recipe(Path("qwen3"))
    assert all(name in str(caught.value) for name in PROCESSES)


def test_train_takes_a_recipe_by_its_name(command):
    code, _, err = command("train", "--config", "qwen2_5_vl_3b", "training.reward.presett=paper")
    assert (code, err) == (
        2,
        "vision-r1: there is no setting 'training.reward.presett'; did you mean 'training.reward.preset'?\n",
    )
    code, _, err = command("train", "--config", "qwen2_5_vl_3b")
    assert code == 2
    assert "there is nothing to train on" in err


def test_the_settings_of_the_readme_are_those_there_are():
    """Every key of vision-r1-grpo with its default as `--settings` prints it."""
    readme = (ROOT / "packages" / "grpo" / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Settings\n")[1].split("\n## ")[0]
    said = {row[0].strip("`"): row[1] for row in rows(section)}
    settings = {
        key.removeprefix("training."): default.strip('"')
        for key, default, _ in list_settings(RunConfig)
        if key.startswith("training.")
    }
    assert said == settings


def test_the_readme_has_every_setting_of_model_and_data():
    readme = (ROOT / "packages" / "meta" / "README.md").read_text(encoding="utf-8")
    said = {key for row in rows(readme) for key in re.findall("`([^`]+)`", row[0])}
    assert {key for key, *_ in list_settings(RunConfig) if not key.startswith("training.")} <= said


TEXT = {
    "3B": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "7B": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}
VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}


@pytest.fixture(scope="module")
def shapes():
    """Qwen2.5-VL of both sizes, in bfloat16, without memory for the weights."""
    models = {}
    for size, text in TEXT.items():
        tied, vision = size == "3B", VISION | {"out_hidden_size": text["hidden_size"]}
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied)
        with torch.device("meta"):
            models[size] = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
        if tied:
            models[size].tie_weights()
    return models


OFFLOAD = "training.deepspeed.zero_optimization.offload_optimizer.device=cpu"
ESTIMATES = [
    ("qwen2_5_vl_3b_lora_1gpu", 1, [], "9.3"),
    ("qwen2_5_vl_3b", 8, [], "16.6"),
    ("qwen2_5_vl_3b", 1, [], "83.9"),
    ("qwen2_5_vl_3b", 1, [OFFLOAD], "15.9"),
    ("qwen2_5_vl_7b_lora", 8, [], "18.4"),
    ("qwen2_5_vl_7b_lora", 1, [], "24.7"),
    ("qwen2_5_vl_7b_lora", 1, ["training.prompts_per_step=8"], "18.7"),
    ("qwen2_5_vl_7b", 8, [], "36.7"),
    ("qwen2_5_vl_7b", 16, [], "26.1"),
    ("paper_qwen2_5_vl_7b", 16, [], "34.4"),
    ("paper_qwen2_5_vl_7b", 8, [], "43.1"),
    ("paper_qwen2_5_vl_7b", 8, ["training.trainable.gradient_checkpointing=all"], "31.2"),
]


@pytest.mark.parametrize(("name", "ranks", "overrides", "said"), ESTIMATES)
def test_the_page_says_what_memory_is_estimated(shapes, name, ranks, overrides, said):
    config = load_config(RunConfig, RECIPES / f"{name}.yaml", overrides)
    model = copy.deepcopy(shapes["3B" if "3B" in config.model.path else "7B"])
    policy = SimpleNamespace(model=model, family=find_family(model.config))
    choose_trainable(policy, config.training.trainable)
    patches = config.model.max_pixels // 14**2
    estimate = estimate_memory(model, config.training, prompt_tokens=1024, patches=patches, ranks=ranks)
    assert f"{estimate.peak / 2**30:.1f}" == said
    assert re.search(rf"\b{re.escape(said)}\b", (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"))
