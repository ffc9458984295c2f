import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from vision_r1.cli import _folder, _parsed, _parser
from vision_r1.config import RunConfig
from vision_r1.settings import list_settings


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
    "order",
    [
        ["--config", "a.yaml", "b=1", "c=2"],
        ["b=1", "c=2", "--config", "a.yaml"],
        ["b=1", "--config", "a.yaml", "c=2"],
    ],
)
def test_settings_stand_before_or_after_options(order):
    arguments = _parsed(["train", *order])
    assert (arguments.config, arguments.overrides) == (Path("a.yaml"), ["b=1", "c=2"])


@pytest.mark.parametrize(
    "order", [["paper49k", "--out", "a", "b=1", "c=2"], ["--out", "a", "paper49k", "b=1", "--force", "c=2"]]
)
def test_settings_of_a_recipe_stand_before_or_after_options(order):
    arguments = _parsed(["curate", *order])
    assert (arguments.recipe, arguments.out, arguments.overrides) == ("paper49k", Path("a"), ["b=1", "c=2"])


@pytest.mark.parametrize(
    ("words", "unknown"),
    [(["train", "a=1", "--ouut", "b"], "--ouut b"), (["data", "show", "a", "b"], "b")],
    ids=["option", "word"],
)
def test_what_a_command_does_not_know_is_an_error(words, unknown, capsys):
    with pytest.raises(SystemExit, match="2"):
        _parsed(words)
    assert f"unrecognized arguments: {unknown}\n" in capsys.readouterr().err


def test_the_default_folder_is_one_that_is_free(tmp_path):
    arguments = argparse.Namespace(out=None, resume=False)
    names = []
    for _ in range(3):
        folder = _folder(arguments, tmp_path / "quickstart")
        folder.mkdir()
        names.append(folder.name)
    assert names == ["quickstart", "quickstart-2", "quickstart-3"]


def test_every_setting_has_a_default_and_a_meaning(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # so that no meaning is broken into lines
    code, printed, _ = command("train", "--settings")
    printed = " ".join(printed.split())  # a narrow table breaks lines
    assert code == 0
    for said in (
        "training.max_prompt_tokens",
        "never cut",
        "training.reward.refinement.kind",
        "data.held_out",
    ):
        assert said in printed
    settings = list(list_settings(RunConfig))
    assert len({key for key, _, _ in settings}) == len(settings) > 40
    assert all(meaning.endswith(".") for _, _, meaning in settings)
    assert ("training.max_steps", "null") in {setting[:2] for setting in settings}
