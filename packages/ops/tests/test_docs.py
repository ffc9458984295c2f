import doctest
import importlib
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", ["boxes", "assignment", "matching", "criteria", "localization"])
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"vision_r1_ops.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_readme_example() -> None:
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0
