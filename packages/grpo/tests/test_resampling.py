"""Runs in which images that say nothing are replaced by others, and an update takes several steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vision_r1_grpo import Policy
from vision_r1_grpo.config import LossConfig
from vision_r1_grpo.metrics import Clock

sys.path.insert(0, str(Path(__file__).parent))
from resampled import make_resampling_trainer, make_scenes

TIMES = ("minutes", "seconds/rollout", "seconds/update")


@pytest.fixture(scope="module")
def three_steps(start, tmp_path_factory):
    """An uninterrupted run on one rank: its folder and weights."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    policy = Policy.from_pretrained(start)
    make_resampling_trainer(folder, policy, 3).train()
    return folder, policy.model.state_dict()


def rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_prompts_are_drawn_until_enough_groups_say_something(three_steps):
    folder, _ = three_steps
    logged = rows(folder)
    drawn = [row["sample"] for row in rows(folder, "completions.jsonl")]
    assert len(drawn) == sum(row["prompts"] for row in logged) * 4, "all that was drawn is kept"
    assert any(row["prompts"] > 4 for row in logged)
    for row in logged:
        informative = row["informative_groups"] * row["prompts"]
        assert informative >= 4
        # Four groups of four, in each of which one completion is cut off and masked.
        assert row["counted"] * row["prompts"] * 4 == pytest.approx(12)
        assert row["optimizer_steps"] == 2
    epochs = [drawn[i : i + 28 : 4] for i in range(0, len(drawn) - 27, 28)]
    assert all(len(set(epoch)) == 7 for epoch in epochs), "no image is passed over"


def test_a_resumed_run_draws_what_the_uninterrupted_one_draws(start, three_steps, tmp_path):
    folder, expected = three_steps
    make_resampling_trainer(tmp_path / "run", Policy.from_pretrained(start), 1).train()
    policy = Policy.from_pretrained(start)
    make_resampling_trainer(tmp_path / "run", policy, 3, resume=True).train()
    assert all(torch.equal(value, expected[name]) for name, value in policy.model.state_dict().items())
    assert rows(tmp_path / "run", "completions.jsonl") == rows(folder, "completions.jsonl")


def test_two_ranks_choose_and_learn_what_one_does(start, three_steps, tmp_path):
    folder, expected = three_steps
    make_scenes(tmp_path)
    script = Path(__file__).with_name("resampled.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command = [*launcher, str(script), str(tmp_path / "run"), str(start), "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for mine, theirs in zip(rows(tmp_path / "run"), rows(folder), strict=True):
        assert mine.keys() == theirs.keys()
        for key in ("prompts", "counted", "loss", "grad_norm", "kl", "ratio", "clipped_low", "clipped_high"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-6), key
    got = torch.load(tmp_path / "run" / "weights.pt")
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=2e-4, rtol=1e-3)


def test_rounds_end_where_nothing_ever_says_anything(start, tmp_path):
    policy = Policy.from_pretrained(start)
    trainer = make_resampling_trainer(tmp_path / "run", policy, 1, resample_rounds=2, minibatches=2)
    trainer.sampler.completions = {key: ["no"] * 4 for key in trainer.sampler.completions}
    trainer.train()
    (row,) = rows(tmp_path / "run")
    assert (row["prompts"], row["counted"], row["optimizer_steps"], row["loss"]) == (12, 0, 0, 0)
    assert trainer.state.drawn == 12


def test_long_completions_lose_reward(start, tmp_path):
    loss = LossConfig(truncated="penalise", overlong_buffer=511)  # of 512 tokens
    trainer = make_resampling_trainer(tmp_path / "run", Policy.from_pretrained(start), 1, loss=loss)
    groups = trainer._draw(Clock()).groups
    lengths = groups.rollout.mask.sum(dim=1)
    lost = (groups.rewards.flatten() - groups.scored.total).tolist()
    assert lost == pytest.approx([-(n - 1) / 511 for n in lengths.tolist()], abs=1e-5)
    assert groups.counted.all(dim=1).any(), "a completion that is cut off counts"
