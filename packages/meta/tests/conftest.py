import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from vision_r1.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from photographs import write_photographs


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """The annotation file of five photographs; `images` lies beside it. Not to be written to."""
    return write_photographs(tmp_path_factory.mktemp("photographs") / "set")


@pytest.fixture
def command(monkeypatch, capsys):
    """The command, run in this process: its exit code and what it wrote to stdout and stderr."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
