"""`vision-r1 train` from end to end, on photographs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import vision_r1_tiny
from vision_r1.config import RunConfig
from vision_r1_grpo import Policy, load_config

STEPS, PROMPTS, GROUP = 2, 2, 3
RECIPE = f"""\
training:
  max_steps: {STEPS}
  prompts_per_step: {PROMPTS}
  prompts_per_forward: 1
  eval_every: 1
  overlay_every: 2
  sampling:
    group_size: {GROUP}
    max_new_tokens: 40
"""


def start(*arguments):
    """The command as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "vision_r1", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def settings(photographs):
    return [f"data.annotations={photographs}", f"data.images={photographs.parent / 'images'}"]


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(photographs, tmp_path_factory):
    """A run of two steps: its folder, and what it wrote to stdout and stderr."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "recipe.yaml").write_text(RECIPE)
    arguments = ["--config", folder / "recipe.yaml", *settings(photographs), "data.held_out=0.4"]
    process = start("train", *arguments, "--out", folder / "run")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return folder / "run", out, err


def test_the_folder_of_a_run(finished):
    out, *_ = finished
    assert sorted(path.name for path in out.iterdir()) == [
        "answers-after.jsonl",
        "answers-before.jsonl",
        "checkpoints",
        "completions.jsonl",
        "config.yaml",
        "metrics.json",
        "metrics.jsonl",
        "model",
        "overlays",
        "report.html",
    ]


def test_a_run_says_what_it_looked_at_before_its_first_step(finished):
    _, _, err = finished
    for said in (
        "language_model  ",
        "reach the model",
        "the longest of 3 has",
        "GiB a process",
        "Locate every",
        "f_measure",
    ):
        assert err.count(said) >= 1, said
    assert err.count("reach the model") == 1


def test_the_answers_are_drawn(finished):
    assert [path.name for path in (finished[0] / "overlays").iterdir()] == ["step_000002.png"]


def test_the_config_is_kept(finished, photographs):
    config = load_config(RunConfig, finished[0] / "config.yaml")
    assert config.data.annotations == str(photographs)
    assert config.training.max_steps == STEPS


def test_every_step_is_logged(finished):
    logged = rows(finished[0] / "metrics.jsonl")
    assert [row["step"] for row in logged] == [0, 1, 2]
    for row in logged:
        assert {"eval/mAP", "eval/recall@50", "eval/boxes_per_answer"} <= set(row)
    sampled = {"reward", "reward/format", "reward/f_measure", "boxes", "tokens", "loss", "grad_norm"}
    for row in logged[1:]:
        assert sampled <= set(row)


def test_every_completion_is_kept(finished):
    logged = rows(finished[0] / "completions.jsonl")
    assert [row["step"] for row in logged] == [1] * PROMPTS * GROUP + [2] * PROMPTS * GROUP
    for first in range(0, len(logged), GROUP):  # the completions of one prompt stand side by side
        assert len({row["sample"] for row in logged[first : first + GROUP]}) == 1
    held_out = {row["sample"] for row in rows(finished[0] / "answers-before.jsonl")}
    assert len(held_out) == 2
    assert held_out.isdisjoint(row["sample"] for row in logged)


def test_the_numbers_before_and_after(finished):
    out, printed, _ = finished
    summary = json.loads((out / "metrics.json").read_text())
    for when in ("before", "after"):
        assert {"mAP", "AP50", "AP75", "AR100", "F1@50", "F1@75"} <= set(summary[when])
    assert (summary["steps"], summary["test_images"], summary["reward"]) == (STEPS, 2, "strict")
    assert "mAP" in printed
    assert "before" in printed
    assert str(out / "report.html") in printed


def test_the_model_loads(finished):
    trained = Policy.from_pretrained(finished[0] / "model", device="cpu")
    base = Policy.from_pretrained(vision_r1_tiny.path(), device="cpu")
    assert {n: p.shape for n, p in trained.model.named_parameters()} == {
        n: p.shape for n, p in base.model.named_parameters()
    }
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())


def test_the_report_shows_the_run(finished):
    page = (finished[0] / "report.html").read_text()
    assert "GRPO with the strict reward, 2 steps" in page
    assert "Boxes per completion" in page


def test_a_finished_run_is_not_overwritten(finished, photographs, command):
    out, *_ = finished
    before = (out / "metrics.json").read_text()
    code, _, err = command("train", *settings(photographs), "--out", out)
    assert code == 2
    assert "--force to replace it" in err
    assert (out / "metrics.json").read_text() == before


def wait_for_a_step(process, path, seconds=120):
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().count("\n") >= 1):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no step within the time"
        time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_leaves_a_checkpoint_that_resume_continues(photographs, tmp_path):
    out, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    overrides = ["training.max_steps=100000", "training.eval_every=0", "data.held_out=0.2"]
    process = start("train", "--config", recipe, *settings(photographs), *overrides, "--out", out)
    try:
        wait_for_a_step(process, out / "metrics.jsonl")
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert (out / "checkpoints" / "latest").is_file()
    assert not (out / "metrics.json").exists()
    stopped = len(rows(out / "metrics.jsonl"))
    assert printed == f"stopped after step {stopped}; go on with: --resume --out {out}\n"
    assert "Traceback" not in err

    again = start("train", "--resume", "--out", out, f"training.max_steps={stopped + 2}")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert [row["step"] for row in rows(out / "metrics.jsonl")] == list(range(1, stopped + 3))
    counts = [row["step"] for row in rows(out / "completions.jsonl")]
    assert counts == [step for step in range(1, stopped + 3) for _ in range(PROMPTS * GROUP)]
    assert json.loads((out / "metrics.json").read_text())["steps"] == stopped + 2
