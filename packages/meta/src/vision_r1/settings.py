"""Every setting of a run, with its default and what the docstring of its dataclass says of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from rich.table import Column, Table
from rich.text import Text

_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def list_settings(schema: type, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every setting of a dataclass and of those inside it.

    Example:
        >>> from vision_r1_grpo.config import SamplingConfig
        >>> next(list_settings(SamplingConfig, "training.sampling."))
        ('training.sampling.group_size', '8', 'completions per prompt (G).')
    """
    meanings = dict(_ARGUMENT.findall(inspect.cleandoc(schema.__doc__ or "")))
    types = get_type_hints(schema)
    for setting in fields(schema):
        kinds = (types[setting.name], *get_args(types[setting.name]))
        inner = next((kind for kind in kinds if is_dataclass(kind)), None)
        if isinstance(inner, type):
            yield from list_settings(inner, f"{prefix}{setting.name}.")
        else:
            meaning = " ".join(meanings.get(setting.name, "").split())
            yield prefix + setting.name, _default(setting), meaning


def settings_table(schema: type) -> Table:
    """The settings to print."""
    table = Table(Column("setting", no_wrap=True), "default", "", box=None, padding=(0, 2, 0, 0))
    for row in list_settings(schema):
        table.add_row(*map(Text, row))
    return table


def _default(setting: Any) -> str:
    """As YAML has it; empty where there is none."""
    if setting.default is MISSING and setting.default_factory is MISSING:
        return ""
    value = setting.default_factory() if setting.default is MISSING else setting.default
    return json.dumps(value) if value != "" else ""
