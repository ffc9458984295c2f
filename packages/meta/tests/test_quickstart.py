import json
import subprocess
import sys

import pytest

from vision_r1.quickstart import draw_scenes, quickstart_config
from vision_r1.run import read_splits


def prepare(out, minutes, seed, reward):
    draw_scenes(out, seed)
    return quickstart_config(out, minutes=minutes, seed=seed, reward=reward)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("run #1: a"), minutes=2.5, seed=3, reward="paper")


def test_the_options_arrive(config):
    training = config.training
    assert (training.max_minutes, training.seed, training.reward.preset) == (2.5, 3, "paper")
    assert config.model.path == "tiny"


def test_three_sets_that_share_no_scene(config):
    splits = read_splits(config.data, config.training.seed)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2000, 100, 200)
    seen = [{sample.objects for sample in part} for part in (splits.train, splits.validation, splits.test)]
    assert seen[0].isdisjoint(seen[2])
    assert seen[1].isdisjoint(seen[2])


def test_seeds_change_what_is_trained_on_and_not_what_is_measured(config, tmp_path):
    other = prepare(tmp_path / "b", minutes=1, seed=4, reward="strict")
    first, second = (read_splits(c.data, 0) for c in (config, other))
    assert [s.objects for s in first.test] == [s.objects for s in second.test]
    assert [s.objects for s in first.train] != [s.objects for s in second.train]


def test_a_set_that_was_not_finished_is_drawn_anew(tmp_path):
    draw_scenes(tmp_path, seed=0)
    kept, cut = tmp_path / "data" / "train", tmp_path / "data" / "test"
    (cut / "instances.json").unlink()
    (kept / "images" / "000000.png").write_bytes(b"mine")
    draw_scenes(tmp_path, seed=0)
    assert (cut / "instances.json").exists()
    assert (kept / "images" / "000000.png").read_bytes() == b"mine"


def test_the_quickstart_runs_to_its_end(tmp_path):
    command = [sys.executable, "-m", "vision_r1", "quickstart", "--minutes", "0.05", "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    summary = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert summary["before"]["mAP"] > 0.05
    assert summary["after"]["mAP"] > 0.05
    assert summary["test_images"] == 200
    page = (tmp_path / "run" / "report.html").read_text()
    for words in ("before", "after", "mAP", "Boxes per completion"):
        assert words in page
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
