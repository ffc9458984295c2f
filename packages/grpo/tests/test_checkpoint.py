import json

import pytest

from vision_r1_grpo.checkpoint import RunState, export_model, has_checkpoint, load_checkpoint, save_checkpoint
from vision_r1_grpo.rewards import RefinementState


class FileEngine:
    """Saves as the engine does: a folder for each tag, and the newest tag in `latest`."""

    def __init__(self, rank=0):
        self.rank = rank

    def save(self, folder, tag, state):
        (folder / tag).mkdir(parents=True, exist_ok=True)
        (folder / tag / "state.json").write_text(json.dumps(state))
        (folder / "latest").write_text(tag)

    def load(self, folder):
        return json.loads((folder / (folder / "latest").read_text() / "state.json").read_text())

    def barrier(self):
        pass


def kept(folder):
    return sorted(path.name for path in folder.glob("step_*"))


def test_the_latest_state_comes_back(tmp_path):
    for step in (1, 2):
        save_checkpoint(FileEngine(), tmp_path, RunState(step, step / 4, RefinementState(1, step)), keep=2)
    assert load_checkpoint(FileEngine(), tmp_path) == RunState(2, 0.5, RefinementState(1, 2))


@pytest.mark.parametrize(("keep", "names"), [(1, ["step_000011"]), (2, ["step_000010", "step_000011"])])
def test_the_newest_checkpoints_are_kept(tmp_path, keep, names):
    for step in (8, 9, 10, 11):
        save_checkpoint(FileEngine(), tmp_path, RunState(step), keep)
    assert kept(tmp_path) == names


def test_only_the_first_rank_drops_old_checkpoints(tmp_path):
    for step in (1, 2):
        save_checkpoint(FileEngine(rank=1), tmp_path, RunState(step), keep=1)
    assert kept(tmp_path) == ["step_000001", "step_000002"]


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
