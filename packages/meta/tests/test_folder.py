import pytest

from vision_r1.config import RunConfig
from vision_r1.folder import claim_folder, load_run
from vision_r1_data import DataError
from vision_r1_grpo import ConfigError, save_config

RUN = [
    "config.yaml",
    "metrics.jsonl",
    "completions-rank1.jsonl",
    "completions.jsonl.partial",
    "overlays",
    "report.html",
]


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step_000001").mkdir(parents=True)
    for name in RUN:
        (folder / name).write_text("")
    save_config(RunConfig(), folder / "config.yaml")
    return folder


def test_an_empty_or_new_folder_is_free(tmp_path):
    for out in (tmp_path, tmp_path / "a" / "b"):
        with claim_folder(out, force=False):
            pass
    assert (tmp_path / "a" / "b").is_dir()


def test_force_replaces_a_run(run_folder):
    with pytest.raises(DataError, match="exists already"), claim_folder(run_folder, force=False):
        pass
    with claim_folder(run_folder, force=True):
        assert list(run_folder.iterdir()) == []
    assert [path.name for path in run_folder.parent.iterdir()] == [run_folder.name]


def test_what_is_replaced_comes_back_if_the_run_does_not_begin(run_folder):
    before = sorted(path.name for path in run_folder.iterdir())

    def begin():
        with claim_folder(run_folder, force=True):
            (run_folder / "config.yaml").write_text("another")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert sorted(path.name for path in run_folder.iterdir()) == before
    assert load_run(run_folder) == RunConfig()
    assert [path.name for path in run_folder.parent.iterdir()] == [run_folder.name]


def test_a_run_that_does_not_begin_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError), claim_folder(tmp_path / "run", force=False):
        raise ConfigError("no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "metrics-of-mine.jsonl", "completions"])
def test_force_removes_nothing_that_no_run_wrote(run_folder, name):
    (run_folder / name).write_text("mine")
    with pytest.raises(DataError, match="which no run wrote"), claim_folder(run_folder, force=True):
        pass
    assert (run_folder / name).exists()


def test_force_removes_no_folder_without_a_config(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="holds no config"), claim_folder(tmp_path, force=True):
        pass
    assert (tmp_path / "data").exists()


def test_force_removes_nothing_that_the_run_reads(run_folder):
    with (
        pytest.raises(DataError, match="which this run reads"),
        claim_folder(run_folder, force=True, inputs=["", str(run_folder / "data" / "instances.json")]),
    ):
        pass


def test_a_folder_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="cannot be the folder of a run"),
        claim_folder(tmp_path / "file" / "run", force=False),
    ):
        pass


def test_a_run_goes_on_with_its_own_settings(run_folder):
    assert load_run(run_folder) == RunConfig()
    assert load_run(run_folder, ["training.max_steps=7"]).training.max_steps == 7


@pytest.mark.parametrize("override", ["training.seed=1", "data.held_out=0.5", "model.path=x", "max_steps=1"])
def test_an_override_that_makes_another_run_is_refused(run_folder, override):
    with pytest.raises(ConfigError, match="keeps its settings"):
        load_run(run_folder, [override])


def test_what_holds_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(DataError, match="holds no run to resume"):
        load_run(tmp_path)
