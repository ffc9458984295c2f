"""What every package promises: its files, its metadata, and the names it exports."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("ops", "data", "grpo", "eval", "tiny", "meta")
MODULES = {
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
    for source in sorted((ROOT / "packages").glob("*/src"))
    for path in sorted(source.rglob("*.py"))
}
EXPORTING = [name for name, path in MODULES.items() if "\n__all__ = " in path.read_text(encoding="utf-8")]


def distribution(name: str) -> str:
    return "vision-r1" if name == "meta" else f"vision-r1-{name}"


def pyproject(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_files(name: str) -> None:
    folder = ROOT / "packages" / name
    source = folder / "src" / distribution(name).replace("-", "_")
    for path in (folder / "README.md", folder / "CHANGELOG.md", folder / "tests", source / "py.typed"):
        assert path.exists(), f"{path.relative_to(ROOT)} is missing"
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# ")
    assert "## [" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_metadata(name: str) -> None:
    content = pyproject(name)
    project = content["project"]
    assert project["name"] == distribution(name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]), "the version is static and x.y.z"
    assert "dynamic" not in project
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"
    assert content["build-system"] == {"requires": ["hatchling"], "build-backend": "hatchling.build"}


@pytest.mark.parametrize("name", NAMES)
def test_siblings_are_asked_for_by_range(name: str) -> None:
    """A range is `>=x.y,<x.(y+1)`; meta names the set that was tested together with `~=`."""
    versions = {distribution(other): pyproject(other)["project"]["version"] for other in NAMES}
    project = pyproject(name)["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    for line in (*project["dependencies"], *extras):
        sibling = re.match(r"vision-r1[\w-]*", line)
        if sibling is None:
            continue
        major, minor, _ = versions[sibling[0]].split(".")
        requirement = re.sub(r"\[[\w,-]*\]|\s", "", line)
        if name == "meta":
            assert re.fullmatch(rf"{sibling[0]}~={major}\.{minor}\.\d+", requirement), line
        else:
            bounds = rf"{sibling[0]}>={major}\.{minor}(\.\d+)?,<{major}\.{int(minor) + 1}"
            assert re.fullmatch(bounds, requirement), line


def test_the_citation_names_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {pyproject('meta')['project']['version']}\n" in citation


def test_the_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


@pytest.mark.parametrize("module", EXPORTING)
def test_exported_names_exist(module: str) -> None:
    content = importlib.import_module(module)
    assert [name for name in content.__all__ if not hasattr(content, name)] == []
    assert len(content.__all__) == len(set(content.__all__))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "meta"])
def test_a_library_exports_a_list(name: str) -> None:
    assert importlib.import_module(distribution(name).replace("-", "_")).__all__
