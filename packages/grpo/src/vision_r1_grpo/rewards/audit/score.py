"""Any reward as one call: a preset by name, or a function of ours or of TRL's signature by its place."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from vision_r1_data.prompts import TASKS
from vision_r1_grpo.config import ConfigError
from vision_r1_grpo.integrations.columns import write_rows
from vision_r1_grpo.rewards.scene import Target
from vision_r1_grpo.rewards.vision import Part, RewardBatch, VisionReward

Score = Part
"""N completions and N targets -> N floats."""

Signature = Literal["targets", "trl"]

_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def load_score(
    reward: str,
    dialect: str,
    *,
    task: str = "detection",
    signature: Signature | None = None,
    chat: bool = False,
) -> Score:
    """The reward of that name.

    Args:
        reward: a preset of `VisionReward`, `module:function`, or `file.py:function`. A module is also looked
            for in the present folder.
        dialect: how a preset's completions write boxes.
        task: what the prompts of TRL's signature ask.
        signature: "targets" calls f(completions, targets), with progress=0.0 where it takes progress; "trl"
            calls f(prompts=, completions=, trainer_state=, **columns) at step 0, with the columns that
            `integrations.columns` describes. Left out, the names of the parameters tell: one named targets,
            or else one named completions beside prompts, solution or a catch-all.
        chat: TRL's prompts and completions are conversations, lists of {"role": ..., "content": ...}.

    Raises:
        ConfigError: there is no such reward, or its parameters do not tell how to call it.

    Example:
        >>> score = load_score("strict", "qwen2_5_vl")
        >>> load_score("lenient", "qwen2_5_vl")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        vision_r1_grpo.config.ConfigError: unknown reward preset 'lenient'; known are ...
    """
    if ":" not in reward:
        try:
            preset = VisionReward.from_preset(reward, dialect)
        except ValueError as error:
            raise ConfigError(f"{error}; a reward of your own is module:function") from error
        return _ours(preset, {"progress"})
    function = _find(reward)
    names, open_ended = _parameters(reward, function)
    if (signature or _told_apart(reward, names, open_ended)) == "targets":
        return _ours(function, names)
    return _trl(function, None if open_ended else names, task, chat)


def _find(reward: str) -> Callable[..., Any]:
    place, _, name = reward.rpartition(":")
    if not place or not name:
        raise ConfigError(f"{reward!r} is no reward; give a preset, module:function or file.py:function")
    try:
        module = _module(place)
    except FileNotFoundError as error:
        raise ConfigError(f"{place}: there is no such file; give the path of the reward's file") from error
    except Exception as error:  # whatever a module may raise as it is imported
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{place}: cannot be imported ({said}); correct it or its path") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{place}: has no function {name!r}; name one that it defines")
    return function  # type: ignore[no-any-return]


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(place)
    name = f"audited_{Path(place).stem}"
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None  # a name that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look it up
    spec.loader.exec_module(module)
    return module


def _parameters(reward: str, function: Callable[..., Any]) -> tuple[set[str], bool]:
    """The names of the parameters, and whether it takes any other by name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{reward}: has no signature to read; wrap it in a function") from error
    names = {parameter.name for parameter in parameters if parameter.kind in _NAMED}
    return names, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _told_apart(reward: str, names: set[str], open_ended: bool) -> Signature:
    if "targets" in names:
        return "targets"
    if "completions" in names and (open_ended or names & {"prompts", "solution"}):
        return "trl"
    raise ConfigError(
        f"{reward}: its parameters tell neither f(completions, targets) nor TRL's "
        "f(prompts, completions, **columns); name them so, or say --signature targets or trl"
    )


def _ours(function: Callable[..., Any], names: set[str]) -> Score:
    options = {"progress": 0.0} if "progress" in names else {}

    def score(completions: Sequence[str], targets: Sequence[Target]) -> Sequence[float]:
        scores = function(list(completions), list(targets), **options)
        return _floats(scores.total if isinstance(scores, RewardBatch) else scores)

    return score


def _trl(function: Callable[..., Any], names: set[str] | None, task: str, chat: bool) -> Score:
    def said(role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if chat else text

    def score(completions: Sequence[str], targets: Sequence[Target]) -> Sequence[float]:
        arguments: dict[str, Any] = {
            "prompts": [said("user", TASKS[task].question(target.categories)) for target in targets],
            "completions": [said("assistant", text) for text in completions],
            "trainer_state": SimpleNamespace(global_step=0, max_steps=1),
            **write_rows(targets),
        }
        if names is not None:
            arguments = {name: argument for name, argument in arguments.items() if name in names}
        return _floats(function(**arguments))

    return score


def _floats(scores: Any) -> list[float]:
    """Lists, arrays and tensors alike."""
    return [float(score) for score in (scores.tolist() if hasattr(scores, "tolist") else scores)]
