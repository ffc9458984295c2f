"""`vision-r1 train` on a mixture of tasks, from end to end."""

import json
import random
from dataclasses import replace

import pytest

from vision_r1.cli import main
from vision_r1_data import read_coco, save_samples
from vision_r1_data.questions import derive_questions
from vision_r1_data.scenes import LABELS, SIZE, write_scenes

SETTINGS = [
    *("training.max_steps=2", "training.prompts_per_step=4", "training.eval_every=1", "data.held_out=0.4"),
    *("training.sampling.group_size=2", "training.sampling.max_new_tokens=24"),
]


def questions(folder, tasks):
    """Drawn scenes, each asked for one of the tasks in turn."""
    rng, asked = random.Random(0), []
    path = write_scenes(folder / "scenes", 12, seed=1)
    for n, sample in enumerate(read_coco(path, path.parent / "images")):
        task = tasks[n % len(tasks)]
        for kind, categories, objects in derive_questions(rng, sample.objects, (SIZE, SIZE), LABELS):
            if kind == task:
                asked.append(replace(sample, task=task, categories=categories, objects=objects))
                break
    return asked


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    save_samples(questions(folder, ("detection", "counting", "pointing")), folder / "samples")
    return folder / "samples"


@pytest.fixture(scope="module")
def finished(mixture, tmp_path_factory):
    """The folder of a run of two steps."""
    out = tmp_path_factory.mktemp("mixed") / "run"
    arguments = [f"data.samples={mixture}", *SETTINGS, "training.reward.weights.format=0.5"]
    assert main(["train", *arguments, "--out", str(out)]) == 0
    return out


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_task_has_its_own_preset(finished):
    summary = json.loads((finished / "metrics.json").read_text())
    assert summary["reward"] == "counting + strict + pointing"
    assert summary["reward_settings"] == {"weights": {"format": 0.5}}
    kept = rows(finished / "completions.jsonl")
    assert {"reward/count", "reward/f_measure"} <= {key for row in kept for key in row}


def test_what_is_no_box_is_measured_by_its_reward(finished):
    summary = json.loads((finished / "metrics.json").read_text())
    left_out = summary["not_in_metrics"]
    assert set(left_out) <= {"counting", "pointing"}
    answers = rows(finished / "answers-before.jsonl")
    assert 0 < sum(left_out.values()) < len(answers) == summary["test_images"]
    assert summary["before"]["reward"] == pytest.approx(sum(row["reward"] for row in answers) / len(answers))
    assert {f"reward_of/{task}" for task in left_out} <= set(summary["after"])
    assert all("eval/reward" in row for row in rows(finished / "metrics.jsonl"))


def test_the_page_says_how_it_was_trained(finished):
    page = (finished / "report.html").read_text()
    assert "GRPO with the counting + strict + pointing reward, 2 steps" in page
    assert "weights {&quot;format&quot;: 0.5}" in page or 'weights {"format": 0.5}' in page
    assert "in the metrics all but" in page
    for title in ("Reward by task", "Held-out reward"):
        assert title in page


def test_a_run_without_any_boxes(command, tmp_path):
    save_samples(questions(tmp_path, ("counting",)), tmp_path / "samples")
    arguments = [f"data.samples={tmp_path / 'samples'}", *SETTINGS, "training.max_steps=1"]
    code, out, err = command("train", *arguments, "--out", tmp_path / "run")
    assert code == 0, err
    assert "held-out reward: " in out
    summary = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert summary["reward"] == "counting"
    assert summary["before"]["mAP"] is None
    assert summary["before"]["reward"] >= 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.reward.preset=strict"], "'strict' scores boxes, and task 'counting' asks for number"),
        (["training.reward.by_task.counting=strict"], "'strict' scores boxes, and task 'counting' asks for"),
        (["training.reward.weights.recall=1"], "none of counting, strict, pointing has the part 'recall'"),
        (["data.dialect=internvl"], "task 'pointing' asks for points, and dialect 'internvl' writes boxes"),
    ],
)
def test_a_contradiction_is_one_line(command, mixture, tmp_path, overrides, message):
    code, out, err = command("train", f"data.samples={mixture}", *overrides, "--out", tmp_path / "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()
