"""A GRPO step of vision-r1-grpo beside TRL's GRPOTrainer: completions a second, and peak memory.

    nox -s bench -- grpo-vs-trl

Both train the same model, the tiny model's architecture enlarged to about 20 million parameters with random
weights, on the same images of noise and the same question, in float32, one optimiser step a rollout, without
a KL divergence; each completion is forced to its full length. Ours computes one prompt's group at a time. TRL
computes the whole batch at once. Beside that stand ours when it computes the vision tower's activations again
in the backward pass, TRL with one group at a time, and both when that is so and all activations are computed
again. Each run is a process of its own, and the two take turns. The results go to results.json and curves.svg
beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from json import loads
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration
from work import PIXELS, Work, as_arguments

from ops.run import significant, surroundings, write
from vision_r1_data import VisionProcessor
from vision_r1_eval import Panel, Series
from vision_r1_eval.report import svg_panel
from vision_r1_grpo import Policy
from vision_r1_tiny.architecture import build_image_processor, build_model, build_tokenizer

LIBRARIES = ("vision-r1-grpo", "torch", "transformers", "deepspeed")
OURS, TRL = "vision-r1-grpo", "TRL"
GROUPS, IMAGE_TOKENS = (2, 4, 16), (64, 576, 1024)  # beside those of the main setting
REQUIRED = {"throughput": 3.5, "memory": 0.3}

Case = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer", type=Path, help="a Python that has TRL; nox gives it")
    parser.add_argument("--rounds", type=int, default=1, help="of the first two settings (%(default)s)")
    parser.add_argument(
        "--steps",
        type=int,
        default=3,
        help="of a run, the first not counted (%(default)s)",
    )
    parser.add_argument("--threads", type=int, default=1, help="of a process (%(default)s)")
    parser.add_argument("--main", action="store_true", help="sweep nothing, write nothing")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    work = Work(steps=arguments.steps)
    least = replace(work, checkpointing="all", peer_checkpointing=True, peer_at_once=1)
    asked = [
        ("main", arguments.rounds, work),
        ("vision tower again", arguments.rounds, replace(work, checkpointing="vision_tower")),
        ("one group at a time", 1, replace(work, peer_at_once=1)),
        ("both at their least", 1, least),
    ]
    if not arguments.main:
        swept = replace(work, steps=2)
        asked += [("group size", 1, replace(swept, group=g)) for g in GROUPS]
        asked += [("image tokens", 1, replace(swept, image_tokens=tokens)) for tokens in IMAGE_TOKENS]
    command = "nox -s bench -- grpo-vs-trl" + "".join(
        f" --{name} {getattr(arguments, name)}"
        for name in ("rounds", "steps", "threads")
        if getattr(arguments, name) != parser.get_default(name)
    )
    head = {"command": command, **surroundings(LIBRARIES, load), "trl": version(arguments.peer)}
    cases: list[Case] = []
    for name, rounds, one in asked:
        cases.append(measure(name, one, arguments.peer, rounds, arguments.threads))
        print(line(cases[-1]), flush=True)
        verdicts = [verdict for case in cases[:2] for verdict in against_required(case)]
        if not arguments.main:
            results = {"threads": arguments.threads, "verdicts": verdicts, "cases": cases}
            write(HERE / "results.json", head | results)
            (HERE / "curves.svg").write_text(picture(cases))
    print(*verdicts, sep="\n")


def measure(name: str, work: Work, peer: Path, rounds: int, threads: int) -> Case:
    """Both trainers in turns; medians over all counted steps, and the peak of the median run."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), work)
        runs: dict[str, list[Case]] = {OURS: [], TRL: []}
        for _ in range(rounds):
            for trainer, python, script in ((OURS, sys.executable, "ours.py"), (TRL, peer, "peer.py")):
                command = [str(python), str(HERE / script), *as_arguments(Path(folder), work, threads)]
                environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
                if trainer == TRL:
                    environment.pop("PYTHONPATH", None)  # of this environment
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
                if done.returncode:
                    sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
                runs[trainer].append(loads(done.stdout.splitlines()[-1]))
    completions = work.prompts * work.group
    case: Case = {
        "name": name,
        "prompts": work.prompts,
        "group": work.group,
        "image_tokens": work.image_tokens,
        "prompt_tokens": runs[OURS][0]["prompt_tokens"],
        "tokens": work.tokens,
        "checkpointing": {OURS: work.checkpointing, TRL: work.peer_checkpointing},
        "prompts_at_once": {OURS: 1, TRL: work.peer_at_once},
    }
    for trainer, measured in runs.items():
        cpu = statistics.median(second for run in measured for second in run["cpu"][1:])
        wall = statistics.median(second for run in measured for second in run["wall"][1:])
        case[trainer] = {
            "cpu_seconds": significant(cpu),
            "wall_seconds": significant(wall),
            "completions_per_cpu_second": significant(completions / cpu),
            "peak_mib": round(statistics.median(run["peak_mib"] for run in measured)),
        }
    seconds = [run["seconds"] for run in runs[OURS]]
    case[OURS] |= {
        name: significant(statistics.median(second for run in seconds for second in run[name][1:]))
        for name in ("rollout", "update")
    }
    case["throughput"] = significant(case[TRL]["cpu_seconds"] / case[OURS]["cpu_seconds"], 3)
    case["memory"] = significant(case[OURS]["peak_mib"] / case[TRL]["peak_mib"], 3)
    return case


def prepare(folder: Path, work: Work) -> None:
    """Write the model, and one image of noise for each prompt of each step."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    config = build_model(tokenizer).config
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 384, 1152, 8
    text.num_attention_heads = text.num_key_value_heads = 6
    text.layer_types = ["full_attention"] * 8
    text.rope_parameters["mrope_section"] = [8, 12, 12]
    vision.hidden_size, vision.intermediate_size, vision.depth = 256, 512, 6
    vision.num_heads, vision.out_hidden_size, vision.fullatt_block_indexes = 4, 384, list(range(6))
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    image_processor = build_image_processor()
    image_processor.size = {"shortest_edge": PIXELS**2, "longest_edge": work.side**2}
    Policy(model, VisionProcessor(tokenizer, image_processor)).save_pretrained(folder / "model")
    (folder / "images").mkdir()
    for number in range(work.prompts * work.steps):
        pixels = torch.randint(0, 256, (work.side, work.side, 3), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / "images" / f"{number:03}.png")


def version(peer: Path) -> str:
    """Of the peer."""
    script = "import importlib.metadata as m; print(m.version('trl'), 'on torch', m.version('torch'))"
    return subprocess.run([peer, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def against_required(case: Case) -> Iterable[str]:
    """Whether a setting reaches what is asked of it."""
    fast, small = case["throughput"] >= REQUIRED["throughput"], case["memory"] <= REQUIRED["memory"]
    which, (speed, share) = case["name"], (case["throughput"], case["memory"])
    yield f"{'holds' if fast else 'FAILS'}: {which}, {speed} times TRL's completions a second (3.5 asked)"
    yield f"{'holds' if small else 'FAILS'}: {which}, {share} of TRL's peak memory (at most .3 asked)"


def line(case: Case) -> str:
    """A case for the eye."""
    ours, peer = case[OURS], case[TRL]
    seconds = (
        f"{ours['cpu_seconds']:6.2f} s a step, TRL {peer['cpu_seconds']:6.2f} s: {case['throughput']:.2f}"
    )
    memory = f"{ours['peak_mib']:5} MiB, TRL {peer['peak_mib']:5} MiB: {case['memory']:.2f}"
    shape = f"group {case['group']:2}, {case['image_tokens']:4} image tokens"
    return f"{case['name']:20} {shape}:  {seconds} times;  {memory}"


def picture(cases: list[Case]) -> str:
    """Seconds a step and peak memory of both, over group size and over image tokens."""
    panels = []
    for name, key in (("group size", "group"), ("image tokens", "image_tokens")):
        swept = sorted((case for case in cases if case["name"] in ("main", name)), key=lambda case: case[key])
        for title, column in (("processor seconds a step", "cpu_seconds"), ("peak memory, MiB", "peak_mib")):
            lines = [
                Series(trainer, tuple((case[key], case[trainer][column]) for case in swept))
                for trainer in (OURS, TRL)
            ]
            panels.append(svg_panel(Panel(title, name, lines)))
    places = ((0, 0), (860, 0), (0, 580), (860, 580))
    placed = [
        panel.replace("<svg", f'<svg x="{x}" y="{y}"', 1)
        for panel, (x, y) in zip(panels, places, strict=True)
    ]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1700 1160">{"".join(placed)}</svg>\n'


if __name__ == "__main__":
    main()
