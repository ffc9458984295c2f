"""Which package may import what: the floors of the house, read from the source by AST."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {
    "ops": "vision_r1_ops",
    "data": "vision_r1_data",
    "grpo": "vision_r1_grpo",
    "eval": "vision_r1_eval",
    "tiny": "vision_r1_tiny",
    "meta": "vision_r1",
}
# Each package may import itself and, of its siblings, these.
SIBLINGS = {
    "ops": set(),
    "data": set(),
    "grpo": {"ops", "data"},
    "eval": {"data"},
    "tiny": {"data"},
    "meta": {"ops", "data", "grpo", "eval", "tiny"},
}


def imports(source: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import, wherever it stands; importlib.import_module("name") too."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module
            case (
                ast.Call(func=ast.Name("import_module") | ast.Attribute(attr="import_module"))
                | ast.Call(func=ast.Name("__import__"))
            ):
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield node.lineno, str(node.args[0].value)


def fault(package: str, path: Path, name: str) -> str | None:
    """Why the file of the package (its path within the import package) may not import the name."""
    top = name.split(".")[0]
    owners = {module: owner for owner, module in DISTRIBUTIONS.items()}
    if top.startswith("vision_r1"):
        owner = owners.get(top)
        if owner is None:
            return "is no package of this house"
        if owner != package and owner not in SIBLINGS[package]:
            return f"{package} may not import {owner}"
    if top == "torch" and package == "data":
        return "data never imports torch"
    if top == "deepspeed" and (package, path.as_posix()) != ("grpo", "engine.py"):
        return "deepspeed is imported only in engine.py of grpo"
    if top == "triton" and (package, path.parts[0]) != ("ops", "_kernels"):
        return "triton is imported only in _kernels/ of ops"
    return None


def faults(packages: Path) -> list[str]:
    """One line for every import in the packages that breaks a floor."""
    lines = []
    for package, module in DISTRIBUTIONS.items():
        source = packages / package / "src" / module
        for path in sorted(source.rglob("*.py")):
            for line, name in imports(path):
                if why := fault(package, path.relative_to(source), name):
                    lines.append(f"{path.relative_to(packages)}:{line}: import {name}: {why}")
    return lines


def test_no_import_points_upward() -> None:
    assert faults(ROOT / "packages") == []


# Import names that differ from the name of their distribution.
DISTRIBUTED_AS = {"PIL": "pillow", "yaml": "pyyaml"}


@pytest.mark.parametrize("package", DISTRIBUTIONS)
def test_what_is_imported_is_declared(package: str) -> None:
    """Nothing is used only because something else happens to bring it along."""
    folder = ROOT / "packages" / package
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    declared = {re.split(r"[^\w-]", line)[0] for line in (*project["dependencies"], *extras)}
    used = {name.split(".")[0] for path in folder.glob("src/**/*.py") for _, name in imports(path)}
    used -= sys.stdlib_module_names | {DISTRIBUTIONS[package]}
    assert {DISTRIBUTED_AS.get(name, name.replace("_", "-")) for name in used} <= declared


def test_every_package_is_on_a_floor() -> None:
    projects = (ROOT / "packages").glob("*/pyproject.toml")
    assert {path.parent.name for path in projects} == DISTRIBUTIONS.keys()


PLANTED = {
    "ops knows data": ("ops/src/vision_r1_ops/boxes.py", "from vision_r1_data import Frame"),
    "data knows ops": ("data/src/vision_r1_data/frame.py", "import vision_r1_ops.boxes as b"),
    "data knows torch": ("data/src/vision_r1_data/readers/coco.py", "from torch import nn"),
    "grpo knows eval": ("grpo/src/vision_r1_grpo/trainer.py", "import vision_r1_eval"),
    "grpo knows meta": ("grpo/src/vision_r1_grpo/trainer.py", "from vision_r1.cli import main"),
    "eval knows ops": ("eval/src/vision_r1_eval/metrics.py", "import vision_r1_ops"),
    "eval knows tiny": ("eval/src/vision_r1_eval/metrics.py", "import vision_r1_tiny"),
    "tiny knows grpo": ("tiny/src/vision_r1_tiny/train.py", "import vision_r1_grpo"),
    "deepspeed in the trainer": ("grpo/src/vision_r1_grpo/trainer.py", "import deepspeed"),
    "deepspeed in another engine": ("grpo/src/vision_r1_grpo/rollout/engine.py", "import deepspeed"),
    "deepspeed in meta": ("meta/src/vision_r1/cli.py", "import deepspeed.comm"),
    "triton beside the kernels": ("ops/src/vision_r1_ops/boxes.py", "import triton.language as tl"),
    "triton in other kernels": ("grpo/src/vision_r1_grpo/_kernels/loss.py", "import triton"),
    "a stranger": ("meta/src/vision_r1/cli.py", "import vision_r1_extra"),
    "in a function": ("ops/src/vision_r1_ops/boxes.py", "def f():\n    import vision_r1_data"),
    "for types": (
        "ops/src/vision_r1_ops/boxes.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vision_r1_data import Frame",
    ),
    "by name": ("data/src/vision_r1_data/frame.py", "import importlib\nimportlib.import_module('torch.nn')"),
}


@pytest.mark.parametrize(("path", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, source: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    (line,) = faults(tmp_path)
    assert line.startswith(f"{path}:{len(source.splitlines())}: import ")


ALLOWED = {
    "ops/src/vision_r1_ops/_kernels/iou.py": "import torch, triton",
    "data/src/vision_r1_data/frame.py": "import numpy, PIL\nfrom . import sample",
    "grpo/src/vision_r1_grpo/engine.py": "import deepspeed, vision_r1_ops, vision_r1_data",
    "eval/src/vision_r1_eval/metrics.py": "from vision_r1_data.sample import Answer",
    "meta/src/vision_r1/cli.py": "import vision_r1_tiny, vision_r1_grpo, vision_r1",
}


@pytest.mark.parametrize(("path", "source"), ALLOWED.items())
def test_what_is_allowed_is_not_found(tmp_path: Path, path: str, source: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    assert faults(tmp_path) == []
