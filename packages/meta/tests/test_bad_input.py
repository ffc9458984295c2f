"""Whatever is wrong with the input: exit code 2, one line that says what and where, nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from photographs import content, write_photographs


@pytest.fixture
def data(tmp_path):
    """A set of photographs that a test may break."""
    return write_photographs(tmp_path / "set")


def settings(path):
    return [f"data.annotations={path}", f"data.images={path.parent / 'images'}"]


def rewrite(path, **changes):
    path.write_text(json.dumps(content() | changes))


def with_box(bbox):
    return [{"id": 77, "image_id": 1, "category_id": 1, "bbox": bbox, "area": 1, "iscrowd": 0}]


BREAK = {
    "missing file": (lambda path: path.unlink(), ["there is no such file", "give the path"]),
    "empty file": (lambda path: path.write_text(""), ["is not JSON", "give a COCO annotation file"]),
    "not JSON": (lambda path: path.write_text("<xml/>"), ["is not JSON", "give a COCO annotation file"]),
    "not text": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), ["is not JSON"]),
    "a list": (lambda path: path.write_text("[]"), ["is not a COCO annotation file"]),
    "without images": (lambda path: rewrite(path, images=[]), ["has no images"]),
    "without categories": (lambda path: rewrite(path, categories=[]), ["has no categories"]),
    "box outside": (
        lambda path: rewrite(path, annotations=with_box([400, 0, 200, 100])),
        ["annotation 77", "[400, 0, 200, 100]", "image 1 (512x512)", "bad_records=skip"],
    ),
    "box without area": (
        lambda path: rewrite(path, annotations=with_box([10, 10, 0, 5])),
        ["annotation 77", "image 1"],
    ),
    "image not there": (
        lambda path: (path.parent / "images" / "coffee.png").unlink(),
        ["images[2]: there is no image", "coffee.png", "add it"],
    ),
    "image folder not there": (
        lambda path: (path.parent / "images").rename(path.parent / "pictures"),
        ["is not a folder", "give the folder that holds the images"],
    ),
    "one image": (
        lambda path: rewrite(path, images=content()["images"][:1], annotations=[]),
        ["has one image", "add images"],
    ),
}


@pytest.mark.parametrize(("spoil", "words"), BREAK.values(), ids=BREAK)
def test_bad_data(command, data, tmp_path, spoil, words):
    spoil(data)
    code, out, err = command("train", *settings(data), "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert err.startswith("vision-r1: ")
    assert err.count("\n") == 1
    assert str(data.parent) in err
    for word in words:
        assert word in err
    assert not (tmp_path / "run").exists()


def test_bad_boxes_can_be_skipped(command, data, tmp_path):
    """The run goes on to its next check: the line about the boxes is a warning."""
    rewrite(data, annotations=content()["annotations"] + with_box([400, 0, 200, 100]))
    arguments = [
        *settings(data),
        "data.bad_records=skip",
        "data.test.annotations=none.json",
        "data.test.images=.",
    ]
    code, _, err = command("train", *arguments, "--out", tmp_path / "run")
    assert code == 2
    warning, error = err.splitlines()
    assert "1 left out (bad_box 1), the first:" in warning
    assert "none.json: there is no such file" in error


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(["training.max_step=3"], "did you mean 'training.max_steps'?", id="unknown key"),
        pytest.param(["max_steps=3"], "there is no setting 'max_steps'", id="key of a section"),
        pytest.param(["training.max_steps=few"], "training.max_steps", id="wrong type"),
        pytest.param(["training.sampling.group_size=1"], "must be at least 2", id="invalid value"),
        pytest.param(["data.held_out=1"], "data.held_out must lie between 0 and 1, got 1.0", id="held out"),
        pytest.param(["data.test.annotations=a.json"], "must be given together", id="half a test set"),
        pytest.param(["training.reward.preset=lenient"], "training.reward.preset", id="unknown preset"),
        pytest.param(
            ["training.reward.preset=counting"], "scores number, and task 'detection'", id="other task"
        ),
        pytest.param(["training.reward.added.short=none.py:f"], "none.py: there is no such file", id="part"),
        pytest.param(["data.dialect=morse"], "unknown dialect 'morse'; known are", id="unknown dialect"),
        pytest.param(["data.dialect=shikra"], "shikra writes numbers of the image padded", id="wrong space"),
        pytest.param(
            ["training.reward.weights.recall=2"], "has no part 'recall'; its parts are", id="unknown part"
        ),
        pytest.param(
            ["training.reward.options.adaptive=true"],
            "'strict' has no option 'adaptive'",
            id="unknown option",
        ),
        pytest.param(
            ["training.reward.preset=released", "training.reward.refinement.kind=staged"],
            "'released' has its own thresholds",
            id="a refinement of released",
        ),
        pytest.param(["model.dtype=float8"], "model.dtype", id="unknown type"),
        pytest.param(
            ["--config", "none.yaml"],
            "none.yaml: there is no such file or recipe; give a YAML file, or one of paper_qwen2_5_vl_7b, ",
            id="no recipe",
        ),
    ],
)
def test_bad_settings(command, photographs, tmp_path, overrides, words):
    code, out, err = command("train", *settings(photographs), *overrides, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("body", ["raise KeyError('x')", "return []", "return ['a']", "return 1"])
def test_a_part_of_ones_own_that_fails(command, photographs, tmp_path, body):
    (tmp_path / "mine.py").write_text(f"def f(completions, targets):\n    {body}\n")
    arguments = [*settings(photographs), f"training.reward.added.mine={tmp_path / 'mine.py'}:f"]
    code, out, err = command("train", *arguments, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "training.reward.added.mine: fails on an empty answer" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_not_there(command, photographs, tmp_path):
    arguments = [*settings(photographs), f"model.path={tmp_path / 'none'}", "--out", tmp_path / "run"]
    code, _, err = command("train", *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert str(tmp_path / "none") in err


def test_nothing_to_train_on(command, tmp_path):
    code, _, err = command("train", "--out", tmp_path / "run")
    assert code == 2
    assert err == (
        "vision-r1: there is nothing to train on; give data.annotations=instances.json and data.images=DIR, "
        "or data.samples=DIR that vision-r1 curate wrote\n"
    )


@pytest.mark.parametrize("name", ["quickstart", "train"])
def test_a_folder_that_holds_something_is_left_alone(command, photographs, tmp_path, name):
    (tmp_path / "config.yaml").write_text("mine")
    arguments = settings(photographs) if name == "train" else []
    code, _, err = command(name, *arguments, "--out", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert f"{tmp_path}: exists already; give another --out, --resume to go on, or --force" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["quickstart", "train"])
@pytest.mark.parametrize("foreign", ["thesis.tex", "images", ".git"])
def test_force_replaces_no_foreign_files(command, photographs, tmp_path, name, foreign):
    (tmp_path / "config.yaml").write_text("model: {}")
    (tmp_path / foreign).mkdir()
    arguments = settings(photographs) if name == "train" else []
    code, _, err = command(name, *arguments, "--out", tmp_path, "--force")
    assert code == 2
    assert err.count("\n") == 1
    assert f"holds {foreign!r}, which no run wrote" in err
    assert len(list(tmp_path.iterdir())) == 2


def test_out_must_be_a_folder(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = command("quickstart", "--out", tmp_path / "file", "--force")
    assert code == 2
    assert "cannot be the folder of a run (Not a directory); give another --out" in err


@pytest.mark.parametrize("name", ["quickstart", "train"])
def test_nothing_to_resume(command, tmp_path, name):
    code, _, err = command(name, "--out", tmp_path / "run", "--resume")
    assert code == 2
    assert err == f"vision-r1: {tmp_path / 'run'}: holds no run to resume; leave out --resume to start one\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["quickstart", "train"])
def test_resume_needs_to_know_what(command, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(name, "--resume")
    assert (code, err) == (2, "vision-r1: --resume needs the folder of the run; give it with --out\n")


def test_several_processes_need_one_folder(command, monkeypatch, photographs):
    """Each would take the time, or the first free name, for itself."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = command("train", *settings(photographs))
    assert (code, err) == (2, "vision-r1: several processes must share one folder; give it with --out\n")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["quickstart", "--minutes", "0"], ["quickstart", "--minutes", "long"],
                  ["quickstart", "--reward", "lenient"]],
)  # fmt: skip
def test_bad_arguments(command, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    assert stopped.value.code == 2
    assert "vision-r1" in capsys.readouterr().err


def test_the_exit_code_of_the_process(tmp_path):
    arguments = ["train", "data.annotations=none.json", f"data.images={tmp_path}", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "vision_r1", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "vision-r1: none.json: there is no such file; give the path of a COCO annotation file\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_settings_that_fail_at_the_last_look_cost_no_run(command, data, tmp_path):
    """Prompts are looked at when the model is there; until then --force has replaced nothing for good."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.yaml").write_text("method: grpo\n")
    (out / "metrics.json").write_text("{}")
    options = [*settings(data), "training.max_prompt_tokens=5", "--out", out, "--force"]
    code, _, err = command("train", *options)
    assert code == 2
    assert "max_prompt_tokens 5: all of the first" in err
    assert sorted(path.name for path in out.iterdir()) == ["config.yaml", "metrics.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "set"]
