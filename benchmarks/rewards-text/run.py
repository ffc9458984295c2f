"""How fast text becomes rewards, beside the released reward functions, on one core.

    nox -s bench -- rewards-text

1,024 completions of 1 to 32 boxes. The peer, peer.py, computes what the released functions compute as they do
it; `--released CHECKOUT` measures the real ones of a checkout of jefferyZhan/Griffon as well. All are checked
before they are timed, take turns in one process, and read the texts in every call. The results go to
results.json beside this file, or to `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from peer import Rewards, Row, released_functions, rows_of, score

from ops.problems import CLASSES, IMAGE, box_problems
from ops.run import significant, surroundings, write
from vision_r1_data import Frame, Objects, get_dialect
from vision_r1_grpo import Target, VisionReward
from vision_r1_grpo.rewards.presets import PRESETS
from vision_r1_grpo.rewards.scene import make_scene

COUNT, MOST = 1024, 32
MEASURED = ("strict", "paper", "released")
DIALECT = "qwen2_5_vl"
FRAME = Frame(int(IMAGE), int(IMAGE), 1008, 1008)
NAMES = tuple(f"traffic light {number}" for number in range(CLASSES))
# the share of a text that is there: a completion that was cut off cannot be read in one go
SETS = {"well formed": 1.0, "cut off": 0.75}
PEER, REAL = "released functions, written anew", "released functions"
REQUIRED = 25  # times as fast as the peer
ORACLE = HERE.parents[1] / "packages/grpo/tests/rewards/released_rewards.json"
LIBRARIES = (
    "vision-r1-grpo",
    "vision-r1-data",
    "vision-r1-ops",
    "msgspec",
    "numba",
    "numpy",
    "scipy",
    "torch",
)

Case = dict[str, Any]
Peer = Callable[[list[Row]], Rewards]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--released", type=Path, help="a checkout of the released code, to be measured too")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    peers: dict[str, Peer] = {PEER: score}
    if arguments.released:
        peers[REAL] = released_functions(arguments.released)
    for peer in peers.values():
        check_oracle(peer)
    cases = [case for name in SETS for case in measure(name, peers, arguments.rounds)]
    print(*map(line, cases), sep="\n")
    verdicts = [verdict(name, cases) for name in SETS]
    print(*verdicts, sep="\n")
    command = ["nox", "-s", "bench", "--", "rewards-text", "--rounds", str(arguments.rounds)]
    command += ["--released", "CHECKOUT"] if arguments.released else []
    results = {
        "command": shlex.join(command),
        **surroundings(LIBRARIES, load),
        "verdicts": verdicts,
        "cases": cases,
    }
    write(arguments.out, results)


def problems(there: float) -> tuple[list[str], list[Target]]:
    """Jittered boxes as text, some with wrong labels, and their truths."""
    drawn = box_problems(COUNT, MOST)
    texts, targets = [], []
    sides = (drawn.pred, drawn.pred_labels, drawn.n_pred), (drawn.true, drawn.true_labels, drawn.n_true)
    for pred, true in zip(*(zip(*side, strict=True) for side in sides), strict=True):
        said, truth = (
            Objects(tuple(map(tuple, boxes[:n].tolist())), tuple(NAMES[i] for i in labels[:n].tolist()))
            for boxes, labels, n in (pred, true)
        )
        text = get_dialect(DIALECT).encode(said, FRAME)
        texts.append(text[: round(there * len(text))])
        targets.append(Target(truth.boxes, truth.labels, NAMES, FRAME))
    return texts, targets


def check_oracle(peer: Peer) -> None:
    """The values that the released code returned."""
    rows, expected = [], []
    for case in json.loads(ORACLE.read_text(encoding="utf-8")):
        sizes = (case["width"], case["height"]), (case["input_width"], case["input_height"])
        solution = json.dumps([[one["label"], one["box"]] for one in case["targets"]])
        rows.append(Row(case["completion"], solution, json.dumps(case["category_ids"]), *sizes))
        expected.append(case["expected"] | case["expected"]["none"])
    for part, values in peer(rows).items():
        assert [float(x) for x in values] == pytest.approx([one[part] for one in expected], abs=1e-4), part


def measure(name: str, peers: dict[str, Peer], rounds: int) -> list[Case]:
    """Microseconds a completion: of all presets and peers, taking turns, and of the steps of the presets."""
    texts, targets = problems(SETS[name])
    rows = rows_of(texts, targets)
    rewards = {preset: VisionReward.from_preset(preset, DIALECT) for preset in MEASURED}
    ours = rewards["released"](texts, targets, progress=0.0).parts
    for peer in peers.values():
        for part, values in peer(rows).items():
            assert ours[part].tolist() == pytest.approx([float(x) for x in values], abs=1e-4), part
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for preset, reward in rewards.items():
        calls[preset, "all"] = partial(reward, texts, targets, progress=0.0)
        calls |= {(preset, step): call for step, call in steps(reward, texts, targets).items()}
    calls |= {(peer, "all"): partial(call, rows) for peer, call in peers.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for warm in [False] + [True] * rounds:
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if warm:
                times[key].append(1e6 * (time.perf_counter() - start) / COUNT)
    median = {key: statistics.median(values) for key, values in times.items()}
    cases = []
    for contender in (*rewards, *peers):
        low, _, high = statistics.quantiles(times[contender, "all"], n=4)
        case = {
            "set": name,
            "contender": contender,
            "median_us": median[contender, "all"],
            "iqr_us": high - low,
        }
        case["ratio"] = median[PEER, "all"] / median[contender, "all"]
        case |= {f"{step}_us": median[who, step] for who, step in calls if who == contender and step != "all"}
        cases.append({key: significant(x, 3) if isinstance(x, float) else x for key, x in case.items()})
    return cases


def steps(reward: VisionReward, texts: list[str], targets: list[Target]) -> dict[str, Callable[[], object]]:
    """What a reward does, step by step."""

    def decode() -> list[Any]:
        return [reward.read(text, target.frame) for text, target in zip(texts, targets, strict=True)]

    answers = decode()
    pad = partial(make_scene, answers, targets, PRESETS[reward.preset].same_label)
    return {
        "decode": decode,
        "pad": pad,
        "match": partial(reward.criterion, pad(), reward.refinement(0.0)),
    }


def verdict(name: str, cases: list[Case]) -> str:
    ratios = [case["ratio"] for case in cases if case["contender"] in MEASURED and case["set"] == name]
    reached = "reached" if min(ratios) >= REQUIRED else "NOT reached"
    return f"{name}: {min(ratios):g} to {max(ratios):g} times as fast as the peer, {REQUIRED} {reached}"


def line(case: Case) -> str:
    """One row of the table."""
    said = ", ".join(
        f"{step} {case[f'{step}_us']}" for step in ("decode", "pad", "match") if f"{step}_us" in case
    )
    name, time_, ratio = f"{case['set']}: {case['contender']}", case["median_us"], case["ratio"]
    return f"{name:48}{time_:>8,} us a completion (IQR {case['iqr_us']:>5}) {ratio:>6} times  {said}"


if __name__ == "__main__":
    main()
