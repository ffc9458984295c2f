"""How fast completions become boxes, beside plain ways to read them, on one core.

    nox -s bench -- dialects

1,024 completions of as many boxes each; all are checked before they are timed. The JSON list of Qwen2.5-VL is
read at several numbers of boxes, beside two readers written anew after those of released training code, which
take turns with it; the other dialects are read at five. Hostile texts, which say one thing over and over, are
read at several lengths: the time for a character must not grow with the length. Times are those that the
process has a core, so that a busy machine adds less to them. The results go to results.json beside this file,
or to `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from vision_r1_data import Box, Dialect, Frame, Objects, get_dialect, list_dialects
from vision_r1_data.dialects.space import outline

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from ops.run import significant, surroundings, write

COUNT = 1024
JSON, SIZES, OTHERS = "qwen2_5_vl", (1, 5, 17, 50), 5
FRAME = Frame(1920, 1080, 1932, 1092)
NAMES = tuple(f"traffic light {number}" for number in range(8))
OURS = "vision-r1-data"
REQUIRED, AT = 50_000, 17  # completions of Qwen2.5-VL a second, and of how many boxes
LENGTHS = (10_000, 100_000, 1_000_000)
GROWTH = 3  # times the time for a character of the shortest hostile text, at most
LIBRARIES = ("vision-r1-data", "msgspec")

Case = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    asked = [(JSON, boxes) for boxes in SIZES]
    asked += [(name, OTHERS) for name in list_dialects() if name != JSON]
    rates = [case for name, boxes in asked for case in rate(name, boxes, arguments.rounds)]
    hostile = [hostile_case(name) for name in list_dialects()]
    print(*map(line, rates), sep="\n")
    print(*map(hostile_line, hostile), sep="\n")
    verdicts = [*speed_verdicts(rates), growth_verdict(hostile)]
    print(*verdicts, sep="\n")
    results = {
        "command": shlex.join(["nox", "-s", "bench", "--", "dialects", "--rounds", str(arguments.rounds)]),
        **surroundings(LIBRARIES, load),
        "verdicts": verdicts,
        "cases": rates + hostile,
    }
    write(arguments.out, results)


def completions(dialect: Dialect, boxes: int, count: int = COUNT) -> tuple[list[str], list[Objects]]:
    """What a perfect model would answer, and the truth."""
    rng = random.Random(boxes)
    truths = []
    for _ in range(count):
        corners = [(rng.uniform(0, 1700), rng.uniform(0, 900)) for _ in range(boxes)]
        truths.append(
            Objects(
                tuple((x, y, rng.uniform(x + 150, 1900), rng.uniform(y + 150, 1070)) for x, y in corners),
                tuple(rng.choices(NAMES, k=boxes)),
            )
        )
    return [dialect.encode(truth, FRAME, dialect.forms[0]) for truth in truths], truths


def check(dialect: Dialect, text: str, truth: Objects) -> None:
    """The round trip: the labels, and the places to half a step."""
    form = dialect.forms[0]
    answer = dialect.decode(text, FRAME, form)
    assert answer.well_formed, (text, answer.problems)
    assert answer.labels == (truth.labels if dialect.names_labels else ("",) * len(truth))
    steps = dialect.space.step(FRAME)
    for said, true in zip(answer.boxes, truth.boxes, strict=True):
        pairs = zip(outline(said, form), outline(true, form), strict=True)
        assert all(abs(a - b) <= steps[k % 2] / 2 + 1e-6 for k, (a, b) in enumerate(pairs)), text


def read_boxes(text: str) -> tuple[list[Box], list[str]]:
    """As released rewards read an answer: json, and where that fails a regular expression."""
    try:
        lines = text.splitlines()
        body = "\n".join(lines[1:]) if lines[0].startswith("```json") else text
        items = json.loads(body.split("```")[0])
    except (ValueError, IndexError):
        items = [
            {"bbox_2d": corners, "label": label}
            for *corners, label in re.findall(
                r'\{"bbox_2d": \[(\d+), (\d+), (\d+), (\d+)\], "label": "([^"]+)"\}', text
            )
        ]
    boxes: list[Box] = []
    labels = []
    x, y = FRAME.width / FRAME.model_width, FRAME.height / FRAME.model_height
    for item in items if isinstance(items, list) else []:
        try:
            x1, y1, x2, y2 = (int(number) for number in item["bbox_2d"])
            if x1 < x2 and y1 < y2:
                boxes.append((x1 * x, y1 * y, x2 * x, y2 * y))
                labels.append(item["label"])
        except (ValueError, TypeError, KeyError):
            continue
    return boxes, labels


def has_form(text: str) -> bool:
    """As released rewards check the form of an answer, which they read anew for it."""
    try:
        items = json.loads(re.sub(r"```json\n|\n```", "", text).strip())
    except json.JSONDecodeError:
        return False
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and "label" in item
        and isinstance(item.get("bbox_2d"), list)
        and len(item["bbox_2d"]) == 4
        for item in items
    )


def read_boxes_and_form(text: str) -> tuple[list[Box], list[str], bool]:
    return *read_boxes(text), has_form(text)


PEERS: dict[str, Callable[[str], Any]] = {
    "boxes alone, json and regex": read_boxes,
    "boxes and form, json and regex": read_boxes_and_form,
}


def rate(name: str, boxes: int, rounds: int) -> Iterator[Case]:
    """Microseconds a completion: ours, and of the JSON list the peers', taking turns."""
    dialect = get_dialect(name)
    texts, truths = completions(dialect, boxes)
    form = dialect.forms[0]
    contenders: dict[str, Callable[[str], Any]] = {OURS: partial(dialect.decode, frame=FRAME, form=form)}
    if name == JSON:
        contenders |= PEERS
    for text, truth in zip(texts, truths, strict=True):
        check(dialect, text, truth)
        answer = dialect.decode(text, FRAME, form)
        if name == JSON:
            assert read_boxes_and_form(text) == (list(answer.boxes), list(answer.labels), True)
    times: dict[str, list[float]] = {contender: [] for contender in contenders}
    for warm in [False] + [True] * rounds:
        for contender, read in contenders.items():
            start = time.process_time()
            for text in texts:
                read(text)
            if warm:
                times[contender].append(1e6 * (time.process_time() - start) / COUNT)
    ours = statistics.median(times[OURS])
    for contender, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        yield {
            "dialect": name,
            "boxes": boxes,
            "characters": round(statistics.mean(map(len, texts))),
            "contender": contender,
            "median_us": significant(median, 3),
            "iqr_us": significant(high - low, 3),
            "min_us": significant(min(values), 3),
            "per_second": round(significant(1e6 / median, 3)),
            "times_ours": significant(median / ours, 3),
        }


def hostile_texts(dialect: Dialect, length: int) -> dict[str, str]:
    """What a model that has lost its way may write: one thing over and over, up to a length."""
    (text,), _ = completions(dialect, 2, count=1)
    half = text[: len(text) // 2]
    units = {"answers": text, "answers cut in half": half, "answers without end": text[:-1], "digits": "9"}
    units |= {sign: sign for sign in '[{<(" \n'}
    texts = {name: unit * (length // len(unit)) for name, unit in units.items()}
    return texts | {f"half an answer, then {sign!r}": half + sign * (length - len(half)) for sign in '9[{<" '}


def hostile_case(name: str) -> Case:
    """Nanoseconds a character of the slowest hostile text, at each length."""
    dialect = get_dialect(name)
    case: Case = {"dialect": name, "contender": OURS}
    times: dict[int, dict[str, float]] = {}
    for length in LENGTHS:
        texts = hostile_texts(dialect, length)
        times[length] = {kind: 1e9 * seconds(dialect, text) / len(text) for kind, text in texts.items()}
        slowest = max(times[length], key=times[length].__getitem__)
        case[f"ns_a_character_of_{length}"] = significant(times[length][slowest], 3)
        case[f"slowest_of_{length}"] = slowest
    short, long = times[LENGTHS[0]], times[LENGTHS[-1]]
    return case | {"growth": significant(max(long[kind] / short[kind] for kind in short), 3)}


def seconds(dialect: Dialect, text: str) -> float:
    """The shortest of several readings."""
    times = []
    for _ in range(max(3, LENGTHS[1] // len(text))):
        start = time.process_time()
        dialect.decode(text, FRAME, dialect.forms[0])
        times.append(time.process_time() - start)
    return min(times)


def speed_verdicts(cases: list[Case]) -> Iterator[str]:
    for case in cases:
        if case["dialect"] == JSON and case["contender"] == OURS and case["boxes"] == AT:
            reached = "reached" if case["per_second"] >= REQUIRED else "NOT reached"
            yield (
                f"{JSON}: {case['per_second']:,} completions of {AT} boxes a second on one core, "
                f"{REQUIRED:,} {reached}"
            )
    for peer in PEERS:
        ratios = [case["times_ours"] for case in cases if case["contender"] == peer]
        yield f"{JSON}: {min(ratios):g} to {max(ratios):g} times as fast as a reader of {peer}"


def growth_verdict(cases: list[Case]) -> str:
    worst = max(cases, key=lambda case: case["growth"])
    slowest = max(case[f"ns_a_character_of_{LENGTHS[-1]}"] for case in cases)
    reached = "reached" if worst["growth"] <= GROWTH else "NOT reached"
    return (
        f"hostile texts: a character of {LENGTHS[-1]:,} takes at most {worst['growth']:g} times as long as "
        f"one of {LENGTHS[0]:,} ({worst['dialect']}), {GROWTH} {reached}; the slowest takes {slowest:g} ns"
    )


def line(case: Case) -> str:
    """One row of the table of rates."""
    what = f"{case['dialect']}, {case['boxes']} boxes, {case['contender']}"
    return (
        f"{what:60}{case['median_us']:>8} us (IQR {case['iqr_us']:>5}, min {case['min_us']:>5})"
        f"{case['per_second']:>10,}/s {case['times_ours']:>6} times as long as ours"
    )


def hostile_line(case: Case) -> str:
    """One row of the table of hostile texts."""
    times = ", ".join(f"{case[f'ns_a_character_of_{length}']:>6} at {length:,}" for length in LENGTHS)
    return f"{case['dialect']:14}ns a character: {times}; growth {case['growth']}"


if __name__ == "__main__":
    main()
