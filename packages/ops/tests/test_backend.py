import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from vision_r1_ops import reference
from vision_r1_ops._backend import backend


def test_scipy_where_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.import_module

    def without_numba(name: str) -> ModuleType:
        if name == "vision_r1_ops._cpu":
            raise ImportError("No module named 'numba'")
        return original(name)

    monkeypatch.setattr(importlib, "import_module", without_numba)
    assert backend.__wrapped__() is reference


def test_numba_where_it_is_installed() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    assert backend().__name__ == "vision_r1_ops._cpu"


def test_importing_is_light() -> None:
    code = (
        "import sys, vision_r1_ops; print({'numba', 'scipy', 'vision_r1_ops.reference'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
