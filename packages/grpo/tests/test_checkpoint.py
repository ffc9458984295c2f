import pytest

from vision_r1_grpo.checkpoint import (
    Best,
    RunState,
    export_model,
    has_checkpoint,
    load_best,
    load_checkpoint,
    save_best,
    save_checkpoint,
)
from vision_r1_grpo.config import ConfigError
from vision_r1_grpo.rewards import RefinementState


class FileEngine:
    """Saves as the engine does: a folder for each tag."""

    def __init__(self, rank=0, world_size=1, broken=False):
        self.rank, self.world_size, self.broken = rank, world_size, broken

    def save(self, folder, tag):
        (folder / tag).mkdir(parents=True, exist_ok=True)
        (folder / tag / "weights").write_text(tag)
        if self.broken:
            raise OSError("disk full")

    def load(self, folder, tag):
        assert (folder / tag / "weights").exists()

    def barrier(self):
        pass


def kept(folder):
    return sorted(path.name for path in folder.glob("step_*"))


def test_the_latest_state_comes_back(tmp_path):
    for step in (1, 2):
        save_checkpoint(FileEngine(), tmp_path, RunState(step, step / 7, RefinementState(1, step)), keep=2)
    assert load_checkpoint(FileEngine(), tmp_path) == RunState(2, 2 / 7, RefinementState(1, 2))


@pytest.mark.parametrize(("keep", "names"), [(1, ["step_000011"]), (2, ["step_000010", "step_000011"])])
def test_the_newest_checkpoints_are_kept(tmp_path, keep, names):
    for step in (8, 9, 10, 11):
        save_checkpoint(FileEngine(), tmp_path, RunState(step), keep)
    assert kept(tmp_path) == names


def test_only_the_first_rank_names_and_drops_checkpoints(tmp_path):
    save_checkpoint(FileEngine(rank=1), tmp_path, RunState(1), keep=1)
    assert kept(tmp_path) == ["step_000001.partial"]
    assert not has_checkpoint(tmp_path)


def test_a_save_that_fails_leaves_the_earlier_checkpoints(tmp_path):
    save_checkpoint(FileEngine(), tmp_path, RunState(1), keep=1)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(FileEngine(broken=True), tmp_path, RunState(2), keep=1)
    assert load_checkpoint(FileEngine(), tmp_path) == RunState(1)
    save_checkpoint(FileEngine(), tmp_path, RunState(3), keep=1)
    assert kept(tmp_path) == ["step_000003"], "what was cut off goes as well"


def test_a_checkpoint_that_was_cut_off_before_it_was_the_latest_is_written_anew(tmp_path):
    save_checkpoint(FileEngine(), tmp_path, RunState(1), keep=1)
    for step in (2, 9):
        (tmp_path / f"step_{step:06d}").mkdir()
    assert load_checkpoint(FileEngine(), tmp_path) == RunState(1)
    save_checkpoint(FileEngine(), tmp_path, RunState(2), keep=1)
    assert kept(tmp_path) == ["step_000002"]
    assert load_checkpoint(FileEngine(), tmp_path) == RunState(2)


def test_another_number_of_processes_is_refused(tmp_path):
    save_checkpoint(FileEngine(world_size=2), tmp_path, RunState(1), keep=1)
    with pytest.raises(ConfigError, match="saved by 2 processes, each its own part; start as many, not 3"):
        load_checkpoint(FileEngine(world_size=3), tmp_path)


def test_a_checkpoint_is_there_once_it_is_complete(tmp_path):
    assert not has_checkpoint(tmp_path / "none")
    (tmp_path / "step_000001").mkdir()
    assert not has_checkpoint(tmp_path)
    save_checkpoint(FileEngine(), tmp_path, RunState(1), keep=1)
    assert has_checkpoint(tmp_path)


class TextPolicy:
    def __init__(self, text):
        self.text = text

    def save_pretrained(self, folder):
        folder.mkdir()
        (folder / "weights").write_text(self.text)
        if self.text == "broken":
            raise OSError("disk full")


def test_an_exported_model_is_complete_or_the_one_before(tmp_path):
    folder = tmp_path / "model"
    export_model(TextPolicy("first"), folder)
    with pytest.raises(OSError, match="disk full"):
        export_model(TextPolicy("broken"), folder)
    assert (folder / "weights").read_text() == "first"
    export_model(TextPolicy("second"), folder)
    assert (folder / "weights").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_best_model_says_when_it_was_and_what_it_reached(tmp_path):
    assert load_best(tmp_path) is None
    save_best(TextPolicy("first"), tmp_path, Best(4, "mAP", 0.25))
    with pytest.raises(OSError, match="disk full"):
        save_best(TextPolicy("broken"), tmp_path, Best(8, "mAP", 0.5))
    assert load_best(tmp_path) == Best(4, "mAP", 0.25)
    assert (tmp_path / "best" / "weights").read_text() == "first"
