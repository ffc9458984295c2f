"""A report from drawn scenes and made-up answers: python report.py out.html"""

from __future__ import annotations

import math
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from vision_r1_data import Answer, Box, Frame, Objects, Sample, get_dialect, read_coco
from vision_r1_data.scenes import LABELS, write_scenes
from vision_r1_eval import Monitors, Panel, Protocol, Report, Scene, Series, evaluate, write_report


def main(path: Path) -> None:
    """Write the report to `path`."""
    with tempfile.TemporaryDirectory() as folder:
        annotations = write_scenes(Path(folder) / "scenes", count=24, seed=7)
        samples = read_coco(annotations, annotations.parent / "images")
        write_report(path, example_report(samples))


def example_report(samples: list[Sample]) -> Report:
    """Answers that miss and invent a lot before, and less after."""
    rng = random.Random(0)
    before_texts = [_completion(rng, sample, miss=0.4, invent=0.35, loose=9) for sample in samples]
    after_texts = [_completion(rng, sample, miss=0.12, invent=0.06, loose=3) for sample in samples]
    before_texts[3] = before_texts[3][:40]
    before_texts[5] = "There is <b>nothing</b> to see here."
    dialect = get_dialect("qwen2_5_vl")
    frames = [Frame(sample.width, sample.height, sample.width, sample.height) for sample in samples]
    before, after = (
        [dialect.decode(text, frame) for text, frame in zip(texts, frames, strict=True)]
        for texts in (before_texts, after_texts)
    )
    return Report(
        title="Coloured shapes, found",
        subtitle="What a few minutes of vision-guided reinforcement learning changed in a small model, on "
        "scenes that it has not seen. (The numbers of this example are made up.)",
        protocol=f"{Protocol()}; greedy decoding, at most 128 new tokens",
        before=evaluate(samples, before),
        after=evaluate(samples, after),
        monitors=_monitors(rng),
        curves=_curves(rng),
        gallery=_gallery(samples, before, after, before_texts, after_texts),
        facts=[
            ("Model", "tiny, 2.1M parameters"),
            ("Reward", "strict"),
            ("Training scenes", "4,096"),
            ("Held-out scenes", str(len(samples))),
            ("Steps", "240 steps of 16 prompts, 8 completions each"),
            ("Training time", "4 min 52 s"),
            ("Seed", "0"),
        ],
    )


def _completion(rng: random.Random, sample: Sample, *, miss: float, invent: float, loose: float) -> str:
    """What a model would write that misses, invents and is loose to those degrees."""
    found: list[tuple[Box, str]] = []
    for (x1, y1, x2, y2), label in zip(sample.objects.boxes, sample.objects.labels, strict=True):
        if rng.random() > miss:
            a, b, c, d = (rng.uniform(0, loose) for _ in range(4))
            box = (max(0.0, x1 - a), max(0.0, y1 - b), min(112.0, x2 + c), min(112.0, y2 + d))
            found.append((box, label))
    if rng.random() < invent:
        x, y = rng.uniform(0, 75), rng.uniform(0, 75)
        found.append(((x, y, x + rng.uniform(15, 35), y + rng.uniform(15, 35)), rng.choice(LABELS)))
    objects = Objects(tuple(box for box, _ in found), tuple(label for _, label in found))
    return get_dialect("qwen2_5_vl").encode(objects, Frame(sample.width, sample.height, 112, 112))


def _gallery(samples: list[Sample], *columns: list[Answer] | list[str]) -> list[Scene]:
    rows = zip(samples, *columns, strict=True)
    return [Scene(sample.load_image(), sample.id, sample.objects, *rest) for sample, *rest in rows]


def _monitors(rng: random.Random) -> Monitors:
    rising = [(step, 0.05 + 0.002 * max(0, step - 100) + rng.gauss(0, 0.005)) for step in range(1, 241)]
    return Monitors(
        "1 alarm in 240 steps",
        "Dashed is the limit; shaded where the alarm is on.",
        [("misnamed", "from step 175 on. Boxes on an object whose name is wrong: names are free.")],
        [Panel("misnamed", "step", [Series("share", rising)], limit=0.2, marked=[(175, 240)], small=True)],
    )


def _curves(rng: random.Random) -> list[Panel]:
    def noisy(curve: Callable[[float], float], noise: float) -> list[tuple[float, float]]:
        return [(step, max(0.0, curve(step / 240) + rng.gauss(0, noise))) for step in range(1, 241)]

    def rise(start: float, gain: float) -> Callable[[float], float]:
        return lambda t: start + gain * (1 - math.exp(-3 * t))

    return [
        Panel(
            "Reward",
            "step",
            [
                Series("recall", noisy(rise(0.34, 0.42), 0.05), smooth=True),
                Series("precision", noisy(rise(0.41, 0.3), 0.05), smooth=True),
                Series("format", noisy(rise(0.93, 0.06), 0.01), smooth=True),
            ],
            note="Means over the completions of a step.",
            y_max=1,
        ),
        Panel(
            "Held-out mAP",
            "step",
            [Series("mAP", [(step, rise(0.2, 0.24)(step / 240)) for step in range(0, 241, 40)])],
            note="Greedy answers on held-out scenes.",
        ),
        Panel(
            "Boxes per completion",
            "step",
            [
                Series("predicted", noisy(rise(1.5, 0.55), 0.09), smooth=True),
                Series("true", [(1, 2.05), (240, 2.05)]),
            ],
            note="A reward that pays for silence would pull this line below the true count.",
        ),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "report.html"))
