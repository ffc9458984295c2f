"""What the quickstart reaches, seed by seed, beside supervised training in the same minutes.

    nox -s bench -- quickstart --workers 2 --out benchmarks/quickstart/results.json

Every run is measured on the same 200 held-out scenes, which no setting was chosen with. The supervised run
starts from the same base, sees the same training scenes with their clean labels, and has the same minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import transformers

import vision_r1_tiny
from vision_r1.folder import load_run
from vision_r1.measure import measure
from vision_r1_data import read_coco
from vision_r1_grpo import Policy, VisionReward
from vision_r1_tiny.train import BATCH, DIALECT, FRAME, supervised_loss

PEAK = 5e-4  # the supervised learning rate, which falls linearly to 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="runs side by side; each keeps one core busy")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"), help="where the run folders go")
    parser.add_argument("--out", type=Path, help="where the results go")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as pool:
        started = [
            pool.submit(beside_supervised, arguments.runs, arguments.minutes, s) for s in arguments.seeds
        ]
        paper = pool.submit(quickstart, arguments.runs, arguments.minutes, arguments.seeds[0], "paper")
        runs = [one.result() for one in started]
    for run in runs:
        print(row(run))
    ratios = [run["after"]["mAP"] / run["before"]["mAP"] for run in runs]
    results = {
        "command": f"nox -s bench -- quickstart --minutes {arguments.minutes:g} "
        f"--workers {arguments.workers} --seeds {' '.join(map(str, arguments.seeds))}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        "median_mAP": statistics.median(run["after"]["mAP"] for run in runs),
        "median_ratio": statistics.median(ratios),
        "strict": runs,
        "paper": paper.result(),
    }
    print(f"median mAP {results['median_mAP']:.3f}, {results['median_ratio']:.2f} times the base")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def beside_supervised(runs: Path, minutes: float, seed: int) -> dict[str, Any]:
    """A strict run, and the supervised one beside it."""
    strict = quickstart(runs, minutes, seed, "strict")
    return {**strict, "supervised": supervised(runs / f"strict-{seed}", minutes, seed)}


def quickstart(runs: Path, minutes: float, seed: int, reward: str) -> dict[str, Any]:
    """One run of the command, and how long all of it took."""
    out = runs / f"{reward}-{seed}"
    options = [f"--minutes={minutes}", f"--seed={seed}", f"--reward={reward}", f"--out={out}", "--force"]
    start = time.monotonic()
    command = [sys.executable, "-m", "vision_r1", "quickstart", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = (time.monotonic() - start) / 60
    return {**json.loads((out / "metrics.json").read_text()), "wall_minutes": round(wall, 2)}


def supervised(run: Path, minutes: float, seed: int) -> dict[str, Any]:
    """The same base, training scenes and minutes, learning the clean labels."""
    torch.set_num_threads(1)  # as the quickstart
    torch.manual_seed(seed)
    rng = random.Random(seed)
    train, test = (
        list(read_coco(run / "data" / name / "instances.json", run / "data" / name / "images"))
        for name in ("train", "test")
    )
    policy = Policy.from_pretrained(vision_r1_tiny.path())
    model = policy.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    start, steps = time.monotonic(), 0
    while (progress := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = PEAK * (1 - progress)
        samples = rng.sample(train, BATCH)
        answers = [DIALECT.encode(sample.objects, FRAME) for sample in samples]
        loss = supervised_loss(model, policy.processor, [s.load_image() for s in samples], answers)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    training = load_run(run).training
    limit, batch = training.sampling.max_new_tokens, training.prompts_per_step
    reward = VisionReward.from_preset("strict", DIALECT.name)
    measured = measure(policy, reward, test, max_new_tokens=limit, batch=batch)
    return {"steps": steps, "after": measured.metrics.as_dict()}


def row(run: dict[str, Any]) -> str:
    """One line of the table."""
    before, after = run["before"]["mAP"], run["after"]["mAP"]
    clean = run["supervised"]["after"]["mAP"]
    return (
        f"seed {run['seed']}  mAP {before:.3f} -> {after:.3f} ({after / before:.2f}x)  "
        f"{run['steps']} steps, {run['wall_minutes']} min in all  supervised on clean labels {clean:.3f}"
    )


if __name__ == "__main__":
    main()
