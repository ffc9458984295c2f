"""Two tasks in one run: detection and counting, on one rank and on two.

As a script: `test_mixed_tasks.py FOLDER MODEL` runs on the ranks of its launcher.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vision_r1_grpo import GRPOConfig, GRPOTrainer, Policy
from vision_r1_grpo.config import SamplingConfig
from vision_r1_grpo.rewards import reward_of_tasks

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, ReplaySampler, _completions, make_scenes


def completions(sample):
    count = len(sample.objects)
    return _completions(sample) if sample.task == "detection" else [str(count), str(count + 1), "99", "many"]


def make_trainer(folder, policy):
    """Three steps of two prompts: counting, both, detection, by the order of the seed."""
    samples = [
        replace(sample, task="counting" if n % 2 else "detection")
        for n, sample in enumerate(make_scenes(folder.parent))
    ][:6]
    config = GRPOConfig(SamplingConfig(group_size=GROUP), prompts_per_step=2, max_steps=3, seed=4)
    reward = reward_of_tasks(["counting", "detection"], "qwen2_5_vl")
    sampler = ReplaySampler(policy, samples, completions)
    folder.mkdir(exist_ok=True)
    return GRPOTrainer(config, policy, reward, samples, folder=folder, sampler=sampler)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
    """The folder of a run on one rank."""
    folder = tmp_path_factory.mktemp("mixed") / "run"
    make_trainer(folder, Policy.from_pretrained(start)).train()
    return folder


def test_means_are_over_the_completions_that_have_the_part(finished):
    logged, kept = rows(finished / "metrics.jsonl"), rows(finished / "completions.jsonl")
    parts = ("reward", "reward/format", "reward/f_measure", "reward/count")
    for row in logged:
        step = [one for one in kept if one["step"] == row["step"]]
        for part in parts:
            values = [one[part] for one in step if part in one]
            assert (part in row) == bool(values)
            if values:
                assert row[part] == pytest.approx(sum(values) / len(values))
        counted = [one["reward"] for one in step if "reward/count" in one]
        if counted:
            assert row["reward_of/counting"] == pytest.approx(sum(counted) / len(counted))
        assert row["grad_norm"] > 0
    assert ["reward/count" in row for row in logged] == [True, True, False]
    assert ["reward/f_measure" in row for row in logged] == [False, True, True]
    assert all(("reward/f_measure" in one) != ("reward/count" in one) for one in kept)


def test_two_ranks_log_what_one_logs(finished, start, tmp_path):
    """A rank whose prompts are of one task, beside one that has the other."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    make_scenes(tmp_path)
    command = [*launcher, __file__, str(tmp_path / "run"), str(start)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for mine, theirs in zip(
        rows(tmp_path / "run/metrics.jsonl"), rows(finished / "metrics.jsonl"), strict=True
    ):
        same = [key for key in theirs if key.startswith(("reward", "xi2_share", "monitor/too_few", "tokens"))]
        assert {key: mine.get(key) for key in same} == pytest.approx({key: theirs[key] for key in same})


if __name__ == "__main__":
    make_trainer(Path(sys.argv[1]), Policy.from_pretrained(sys.argv[2])).train()
