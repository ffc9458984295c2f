"""A reward for each task: as each of its presets alone scores."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vision_r1_data.prompts import TASKS
from vision_r1_grpo import Refinement, Target, VisionReward
from vision_r1_grpo.rewards import TaskRewards, reward_of_tasks
from vision_r1_grpo.rewards.monitors import count_signs, monitors
from vision_r1_ops import Thresholds

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import CATEGORIES, FRAME, answer, target

NAME = "qwen2_5_vl"
CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")
LOOSE = ((0, 0, 40, 26), "cat")  # IoU .65


def asked(task, *objects):
    return replace(target(*objects), task=task)


COMPLETIONS = [answer(CAT, LOOSE), "2", answer(CAT, DOG), "no", "1", answer(LOOSE), answer(CAT)]
TARGETS = [
    asked("detection", CAT, DOG),
    asked("counting", CAT, DOG),
    asked("rec", CAT),
    asked("detection", CAT),
    asked("counting", CAT, DOG, DOG),
    asked("detection", CAT),
    asked("rec", CAT),
]
TASKS_ASKED = ("detection", "counting", "rec")


def test_each_completion_is_scored_by_its_task():
    scored = reward_of_tasks(TASKS_ASKED, NAME)(COMPLETIONS, TARGETS, progress=0.0)
    assert list(scored.parts) == ["format", "f_measure", "count", "accuracy"]
    for n, (text, truth) in enumerate(zip(COMPLETIONS, TARGETS, strict=True)):
        preset = "strict" if truth.task == "detection" else truth.task
        alone = VisionReward.from_preset(preset, NAME)([text], [truth], progress=0.0)
        assert scored.total[n] == alone.total[0]
        assert {name: part[n].item() for name, part in scored.parts.items() if part[n].isfinite()} == {
            name: part.item() for name, part in alone.parts.items()
        }
        assert scored.answers[n] == alone.answers[0]
        assert (scored.matched[n], scored.saturated[n]) == (alone.matched[0], alone.saturated[0])


def test_totals_of_each_task():
    scored = reward_of_tasks(TASKS_ASKED, NAME)(COMPLETIONS, TARGETS, progress=0.0)
    assert scored.total[1] == 3
    assert scored.by_task["counting"].isnan().tolist() == [
        task != "counting" for task in map(task_of, TARGETS)
    ]
    together = torch.stack(list(scored.by_task.values())).nansum(dim=0)
    assert torch.equal(together, scored.total)


def task_of(truth):
    return truth.task


def test_the_order_of_the_batch_does_not_matter():
    reward = reward_of_tasks(TASKS_ASKED, NAME)
    there = reward(COMPLETIONS, TARGETS, progress=0.0).total
    back = reward(COMPLETIONS[::-1], TARGETS[::-1], progress=0.0).total
    assert torch.equal(there, back.flip(0))


def test_no_completions_have_every_part():
    scored = reward_of_tasks(TASKS_ASKED, NAME)([], [], progress=0.0)
    assert {name: len(part) for name, part in scored.parts.items()} == dict.fromkeys(scored.parts, 0)
    assert len(scored.parts) == 4
    assert set(scored.by_task) == set(TASKS_ASKED)


def test_one_preset_for_all_tasks_is_that_preset():
    assert isinstance(reward_of_tasks(["detection"], NAME), VisionReward)
    assert reward_of_tasks(["detection"], NAME).preset == "strict"
    assert reward_of_tasks(["rec", "detection", "grounding"], NAME, preset="paper").preset == "paper"
    assert reward_of_tasks(["counting"], NAME).preset == "counting"
    assert reward_of_tasks(["detection", "rec"], NAME, by_task={"rec": "strict"}).preset == "strict"


def test_every_task_of_a_dialect_that_writes_all_forms():
    reward = reward_of_tasks(TASKS, NAME)
    assert {task: reward.of(task).form for task in TASKS} == {task: TASKS[task].form for task in TASKS}
    assert reward.most == 3
    assert reward.preset.startswith("strict + grounding + rec")


def test_a_task_can_have_another_preset():
    reward = reward_of_tasks(["detection", "rec", "counting"], NAME, by_task={"rec": "paper"})
    assert {task: reward.of(task).preset for task in reward.by_task} == {
        "detection": "strict",
        "rec": "paper",
        "counting": "counting",
    }


def test_weights_reach_every_preset_that_has_the_part():
    reward = reward_of_tasks(TASKS_ASKED, NAME, weights={"format": 0.5, "count": 4.0})
    assert reward.of("detection").weights == {"format": 0.5, "f_measure": 2.0}
    assert reward.of("counting").weights == {"format": 0.5, "count": 4.0}
    assert reward.most == 4.5
    assert reward(["2"], [TARGETS[1]], progress=0.0).total.item() == 4.5


def test_options_reach_the_preset_that_has_them():
    settings = {"by_task": {"detection": "paper"}, "options": {"denominator": "matched"}}
    reward = reward_of_tasks(["detection", "counting"], NAME, **settings)
    assert reward.of("detection").criterion.denominator == "matched"


def test_added_parts_are_of_every_task():
    def short(completions, targets):
        return [float(len(text) < 9) for text in completions]

    scored = reward_of_tasks(TASKS_ASKED, NAME, added={"short": short})(COMPLETIONS, TARGETS, progress=0.0)
    assert scored.parts["short"].tolist() == [float(len(text) < 9) for text in COMPLETIONS]


def test_thresholds_are_of_all_tasks():
    reward = reward_of_tasks(["detection", "rec"], NAME, refinement=Refinement.staged(0.5))
    texts, truths = [answer(LOOSE)] * 2, [asked("detection", CAT), asked("rec", CAT)]
    assert reward(texts, truths, progress=0.4).total.tolist() == pytest.approx([2.3, 2.3])
    assert reward(texts, truths, progress=0.5).total.tolist() == [1, 1]
    assert reward(texts, truths, thresholds=Thresholds(0.75, 0.75, 0.9)).total.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tasks", "settings", "message"),
    [
        (
            ["counting"],
            {"preset": "strict"},
            "'strict' scores boxes, and task 'counting' asks for number; give",
        ),
        (
            ["detection"],
            {"preset": "counting"},
            "'counting' scores number, and task 'detection' asks for boxes",
        ),
        (
            ["rec"],
            {"by_task": {"counting": "rec"}},
            "'rec' scores boxes, and task 'counting' asks for number",
        ),
        (["rec"], {"by_task": {"count": "counting"}}, "no task 'count'; known are .*did you mean 'counting'"),
        (["dancing"], {}, "there is no task 'dancing'; known are"),
        (["rec"], {"by_task": {"rec": "recs"}}, "unknown reward preset 'recs' of task 'rec'; .* mean 'rec'"),
        (
            ["rec", "counting"],
            {"weights": {"recall": 1.0}},
            "none of rec, counting has the part 'recall'; there",
        ),
        (["rec", "counting"], {"options": {"adaptive": 1}}, "none of rec, counting has the option"),
        (
            ["rec", "counting"],
            {"by_task": {"rec": "released"}},
            "a run share their thresholds: preset 'counting'",
        ),
        (["rec"], {"weights": {"count": 1.0}}, "preset 'rec' has no part 'count'"),
        ([], {}, "at least one task"),
    ],
)
def test_a_contradiction_is_one_line(tasks, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        reward_of_tasks(tasks, NAME, **settings)
    assert "\n" not in str(error.value)


def test_a_form_that_the_dialect_does_not_write():
    with pytest.raises(
        ValueError, match="task 'segmentation' asks for polygons, and dialect 'internvl' writes"
    ):
        reward_of_tasks(["detection", "segmentation"], "internvl")


def test_rewards_must_go_together():
    strict, counting = (VisionReward.from_preset(name, NAME) for name in ("strict", "counting"))
    with pytest.raises(ValueError, match="'strict' scores boxes, and task 'counting' asks for number"):
        TaskRewards({"counting": strict})
    with pytest.raises(ValueError, match="the dialect and added parts of the rest"):
        TaskRewards({"counting": counting, "rec": VisionReward.from_preset("rec", "qwen3_vl")})


def test_what_has_no_reward_is_said():
    reward = reward_of_tasks(["detection", "counting"], NAME)
    with pytest.raises(ValueError, match="no reward for task 'rec'; there are detection, counting"):
        reward(["1"], [asked("rec", CAT)], progress=0.0)
    with pytest.raises(ValueError, match="must be lists of one length, got 1 and 0"):
        reward(["1"], [], progress=0.0)


def test_counts_are_no_missing_boxes():
    reward = reward_of_tasks(["detection", "counting"], NAME)
    texts, truths = [answer(CAT), "2", "many"], [asked("detection", CAT), *[asked("counting", CAT, DOG)] * 2]
    signs = monitors(count_signs(reward(texts, truths, progress=0.0).answers, truths))
    assert (signs["monitor/boxes_per_true_box"], signs["monitor/too_few"]) == (1, 0)
    assert signs["monitor/unreadable"] == signs["monitor/ill_formed"] == pytest.approx(1 / 3)


def test_the_task_of_a_target_is_that_of_its_sample():
    assert Target((), (), CATEGORIES, FRAME).task == "detection"
