import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from vision_r1.cli import _folder, _parser


def test_help_names_the_commands_and_imports_nothing_heavy():
    script = (
        "import sys; from vision_r1.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "quickstart" in done.stdout
    assert "train" in done.stdout


def test_the_deepspeed_launcher_may_name_the_rank():
    assert _parser().parse_args(["--local_rank=1", "train", "a=b"]).overrides == ["a=b"]


def test_defaults_of_the_quickstart():
    arguments = _parser().parse_args(["quickstart"])
    assert (arguments.minutes, arguments.seed, arguments.reward) == (None, None, None)
    assert (arguments.out, arguments.force, arguments.resume) == (None, False, False)


@pytest.mark.parametrize(
    "order", [["--config", "a.yaml", "b=1", "c=2"], ["b=1", "c=2", "--config", "a.yaml"]]
)
def test_overrides_stand_before_or_after_options(order):
    arguments = _parser().parse_args(["train", *order])
    assert (arguments.config, arguments.overrides) == (Path("a.yaml"), ["b=1", "c=2"])


def test_the_default_folder_is_one_that_is_free(tmp_path):
    arguments = argparse.Namespace(out=None, resume=False)
    names = []
    for _ in range(3):
        folder = _folder(arguments, tmp_path / "quickstart")
        folder.mkdir()
        names.append(folder.name)
    assert names == ["quickstart", "quickstart-2", "quickstart-3"]
