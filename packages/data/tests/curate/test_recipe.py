import json
from pathlib import Path

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Sample, save_samples
from vision_r1_data.curate import (
    READERS,
    Ask,
    Budget,
    Clean,
    Count,
    Difficulty,
    Recipe,
    Similar,
    Source,
    Take,
    load_recipe,
    recipe,
)

COCO = "coco: {format: coco, annotations: set.json, images: pictures}"
SMALL = f"sources:\n  {COCO}\n"

WHOLE = """
title: A mixture
seed: 7
folders:
  coco: /data/coco
  scores: ${folders.coco}/scores
sources:
  coco:
    format: coco
    annotations: ${folders.coco}/instances.json
    images: ${folders.coco}/train2017
    masks: true
    task: pointing
  odinw:
    format: odinw
    folder: /data/odinw
    sets: [Aquarium, pistols]
    steps:
      - {step: count, most: 5}
  before:
    format: samples
    folder: /data/before
    steps: []
steps:
  - {step: clean, least_side: 8, cut: true}
  - {step: ask, most_absent: 3, negatives: 0.1}
  - {step: budget, tokens: 512, tokenizer: model/tokenizer.json}
mix:
  - {source: coco, count: 100, stratum: hard}
  - {source: odinw}
held_out:
  val:
    format: coco
    annotations: ${folders.coco}/val.json
    images: ${folders.coco}/val2017
leakage: {distance: null}
duplicates: null
difficulty: {scores: "${folders.scores}/completions.jsonl", full: 3, least: 0.1}
curriculum: pass_rate
bad_records: error
embed: false
"""


@pytest.fixture
def load(tmp_path: Path):
    """Reads a recipe of that text."""

    def loaded(text: str | bytes, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_recipe(path, overrides)

    return loaded


def test_a_recipe_with_everything(load) -> None:
    coco = {"annotations": "/data/coco/instances.json", "images": "/data/coco/train2017", "masks": True}
    assert load(WHOLE) == Recipe(
        title="A mixture",
        seed=7,
        folders={"coco": "/data/coco", "scores": "/data/coco/scores"},
        sources={
            "coco": Source("coco", coco | {"task": "pointing"}),
            "odinw": Source(
                "odinw", {"folder": "/data/odinw", "sets": ["Aquarium", "pistols"]}, [Count(most=5)]
            ),
            "before": Source("samples", {"folder": "/data/before"}, []),
        },
        steps=[
            Clean(least_side=8, cut=True),
            Ask(most_absent=3, negatives=0.1),
            Budget(512, tokenizer=Path("model/tokenizer.json")),
        ],
        mix=[Take("coco", 100, stratum="hard"), Take("odinw")],
        held_out={
            "val": Source("coco", {"annotations": "/data/coco/val.json", "images": "/data/coco/val2017"})
        },
        leakage=Similar(None),
        duplicates=None,
        difficulty=Difficulty(Path("/data/coco/scores/completions.jsonl"), 3, least=0.1),
        curriculum="pass_rate",
        bad_records="error",
        embed=False,
    )


def test_a_recipe_with_little(load) -> None:
    source = Source("coco", {"annotations": "set.json", "images": "pictures"})
    assert load(SMALL) == Recipe({"coco": source})
    assert load(SMALL).duplicates == load(SMALL).leakage == Similar(4)


# Overrides


def test_an_override_wins(load) -> None:
    changed = load(
        WHOLE,
        "seed=9",
        "folders.coco=/elsewhere",
        "mix[0].count=5",
        "mix.1.stratum=easy",
        "steps[1].negatives=0.5",
        "sources.coco.masks=false",
        "duplicates={distance: 2}",
        "title=a=b",
        "seed=10",
    )
    assert changed.seed == 10
    assert changed.sources["coco"].options["annotations"] == "/elsewhere/instances.json"
    assert changed.sources["coco"].options["masks"] is False
    assert changed.mix == [Take("coco", 5, stratum="hard"), Take("odinw", stratum="easy")]
    assert changed.steps[1] == Ask(most_absent=3, negatives=0.5)
    assert (changed.duplicates, changed.title) == (Similar(2), "a=b")


def test_an_override_adds_and_replaces(load) -> None:
    assert load(SMALL, "mix=[{source: coco, count: 3}]").mix == [Take("coco", 3)]
    assert load(WHOLE, "mix=[{source: odinw}]").mix == [Take("odinw")]
    assert load(SMALL, "leakage.distance=9").leakage == Similar(9)
    assert load(SMALL, "duplicates=null").duplicates is None


@pytest.mark.parametrize(
    "override", ["seed", "", "=3", "seed=[", "steps[1].least_side=1", "steps.a=1", "folders[x]=1"]
)
def test_an_override_that_is_none(load, override: str) -> None:
    with pytest.raises(DataError) as caught:
        load(SMALL + "steps: [{step: clean}]\nfolders: []", override)
    said = str(caught.value)
    assert said.startswith(f"{override}: ")
    assert said.endswith("; give key=value, such as seed=1 or mix[0].count=500")
    assert "\n" not in said


# What is left open


OPEN = "folders: {coco: '???'}\n" + SMALL.replace("set.json", "'${folders.coco}/set.json'")


@pytest.mark.parametrize(
    "text", [OPEN, SMALL.replace("set.json", "'${folders.coco}/set.json'") + "folders: {coco: '???'}"]
)
def test_what_is_left_open_must_be_given(load, text: str) -> None:
    with pytest.raises(
        DataError, match=r"recipe\.yaml: folders\.coco is left open; give it as folders\.coco=\.\.\.$"
    ):
        load(text)
    assert load(text, "folders.coco=/data").sources["coco"].options["annotations"] == "/data/set.json"


def test_an_environment_variable(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO", "/data/coco")
    assert load(SMALL, "folders.coco=${oc.env:COCO}").folders == {"coco": "/data/coco"}


# Errors

STEP = SMALL + "steps:\n  - {step: count}\n  - "
READER = "sources:\n  coco: {format: coco, annotations: set.json, images: pictures, "
ERRORS = {
    "empty": ("", "Object missing required field `sources`"),
    "not YAML": ("sources: [", "is not YAML (while parsing a flow"),
    "not text": (b"title: \xe9\xff", "is not YAML ('utf-8' codec can't decode"),
    "a key twice": (SMALL + "seed: 1\nseed: 2", "is not YAML (while constructing a mapping"),
    "a list": ("- sources", "must hold keys and values, such as sources and mix"),
    "a number": ("7", "cannot be read (Invalid loaded object type: int); give a YAML file"),
    "a word": ("sources", "Expected `object`, got `null` - at `$.sources`"),
    "unknown key": (SMALL + "seeed: 1", "Object contains unknown field `seeed`; do you mean seed?"),
    "nothing like it": (
        SMALL + "xyzzy: 1",
        "Object contains unknown field `xyzzy`; there are sources, steps, mix, ",
    ),
    "a key that is a number": (SMALL + "1: 2", "Expected `str` - at `key` in `$`"),
    "wrong type": (SMALL + "seed: seven", "Expected `int`, got `str` - at `$.seed`"),
    "no curriculum": (SMALL + "curriculum: random", "Invalid enum value 'random' - at `$.curriculum`"),
    "no way with bad records": (
        SMALL + "bad_records: ignore",
        "Invalid enum value 'ignore' - at `$.bad_records`",
    ),
    "a distance of all bits": (
        SMALL + "duplicates: {distance: 64}",
        "Expected `int` <= 63 - at `$.duplicates.distance`",
    ),
    "a distance below 0": (
        SMALL + "leakage: {distance: -1}",
        "Expected `int` >= 0 - at `$.leakage.distance`",
    ),
    "no sources": ("sources: {}", "sources is empty; name what to read"),
    "sources of a list": (
        "sources: [coco]",
        "Expected `object`, got `array` - at `$.sources`; give keys and values",
    ),
    "source of a word": ("sources: {a: coco}", "sources.a: format must be one of coco, "),
    "source of a list": ("sources: {a: [coco]}", "sources.a: format must be one of coco, "),
    "source of nothing": ("sources: {a: }", "sources.a: format must be one of coco, "),
    "unknown format": ("sources: {a: {format: voc2}}", "sources.a: format must be one of coco, "),
    "format of a list": ("sources: {a: {format: [coco]}}", "sources.a: format must be one of coco, "),
    "held out": (SMALL + "held_out: {val: {format: x}}", "held_out.val: format must be one of coco, "),
    "unknown reader option": (
        READER + "mask: true}",
        "sources.coco: Object contains unknown field `mask`; do you mean masks?",
    ),
    "unknown key of a source": (
        READER + "step: []}",
        "sources.coco: Object contains unknown field `step`; do you mean steps?",
    ),
    "a key that another source may have": (
        READER + "names: [cat]}",
        "sources.coco: Object contains unknown field `names`; there are format, steps, annotations, images, ",
    ),
    "missing reader option": (
        "sources: {a: {format: coco, images: x}}",
        "sources.a: Object missing required field `annotations`",
    ),
    "reader option of another type": (
        READER + "masks: 3}",
        "sources.coco: Expected `bool`, got `int` - at `$.masks`",
    ),
    "what curate gives itself": (
        READER + "faults: 3}",
        "sources.coco: Object contains unknown field `faults`",
    ),
    "unknown task": (READER + "task: detecton}", "sources.coco: task must be one of detection, grounding"),
    "unknown step of a source": (
        READER + "steps: [{step: x}]}",
        "sources.coco: Invalid value 'x' - at `$.steps[0].step`; steps are",
    ),
    "steps of a source": (
        READER + "steps: clean}",
        "sources.coco: Expected `array | null`, got `str` - at `$.steps`",
    ),
    "unknown step": (
        STEP + "{step: cleen}",
        "Invalid value 'cleen' - at `$.steps[1].step`; steps are rename, clean,",
    ),
    "a step without name": (
        STEP + "{least: 1}",
        "Object missing required field `step` - at `$.steps[1]`; steps are",
    ),
    "a step of a word": (STEP + "clean", "Expected `object`, got `str` - at `$.steps[1]`"),
    "unknown step option": (
        STEP + "{step: clean, leest_side: 3}",
        "Object contains unknown field `leest_side` - at `$.steps[1]`; do you mean least_side?",
    ),
    "option of another step": (
        STEP + "{step: clean, tokens: 3}",
        "Object contains unknown field `tokens` - at `$.steps[1]`",
    ),
    "step options that disagree": (
        STEP + "{step: ask, least_absent: 2}",
        "most_absent must be at least 2, got 0 - at `$.steps[1]`",
    ),
    "unknown dialect": (STEP + "{step: budget, tokens: 9, dialect: x}", "unknown dialect 'x'; known are"),
    "path of a number": (
        STEP + "{step: budget, tokens: 9, tokenizer: 7}",
        "expected str, bytes or os.PathLike object, not int",
    ),
    "mix of no source": (
        SMALL + "mix: [{source: cocoa}]",
        "mix takes from 'cocoa', which is no source; give one of coco",
    ),
    "mix of less than none": (
        SMALL + "mix: [{source: coco, count: -1}]",
        "Expected `int` >= 0 - at `$.mix[0].count`",
    ),
    "unknown key of a mix": (
        SMALL + "mix: [{source: coco, stratm: hard}]",
        "Object contains unknown field `stratm` - at `$.mix[0]`; do you mean stratum?",
    ),
    "difficulty of no reward": (
        SMALL + "difficulty: {scores: x, full: 0}",
        "Expected `float` > 0.0 - at `$.difficulty.full`",
    ),
    "curriculum without difficulty": (
        SMALL + "curriculum: pass_rate",
        "curriculum is pass_rate, which needs difficulty",
    ),
    "interpolation of nothing": (
        SMALL + "title: ${folders.x}",
        "title: Interpolation key 'folders.x' not found; correct it, or give it as folders.x=...",
    ),
    "interpolation of itself": (
        SMALL + "title: ${title}",
        "title: Recursive interpolation detected; correct it",
    ),
    "interpolation that is cut off": (
        SMALL + "title: ${folders.x",
        "cannot be read (no viable alternative at",
    ),
}


@pytest.mark.parametrize(("text", "words"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_line_that_names_file_and_key(
    load, tmp_path: Path, text: str | bytes, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'recipe.yaml'}: {words}")
    assert "\n" not in said


def test_a_hint_is_never_the_word_itself(load) -> None:
    with pytest.raises(DataError) as caught:
        load(STEP + "{step: clean, tokens: 3}")
    assert "do you mean" not in str(caught.value)


def test_a_mix_may_take_from_the_sources_of_saved_samples(load) -> None:
    text = "sources: {before: {format: samples, folder: x}}\nmix: [{source: coco}]"
    assert load(text).mix == [Take("coco")]


# Files and names


def test_a_recipe_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "a.yaml").write_text(SMALL)
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    with pytest.raises(DataError) as caught:
        load_recipe("none")
    assert str(caught.value) == "none: there is no such recipe; give a YAML file, or one of a, b"


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(.*Is a directory.*\); give a YAML file"):
        load_recipe(tmp_path)


def test_a_shipped_recipe_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "paper.yaml").write_text(OPEN + "title: shipped")
    monkeypatch.setattr(recipe, "RECIPES", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("paper", ["folders.coco=/data"]).title == "shipped"
    with pytest.raises(DataError, match=r"paper\.yaml: folders\.coco is left open"):
        load_recipe("paper")
    (tmp_path / "paper").write_text(SMALL + "title: mine")
    assert load_recipe("paper").title == "mine"


# Sources


def coco(folder: Path) -> dict[str, str]:
    """The options of a set of one image with a good and a bad box."""
    (folder / "pictures").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "pictures" / "1.png")
    boxes = [[1, 2, 10, 10], [1, 2, 100, 10]]
    content = {
        "images": [{"id": 7, "file_name": "1.png", "width": 40, "height": 30}],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "set.json").write_text(json.dumps(content))
    return {"annotations": str(folder / "set.json"), "images": str(folder / "pictures")}


def test_a_source_names_its_samples(tmp_path: Path) -> None:
    faults = Faults(skip=True)
    (sample,) = Source("coco", coco(tmp_path) | {"task": "counting"}).read("mine", faults)
    assert (sample.id, sample.source, sample.image_id) == ("mine/7", "mine", "mine:1.png")
    assert (sample.task, len(sample.objects)) == ("counting", 1)
    assert faults.counts == {"bad_box": 1}


def test_a_value_that_a_reader_refuses(tmp_path: Path) -> None:
    options = {"folder": str(tmp_path), "images": str(tmp_path), "names": ["cat"], "version": "v8"}
    with pytest.raises(DataError, match=r"^mine: version must be one of v5, v7, darknet, seg, got 'v8'$"):
        Source("yolo", options).read("mine", Faults())


def test_a_source_of_saved_samples_keeps_their_names(tmp_path: Path) -> None:
    before = [
        Sample("coco/7", b"\x00", 40, 30, source="coco"),
        Sample("refs/7", b"\x00", 40, 30, source="refs"),
    ]
    save_samples(before, tmp_path / "set")
    assert list(Source("samples", {"folder": str(tmp_path / "set")}).read("mine", Faults())) == before


def test_every_reader_is_a_format() -> None:
    assert {"coco", "odinw", "samples"} <= set(READERS)
    assert READERS["coco"].__name__ == "read_coco"
