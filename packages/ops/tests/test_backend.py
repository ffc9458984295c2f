import importlib
import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from vision_r1_ops import _backend, reference
from vision_r1_ops._backend import backend


def test_scipy_where_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    original = importlib.import_module

    def without_numba(name: str) -> ModuleType:
        if name == "vision_r1_ops._cpu":
            raise ImportError("No module named 'numba'")
        return original(name)

    monkeypatch.setattr(importlib, "import_module", without_numba)
    assert backend.__wrapped__() is reference


def test_scipy_where_numba_is_turned_off() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    code = "import torch, vision_r1_ops as ops; print(ops.linear_sum_assignment(torch.eye(2)).tolist())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1, 0]"
    assert "matched by SciPy, which is slow: NUMBA_DISABLE_JIT turns Numba's compiler off" in done.stderr


def test_without_a_folder_for_the_cache() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    code = (
        "from numba.core import caching; caching.CacheImpl._locator_classes = [];"
        "import torch, vision_r1_ops; print(vision_r1_ops._backend.backend().__name__,"
        "vision_r1_ops.linear_sum_assignment(torch.eye(2)).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "vision_r1_ops._cpu [1, 0]"


def test_numba_where_it_is_installed() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    assert backend().__name__ == "vision_r1_ops._cpu"


class OnTheGPU:
    is_cuda = True


def test_wide_problems_are_the_cpus() -> None:
    kernels = pytest.importorskip("vision_r1_ops._kernels", reason="Triton is not installed")
    assert _backend.kernels(OnTheGPU(), 512, 3) is kernels  # type: ignore[arg-type]
    assert _backend.kernels(OnTheGPU(), 2, 513) is None  # type: ignore[arg-type]
    assert _backend.kernels(torch.zeros(1), 2) is None


def test_the_cpu_where_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_triton(name: str) -> ModuleType:
        raise ImportError(f"No module named 'triton' for {name}")

    monkeypatch.setattr(importlib, "import_module", without_triton)
    with pytest.warns(UserWarning, match=r"CUDA tensors are matched on the CPU: .*vision-r1-ops\[gpu\]"):
        assert _backend._triton_kernels.__wrapped__() is None


def test_importing_is_light() -> None:
    heavy = {"numba", "scipy", "triton", "vision_r1_ops.reference"}
    code = f"import sys, vision_r1_ops; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
