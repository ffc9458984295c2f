"""The `vision-r1` command."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

_INTERRUPTED = 130
_MOST_TOLD = 3  # bad records of a source


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 for success, 1 for an audit that finds a hole, 2 for bad input,
    130 when interrupted.
    """
    arguments = _parsed(argv)
    for future in (DeprecationWarning, FutureWarning):  # for the authors of libraries, not for who runs them
        warnings.simplefilter("ignore", future)
    warnings.showwarning = lambda message, *_: print(f"vision-r1: {message}", file=sys.stderr)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("vision-r1: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    from vision_r1_data import DataError  # imports wait until --help has been answered

    errors: tuple[type[Exception], ...] = (DataError,)
    if arguments.command not in _WITHOUT_MODEL:
        from transformers.utils import logging  # heavy

        from vision_r1_grpo import ConfigError

        logging.disable_progress_bar()
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        errors = (DataError, ConfigError)
    try:
        return _COMMANDS[arguments.command](arguments)
    except errors as error:
        print(f"vision-r1: {error}", file=sys.stderr)
        return 2


def _quickstart(arguments: argparse.Namespace) -> int:
    import torch

    from vision_r1.folder import CONFIG, claim_folder, load_run
    from vision_r1.quickstart import draw_scenes, quickstart_config
    from vision_r1.run import run
    from vision_r1_grpo import ConfigError, save_config

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("the quickstart is one process; use vision-r1 train with a launcher")
    out = _folder(arguments, Path("runs/quickstart"))
    # Operations this small gain little from a second core, and stall when either is busy with something else.
    torch.set_num_threads(1)
    if arguments.resume:
        if arguments.seed is not None or arguments.reward is not None:
            raise ConfigError("a resumed quickstart keeps its --seed and --reward; leave them out")
        overrides = [] if arguments.minutes is None else [f"training.max_minutes={arguments.minutes}"]
        config = load_run(out, overrides)
    else:
        minutes, seed = arguments.minutes or 5.0, arguments.seed or 0
        config = quickstart_config(out, minutes=minutes, seed=seed, reward=arguments.reward or "strict")
        with claim_folder(out, force=arguments.force):
            save_config(config, out / CONFIG)
    draw_scenes(out, config.training.seed)
    return _exit_code(run(config, out, resume=True))


def _train(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from vision_r1.config import RunConfig, find_recipe
    from vision_r1.folder import load_run
    from vision_r1.run import run
    from vision_r1.settings import settings_table
    from vision_r1_grpo import ConfigError, load_config

    if arguments.settings:
        Console(highlight=False).print(settings_table(RunConfig))
        return 0
    out = _folder(arguments, Path("runs") / time.strftime("train-%Y%m%d-%H%M%S"))
    if arguments.resume and arguments.config is not None:
        raise ConfigError("a resumed run has its own config; leave out --config")
    if arguments.resume:
        return _exit_code(run(load_run(out, arguments.overrides), out, resume=True))
    recipe = None if arguments.config is None else find_recipe(arguments.config)
    config = load_config(RunConfig, recipe, arguments.overrides)
    return _exit_code(run(config, out, force=arguments.force))


def _exit_code(finished: bool) -> int:
    return 0 if finished else _INTERRUPTED


def _audit(arguments: argparse.Namespace) -> int:
    from vision_r1.audit import run_audit

    holes = run_audit(
        arguments.reward,
        arguments.dialect,
        task=arguments.task,
        scenes=arguments.scenes,
        seed=arguments.seed,
        resize=not arguments.no_resize,
        signature=arguments.signature,
        chat=arguments.chat,
        html=arguments.html,
        json=arguments.json,
    )
    return 1 if holes else 0


def _data(arguments: argparse.Namespace) -> int:
    return _DATA_COMMANDS[arguments.data_command](arguments)


def _data_show(arguments: argparse.Namespace) -> int:
    from vision_r1.show.command import run_show

    run_show(arguments.path, arguments.images, arguments.out, most=arguments.most, seed=arguments.seed)
    return 0


def _curate(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.text import Text

    from vision_r1_data.curate import curate, waterfall_table

    console, out = Console(highlight=False), arguments.out
    manifest, waterfall = curate(
        arguments.recipe,
        out,
        overrides=arguments.overrides,
        workers=arguments.workers,
        force=arguments.force,
        console=console,
    )
    console.print(waterfall_table(waterfall))
    for source, course in waterfall.items():
        for line in course.told[:_MOST_TOLD]:
            console.print(Text(f"{source}: {line}", style="yellow"), soft_wrap=True)
    counts = f"{manifest.samples:,} samples, {manifest.objects:,} objects"
    console.print(Text(f"{counts}; look at them: vision-r1 data show {out}"), soft_wrap=True)
    return 0


_COMMANDS = {"quickstart": _quickstart, "train": _train, "audit": _audit, "curate": _curate, "data": _data}
_WITHOUT_MODEL = ("curate", "data")
_DATA_COMMANDS = {"show": _data_show}


def _folder(arguments: argparse.Namespace, default: Path) -> Path:
    """What --out says; else the default or the first of default-2, default-3, ... that is not there yet."""
    from vision_r1_grpo import ConfigError

    if arguments.out is not None:
        return Path(arguments.out)
    if arguments.resume:
        raise ConfigError("--resume needs the folder of the run; give it with --out")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("several processes must share one folder; give it with --out")
    number, free = 1, default
    while free.exists():
        number += 1
        free = default.with_name(f"{default.name}-{number}")
    return free


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a command, whose settings may also follow options: argparse leaves those over."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and ("overrides" not in arguments or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-r1", description="Vision-guided reinforcement learning for vision-language models."
    )
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)  # the deepspeed launcher gives it
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    quickstart = commands.add_parser(
        "quickstart",
        help="watch a tiny model learn to see better, in minutes on a CPU",
        description="Draw scenes, train a tiny vision-language model on them with GRPO, and write a report.",
    )
    quickstart.add_argument("--minutes", type=_minutes, help="minutes of training (default: 5)")
    quickstart.add_argument("--seed", type=int, help="of the training scenes and the sampling (default: 0)")
    quickstart.add_argument(
        "--reward",
        choices=("strict", "paper", "released"),
        help="strict (default): misses, inventions, wrong labels cost; paper: as published, labels are free; "
        "released: as the code that came with the paper, junk is free too",
    )
    _add_folder(quickstart, "runs/quickstart")

    train = commands.add_parser(
        "train",
        help="train on samples that curate wrote, or on a COCO-format detection set",
        description="Train on curated samples: vision-r1 train --config FILE data.samples=DIR; or on any "
        "COCO-format detection set: data.annotations=instances.json data.images=DIR. With method=sft it "
        "trains on the annotated answers instead of by GRPO.",
    )
    train.add_argument(
        "--config",
        type=Path,
        metavar="RECIPE",
        help="a YAML file, or the name of a recipe that comes with the package, such as qwen2_5_vl_7b",
    )
    train.add_argument(
        "--settings", action="store_true", help="print every setting with its default, and end"
    )
    train.add_argument("overrides", nargs="*", metavar="key=value", help="settings that win over the recipe")
    _add_folder(train, "runs/train-DATE")

    audit = commands.add_parser(
        "audit",
        help="find the exploits that a reward pays for",
        description="Score exploits beside honest answers on random scenes, with any reward. The exit code "
        "is 1 if an exploit earns as much as the honest answer or more, 0 if none does.",
    )
    audit.add_argument(
        "reward",
        nargs="?",
        default="strict",
        metavar="REWARD",
        help="a preset (default: strict), or a reward of your own: module:function or file.py:function",
    )
    audit.add_argument("--dialect", default="qwen2_5_vl", help="how the answers are written (%(default)s)")
    audit.add_argument(
        "--task",
        metavar="TASK",
        help="what is asked: detection, grounding, rec, pointing, segmentation, ocr or counting (default: "
        "what the preset scores; detection for a reward of your own)",
    )
    audit.add_argument("--scenes", type=_count, default=200, help="random scenes (%(default)s)")
    audit.add_argument("--seed", type=int, default=0, help="of the scenes and answers (%(default)s)")
    audit.add_argument(
        "--signature",
        choices=("targets", "trl"),
        help="f(completions, targets), or TRL's f(prompts, completions, **columns); by default the names of "
        "the parameters tell",
    )
    audit.add_argument("--chat", action="store_true", help="give TRL's signature conversations, not strings")
    audit.add_argument(
        "--no-resize", action="store_true", help="scenes whose model pixels are the original pixels"
    )
    audit.add_argument("--html", type=Path, metavar="FILE", help="write a page that shows every hole")
    audit.add_argument("--json", type=Path, metavar="FILE", help="write the findings and their worst scenes")

    curate = commands.add_parser(
        "curate",
        help="make training data by a recipe",
        description="Read annotations of any kind, send them through the steps of a recipe, mix them with "
        "exact counts, and write them as Parquet shards. A stopped run goes on when it is called again.",
    )
    curate.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, or paper49k, which comes with the package"
    )
    curate.add_argument("overrides", nargs="*", metavar="key=value", help="settings that win over the recipe")
    curate.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    curate.add_argument(
        "--workers", type=_count, default=1, help="processes that prepare samples (%(default)s)"
    )
    curate.add_argument("--force", action="store_true", help="replace what is in --out, and begin anew")

    data = commands.add_parser("data", help="look at a data set", description="Look at a data set.")
    data_commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    show = data_commands.add_parser(
        "show",
        help="write a page of its statistics, and of samples with their boxes drawn",
        description="Write a page of what a data set holds, with some of its samples drawn. What is bad in "
        "it is left out and told.",
    )
    show.add_argument(
        "path", type=Path, metavar="PATH", help="a folder that curate wrote, or a COCO-format annotation file"
    )
    show.add_argument("--images", type=Path, metavar="DIR", help="the folder of its images")
    show.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: NAME-gallery.html in this folder)"
    )
    show.add_argument("--most", type=_count, default=60, help="samples to draw (%(default)s)")
    show.add_argument("--seed", type=int, default=0, help="of the choice of samples (%(default)s)")
    return parser


def _add_folder(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=Path, help=f"folder of the run (default: {default})")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--force", action="store_true", help="replace the run in --out")
    either.add_argument("--resume", action="store_true", help="go on with the run in --out")


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return count


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"minutes must be a number above 0, got {text!r}")
    return minutes
