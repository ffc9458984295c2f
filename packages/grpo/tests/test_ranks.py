"""Runs of one and two processes, started as users start them, and what becomes of those that are killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, make_scenes
from vision_r1_grpo import Policy

SCRIPT = str(Path(__file__).with_name("replay.py"))
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
# The tiny model's layers are below the size that stage 3 splits up by itself.
STAGE_3 = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 100}}
STOPPED = 4  # steps of a run
TIMING = ("minutes", "seconds/rollout", "seconds/update")


@pytest.fixture(scope="module")
def start(policy, tmp_path_factory):
    """The folder of the model that every run here starts from; beside it are the images of all runs."""
    folder = tmp_path_factory.mktemp("ranks") / "start"
    policy.save_pretrained(folder)
    make_scenes(folder.parent)
    return folder


def launch(start, name, launcher=(), steps=STOPPED, **options):
    """Start replay.py; return how it ended and the folder of the run."""
    folder = start.parent / name
    command = [sys.executable, *launcher, SCRIPT, str(folder), str(start), str(steps), json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun then ends its processes
        said, _ = process.communicate()
        pytest.fail(f"{name} hangs: {said[-3000:]}")
    return process.returncode, said, folder


def finished(start, name, launcher=(), **options):
    """The folder of a run that must come to its end."""
    code, said, folder = launch(start, name, launcher, **options)
    assert code == 0, said[-3000:]
    assert "interrupted: False" in said
    return folder


def rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def timeless(folder):
    return [{key: value for key, value in row.items() if key not in TIMING} for row in rows(folder)]


def weights(folder):
    return Policy.from_pretrained(folder).model.state_dict()


@pytest.fixture(scope="module")
def alone(start):
    return finished(start, "alone")


@pytest.fixture(scope="module")
def sharded(start):
    return finished(start, "sharded", TORCHRUN, deepspeed=STAGE_3)


def assert_same_run(folder, expected):
    for mine, theirs in zip(rows(folder), rows(expected), strict=True):
        for key in (
            "reward",
            "boxes",
            "xi2_share",
            "stage",
            "tokens",
            "informative_groups",
            "loss",
            "grad_norm",
        ):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6), key
    got = weights(folder / "model")
    for name, value in weights(expected / "model").items():
        torch.testing.assert_close(got[name], value, atol=2e-4, rtol=1e-3)
    assert len(rows(folder, "completions-rank1.jsonl")) == STOPPED * 2 * GROUP


def test_stage_3_on_two_ranks_gives_what_one_gives(sharded, alone):
    """Same global batch, unequal lengths, one image without objects; the reference is sharded too."""
    assert_same_run(sharded, alone)


@pytest.mark.parametrize("stage", [0, 2])
def test_two_ranks_give_what_one_gives(start, alone, stage):
    zero = {"stage": stage}
    if stage == 2:
        zero["offload_optimizer"] = {"device": "cpu"}
    assert_same_run(finished(start, f"stage{stage}", TORCHRUN, deepspeed={"zero_optimization": zero}), alone)


def test_ranks_that_generate_for_longer_or_have_nothing_to_learn_from_do_not_hang(start):
    """Stage 3, offloaded: one rank draws 2 tokens and the other 12, has no informative group, and waits while
    the first one evaluates."""
    zero = STAGE_3["zero_optimization"]
    offload = {"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    settings = {"zero_optimization": zero | offload}
    folder = finished(start, "unequal", TORCHRUN, steps=2, deepspeed=settings, unequal=True, eval_every=1)
    logged = rows(folder)
    assert [row["eval/mAP"] for row in logged] == [pytest.approx(1 / 6)] * 3
    assert all(row["grad_norm"] > 0 for row in logged[1:])
    before, after, best = (weights(f) for f in (start, folder / "model", folder / "checkpoints" / "best"))
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    assert any(not torch.equal(value, best[name]) for name, value in after.items()), (
        "of step 1, the first best"
    )


def test_a_run_killed_again_and_again_is_bit_for_bit_the_uninterrupted_one(start, sharded):
    """Two ranks, stage 3: one is killed in an update, one in the middle of a file, one is asked to stop."""
    settings = {"launcher": TORCHRUN, "deepspeed": STAGE_3, "save_every": 1}

    def struck(fault, rank, step, resume=True):
        planted = {"fault": fault, "rank": rank, "step": step}
        return launch(start, "killed", fault=planted, resume=resume, **settings)

    code, _, folder = struck("killed in the update", rank=1, step=1, resume=False)
    assert code != 0
    code, _, _ = struck("killed while saving", rank=1, step=3)
    assert code != 0
    assert (folder / "checkpoints" / "latest").read_text() == "step_000002"
    code, said, _ = struck("asked to stop", rank=1, step=2)
    assert code == 0, said[-3000:]
    assert said.count("interrupted: True") == 2, "every rank stops, with a checkpoint"
    assert_bit_for_bit(finished(start, "killed", resume=True, **settings), sharded)


def test_a_process_killed_alone_resumes_bit_for_bit(start, alone):
    planted = {"fault": "killed in the update", "rank": 0, "step": 3}
    code, _, _ = launch(start, "killed-alone", fault=planted, save_every=1)
    assert code == -9
    assert_bit_for_bit(finished(start, "killed-alone", resume=True), alone)


def assert_bit_for_bit(folder, expected):
    """Metrics, weights and the optimiser's state are the same, and nothing unfinished lies about."""
    assert timeless(folder) == timeless(expected)
    got, wanted = (weights(run / "model") for run in (folder, expected))
    assert all(torch.equal(value, wanted[name]) for name, value in got.items())
    states = [sorted((run / "checkpoints" / "step_000004").glob("*.pt")) for run in (folder, expected)]
    assert [path.name for path in states[0]] == [path.name for path in states[1]] != []
    for mine, theirs in zip(*states, strict=True):
        tensors = [list(_tensors(torch.load(path, weights_only=False))) for path in (mine, theirs)]
        assert len(tensors[0]) > 0
        assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True)), mine.name
    assert not list((folder / "checkpoints").glob("*.partial"))


def _tensors(state):
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)


def test_another_number_of_processes_is_refused(start, sharded):
    code, said, _ = launch(start, "sharded", resume=True)
    assert code != 0
    assert "was saved by 2 processes, each its own part; start as many, not 1" in said
