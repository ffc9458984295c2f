"""How YAML files and key=value overrides become a config, and a config YAML again."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from vision_r1_grpo.config import ConfigError

T = TypeVar("T")


def load_config(schema: type[T], file: Path | None, overrides: Sequence[str] = ()) -> T:
    """Build a config from its defaults, a YAML file and overrides, each later one winning.

    Args:
        schema: a dataclass whose fields are the valid keys.
        file: a YAML file, or None.
        overrides: such as "sampling.group_size=16".

    Raises:
        ConfigError: the file cannot be read, a key does not exist, or a value is not valid.

    Example:
        >>> from vision_r1_grpo.config import SamplingConfig
        >>> load_config(SamplingConfig, None, ["group_size=4"]).group_size
        4
        >>> load_config(SamplingConfig, None, ["groupsize=4"])
        Traceback (most recent call last):
        vision_r1_grpo.config.ConfigError: there is no setting 'groupsize'; did you mean 'group_size'?
    """
    layers = [] if file is None else [(str(file), _read(file))]
    layers += [(f"override {override!r}", _parse(override)) for override in overrides]
    merged: Any = OmegaConf.structured(schema)
    for source, content in layers:
        try:
            merged = OmegaConf.merge(merged, content)
        except ConfigKeyError as error:
            raise ConfigError(_unknown_key(error.object_type, str(error.full_key))) from None
        except OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key or source}: {str(error).splitlines()[0]}") from None
    try:
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    assert isinstance(result, schema)
    return result


def save_config(config: object, file: Path) -> None:
    """Write a config as YAML that `load_config` reads back."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(OmegaConf.to_yaml(OmegaConf.structured(config)), encoding="utf-8")
    partial.rename(file)


def _read(file: Path) -> DictConfig:
    try:
        content = OmegaConf.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file; give the path of a YAML recipe") from None
    except Exception as error:  # OmegaConf lets every error of the YAML parser through
        raise ConfigError(f"{file}: is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, DictConfig):
        raise ConfigError(f"{file}: holds a list, not a recipe of key: value")
    return content


def _parse(override: str) -> DictConfig:
    wrong = ConfigError(f"override {override!r} is not of the form key=value")
    if "=" not in override:
        raise wrong
    try:
        return OmegaConf.from_dotlist([override])
    except Exception as error:  # as above
        raise wrong from error


def _unknown_key(section: Any, key: str) -> str:
    *parents, name = key.split(".")
    known = [setting.name for setting in fields(section)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {'.'.join([*parents, close[0]])!r}?" if close else f"there are {', '.join(known)}"
    return f"there is no setting {key!r}; {hint}"
