"""What the quickstart reaches, seed by seed, beside supervised training in the same minutes.

    nox -s bench -- quickstart --out benchmarks/quickstart/results.json

Every run is measured on the same 200 held-out scenes, which no setting was chosen with. The supervised run
starts from the same base, sees the same training scenes with their clean labels, and has the same minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

import vision_r1_tiny
from vision_r1.measure import measure
from vision_r1_data import get_dialect, read_coco
from vision_r1_grpo import Policy
from vision_r1_tiny.train import BATCH, DIALECT, FRAME, supervised_loss

PEAK = (
    5e-4  # the supervised learning rate; falls linearly to 0. Twice and half of it end lower (see README.md)
)
LIMIT = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for seed in arguments.seeds:
            strict = quickstart(Path(folder), arguments.minutes, seed, "strict")
            runs.append({**strict, "supervised": supervised(Path(folder, "strict"), arguments.minutes, seed)})
            print(row(runs[-1]), flush=True)
        paper = quickstart(Path(folder), arguments.minutes, arguments.seeds[0], "paper")
    ratios = [run["after"]["mAP"] / run["before"]["mAP"] for run in runs]
    results = {
        "command": "nox -s bench -- quickstart --out benchmarks/quickstart/results.json",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        "median_mAP": statistics.median(run["after"]["mAP"] for run in runs),
        "median_ratio": statistics.median(ratios),
        "strict": runs,
        "paper": paper,
    }
    print(f"median mAP {results['median_mAP']:.3f}, {results['median_ratio']:.2f} times the base")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def quickstart(folder: Path, minutes: float, seed: int, reward: str) -> dict:
    """One run of the command, and how long all of it took."""
    out = folder / reward
    options = [f"--minutes={minutes}", f"--seed={seed}", f"--reward={reward}", f"--out={out}", "--force"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "vision_r1", "quickstart", *options], check=True)
    wall = (time.monotonic() - start) / 60
    return {**json.loads((out / "metrics.json").read_text()), "wall_minutes": round(wall, 2)}


def supervised(run: Path, minutes: float, seed: int) -> dict:
    """The same base, training scenes and minutes, learning the clean labels."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    train, test = (
        read_coco(run / "data" / name / "instances.json", run / "data" / name / "images")
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
    metrics = measure(policy, get_dialect("qwen2_5_vl"), test, LIMIT).metrics.as_dict()
    return {"steps": steps, "after": metrics}


def row(run: dict) -> str:
    """One line of the table."""
    before, after = run["before"]["mAP"], run["after"]["mAP"]
    clean = run["supervised"]["after"]["mAP"]
    return (
        f"seed {run['seed']}  mAP {before:.3f} -> {after:.3f} ({after / before:.2f}x)  "
        f"{run['steps']} steps, {run['wall_minutes']} min in all  supervised on clean labels {clean:.3f}"
    )


if __name__ == "__main__":
    main()
