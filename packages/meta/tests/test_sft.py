"""`vision-r1 train method=sft` on drawn scenes, from end to end."""

import json
import warnings
from contextlib import redirect_stderr
from io import StringIO

import pytest
import torch

import vision_r1_tiny
from vision_r1.cli import main
from vision_r1_data.scenes import write_scenes
from vision_r1_grpo import Policy

STEPS = 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps that was resumed for one more."""
    folder = tmp_path_factory.mktemp("sft")
    annotations = write_scenes(folder / "scenes", 10, seed=1)
    out = folder / "run"
    settings = [
        *("method=sft", f"data.annotations={annotations}", f"data.images={annotations.parent / 'images'}"),
        *("training.prompts_per_step=4", "training.prompts_per_forward=2", "training.eval_every=2"),
        *("training.sampling.max_new_tokens=48", "training.sampling.temperature=0.7"),
        *("training.optimizer.learning_rate=1e-3", "data.held_out=0.2", f"training.max_steps={STEPS - 1}"),
    ]
    said = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
        assert main(["train", *settings, "--out", str(out)]) == 0
        assert main(["train", "--resume", "--out", str(out), f"training.max_steps={STEPS}"]) == 0
    assert "sampling.temperature change nothing in it" in said.getvalue()
    return out


def test_a_resumed_run_goes_on_supervised(finished):
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all({"loss", "grad_norm", "tokens", "dropped_answers"} <= set(row) for row in rows[1:])
    assert not any("reward" in row for row in rows)
    assert (finished / "completions.jsonl").read_text() == ""


def test_the_numbers_before_and_after(finished):
    summary = json.loads((finished / "metrics.json").read_text())
    assert (summary["reward"], summary["steps"], summary["test_images"]) == ("sft", STEPS, 2)
    assert {"mAP", "F1@50"} <= set(summary["before"]) & set(summary["after"])


def test_the_report_is_of_what_was_done(finished):
    page = (finished / "report.html").read_text()
    assert "Supervised training, 3 steps" in page
    assert "Cross entropy" in page
    assert "above max_new_tokens are left out" in page
    assert "GRPO" not in page
    assert "No alarm" not in page


def test_the_model_has_moved(finished):
    trained = Policy.from_pretrained(finished / "model", device="cpu")
    base = Policy.from_pretrained(vision_r1_tiny.path(), device="cpu")
    moved = zip(trained.model.parameters(), base.model.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in moved)
