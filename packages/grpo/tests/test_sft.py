"""Supervised training: the loss by hand, what it learns, and that ranks and resuming change nothing.

As a script: `test_sft.py FOLDER MODEL STEPS` runs on the ranks of its launcher and exports the model.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vision_r1_tiny
from vision_r1_data import DataError, Frame, Objects, Sample, get_dialect
from vision_r1_grpo import ConfigError, GRPOConfig, Policy
from vision_r1_grpo.config import LossConfig, OptimizerConfig, SamplingConfig
from vision_r1_grpo.preflight import preflight
from vision_r1_grpo.rewards import reward_of_tasks
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler
from vision_r1_grpo.sft import SFTTrainer, answer_text, unused_settings

sys.path.insert(0, str(Path(__file__).parent))
from replay import make_scenes

DIALECT = get_dialect("qwen2_5_vl")
MOST = 33  # tokens of an answer: two boxes have 34
LEFT_OUT = [1, 2, 2]  # of the answers of each step


def make_samples(folder):
    """Boxes and counts, of lengths that differ much."""
    return [
        replace(sample, task="counting" if n % 3 == 1 else "detection")
        for n, sample in enumerate(make_scenes(folder))
    ]


def make_trainer(folder, policy, steps, samples=None, resume=False, **settings):
    samples = samples or make_samples(folder.parent)
    optimizer = OptimizerConfig(learning_rate=1e-3, warmup_steps=2)
    config = GRPOConfig(
        **{
            "sampling": SamplingConfig(max_new_tokens=MOST),
            "optimizer": optimizer,
            "prompts_per_step": 4,
            "prompts_per_forward": 1,
            **settings,
        }
    )
    reward = reward_of_tasks(["counting", "detection"], "qwen2_5_vl")
    folder.mkdir(exist_ok=True)
    return SFTTrainer(replace(config, max_steps=steps), policy, reward, samples, folder=folder, resume=resume)


def weights(policy):
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
    """A run of three steps on one rank: its folder and weights."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    policy = Policy.from_pretrained(start)
    make_trainer(folder, policy, 3).train()
    return folder, weights(policy)


def cross_entropy(policy, samples):
    """Token mean over the answers that are not left out, each sample alone, without the trainer's code."""
    losses = []
    for sample in samples:
        prompt = policy.encode(DIALECT.prompt(sample), sample.load_image())
        text = (
            str(len(sample.objects))
            if sample.task == "counting"
            else DIALECT.encode(sample.objects, prompt.frame)
        )
        answer = torch.tensor(policy.processor.tokenizer(text + "<|im_end|>")["input_ids"])
        if len(answer) > MOST:
            continue
        ids = torch.cat([prompt.input_ids, answer])[None]
        after = prompt.position_ids.max() + 1 + torch.arange(len(answer))
        positions = torch.cat([prompt.position_ids, after.expand(3, -1)], dim=1)[:, None]
        logits = policy.model(input_ids=ids, position_ids=positions, **prompt.vision).logits[0]
        logits[:, policy.banned_token_ids] = -torch.inf
        predicted = logits[len(prompt.input_ids) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(predicted, answer, reduction="none"))
    return torch.cat(losses).mean().item()


def test_the_loss_is_the_cross_entropy_of_the_answers(start, tmp_path):
    policy = Policy.from_pretrained(start)
    trainer = make_trainer(tmp_path / "run", policy, 1)
    with torch.no_grad():
        expected = cross_entropy(policy, trainer.feed.draw(0, 4).samples)
    trainer.train()
    (row,) = rows(tmp_path / "run")
    assert row["loss"] == pytest.approx(expected, rel=1e-5)
    assert row["dropped_answers"] == LEFT_OUT[0]
    assert row["grad_norm"] > 0
    assert row["learning_rate"] == pytest.approx(5e-4)


def test_two_samples_are_learnt_by_heart(tmp_path):
    policy = Policy.from_pretrained(vision_r1_tiny.path())
    samples = make_samples(tmp_path)[:2]
    settings = {
        "prompts_per_step": 2,
        "prompts_per_forward": 2,
        "sampling": SamplingConfig(max_new_tokens=80),
    }
    trainer = make_trainer(tmp_path / "run", policy, 20, samples, **settings)
    trainer.train()
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert losses[-1] < 0.02 < losses[0]
    prompts = [trainer._prompt(sample) for sample in samples]
    greedy = TransformersSampler(policy).generate(prompts, 1, Sampling(temperature=0.0, max_new_tokens=80))
    assert list(greedy.texts) == [
        answer_text(s, p.frame, DIALECT) for s, p in zip(samples, prompts, strict=True)
    ]
    assert not greedy.truncated.any()


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(start, finished, tmp_path):
    first = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 3)
    first.engine.step = stopping(first.engine.step, 1)
    assert first.train().interrupted
    policy = Policy.from_pretrained(start)
    assert not make_trainer(tmp_path / "run", policy, 3, resume=True).train().interrupted
    assert all(torch.equal(value, finished[1][name]) for name, value in weights(policy).items())
    assert [row["loss"] for row in rows(tmp_path / "run")] == [row["loss"] for row in rows(finished[0])]


def stopping(step, at):
    """The optimiser's step, with a SIGTERM in the step of that number."""
    calls = iter(range(1, 100))

    def call(*arguments):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    return call


def test_two_ranks_of_zero_3_give_what_one_gives(start, finished, tmp_path):
    make_scenes(tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command = [*launcher, __file__, str(tmp_path / "run"), str(start), "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for mine, theirs in zip(rows(tmp_path / "run"), rows(finished[0]), strict=True):
        for key in ("loss", "tokens", "grad_norm"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4), key
    assert [row["dropped_answers"] for row in rows(tmp_path / "run")] == LEFT_OUT
    got = weights(Policy.from_pretrained(tmp_path / "run" / "model"))
    for name, value in finished[1].items():
        # AdamW blows rounding up where a gradient is nearly 0, so a few weights may differ more.
        assert (got[name] - value).abs().mean() < 1e-6, name


def test_where_every_answer_is_too_long_nothing_moves(start, tmp_path):
    policy = Policy.from_pretrained(start)
    before = weights(policy)
    trainer = make_trainer(tmp_path / "run", policy, 1, sampling=SamplingConfig(max_new_tokens=1))
    with pytest.raises(
        ConfigError, match=r"max_new_tokens 1: all of the first 7 annotated answers have more"
    ):
        preflight(trainer)
    trainer.train()
    (row,) = rows(tmp_path / "run")
    assert (row["loss"], row["grad_norm"], row["dropped_answers"]) == (0, 0, 4)
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())


def test_the_preflight_looks_at_a_true_answer(start, tmp_path):
    seen = preflight(make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1))
    assert seen.change > 1e-3
    assert seen.group is None


def test_settings_without_effect_are_said(start, tmp_path):
    settings = {"loss": LossConfig(beta=0.1), "sampling": SamplingConfig(group_size=4, max_new_tokens=64)}
    assert unused_settings(GRPOConfig(**settings, minibatches=2)) == [
        *("loss.beta", "sampling.group_size", "minibatches")
    ]
    assert unused_settings(GRPOConfig()) == []
    of_measuring = SamplingConfig(max_new_tokens=9, stop=("x",))
    assert unused_settings(GRPOConfig(sampling=of_measuring)) == []
    said = r"neither samples nor scores: loss.beta, sampling.group_size change nothing in it"
    with pytest.warns(UserWarning, match=said):
        trainer = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1, **settings)
    assert trainer.update.reference is None
    assert trainer.engine._engine.module.chunks == 1  # of one answer a prompt


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("detection", '```json\n[\n\t{"bbox_2d": [0, 0, 20, 20], "label": "cat"}\n]\n```'),
        ("pointing", '```json\n[\n\t{"point_2d": [10, 10], "label": "cat"}\n]\n```'),
        ("counting", "1"),
    ],
)
def test_the_answer_is_of_the_form_that_is_asked_for(task, text):
    """In the model's pixels, without crowds."""
    objects = Objects(((0, 0, 10, 10), (20, 20, 30, 30)), ("cat", "cat"), (False, True))
    sample = Sample("1", b"", 50, 50, task, categories=("cat",), objects=objects)
    assert answer_text(sample, Frame(50, 50, 100, 100), DIALECT) == text


def test_a_label_that_would_ask_for_an_image(start, tmp_path):
    objects = Objects(((0, 0, 10, 10),), ("<|image_pad|>",))
    samples = [replace(make_scenes(tmp_path)[0], objects=objects)]
    trainer = make_trainer(tmp_path / "run", Policy.from_pretrained(start), 1, samples)
    with pytest.raises(DataError, match=r"no answer \(a label holds a token that stands for an image\)"):
        trainer.train()


def test_a_label_that_cannot_be_written():
    objects = Objects(((0, 0, 10, 10),), ("a<b> & ;</ref>[[",))
    sample = Sample("7", b"", 50, 50, objects=objects)
    with pytest.raises(DataError, match="sample '7' has no answer"):
        answer_text(sample, Frame(50, 50, 50, 50), get_dialect("internvl"))


if __name__ == "__main__":
    out, model, steps = sys.argv[1:]
    policy = Policy.from_pretrained(model)
    trainer = make_trainer(Path(out), policy, int(steps), deepspeed={"zero_optimization": {"stage": 3}})
    trainer.train()
    trainer.export(Path(out) / "model")
