"""How fast annotations become training data, and in how much memory.

    nox -s bench -- curation

Each case is a process of its own on one core; its peak is of the memory that it wrote to itself (RssAnon of
/proc, looked at every 10 ms), as a mapped file is the system's to drop.

    read      a COCO file of 500,000 annotations with outlines, beside json.load of the standard library, with
              which pycocotools reads it
    curate    20,000 samples of 7 objects from a COCO file through the steps of a recipe that opens no image
    hash      2,000 photographs of 640 x 480 opened, compared with their annotation, hashed, and compared with
              each other
    mix       20,000 samples of two strata taken out of 100,000, 300,000 and 1,000,000

The results go to results.json beside this file, or to `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from vision_r1_data import Faults, Objects, Sample, read_coco, save_samples
from vision_r1_data.curate import Recipe, curate
from vision_r1_data.curate.recipe import convert

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from ops.run import significant, surroundings, write

READ, CURATED, HASHED, MIXED, TAKEN = 500_000, 20_000, 2_000, (100_000, 300_000, 1_000_000), 20_000
REQUIRED = {"curate": 2_000, "hash": 200}  # samples a second
NAMES = tuple(f"kind {number}" for number in range(80))
LIBRARIES = ("vision-r1-data", "datasets", "imagehash", "msgspec", "pillow", "pyarrow")

Case = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--only", choices=("read", "curate", "hash", "mix"), help="one case, and no results")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(CASES[arguments.one](arguments.work)))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as work:
        names = [name for name in CASES if arguments.only in (None, name.split()[0])]
        cases = [measured(name, Path(work)) for name in names]
    verdicts = list(judged(cases))
    print(*verdicts, sep="\n")
    if arguments.only is None:
        results = {
            "command": shlex.join(["nox", "-s", "bench", "--", "curation"]),
            **surroundings(LIBRARIES, load),
            "verdicts": verdicts,
            "cases": cases,
        }
        write(arguments.out, results)


def measured(name: str, work: Path) -> Case:
    """One case in a process of its own, and the most memory that it had."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", name, "--work", work],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.01)
    assert process.stdout is not None
    said = json.loads(process.stdout.read().splitlines()[-1])
    before = said.pop("before_mb")
    case = {"case": name, **said, "peak_mb": round(peak / 1024), "grew_mb": round(peak / 1024 - before)}
    case = {key: significant(value, 3) if isinstance(value, float) else value for key, value in case.items()}
    print(case)
    return case


def anonymous(pid: int | str) -> int:
    """KiB of memory that a process wrote to itself."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def timed(count: int, call: Callable[[], object]) -> Case:
    """The processor time of a call."""
    before, start = anonymous("self") / 1024, time.process_time()
    call()
    seconds = time.process_time() - start
    return {"count": count, "seconds": seconds, "per_second": count / seconds, "before_mb": before}


def judged(cases: list[Case]) -> Iterator[str]:
    by_name = {case["case"]: case for case in cases}
    for name, required in REQUIRED.items():
        if name in by_name:
            rate = by_name[name]["per_second"]
            reached = "reached" if rate >= required else "NOT reached"
            yield f"{name}: {rate:,.0f} samples a second a core, {required:,} {reached}"
    if "read" in by_name:
        ours, peer = by_name["read"], by_name["read json.load"]
        yield (
            f"read: {ours['grew_mb']} MB and {ours['seconds']:.1f} s, json.load {peer['grew_mb']} MB and "
            f"{peer['seconds']:.1f} s"
        )
    mixes = [case for name, case in by_name.items() if name.startswith("mix")]
    if mixes:
        yield "mix: grew by " + ", ".join(f"{case['grew_mb']} MB for {case['count']:,}" for case in mixes)


def coco(path: Path, annotations: int, images: int, corners: int = 0) -> Path:
    """A COCO file of random boxes."""
    rng = random.Random(0)
    if path.exists():
        return path
    with path.open("w") as file:
        rows = (
            json.dumps({"id": k, "file_name": f"{k:012d}.jpg", "width": 640, "height": 480})
            for k in range(images)
        )
        file.write(f'{{"images": [{",".join(rows)}], "annotations": [')
        for k in range(annotations):
            x, y, w, h = rng.randint(0, 500), rng.randint(0, 400), rng.randint(8, 140), rng.randint(8, 80)
            outline = [[round(rng.random() * 480, 2) for _ in range(2 * corners)]] if corners else []
            row = {"id": k, "image_id": k % images, "category_id": rng.randrange(80), "bbox": [x, y, w, h]}
            file.write("," * (k > 0) + json.dumps(row | {"iscrowd": 0, "segmentation": outline}))
        names = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
        file.write(f'], "categories": {json.dumps(names)}}}')
    return path


def recipe(sources: dict[str, Any], **rest: Any) -> Recipe:
    named = {name: {"format": one.pop("format"), "options": one} for name, one in sources.items()}
    return convert({"sources": named, "embed": False, "bad_records": "error", **rest}, Recipe, "recipe")


def read(work: Path) -> Case:
    path, folder = coco(work / "read.json", READ, READ // 7, corners=30), images(work / "empty", READ // 7)
    return timed(
        READ, lambda: sum(len(sample.objects) for sample in read_coco(path, folder, faults=Faults()))
    )


def read_peer(work: Path) -> Case:
    path = coco(work / "read.json", READ, READ // 7, corners=30)
    return timed(READ, lambda: json.loads(path.read_text()))


def images(folder: Path, count: int) -> Path:
    """Files that are there, as readers want, but hold nothing."""
    if not folder.exists():
        folder.mkdir()
        for k in range(count):
            (folder / f"{k:012d}.jpg").touch()
    return folder


def curated(work: Path) -> Case:
    path = coco(work / "curated.json", 7 * CURATED, CURATED)
    folder = images(work / "curated", CURATED)
    steps = [
        {"step": "clean", "least_side": 10},
        {"step": "ask", "most_absent": 10, "negatives": 0.05},
        {"step": "budget", "tokens": 512},
        {"step": "strata", "objects": 6},
    ]
    source = {"format": "coco", "annotations": str(path), "images": str(folder)}
    mix = [{"source": "coco", "stratum": stratum, "count": 500} for stratum in ("easy", "hard", "negative")]
    one = recipe({"coco": source}, steps=steps, mix=mix, duplicates=None, curriculum="objects")
    return timed(CURATED, lambda: curate(one, work / "out-curated"))


def hashed(work: Path) -> Case:
    """Crops of scikit-image's photographs."""
    from skimage import data

    pictures: list[Any] = [data.astronaut, data.coffee, data.chelsea, data.rocket]
    photographs = [Image.fromarray(picture()) for picture in pictures]
    rng, folder = random.Random(0), work / "hashed"
    folder.mkdir()
    for k in range(HASHED):
        picture = rng.choice(photographs)
        side = rng.randint(100, 250)
        x, y = rng.randint(0, picture.width - side), rng.randint(0, picture.height - side)
        crop = picture.crop((x, y, x + side, y + side)).resize((640, 480), Image.Resampling.BICUBIC)
        crop.save(folder / f"{k:012d}.jpg", quality=90)
    path = coco(work / "hashed.json", 7 * HASHED, HASHED)
    source = {"format": "coco", "annotations": str(path), "images": str(folder)}
    one = recipe({"coco": source}, steps=[{"step": "agree"}], duplicates={"distance": 4})
    return timed(HASHED, lambda: curate(one, work / "out-hashed"))


def mixed(count: int) -> Callable[[Path], Case]:
    def run(work: Path) -> Case:
        def samples() -> Iterator[Sample]:
            for k in range(count):
                n = 1 + k % 9
                boxes = tuple((10.0 * j, 20.0, 10.0 * j + 30, 90.0) for j in range(n))
                objects = Objects(boxes, NAMES[:n])
                stratum = "hard" if n > 6 else "easy"
                yield Sample(
                    f"set/{k}",
                    Path(f"{k}.jpg"),
                    640,
                    480,
                    "detection",
                    "",
                    NAMES[:10],
                    objects,
                    "set",
                    stratum=stratum,
                )

        save_samples(samples(), work / f"stored-{count}", embed=False)
        mix = [{"source": "set", "stratum": stratum, "count": TAKEN // 2} for stratum in ("easy", "hard")]
        source = {"format": "samples", "folder": str(work / f"stored-{count}")}
        one = recipe({"set": source}, mix=mix, duplicates=None)
        return timed(count, lambda: curate(one, work / f"out-{count}"))

    return run


CASES: dict[str, Callable[[Path], Case]] = {
    "read": read,
    "read json.load": read_peer,
    "curate": curated,
    "hash": hashed,
} | {f"mix {count}": mixed(count) for count in MIXED}


if __name__ == "__main__":
    main()
