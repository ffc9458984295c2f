from vision_r1.report import reward_monitors
from vision_r1_grpo.rewards.monitors import ALARMS, History, judge

MOST = 3.0


def logged(rows):
    """The rows as the trainer writes them, with their alarms."""
    history, written = History(), []
    for step, row in enumerate(rows):
        row = {"step": step, **row}
        row |= judge(row, history)
        history = history.after(row)
        written.append(row)
    return written


def step(wrong=0.1, repeated=0.0, **rest):
    return {"reward": 1.5, "monitor/labels_wrong": wrong, "monitor/duplicates": repeated, **rest}


def panels(monitors):
    return {panel.title: panel for panel in monitors.panels}


def test_a_calm_run():
    monitors = reward_monitors(logged([{"eval/F1@50": 0.5}, *[step()] * 20]), MOST)
    assert monitors.verdict == "No alarm in 20 steps"
    assert monitors.alarms == []
    assert list(panels(monitors)) == ["Reward against held-out F1", "duplicates", "labels_wrong"]
    assert not any(panel.marked for panel in monitors.panels)


def test_the_line_crosses_the_limit_where_the_alarm_is_on():
    monitors = reward_monitors(logged([{}, *[step()] * 10, *[step(wrong=0.55)] * 10]), MOST)
    panel = panels(monitors)["labels_wrong"]
    assert monitors.verdict == f"1 of {len(ALARMS)} alarms in 20 steps"
    (line,) = panel.series
    above = [at for at, level in line.points if level > panel.limit]
    assert panel.marked == [(above[0], 21)]
    assert above == list(range(13, 21))  # 3 / 10 * .45 > .12
    ((name, said),) = monitors.alarms
    assert name == "labels_wrong"
    assert said.startswith("from step 13 on.")


def test_alarms_that_come_and_go():
    bursts = [step(repeated=1.0), *[step()] * 10]
    monitors = reward_monitors(logged([*[step()] * 10, *bursts * 2, *[step()] * 10]), MOST)
    assert monitors.alarms == []  # a tenth, and not above it
    bursts = [*[step(repeated=1.0)] * 2, *[step()] * 10]
    monitors = reward_monitors(logged([*[step()] * 10, *bursts * 5]), MOST)
    ((_, said),) = monitors.alarms
    assert said.startswith("from step 11 to 20, from step 23 to 32, from step 35 to 44, and 2 more times.")


def test_an_alarm_that_ends_with_the_last_step():
    monitors = reward_monitors(logged([step(repeated=0.11), step()]), MOST)
    assert monitors.alarms[0][1].startswith("from step 0 to 1.")


def test_the_gap_is_shaded_until_f1_is_back():
    f1 = {10: 0.8, 20: 0.7, 30: 0.9}
    rows = [step(reward=at / 10, **({"eval/F1@50": f1[at]} if at in f1 else {})) for at in range(36)]
    gap = panels(reward_monitors(logged(rows), MOST))["Reward against held-out F1"]
    assert gap.marked == [(20, 30)]
    reward, held_out = gap.series
    assert reward.points[-1] == (35, 3.5 / 3)
    assert held_out.points == list(f1.items())


def test_a_run_of_one_step():
    monitors = reward_monitors(logged([step(repeated=1.0)]), 1.0)
    ((name, said),) = monitors.alarms
    assert (name, said[:15]) == ("duplicates", "from step 0 on.")
