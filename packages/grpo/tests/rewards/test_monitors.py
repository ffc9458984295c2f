import sys
from pathlib import Path

import pytest

from vision_r1_data import Answer, Frame
from vision_r1_grpo import Target
from vision_r1_grpo.rewards.monitors import ALARMS, History, count_signs, judge, monitors

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import target

CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")


def said(*objects, well_formed=True):
    """A decoded completion."""
    return Answer(tuple(box for box, _ in objects), tuple(name for _, name in objects), well_formed)


def measured(answers, targets):
    """The monitors, by their names."""
    values = monitors(count_signs(answers, targets))
    return {key.removeprefix("monitor/"): value for key, value in values.items()}


def test_hand_computed():
    answers = [
        said(CAT, ((0, 0, 40, 38), "cat"), ((0, 0, 40, 40), "dog")),  # the second repeats: IoU .95
        said(((0, 0, 100, 95), "dog")),
        said(),
        said(well_formed=False),
    ]
    targets = [target(CAT, DOG), target(CAT, CAT, DOG), target(CAT), target()]
    assert measured(answers, targets) == pytest.approx(
        {
            "boxes_per_true_box": 4 / 6,
            "duplicates": 1 / 4,
            "box_area": (0.16 + 0.152 + 0.16 + 0.95) / 4,
            "full_image": 1 / 4,
            "too_few": 2 / 4,  # one of three, none of one; none of none is right
            "labels_missed": 2 / 5,  # the cats of the second and the third
            "unreadable": 1 / 4,
            "ill_formed": 1 / 4,
        }
    )


@pytest.mark.parametrize(
    ("again", "repeats"),
    [
        (((0, 0, 100, 90), "cat"), 1),  # IoU .9
        (((0, 0, 100, 89), "cat"), 0),
        (((0, 0, 100, 100), "dog"), 0),
    ],
)
def test_a_duplicate_has_the_label_and_nine_tenths_of_the_place(again, repeats):
    counts = count_signs([said(((0, 0, 100, 100), "cat"), again)], [target(CAT)])
    assert counts["duplicates"] == repeats


def test_a_box_said_ten_times_has_nine_duplicates():
    assert count_signs([said(*[CAT] * 10), said(CAT)], [target(CAT)] * 2)["duplicates"] == 9


def test_boxes_are_cut_at_the_edges_of_their_own_image():
    truth = Target((), (), ("cat",), Frame(200, 50, 100, 100))
    answer = said(((-1e9, -5, 1e9, 60), "cat"), ((0, 0, 100, 25), "cat"), ((90, 40, 10, 5), "cat"))
    counts = count_signs([answer], [truth])
    assert (counts["area"], counts["full_images"]) == (1.25, 1)


def test_counts_of_ranks_add_up():
    answers = [said(CAT, CAT), said(DOG), said(), said(well_formed=False)]
    targets = [target(CAT, DOG), target(CAT), target(DOG), target()]
    whole, *halves = (count_signs(answers[s], targets[s]) for s in (slice(4), slice(2), slice(2, 4)))
    assert whole == pytest.approx({key: halves[0][key] + halves[1][key] for key in whole})


def test_shares_of_nothing_are_left_out():
    assert monitors(count_signs([], [])) == {}
    assert measured([said()], [target()]) == {"too_few": 0, "unreadable": 0, "ill_formed": 0}


@pytest.mark.parametrize("name", [name for name, alarm in ALARMS.items() if alarm.above_start])
def test_an_alarm_above_the_start(name):
    key, alarm = f"monitor/{name}", ALARMS[name]
    history = History().after({"step": 1, key: 0.5}).after({"step": 2, key: 0.0})
    assert judge({"step": 3, key: 0.49 + alarm.threshold}, history)["alarms"] == []
    assert judge({"step": 3, key: 0.51 + alarm.threshold}, history)["alarms"] == [name]
    assert judge({"step": 1, key: 1.0}, History())["alarms"] == []  # its own start


@pytest.mark.parametrize("name", ["boxes_per_true_box", "duplicates"])
def test_an_absolute_alarm_can_be_on_from_the_first_step(name):
    threshold = ALARMS[name].threshold
    assert judge({"step": 1, f"monitor/{name}": threshold}, History())["alarms"] == []
    assert judge({"step": 1, f"monitor/{name}": threshold + 0.01}, History())["alarms"] == [name]


@pytest.mark.parametrize(
    ("reward", "f1", "drop", "alarms"),
    [
        (1.5, 0.7, 0.1, ["f1_drop"]),
        (1.5, 0.76, 0.04, []),
        (1.5, 0.9, 0.0, []),
        (0.9, 0.2, 0.0, []),  # both fell: a bad run, and no gap
    ],
)
def test_a_reward_that_rises_while_f1_falls(reward, f1, drop, alarms):
    history = History().after({"step": 0, "eval/F1@50": 0.8})
    history = history.after({"step": 1, "reward": 1.0}).after({"step": 2, "reward": 2.0, "eval/F1@50": 0.6})
    added = judge({"step": 3, "reward": reward, "eval/F1@50": f1}, history)
    assert added["monitor/f1_drop"] == pytest.approx(drop)
    assert added["alarms"] == alarms


def test_without_an_evaluation_nothing_is_said_about_f1():
    assert judge({"step": 0, "eval/F1@50": 0.8}, History()) == {"alarms": []}
    assert judge({"step": 1, "reward": 1.0}, History(best_f1=0.8)) == {"alarms": []}
