import math
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data import Answer, Frame
from vision_r1_grpo import Target
from vision_r1_grpo.rewards.monitors import ALARMS, History, count_signs, judge, monitors

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import target

CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")
WHOLE = (0, 0, 100, 100)
LABELS = ("cat", "dog", "bird", "fish", "cow")


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
    said_labels = 2 * math.log(2)  # two of each: H = ln 2
    true_labels = -(4 / 6 * math.log(4 / 6) + 2 / 6 * math.log(2 / 6))
    assert said_labels > true_labels
    assert measured(answers, targets) == pytest.approx(
        {
            "boxes_per_true_box": 4 / 6,
            "duplicates": 1 / 4,
            "box_area": (0.16 + 0.152 + 0.16 + 0.95) / (4 * 0.16),
            "full_image": 1 / 4,
            "too_few": 2 / 4,  # one of three, none of one; none of none is right
            "label_entropy_lost": 0,
            "labels_wrong": 1 / 3,  # the dog on the cat; the large one is on nothing
            "unreadable": 1 / 4,
            "ill_formed": 1 / 4,
        }
    )


def test_the_entropy_that_is_lost_is_a_share_of_the_variety():
    targets = [target(CAT, DOG), target((CAT[0], "bird"), (DOG[0], "fish"))]  # H = ln 4
    one, two = measured([said(CAT, CAT), said(CAT)], targets), measured([said(CAT, DOG), said()], targets)
    assert one["label_entropy_lost"] == pytest.approx(3 / 4)
    assert two["label_entropy_lost"] == pytest.approx(1 / 2)
    assert "label_entropy_lost" not in measured([said(), said()], targets)
    assert measured([said(CAT, DOG)], [target(CAT)])["label_entropy_lost"] == 0


@given(st.lists(st.lists(st.sampled_from(LABELS), max_size=4), min_size=1, max_size=6))
def test_right_answers_show_no_sign(labels):
    truths = [[((20 * k, 0, 20 * k + 20, 50), label) for k, label in enumerate(some)] for some in labels]
    values = measured([said(*truth) for truth in truths], [target(*truth) for truth in truths])
    ones = {"boxes_per_true_box", "box_area"}
    assert values == pytest.approx({name: float(name in ones) for name in values})


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
    truth = Target(((0, 0, 100, 50),), ("cat",), ("cat",), Frame(200, 50, 100, 100))
    answer = said(((-1e9, -5, 1e9, 60), "cat"), ((0, 0, 100, 25), "cat"), ((90, 40, 10, 5), "cat"))
    counts = count_signs([answer], [truth])
    assert (counts["area"], counts["true_area"], counts["full_images"]) == (1.25, 3 * 0.5, 1)


def test_boxes_where_nothing_is_true_have_no_area_to_go_by():
    assert measured([said(CAT), said((WHOLE, "cat"))], [target(CAT), target()])["box_area"] == 1


def test_counts_of_ranks_add_up():
    answers = [said(CAT, CAT), said(DOG), said(), said(well_formed=False)]
    targets = [target(CAT, DOG), target(CAT), target(DOG), target()]
    whole, *halves = (count_signs(answers[s], targets[s]) for s in (slice(4), slice(2), slice(2, 4)))
    summed = {key: halves[0][key] + halves[1][key] for key in whole}
    assert summed["entropies"] == 1  # the second half says nothing
    entropy = {"entropies", "entropy_lost"}  # of each rank's own labels
    assert {k: summed[k] for k in summed.keys() - entropy} == pytest.approx(
        {k: whole[k] for k in whole.keys() - entropy}
    )


def test_shares_of_nothing_are_left_out():
    assert monitors(count_signs([], [])) == {}
    assert measured([said()], [target()]) == {"too_few": 0, "unreadable": 0, "ill_formed": 0}


def test_every_monitor_has_an_alarm():
    assert {"f1_drop", *measured([said(CAT)], [target(CAT)])} == set(ALARMS)


@pytest.mark.parametrize("name", [name for name, alarm in ALARMS.items() if alarm.above_start])
def test_an_alarm_above_the_start(name):
    key, alarm = f"monitor/{name}", ALARMS[name]
    history = History.of([{"step": n, key: 0.4 + 0.2 * (n % 2)} for n in range(10)])
    assert history.limit(name) == pytest.approx(0.5 + alarm.threshold)
    for _ in range(9):
        history = history.after({key: 0.5 + alarm.threshold})
    assert judge({key: 0.49 + alarm.threshold}, history)["alarms"] == {}
    assert judge({key: 0.51 + alarm.threshold}, history)["alarms"] == {
        name: pytest.approx(0.501 + alarm.threshold)
    }


@pytest.mark.parametrize("name", ["boxes_per_true_box", "duplicates"])
def test_an_absolute_alarm_can_be_on_from_the_first_step(name):
    threshold = ALARMS[name].threshold
    assert judge({"step": 1, f"monitor/{name}": threshold}, History())["alarms"] == {}
    assert list(judge({"step": 1, f"monitor/{name}": threshold + 0.01}, History())["alarms"]) == [name]


def test_one_wild_step_is_no_alarm():
    history = History.of([{"monitor/too_few": 0.1}] * 10)
    assert judge({"monitor/too_few": 1.0}, history)["alarms"] == {}
    for _ in range(2):
        history = history.after({"monitor/too_few": 1.0})
    assert list(judge({"monitor/too_few": 1.0}, history)["alarms"]) == ["too_few"]


@pytest.mark.parametrize(
    ("reward", "f1", "drop", "alarms"),
    [
        (1.5, 0.7, 0.1, ["f1_drop"]),
        (1.5, 0.76, 0.04, []),
        (1.5, 0.9, 0.0, []),
        (0.1, 0.2, 0.0, []),  # both fell: a bad run, and no gap
    ],
)
def test_a_reward_that_rises_while_f1_falls(reward, f1, drop, alarms):
    rows = [{"eval/F1@50": 0.8}, *[{"reward": 1.0}] * 10, *[{"reward": 1.01, "eval/F1@50": 0.6}] * 9]
    added = judge({"reward": reward, "eval/F1@50": f1}, History.of(rows))
    assert added["monitor/f1_drop"] == pytest.approx(drop)
    assert list(added["alarms"]) == alarms


def test_without_an_evaluation_nothing_is_said_about_f1():
    assert judge({"step": 0, "eval/F1@50": 0.8}, History()) == {"alarms": {}}
    assert judge({"step": 1, "reward": 1.0}, History(best_f1=0.8)) == {"alarms": {}}


def objects(rng):
    """Three or four objects, each in a quarter of the image of its own."""
    corners = rng.sample([(10, 10), (60, 10), (10, 60), (60, 60)], rng.choice((3, 4)))
    return [((x, y, x + 20, y + 20), rng.choice(LABELS)) for x, y in corners]


def paired(truth):
    return list(zip(truth.boxes, truth.labels, strict=True))


def honest(truth, rng):
    """Most objects, a little off, seldom misnamed; now and then not in the form."""
    objects = [
        (tuple(side + rng.uniform(-2, 2) for side in box), label if rng.random() > 0.1 else "cat")
        for box, label in paired(truth)
        if rng.random() > 0.2
    ]
    return said(*objects, well_formed=rng.random() > 0.1)


POLICIES = {
    "honest": (honest, set()),
    "one label": (
        lambda truth, rng: said(*[(box, "cat") for box in truth.boxes]),
        {"label_entropy_lost", "labels_wrong"},
    ),
    "names at random": (
        lambda truth, rng: said(*[(box, rng.choice(LABELS)) for box in truth.boxes]),
        {"labels_wrong"},
    ),
    "one box": (lambda truth, rng: said((truth.boxes[0], truth.labels[0])), {"too_few"}),
    "one whole image": (
        lambda truth, rng: said((WHOLE, truth.labels[0])),
        {"too_few", "full_image", "box_area"},
    ),
    "large boxes": (
        lambda truth, rng: said(
            *[((x - 9, y - 9, x + 30, y + 30), label) for (x, y, _, _), label in paired(truth)]
        ),
        {"box_area"},
    ),
    "spray": (
        lambda truth, rng: said(
            *[((x, y, x + 20, y + 20), c) for x in range(0, 80, 20) for y in range(0, 80, 20) for c in LABELS]
        ),
        {"boxes_per_true_box", "labels_wrong"},
    ),
    "said thrice": (lambda truth, rng: said(*3 * paired(truth)), {"duplicates"}),
    "silence": (lambda truth, rng: said(), {"too_few"}),
    "no form": (lambda truth, rng: said(well_formed=False), {"too_few", "unreadable", "ill_formed"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_turns_to_an_exploit_raises_its_alarms(name):
    rng = random.Random(0)
    policy, expected = POLICIES[name]
    history, on = History(), set()
    for step in range(40):
        targets = [target(*objects(rng)) for _ in range(8)]
        answers = [(honest if step < 15 else policy)(truth, rng) for truth in targets]
        row = monitors(count_signs(answers, targets))
        row |= judge(row, history)
        history = history.after(row)
        assert step >= 15 or not row["alarms"]
        on |= row["alarms"].keys()
    assert on == expected
