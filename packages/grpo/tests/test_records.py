import json

import pytest

from vision_r1_grpo.records import JsonLines, LiveProgress


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_rows_are_appended(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl", after=0)
    lines.write([{"step": 1, "reward": 0.5}])
    lines.write([{"step": 2}, {"step": 2}])
    assert steps(tmp_path / "metrics.jsonl") == [1, 2, 2]


def test_a_new_run_begins_with_an_empty_file(tmp_path):
    JsonLines(tmp_path / "metrics.jsonl", after=0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_resumed_run_drops_the_steps_that_it_does_again(tmp_path):
    path = tmp_path / "completions.jsonl"
    JsonLines(path, after=0).write([{"step": n} for n in (1, 1, 2, 2, 3, 3)])
    JsonLines(path, after=2).write([{"step": 3}])
    assert steps(path) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("cut", ['{"step": 2, "rew', '{"step": 2}', "{"])
def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + cut)
    JsonLines(path, after=9).write([{"step": 2}])
    assert steps(path) == [1, 2]


def test_text_of_completions_stays_on_its_line(tmp_path):
    path, text = tmp_path / "completions.jsonl", 'a\nb\u2028c\x85"\\ \ud83d'  # line ends, a lone surrogate
    JsonLines(path, after=0).write([{"step": 1, "completion": text}])
    JsonLines(path, after=1)
    assert json.loads(path.read_text())["completion"] == text


def test_nothing_is_printed_where_nobody_watches(capfd):
    with LiveProgress(visible=False) as live:
        live.show(0.5, {"step": 1, "reward": 1.0, "reward/format": 1.0, "boxes": 2.0})
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_the_newest_rewards_on_stderr(capfd):
    with LiveProgress(visible=True) as live:
        live.show(0.25, {"step": 1, "reward": 1.0, "reward/format": 0.25, "boxes": 2.0, "eval/mAP": 0.3})
        live.show(0.5, {"step": 2, "reward": 1.5, "reward/format": 0.75, "boxes": 2.0, "loss": 9.0})
    out, err = capfd.readouterr()
    assert out == ""
    assert "50%" in err
    assert "step 2  reward 1.50  boxes 2.00  mAP 0.30  format 0.75" in err


def test_a_new_stage_is_said_once(capfd):
    with LiveProgress(visible=True) as live:
        for step, stage in enumerate((1, 1, 2, 2), start=5):
            live.show(step / 10, {"step": step, "stage": stage, "xi0": 0.75, "xi1": 0.75, "xi2": 0.9})
    _, err = capfd.readouterr()
    assert err.count("begins") == 1
    assert "step 7: stage 2 begins, xi0 0.75, xi1 0.75, xi2 0.9" in err


def test_an_alarm_is_said_once(capfd):
    with LiveProgress(visible=True) as live:
        for step, alarms in enumerate(({}, {"too_few": 0.41}, {"too_few": 0.5}), start=5):
            live.show(step / 10, {"step": step, "alarms": alarms})
    _, err = capfd.readouterr()
    assert err.count("silence pays") == 1
    assert "step 6: alarm, too_few 0.41." in err
