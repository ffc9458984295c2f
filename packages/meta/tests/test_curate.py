"""`vision-r1 curate`, and training on what it wrote."""

import json

import pytest

from vision_r1.config import DataConfig
from vision_r1.run import read_splits
from vision_r1_data import stream_samples
from vision_r1_data.scenes import write_scenes

RECIPE = """\
folders:
  scenes: ???
sources:
  asked:
    format: coco
    annotations: ${folders.scenes}/instances.json
    images: ${folders.scenes}/images
    steps: [{step: ask, most_absent: 2, negatives: 0.2}, {step: strata}]
  one:
    format: coco
    annotations: ${folders.scenes}/instances.json
    images: ${folders.scenes}/images
    task: rec
    steps: [{step: ask, one: true}, {step: strata}]
duplicates: null
mix:
  - {source: asked, stratum: easy, count: 6}
  - {source: asked, stratum: negative, count: 2}
  - {source: one, count: 4}
"""


@pytest.fixture
def recipe(tmp_path):
    write_scenes(tmp_path / "scenes", 30, seed=0)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml", f"folders.scenes={tmp_path / 'scenes'}"


def test_from_annotations_to_a_trained_model(command, recipe, tmp_path):
    """Detection, negatives and referring expressions in one run."""
    made = tmp_path / "made"
    code, out, err = command("curate", *recipe, "--out", made)
    assert (code, err) == (0, "")
    assert "more than it needs" in out
    assert f"12 samples, {sum(len(s.objects) for s in stream_samples(made))} objects" in out
    assert {(s.task, s.stratum) for s in stream_samples(made)} == {
        ("detection", "easy"),
        ("detection", "negative"),
        ("rec", "easy"),
    }
    code, out, err = command(
        "train",
        f"data.samples={made}",
        "training.max_steps=1",
        "training.prompts_per_step=4",
        "training.sampling.group_size=2",
        "training.sampling.max_new_tokens=20",
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    completions = [
        json.loads(line) for line in (tmp_path / "run" / "completions.jsonl").read_text().splitlines()
    ]
    assert {row["sample"] for row in completions} <= {sample.id for sample in stream_samples(made)}
    code, out, err = command("data", "show", made, "--out", tmp_path / "made.html")
    assert code == 0, err
    assert "What became of every sample" in (tmp_path / "made.html").read_text()


def test_curated_samples_are_held_out_by_number(command, recipe, tmp_path):
    command("curate", *recipe, "--out", tmp_path / "made", "--workers", 2)
    splits = read_splits(DataConfig(samples=str(tmp_path / "made"), held_out=0.25), seed=0)
    assert (len(splits.train), len(splits.test)) == (9, 3)
    ids = [sample.id for sample in (*splits.train, *splits.test)]
    assert sorted(ids) == sorted(sample.id for sample in stream_samples(tmp_path / "made"))
    assert [sample.id for sample in splits.train[2:4]] == ids[2:4]


def test_bad_records_are_told(command, recipe, tmp_path):
    (tmp_path / "scenes" / "images" / "000003.png").unlink()
    code, out, _ = command("curate", *recipe, "--out", tmp_path / "made")
    assert code == 0
    assert "bad records: missing_image" in out
    assert "there is no image" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.yaml"], "none.yaml: there is no such recipe; give a YAML file, or one of paper49k"),
        (["{recipe}"], "folders.scenes is left open; give it as folders.scenes=..."),
        (["{recipe}", "{scenes}", "mx=1"], "unknown field `mx`; do you mean mix?"),
        (["{recipe}", "folders.scenes=nowhere"], "nowhere/instances.json: there is no such file"),
        (["{recipe}", "{scenes}", "scale=100"], "mix: there are too few samples of 3 kinds"),
    ],
    ids=["no recipe", "folder left out", "unknown key", "wrong folder", "too few"],
)
def test_bad_input_is_one_line(command, recipe, tmp_path, arguments, words):
    given = [one.format(recipe=recipe[0], scenes=recipe[1]) for one in arguments]
    code, _, err = command("curate", *given, "--out", tmp_path / "made")
    assert code == 2
    assert err.startswith("vision-r1: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "made").exists()


def test_either_samples_or_annotations(command, recipe, tmp_path):
    code, _, err = command("train", "data.samples=made", "data.annotations=a.json", "data.images=b")
    assert code == 2
    assert "give either data.samples or data.annotations and data.images" in err
