import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed")
HERE = Path(__file__).parent
COMPILING = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
BLOCKS, ARCHS = (32, 64, 128, 256), (80, 90, 100)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every variant of every kernel uses; compiled in processes that do not interpret."""
    folder = tmp_path_factory.mktemp("compiled")
    running = []
    for arch in ARCHS:
        options = ["--archs", str(arch), "--blocks", *map(str, BLOCKS), "--json", folder / f"{arch}.json"]
        command = [sys.executable, HERE / "compile_kernels.py", *options]
        running.append(subprocess.Popen(command, env=COMPILING, stdout=subprocess.PIPE, text=True))
    for said, process in [(process.communicate()[0], process) for process in running]:
        assert process.returncode == 0, said
        print(said)
    return [row for arch in ARCHS for row in json.loads((folder / f"{arch}.json").read_text())["rows"]]


def test_every_kernel_compiles_for_every_block_and_architecture(rows: list[dict[str, Any]]) -> None:
    for name in ("box_iou_kernel", "linear_sum_assignment_kernel", "localization_rewards_kernel"):
        compiled = {(row["block"], row["arch"]) for row in rows if row["kernel"] == name}
        assert compiled == {(block, arch) for block in BLOCKS for arch in ARCHS}


def test_state_is_kept_in_registers(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["stack"] == 0, row
        assert 0 < row["registers"] <= 255, row
        # a warp of its own shares nothing; the float64 boxes of 256 columns take two
        if "iou" not in row["kernel"] and (row["dtype"] != "fp64" or row["block"] < 256):
            assert row["shared"] == 0, row


def test_every_launcher_compiles_what_it_launches() -> None:
    command = [sys.executable, HERE / "launch_kernels.py"]
    done = subprocess.run(command, env=COMPILING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
