import copy
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vision_r1_data import Frame, Objects
from vision_r1_data.scenes import SIZE
from vision_r1_grpo import ConfigError, GRPOConfig, GRPOTrainer, Policy, VisionReward
from vision_r1_grpo.config import SamplingConfig
from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs

sys.path.insert(0, str(Path(__file__).parent))
from replay import DIALECT, GROUP, ReplaySampler, make_scenes, make_trainer


@pytest.fixture(scope="module")
def four_steps(start, tmp_path_factory):
    """An uninterrupted run of four steps on one rank: its folder and weights."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    policy = Policy.from_pretrained(start)
    make_trainer(folder, policy, 4).train()
    return folder, weights(policy)


def weights(policy):
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_right_answers_become_likelier(start, tmp_path):
    policy = Policy.from_pretrained(start)
    trainer = make_trainer(tmp_path / "run", policy, 8)
    prompts = [trainer._prompt(sample) for sample in trainer.dataset[:2]]
    rollout = trainer.sampler.generate(prompts, GROUP, None)

    def sequence_logprobs():
        with torch.no_grad():
            logprobs = completion_logprobs(
                TokenLogprobs(policy.model, 1000), policy, prompts, rollout.tokens, rollout.mask
            )
        return logprobs.sum(dim=1).view(2, GROUP)

    before = sequence_logprobs()
    trainer.train()
    gain = sequence_logprobs() - before
    assert (gain[:, 0] > gain[:, 3]).all(), "the right answer gains on the unreadable one"


def test_the_learning_rate_warms_up_and_gradients_flow(four_steps):
    folder, _ = four_steps
    logged = rows(folder)
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    assert all(row["grad_norm"] > 0 for row in logged)
    assert logged[0]["learning_rate"] == pytest.approx(5e-4)
    assert logged[1]["learning_rate"] == pytest.approx(1e-3)


def test_an_adaptive_refinement_goes_on_once_its_stage_is_learnt(four_steps):
    folder, _ = four_steps
    logged = rows(folder)
    assert [row["stage"] for row in logged] == [0, 0, 1, 1]
    assert [(row["xi0"], row["xi1"], row["xi2"]) for row in logged] == [(0.5, 0.5, 0.75)] * 2 + [
        (0.75, 0.75, 0.9)
    ] * 2
    assert all(0.4 <= row["xi2_share"] <= 0.6 for row in logged)
    assert all(row["xi2_share"] == pytest.approx(row["saturated"] / row["matched"]) for row in logged)


def test_the_learning_curve_begins_before_the_first_step(start, tmp_path):
    trainer = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4, eval_every=2)
    values = iter([0.25, float("nan"), 0.75])
    trainer.evaluate = lambda: {"mAP": next(values)}
    trainer.train()
    curve = {row["step"]: row["eval/mAP"] for row in rows(tmp_path / "run") if "eval/mAP" in row}
    assert curve == {0: 0.25, 4: 0.75}  # a number that does not exist is left out


def test_every_completion_is_kept_with_its_rewards(four_steps):
    folder, _ = four_steps
    logged = rows(folder, "completions.jsonl")
    assert len(logged) == 4 * 4 * 4
    assert {"step", "sample", "completion", "reward", "reward/format", "reward/f_measure"} <= set(logged[0])


@pytest.fixture(scope="module")
def watched(start, tmp_path_factory):
    """A run of three steps with all that there is to see: its folder."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    monitor = {"enabled": True, "output_path": str(folder.parent)}
    settings = {
        "csv_monitor": monitor | {"job_name": "csv"},
        "tensorboard": monitor | {"job_name": "tensorboard"},
    }
    trainer = make_trainer(
        folder, Policy.from_pretrained(start), 3, deepspeed=settings, overlay_every=2, eval_every=3
    )
    trainer.evaluate = lambda: {"mAP": 0.5}
    trainer.train()
    return folder


def test_what_there_is_to_watch(watched):
    for row in rows(watched)[1:]:
        assert (row["prompts"], row["dropped_prompts"]) == (4, 0)
        assert row["tokens_min"] <= row["tokens"] <= row["tokens_max"]
        phases = [row[f"seconds/{name}"] for name in ("data", "rollout", "reward", "update")]
        assert row["completions_per_second"] == pytest.approx(4 * GROUP / sum(phases))
        drawn = row["rollout_tokens_per_second"] * row["seconds/rollout"]
        assert drawn == pytest.approx(row["tokens"] * 4 * GROUP)
        assert 0.05 < row["peak_memory_gib"] < 100


def test_the_monitors_of_deepspeed_have_every_number(watched):
    logged = rows(watched)
    csv = (watched.parent / "csv" / "reward.csv").read_text().splitlines()[1:]
    steps, values = zip(*(line.split(",") for line in csv), strict=True)
    assert list(map(int, steps)) == [1, 2, 3]
    assert list(map(float, values)) == pytest.approx([row["reward"] for row in logged[1:]])

    events = EventAccumulator(str(watched.parent / "tensorboard")).Reload()
    for name in ("reward", "reward/format", "loss", "seconds/rollout", "monitor/too_few", "eval/mAP"):
        there = {row["step"]: row[name] for row in logged if name in row}
        read = {event.step: event.value for event in events.Scalars(name)}
        assert read == pytest.approx(there, rel=1e-6), name
    assert not {"step", "alarms"} & set(events.Tags()["scalars"])


def test_answers_are_drawn_every_few_steps(watched):
    (sheet,) = (watched / "overlays").iterdir()
    assert sheet.name == "step_000002.png"
    with Image.open(sheet) as image:
        assert image.width > 1000  # the truth and four answers


def test_prompts_that_are_too_long_are_left_out_and_counted(start, tmp_path, capfd):
    """Also after a resumption, the next of the order takes the place of one that is left out."""
    samples = [
        replace(sample, query=" ".join(["cat"] * (50 if n % 3 == 0 else 1)))
        for n, sample in enumerate(make_scenes(tmp_path))
    ]
    long = {sample.id for n, sample in enumerate(samples) if n % 3 == 0}

    def trainer(folder, steps, resume=False):
        config = GRPOConfig(
            SamplingConfig(2, 1.0, 8), prompts_per_step=2, max_steps=steps, max_prompt_tokens=60
        )
        reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
        folder.mkdir(exist_ok=True)
        return GRPOTrainer(
            config, Policy.from_pretrained(start), reward, samples, folder=folder, resume=resume
        )

    trainer(tmp_path / "whole", 5).train()
    whole = rows(tmp_path / "whole")
    trained_on = [row["sample"] for row in rows(tmp_path / "whole", "completions.jsonl")]
    assert not long & set(trained_on)
    assert len(trained_on) == 5 * 2 * 2
    assert {name for row in whole for name in row.get("dropped_ids", ())} <= long
    assert sum(row["dropped_prompts"] for row in whole) >= 3
    first = next(row for row in whole if row["dropped_prompts"])
    told = f"{first['dropped_prompts']} prompts above max_prompt_tokens are left out"
    assert capfd.readouterr().err.count(told) == 1

    trainer(tmp_path / "parts", 2).train()
    trainer(tmp_path / "parts", 5, resume=True).train()
    assert [row["sample"] for row in rows(tmp_path / "parts", "completions.jsonl")] == trained_on


def test_an_evaluation_that_is_due_needs_something_to_evaluate(start, tmp_path):
    trainer = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1, eval_every=2)
    with pytest.raises(ConfigError, match="eval_every is 2, but there is no `evaluate`"):
        trainer.train()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(start, four_steps, tmp_path, stop):
    folder, expected = four_steps
    first = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4)
    first.sampler = InterruptAfter(first.sampler, stop)
    assert first.train().interrupted
    policy = Policy.from_pretrained(start)
    result = make_trainer(tmp_path / "run", policy, 4, resume=True).train()
    assert not result.interrupted
    assert all(torch.equal(value, expected[name]) for name, value in weights(policy).items())
    measured = (
        "minutes",
        "seconds/",
        "rollout_tokens_per_second",
        "completions_per_second",
        "peak_memory_gib",
    )
    timeless = [
        [{key: value for key, value in row.items() if not key.startswith(measured)} for row in rows(run)]
        for run in (folder, tmp_path / "run")
    ]
    assert timeless[0] == timeless[1]


def test_a_resumed_run_draws_the_same_random_numbers(start, tmp_path):
    """Such as those of dropout, here on the embeddings."""

    def trained(folder, steps, resume=False):
        policy = Policy.from_pretrained(start)
        embeddings = policy.model.get_input_embeddings()
        embeddings.register_forward_hook(lambda _, __, out: torch.nn.functional.dropout(out, 0.2))
        trainer = make_trainer(folder, policy, 3, resume=resume)
        if not resume and steps < 3:
            trainer.sampler = InterruptAfter(trainer.sampler, steps)
        trainer.train()
        return weights(policy)

    expected = trained(tmp_path / "straight", 3)
    first = trained(tmp_path / "run", 1)
    resumed = trained(tmp_path / "run", 3, resume=True)
    assert all(torch.equal(value, expected[name]) for name, value in resumed.items())
    assert any(not torch.equal(value, first[name]) for name, value in resumed.items())


def test_the_best_model_is_kept_beside_the_newest(start, tmp_path):
    """Its step and value survive a resumption; a model that was not trained is no candidate."""
    best = tmp_path / "run" / "checkpoints" / "best"

    def trained(steps, values, resume=False):
        policy = Policy.from_pretrained(start)
        trainer = make_trainer(tmp_path / "run", policy, steps, resume, eval_every=1, keep_checkpoints=1)
        trainer.evaluate = lambda: {"mAP": next(values)}
        trainer.train()
        return (
            weights(policy),
            weights(Policy.from_pretrained(best)),
            json.loads((best / "best.json").read_text()),
        )

    newest, kept, said = trained(1, iter([0.9, 0.3]))
    assert said == {"step": 1, "metric": "mAP", "value": 0.3}
    assert all(torch.equal(value, newest[name]) for name, value in kept.items())
    newest, same, said = trained(3, iter([0.2, float("nan")]), resume=True)
    assert said["step"] == 1
    assert all(torch.equal(value, kept[name]) for name, value in same.items())
    assert any(not torch.equal(value, newest[name]) for name, value in same.items())
    assert trained(4, iter([0.4]), resume=True)[2] == {"step": 4, "metric": "mAP", "value": 0.4}


def test_a_best_metric_that_is_not_evaluated_is_refused(start, tmp_path):
    policy = Policy.from_pretrained(start)
    trainer = make_trainer(tmp_path / "run", policy, 1, eval_every=1, best_metric="F1")
    trainer.evaluate = lambda: {"mAP": 0.5, "F1@50": 0.5}
    with pytest.raises(
        ConfigError, match=r"best_metric must be null or of what is evaluated \('mAP', 'F1@50'\)"
    ):
        trainer.train()


class InterruptAfter:
    """A user's Ctrl-C during the rollout of step `step`."""

    def __init__(self, sampler, step):
        self.sampler, self.left = sampler, step

    def generate(self, *arguments):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.sampler.generate(*arguments)


def test_checkpoints_are_limited(start, tmp_path):
    make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4, save_every=1, keep_checkpoints=2).train()
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*"))
    assert kept == ["step_000003", "step_000004"]


def test_a_beta_of_zero_keeps_no_reference_model(policy, tmp_path):
    samples = make_scenes(tmp_path)
    reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
    (tmp_path / "run").mkdir()
    trainer = GRPOTrainer(GRPOConfig(), copy.deepcopy(policy), reward, samples, folder=tmp_path / "run")
    assert trainer.update.reference is None


def test_sampled_runs_are_seeded(start, tmp_path):
    """With the real sampler, the same seed draws the same completions."""
    texts = []
    for name in ("a", "b"):
        policy = Policy.from_pretrained(start)
        config = GRPOConfig(SamplingConfig(2, 1.0, 8), prompts_per_step=2, max_steps=2)
        (tmp_path / name).mkdir()
        reward = VisionReward.from_preset("strict", dialect="qwen2_5_vl")
        GRPOTrainer(config, policy, reward, make_scenes(tmp_path), folder=tmp_path / name).train()
        texts.append([row["completion"] for row in rows(tmp_path / name, "completions.jsonl")])
    assert texts[0] == texts[1]


def test_an_interruption_of_the_first_evaluation_is_resumed(start, four_steps, tmp_path):
    first = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4, eval_every=4)
    first.evaluate = lambda: os.kill(os.getpid(), signal.SIGINT) or {"mAP": 0.5}
    assert first.train().interrupted
    policy = Policy.from_pretrained(start)
    second = make_trainer(tmp_path / "run", policy, 4, eval_every=4, resume=True)
    second.evaluate = lambda: {"mAP": 0.5}
    assert not second.train().interrupted
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1, 2, 3, 4]
    assert all(torch.equal(value, four_steps[1][name]) for name, value in weights(policy).items())


def test_a_run_that_saved_nothing_can_be_started_again(start, four_steps, tmp_path):
    first = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4, eval_every=4)
    first.evaluate = lambda: os.kill(os.getpid(), signal.SIGINT) or {"mAP": 0.5}
    first.sampler = InterruptAfter(first.sampler, step=1)  # a second signal would interrupt at once
    with pytest.raises(KeyboardInterrupt):
        first.train()
    policy = Policy.from_pretrained(start)
    second = make_trainer(tmp_path / "run", policy, 4, eval_every=4)
    second.evaluate = lambda: {"mAP": 0.5}
    second.train()
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1, 2, 3, 4]
    assert all(torch.equal(value, four_steps[1][name]) for name, value in weights(policy).items())


def test_a_folder_with_the_checkpoints_of_another_run_is_refused(start, tmp_path):
    make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1).train()
    with pytest.raises(ConfigError, match="belongs to another run"):
        make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1)


def test_groups_that_say_nothing_change_nothing(start, tmp_path):
    policy = Policy.from_pretrained(start)
    before = weights(policy)
    trainer = make_trainer(tmp_path / "run", policy, 1)
    silent = trainer.sampler.completions
    trainer.sampler.completions = {key: ["no"] * GROUP for key in silent}
    trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())


def test_nothing_to_resume_is_said(start, tmp_path):
    with pytest.raises(ConfigError, match="no checkpoint to resume"):
        make_trainer(tmp_path / "run", Policy.from_pretrained(start), 4, resume=True)


COMPLETIONS = {
    "counting": lambda sample: [str(len(sample.objects)), str(len(sample.objects) + 1), "99", "many"],
    "pointing": lambda sample: [
        DIALECT.encode(objects, Frame(SIZE, SIZE, SIZE, SIZE), "points")
        for objects in (sample.objects, Objects(sample.objects.boxes[:1], sample.objects.labels[:1]))
        for _ in range(2)
    ],
}


def task_trainer(start, folder, task, preset):
    folder.mkdir()
    policy = Policy.from_pretrained(start)
    samples = [replace(sample, task=task) for sample in make_scenes(folder.parent) if len(sample.objects) > 1]
    sampler = ReplaySampler(policy, samples, COMPLETIONS[task])
    reward = VisionReward.from_preset(preset, "qwen2_5_vl")
    config = GRPOConfig(sampling=SamplingConfig(group_size=GROUP), prompts_per_step=2, max_steps=1)
    return GRPOTrainer(config, policy, reward, samples, folder=folder, sampler=sampler)


@pytest.mark.parametrize(("task", "part"), [("counting", "count"), ("pointing", "f_measure")])
def test_other_tasks_train_alike(start, tmp_path, task, part):
    assert not task_trainer(start, tmp_path / "run", task, task).train().interrupted
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert row["informative_groups"] == 1
    assert 0 < row[f"reward/{part}"] < 1
    assert row["grad_norm"] > 0


def test_a_question_that_the_reward_does_not_read_is_refused(start, tmp_path):
    with pytest.raises(ConfigError, match=r"sample '\d': preset 'strict' scores boxes, and task 'counting'"):
        task_trainer(start, tmp_path / "run", "counting", "strict")
