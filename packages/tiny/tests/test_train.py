import random
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForImageTextToText, AutoTokenizer

from vision_r1_data.scenes import SIZE, draw_scene
from vision_r1_tiny import train as training
from vision_r1_tiny.train import STAGES, Stage, degrade, main, train


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 0.3))
def test_degraded_objects_stay_within_the_limits_of_the_stage(seed, dropped, loosened):
    stage, rng = Stage(1, (0, 0), dropped=dropped, loosened=loosened), random.Random(seed)
    _, objects = draw_scene(rng)
    worse = degrade(objects, stage, rng)
    assert 1 <= len(worse) <= len(objects)
    for box, label in zip(worse.boxes, worse.labels, strict=True):
        assert all(0 <= x <= SIZE - 1 for x in box)
        assert any(
            label == name and is_loosened(box, true, loosened)
            for true, name in zip(objects.boxes, objects.labels, strict=True)
        )


def is_loosened(box, true, most):
    """Whether each side of the true box moved outwards, by at most that share of the box."""
    width, height = true[2] - true[0], true[3] - true[1]
    moved = (true[0] - box[0], true[1] - box[1], box[2] - true[2], box[3] - true[3])
    return all(0 <= by <= most * side + 1e-9 for by, side in zip(moved, (width, height) * 2, strict=True))


def test_without_faults_objects_stay_as_they_are():
    rng = random.Random(0)
    for _ in range(20):
        _, objects = draw_scene(rng)
        assert degrade(objects, Stage(1, (0, 0)), rng) == objects


def test_objects_are_dropped_as_often_as_the_stage_says():
    rng, stage = random.Random(0), Stage(1, (0, 0), dropped=0.5)
    sizes = [(len(o), len(degrade(o, stage, rng))) for _, o in (draw_scene(rng) for _ in range(600))]
    three = [kept for size, kept in sizes if size == 3]
    assert sum(three) / len(three) == pytest.approx(3 * 0.5 + 0.5**3, abs=0.15)


def test_a_few_steps_write_a_folder_that_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "BATCH", 2)
    stages = (
        Stage(1, (0.0, 1e-3), max_objects=1),
        Stage(2, (1e-3, 1e-4), dropped=0.5, loosened=0.1, unfenced=0.5),
    )
    train(tmp_path / "a", 0, stages)
    train(tmp_path / "b", 0, stages)
    assert "step 3/3" in capsys.readouterr().out
    first, second = (AutoModelForImageTextToText.from_pretrained(tmp_path / name) for name in "ab")
    assert first.dtype == torch.bfloat16
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert len(AutoTokenizer.from_pretrained(tmp_path / "a")) == first.config.text_config.vocab_size


def test_the_last_stage_is_the_faulty_one():
    assert all(stage.dropped == stage.loosened == stage.unfenced == 0 for stage in STAGES[:-1])
    assert STAGES[-1].dropped > 0


def test_a_folder_that_exists_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "exists already; give a new folder" in capsys.readouterr().err
