"""A recipe: which data, through which steps, in which mixture. YAML, checked as it is read."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from vision_r1_data import readers
from vision_r1_data.compose import drawn_samples, read_backgrounds, read_cutouts, write_composed
from vision_r1_data.curate.difficulty import Difficulty
from vision_r1_data.curate.mixture import Take
from vision_r1_data.curate.steps import Steps
from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.prompts import TASKS
from vision_r1_data.sample import Sample
from vision_r1_data.store import stream_samples

T = TypeVar("T")
Reader = Callable[..., Iterator[Sample]]

# What `curate` itself gives a reader.
_GIVEN = ("source", "faults")


def _read_samples(folder: Path | str, *, source: str, faults: Faults) -> Iterator[Sample]:
    """Samples that were saved before; they keep their ids and sources."""
    return stream_samples(folder)


def _compose(
    cutouts: Path | str,
    backgrounds: Path | str,
    images: Path | str,
    count: int,
    seed: int = 0,
    *,
    source: str,
    faults: Faults,
) -> Iterator[Sample]:
    """Scenes of cut-outs on backgrounds, which are written to the folder `images`."""
    named, found = read_cutouts(cutouts, faults=faults), read_backgrounds(backgrounds, faults=faults)
    return write_composed(images, count, seed=seed, cutouts=named, backgrounds=found, source=source)


def _draw(
    images: Path | str, count: int, seed: int = 0, max_objects: int = 3, *, source: str, faults: Faults
) -> Iterator[Sample]:
    """Scenes of coloured shapes, which are written to the folder `images`."""
    return drawn_samples(images, count, seed=seed, max_objects=max_objects, source=source)


READERS: dict[str, Reader] = {
    **{name.removeprefix("read_"): getattr(readers, name) for name in readers.__all__},
    "composed": _compose,
    "drawn": _draw,
    "samples": _read_samples,
}
"""Format of a source -> the function that reads it, whose arguments are the source's options."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Annotations and images.

    Args:
        format: a name of `READERS`.
        options: the arguments of that reader.
        steps: what the samples go through; left out, the steps of the recipe.
    """

    format: str
    options: dict[str, Any]
    steps: list[Steps] | None = None

    def read(self, name: str, faults: Faults) -> Iterator[Sample]:
        """Its samples, with `name` as their source and in front of their ids."""
        try:
            samples = READERS[self.format](**self.options, source=name, faults=faults)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error
        if self.format == "samples":
            return samples
        return (replace(sample, id=f"{name}/{sample.id}", source=name) for sample in samples)


class Similar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When two pictures count as one.

    Args:
        distance: the most bits of 64 in which their fingerprints differ; null looks at ids only, and no image
            has to be opened.
    """

    distance: Annotated[int, msgspec.Meta(ge=0, lt=64)] | None = 4


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `curate` makes.

    Args:
        sources: name -> annotations and images.
        steps: what samples go through, if their source has no steps of its own.
        mix: how many of each kind; left out, all there are of every source.
        scale: what the counts are multiplied by, such as 0.01 for a first try.
        seed: of every random choice.
        held_out: name -> evaluation set, of which nothing may be trained on.
        leakage: how images of the evaluation sets are found.
        duplicates: leave out near duplicates; null leaves them in.
        difficulty: keep what a policy sometimes answers, by a file of its rewards.
        curriculum: number the samples from easy to hard: by their objects, or by falling pass rate.
        bad_records: "skip" counts and tells what a reader cannot use, "error" stops at the first.
        embed: copy the images into the shards.
        title: of the dataset card.
        folders: name -> folder, for `${folders.name}` in the rest of the recipe.
    """

    sources: dict[str, Source]
    steps: list[Steps] = []
    mix: list[Take] = []
    scale: float = 1.0
    seed: int = 0
    held_out: dict[str, Source] = {}
    leakage: Similar = Similar()
    duplicates: Similar | None = Similar()
    difficulty: Difficulty | None = None
    curriculum: Literal["objects", "pass_rate"] | None = None
    bad_records: Literal["skip", "error"] = "skip"
    embed: bool = True
    title: str = ""
    folders: dict[str, str] = {}


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: the YAML file, or the name of a recipe that comes with this package, such as "paper49k".
        overrides: `key=value` settings that win over the file, such as "folders.coco=/data/coco" or
            "mix[0].count=500".

    Raises:
        DataError: it is missing, not YAML, says something unknown, or leaves something open.
    """
    path = Path(path)
    shipped = RECIPES / f"{path}.yaml"
    if not path.is_file() and shipped.is_file():
        path = shipped
    content = _loaded(path)
    for setting in overrides:
        _set(content, setting)
    plain: Any = _resolved(content, path)
    for key in ("sources", "held_out"):
        if isinstance(plain.get(key), dict):
            plain[key] = {name: _source(one, f"{path}: {key}.{name}") for name, one in plain[key].items()}
    return _checked(convert(plain, Recipe, str(path), _names()), path)


RECIPES = Path(__file__).with_name("recipes")
"""The recipes that come with this package."""


def convert(plain: Any, kind: type[T], where: str, names: Sequence[str] = ()) -> T:
    """Plain values as that type; the error says where, and the nearest of the names to an unknown key."""
    try:
        return msgspec.convert(plain, kind, dec_hook=lambda of, value: of(value), str_keys=True)
    except msgspec.ValidationError as error:
        own = getattr(kind, "__struct_fields__", ())
        raise DataError(f"{where}: {error}{_hint(str(error), own, names)}") from error


def _hint(said: str, own: Sequence[str], names: Sequence[str]) -> str:
    """What may have been meant: of the keys of the whole, its own, or further in, of all names."""
    if re.search(r"Invalid value .*\.steps\[\d+\]\.step`$|missing required field `step`", said):
        return f"; steps are {', '.join(step.__struct_config__.tag for step in get_args(Steps))}"
    if said.startswith("Expected `object"):
        return "; give keys and values"
    unknown = re.search("unknown field `(.*?)`(.*)", said)
    if unknown is None or unknown[1] in names:
        return ""
    known = names if unknown[2] else own
    near = difflib.get_close_matches(unknown[1], known, n=1)
    if near:
        return f"; do you mean {near[0]}?"
    return "" if unknown[2] else f"; there are {', '.join(own)}"


def _loaded(path: Path) -> DictConfig:
    """The keys and values of a YAML file."""
    try:
        content = OmegaConf.load(path)
    except FileNotFoundError:
        known = ", ".join(sorted(found.stem for found in RECIPES.glob("*.yaml")))
        raise DataError(f"{path}: there is no such recipe; give a YAML file, or one of {known}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not YAML ({_line(error)}); correct it") from error
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise DataError(f"{path}: cannot be read ({_line(error)}); give a YAML file") from error
    if not isinstance(content, DictConfig):
        raise DataError(f"{path}: must hold keys and values, such as sources and mix")
    return content


def _set(content: DictConfig, setting: str) -> None:
    """Change one value, also of an item of a list."""
    how = "give key=value, such as seed=1 or mix[0].count=500"
    if not re.match("[^=]+=", setting):
        raise DataError(f"{setting}: is no setting; {how}")
    try:
        content.merge_with_dotlist([setting])
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        raise DataError(f"{setting}: cannot be set ({_line(error)}); {how}") from error


def _resolved(content: DictConfig, path: Path) -> Any:
    """Plain values, nothing of which is left open."""
    try:
        return OmegaConf.to_container(content, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        said = str(error).split("\n", maxsplit=1)[0]
        if missing := re.search("Missing mandatory value: (\\S+)", said):
            # the error names the last part of a key, but all of one that an interpolation leads to
            key = error.full_key if isinstance(error, MissingMandatoryValue) else missing[1]
            raise DataError(f"{path}: {key} is left open; give it as {key}=...") from error
        left = re.search("Interpolation key '(\\S+)' not found", said)
        how = f"correct it, or give it as {left[1]}=..." if left else "correct it"
        raise DataError(f"{path}: {error.full_key}: {said}; {how}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _source(plain: Any, where: str) -> Any:
    """A source with the options of its reader checked and gathered."""
    given = plain.get("format") if isinstance(plain, dict) else plain
    if not isinstance(plain, dict) or not isinstance(given, str) or given not in READERS:
        raise DataError(f"{where}: format must be one of {', '.join(sorted(READERS))}, got {given!r}")
    struct = _options(READERS[given])
    convert(plain, struct, where, [*struct.__struct_fields__, *_names()])
    options = {key: value for key, value in plain.items() if key not in ("format", "steps")}
    if options.get("task", "detection") not in TASKS:
        raise DataError(f"{where}: task must be one of {', '.join(TASKS)}, got {options['task']!r}")
    return {"format": given, "options": options, "steps": plain.get("steps")}


def _options(reader: Reader) -> type[msgspec.Struct]:
    """The keys of a source: the arguments of its reader, where a path is text, and its own."""
    hints = get_type_hints(reader)
    fields: list[Any] = [("format", str), ("steps", list[Steps] | None, None)]
    for name, parameter in inspect.signature(reader).parameters.items():
        if name not in _GIVEN:
            kind = hints[name]
            if get_origin(kind) in (Union, UnionType):
                kind = Union[tuple(one for one in get_args(kind) if one is not Path)]  # noqa: UP007
            required = parameter.default is parameter.empty
            fields.append((name, kind) if required else (name, kind, parameter.default))
    return msgspec.defstruct(reader.__name__, fields, forbid_unknown_fields=True, kw_only=True)


def _names() -> list[str]:
    """Every key that a recipe may have outside the options of readers."""
    structs = (Recipe, Similar, Difficulty, Take, *get_args(Steps))
    return [name for struct in structs for name in struct.__struct_fields__]


def _checked(recipe: Recipe, path: Path) -> Recipe:
    """The recipe, if its parts fit together."""
    if not recipe.sources:
        raise DataError(f"{path}: sources is empty; name what to read")
    for take in recipe.mix:
        if take.source not in recipe.sources and all(s.format != "samples" for s in recipe.sources.values()):
            raise DataError(
                f"{path}: mix takes from {take.source!r}, which is no source; give one of "
                f"{', '.join(recipe.sources)}"
            )
    if recipe.curriculum == "pass_rate" and recipe.difficulty is None:
        raise DataError(f"{path}: curriculum is pass_rate, which needs difficulty; give it a file of rewards")
    return recipe
