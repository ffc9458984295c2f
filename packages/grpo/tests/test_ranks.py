"""Runs of one and two processes, started as users start them, and what becomes of those that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from replay import GROUP, make_scenes
from vision_r1_grpo import Policy

SCRIPT = str(Path(__file__).with_name("replay.py"))
# The tiny model's layers are below the size that stage 3 splits up by itself.
STAGE_3 = {"stage": 3, "stage3_param_persistence_threshold": 100}
ON_CPU = {"device": "cpu"}
STEPS = 4


@pytest.fixture(scope="module")
def start(policy, tmp_path_factory):
    """The folder of the model that every run here starts from; beside it are the images of all runs."""
    folder = tmp_path_factory.mktemp("ranks") / "start"
    policy.save_pretrained(folder)
    make_scenes(folder.parent)
    return folder


def launchers(start, kind):
    """The commands, one a node, that start processes."""
    if kind == "alone":
        return [[]]
    torchrun = ["-m", "torch.distributed.run"]
    if kind == "torchrun":
        return [[*torchrun, "--nproc-per-node=2", "--standalone"]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if kind == "torchrun on two nodes":
        rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
        return [[*torchrun, "--nnodes=2", "--nproc-per-node=1", *rendezvous]] * 2
    assert kind == "deepspeed on two nodes"
    hosts = start.parent / "hostfile"
    hosts.write_text("127.0.0.1 slots=1\nlocalhost slots=1\n")
    runner = ["-m", "deepspeed.launcher.runner", f"--hostfile={hosts}", "--no_ssh"]
    master = ["--master_addr=127.0.0.1", f"--master_port={port}"]
    return [[*runner, *master, f"--node_rank={rank}"] for rank in (0, 1)]


def launch(start, *runs, by="alone"):
    """Do runs, one after another, on the ranks of a launcher; return the worst exit code and the output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # sums depend on how many threads share them
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    nodes = [
        subprocess.Popen(
            [sys.executable, *launcher, SCRIPT, str(start), json.dumps(runs)], env=environment, **pipes
        )
        for launcher in launchers(start, by)
    ]
    try:
        said = "".join(node.communicate(timeout=180)[0] for node in nodes)
    except subprocess.TimeoutExpired:
        for node in nodes:
            node.terminate()  # launchers then end their processes
        pytest.fail("hangs: " + "".join(node.communicate()[0][-3000:] for node in nodes))
    return max((node.returncode for node in nodes), key=abs), said


def one_run(start, name, zero=None, **settings):
    deepspeed = {} if zero is None else {"zero_optimization": zero}
    return {"folder": str(start.parent / name), "steps": STEPS, "deepspeed": deepspeed} | settings


@pytest.fixture(scope="module")
def alone(start):
    """One process: a whole run, and then one that is killed in the middle of a file."""
    fault = {"fault": "killed while saving", "rank": 0, "step": 3}
    whole, killed = one_run(start, "alone"), one_run(start, "alone-killed", save_every=1, fault=fault)
    code, said = launch(start, whole, killed)
    assert code == -signal.SIGKILL, said[-3000:]
    assert "alone interrupted: False" in said
    return start.parent / "alone"


@pytest.fixture(scope="module")
def together(start):
    """Two processes: whole runs by their names, and then one in which a process is killed in an update."""
    fault = {"fault": "killed in the update", "rank": 1, "step": 1}
    offloaded = STAGE_3 | {"offload_optimizer": ON_CPU, "offload_param": ON_CPU}
    whole = (
        one_run(start, "stage0", {"stage": 0}),
        one_run(start, "stage2", {"stage": 2, "offload_optimizer": ON_CPU}),
        one_run(start, "stage3", STAGE_3),
        one_run(start, "unequal", offloaded, steps=2, unequal=True, eval_every=1),
    )
    killed = one_run(start, "killed", STAGE_3, save_every=1, fault=fault)
    code, said = launch(start, *whole, killed, by="torchrun")
    assert code != 0, said[-3000:]
    folders = {name: start.parent / name for name in ("stage0", "stage2", "stage3", "unequal", "killed")}
    for name in list(folders)[:-1]:
        assert said.count(f"{name} interrupted: False") == 2, said[-3000:]
    assert "killed interrupted" not in said
    return folders


def rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def timeless(folder):
    timed = ("minutes", "seconds/", "rollout_tokens_per_second", "completions_per_second", "peak_memory")
    return [{key: row[key] for key in row if not key.startswith(timed)} for row in rows(folder)]


def weights(folder):
    return Policy.from_pretrained(folder).model.state_dict()


@pytest.mark.parametrize("name", ["stage0", "stage2", "stage3"])
def test_two_ranks_give_what_one_gives(together, alone, name):
    """Same global batch, unequal lengths, one image without objects; the reference is sharded too."""
    keys = ("reward", "boxes", "xi2_share", "stage", "tokens", "informative_groups", "loss", "grad_norm")
    for mine, theirs in zip(rows(together[name]), rows(alone), strict=True):
        for key in keys:
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6), key
    got = weights(together[name] / "model")
    for key, value in weights(alone / "model").items():
        torch.testing.assert_close(got[key], value, atol=2e-4, rtol=1e-3)
    assert len(rows(together[name], "completions-rank1.jsonl")) == STEPS * 2 * GROUP


def test_ranks_that_generate_for_longer_or_have_nothing_to_learn_from_do_not_hang(start, together):
    """Stage 3, offloaded: one rank draws 2 tokens and the other 12, has no informative group, and waits while
    the first one evaluates."""
    folder = together["unequal"]
    logged = rows(folder)
    assert [row["eval/mAP"] for row in logged] == [pytest.approx(1 / 6)] * 3
    assert all(row["grad_norm"] > 0 and row["informative_groups"] == 0.5 for row in logged[1:])
    before, after, best = (weights(f) for f in (start, folder / "model", folder / "checkpoints" / "best"))
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    assert any(not torch.equal(value, best[name]) for name, value in after.items()), "the best was step 1"


def test_two_ranks_killed_and_stopped_resume_bit_for_bit(start, together):
    """A process was killed in the second update; then one of two is asked to stop. Every launcher will do."""
    folder = together["killed"]
    assert (folder / "checkpoints" / "latest").read_text() == "step_000001"
    fault = {"fault": "asked to stop", "rank": 1, "step": 2}
    resumed = one_run(start, "killed", STAGE_3, save_every=1, resume=True)
    code, said = launch(start, resumed | {"fault": fault}, by="torchrun on two nodes")
    assert code == 0, said[-3000:]
    assert said.count("killed interrupted: True") == 2, "every rank stops"
    assert (folder / "checkpoints" / "latest").read_text() == "step_000003"
    code, said = launch(start, resumed, by="deepspeed on two nodes")
    assert code == 0, said[-3000:]
    assert_bit_for_bit(folder, together["stage3"])


def test_a_process_killed_while_it_saves_resumes_bit_for_bit(start, alone):
    folder = start.parent / "alone-killed"
    assert (folder / "checkpoints" / "latest").read_text() == "step_000002"
    assert (folder / "checkpoints" / "step_000003.partial").is_dir()
    code, said = launch(start, one_run(start, "alone-killed", resume=True))
    assert code == 0, said[-3000:]
    assert_bit_for_bit(folder, alone)


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
