"""How fast the operations are, beside other ways to the same results.

    nox -s bench -- ops cpu
    nox -s bench -- ops gpu

Every answer is checked before it is timed. The results go to cpu.json or gpu.json beside this file. Options
of pytest may follow, as in `ops cpu -k "score and 16"`; what is left of the cases is printed, not written.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cpuinfo

HERE = Path(__file__).parent
LIBRARIES = (
    "vision-r1-ops",
    "torch",
    "triton",
    "numpy",
    "scipy",
    "numba",
    "lapx",
    "torch-linear-assignment",
    "torchvision",
    "pytest-benchmark",
)
OURS, TORCH = "vision-r1-ops", "torch-linear-assignment"
BASELINES = {
    "cpu": {"score": "released loop", "assign": "SciPy per slice", "box_iou": "plain torch"},
    "gpu": {"score": TORCH, "assign uniform": TORCH, "assign giou": TORCH, "box_iou": "plain torch"},
}
TITLES = {
    "score": "boxes and labels to rewards",
    "assign": "costs to assignment",
    "assign uniform": "costs to assignment, uniform costs",
    "assign giou": "costs to assignment, -GIoU of jittered boxes",
    "box_iou": "boxes to IoU",
}
REQUIRED = {16: 120, 64: 15, 256: 4.5}  # times as fast as the released loop, with one thread
FLOORS = 4  # times the larger floor, at most

Case = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("device", choices=BASELINES, nargs="?", default="cpu")
    parser.add_argument("--out", type=Path, help="where the results go instead")
    arguments, options = parser.parse_known_args()
    baselines = BASELINES[arguments.device]
    load = os.getloadavg()[0]
    measured, status = measure(arguments.device, options)
    cases = condense(measured["benchmarks"], baselines)
    verdicts = list(against_released_loop(cases) if arguments.device == "cpu" else against_floors(cases))
    print(*tables(cases, baselines), *verdicts, sep="\n")
    if status:
        sys.exit(f"pytest ended with status {status}, so no results are written")
    out = arguments.out or (None if options else HERE / f"{arguments.device}.json")
    if out:
        command = shlex.join(["nox", "-s", "bench", "--", "ops", arguments.device, *options])
        results = {"command": command, **circumstances(measured, load), "verdicts": verdicts, "cases": cases}
        write(out, results)


def measure(device: str, options: list[str]) -> tuple[Case, int]:
    """What pytest-benchmark says of the cases, and pytest's status: not 0 where an answer is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = [sys.executable, "-m", "pytest", str(HERE / f"test_{device}.py"), "--quiet", "--tb=short"]
        command += ["--benchmark-quiet", f"--benchmark-json={results}", *options]
        one_thread = {"OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, check=False, env=os.environ | one_thread).returncode
        text = results.read_text() if results.exists() else ""
    if not text:
        sys.exit("nothing was measured")
    return json.loads(text), status


def condense(benchmarks: list[Case], baselines: dict[str, str]) -> list[Case]:
    """Microseconds a problem, and how many times as fast as the baseline of the same problems."""
    cases = []
    for benchmark in benchmarks:
        case, stats = dict(benchmark["extra_info"]), benchmark["stats"]
        problems = case["shape"][0]
        calls = case.pop("calls", 1)
        for name in ("median", "iqr"):
            case[f"{name}_us"] = significant(1e6 * stats[name] / problems / calls)
        for name in ("bytes_floor", "slots_floor"):
            floor = case.pop(name, None)
            if floor is not None:
                case[f"{name}_us"] = significant(1e6 * floor / problems)
        cases.append({"dtype": "float32", **case, "rounds": stats["rounds"]})
    base = {key(case): case["median_us"] for case in cases if case["contender"] == baselines[case["group"]]}
    for case in cases:
        if key(case) in base:
            case["ratio"] = significant(base[key(case)] / case["median_us"])
    return sorted(
        cases, key=lambda case: (list(baselines).index(case["group"]), not case["ragged"], case["shape"][1])
    )


def key(case: Case) -> tuple[Any, ...]:
    """The same for contenders on the same problems."""
    return case["group"], case["ragged"], *case["shape"]


def significant(x: float, digits: int = 4) -> float:
    return float(f"{x:.{digits}g}")


def against_released_loop(cases: list[Case]) -> Iterator[str]:
    """Whether scoring is as much faster as it has to be."""
    ratios = {
        (case["shape"][1], case["threads"]): case["ratio"]
        for case in cases
        if case["group"] == "score" and case["contender"] == OURS and "ratio" in case
    }
    for size, required in REQUIRED.items():
        if (size, 1) in ratios and (size, 2) in ratios:
            one, two = ratios[size, 1], ratios[size, 2]
            reached = "reached" if one >= required else "NOT reached"
            yield (
                f"up to {size} boxes: {one:.1f} times as fast as the released loop, {required} {reached}; "
                f"{two:.1f} with two threads, {two / one:.2f} times that of one"
            )


def against_floors(cases: list[Case]) -> Iterator[str]:
    """Whether ours is the fastest, and how near it comes to what the device allows."""
    ours = [case for case in cases if case["contender"].startswith(OURS) and case["group"] != "box_iou"]
    for name in dict.fromkeys(case["contender"] for case in ours):
        mine = [case for case in ours if case["contender"] == name]
        yield verdict(f"{name}: faster than {TORCH}", mine, lambda case: case.get("ratio", 0) > 1)
        yield verdict(f"{name}: within {FLOORS} times the larger floor", mine, is_near_floor)
    if any("slots_floor_us" not in case for case in ours):
        yield "where the floor of issue slots is missing, kernels.json does not have the kernel"


def verdict(claim: str, cases: list[Case], holds: Callable[[Case], bool]) -> str:
    wrong = [case for case in cases if not holds(case)]
    if not wrong:
        return f"{claim} on all {len(cases)} sets of problems"
    names = ("{} {} of {}".format(case["group"], *shape(case)) for case in wrong)
    return f"{claim} on {len(cases) - len(wrong)} of {len(cases)} sets of problems, NOT on {'; '.join(names)}"


def is_near_floor(case: Case) -> bool:
    times = floors(case)
    return times is not None and times <= FLOORS


def floors(case: Case) -> float | None:
    """How many times the larger floor a case takes."""
    larger = max(case.get("bytes_floor_us", 0), case.get("slots_floor_us", 0))
    return case["median_us"] / larger if larger else None


def tables(cases: list[Case], baselines: dict[str, str]) -> Iterator[str]:
    """One of each set of problems."""
    for _, group in itertools.groupby(cases, key):
        rows = list(group)
        with_floors = "bytes_floor_us" in rows[0]
        names = ["us a problem", "IQR", f"ratio to {baselines[rows[0]['group']]}"]
        if with_floors:
            names += ["bytes floor", "slots floor", "times floor"]
        yield f"\n{title(rows[0])}"
        yield f"{'':36}{'threads':>8}" + "".join(f"  {name:>12}" for name in names)
        for case in rows:
            values = [case["median_us"], case["iqr_us"], case.get("ratio")]
            if with_floors:
                values += [case.get("bytes_floor_us"), case.get("slots_floor_us"), floors(case)]
            widths = [max(12, len(name)) for name in names]
            line = "".join(f"  {shown(v):>{w}}" for v, w in zip(values, widths, strict=True))
            yield f"  {case['contender']:34}{case.get('threads', 1):>8}{line}"
    yield ""


def title(case: Case) -> str:
    return "{}: {} problems of {}".format(TITLES[case["group"]], *shape(case))


def shape(case: Case) -> tuple[str, str]:
    """How many problems, and how large they are."""
    count, rows, columns = case["shape"]
    return f"{count:,}", f"{'up to ' if case['ragged'] else ''}{rows} x {columns}"


def shown(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "-"
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def circumstances(measured: Case, load: float) -> Case:
    """When, with what and on what; nothing that tells whose machine it is."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    cpu = measured["machine_info"]["cpu"]["brand_raw"]
    machine = {"cpu": cpu, "cores": os.cpu_count(), "load_before": round(load, 2)}
    if "card" in measured:
        machine["gpu"] = measured["card"]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "versions": versions, "machine": machine}


def surroundings(libraries: tuple[str, ...], load: float) -> Case:
    """When, with which versions, and on which machine other benchmarks measure.

    Args:
        libraries: whose versions matter.
        load: of the machine before.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in libraries},
        "machine": {
            "cpu": cpuinfo.get_cpu_info()["brand_raw"],
            "cores": os.cpu_count(),
            "load_before": round(load, 2),
        },
    }


def write(out: Path, results: Case) -> None:
    """All or nothing; one case a line."""
    *head, (_, cases) = results.items()
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    text = json.dumps(dict(head), indent=1).removesuffix("\n}")
    unfinished = out.with_name(f".{out.name}")
    unfinished.write_text(f'{text},\n "cases": [\n  {lines}\n ]\n}}\n')
    unfinished.replace(out)


if __name__ == "__main__":
    main()
