"""Whole runs, on stand-ins of the sets that the paper's recipe reads."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parent))
import standins

from vision_r1_data import DataError, stream_samples
from vision_r1_data.curate import WATERFALL, curate, load_recipe, prepare, run
from vision_r1_data.manifest import MANIFEST, read_manifest
from vision_r1_data.scenes import write_scenes
from vision_r1_data.store import verify

COUNTS = {
    ("coco", "hard"): 150,
    ("coco", "easy"): 135,
    ("coco", "negative"): 15,
    ("odinw", "hard"): 25,
    ("odinw", "easy"): 22,
    ("odinw", "negative"): 3,
    ("v3det", "hard"): 20,
    ("v3det", "easy"): 18,
    ("v3det", "negative"): 2,
    ("refcoco", "easy"): 50,
    ("visual_genome", "hard"): 50,
}
TASKS = {
    "coco": "detection",
    "odinw": "grounding",
    "v3det": "grounding",
    "refcoco": "rec",
    "visual_genome": "rec",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    standins.write_standins(root)
    return root


@pytest.fixture(scope="module")
def settings(data: Path) -> list[str]:
    return ["scale=0.01", *standins.folders(data)]


@pytest.fixture(scope="module")
def made(settings: list[str], tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("made") / "paper"
    return out, *curate("paper49k", out, overrides=settings)


def test_a_hundredth_of_the_papers_mix_has_exact_counts(made) -> None:
    out, manifest, _ = made
    assert {(c.source, c.stratum): c.samples for c in manifest.counts} == COUNTS
    assert manifest.samples == 490 == sum(COUNTS.values())
    assert verify(out) == manifest
    assert not out.with_name("paper.work").exists()


def test_the_whole_of_it_is_49_thousand(settings: list[str]) -> None:
    assert sum(take.count for take in load_recipe("paper49k", settings).mix) == 49_000


def test_every_sample_is_whole(made) -> None:
    samples = list(stream_samples(made[0]))
    assert len({sample.id for sample in samples}) == 490
    for sample in samples:
        assert TASKS[sample.source] == sample.task
        assert sample.id.startswith(f"{sample.source}/")
        assert sample.load_image().size == (sample.width, sample.height)
        assert set(sample.objects.labels) <= set(sample.categories)
        assert sample.categories
        assert (sample.stratum == "negative") == (len(sample.objects) == 0)
    hard = [len(s.objects) for s in samples if (s.source, s.stratum) == ("coco", "hard")]
    assert min(hard) > 10
    assert all(len(s.objects) == 2 for s in samples if s.source == "visual_genome")


def test_nothing_that_is_evaluated_on_is_in_it(made) -> None:
    out, _, waterfall = made
    evaluated = {f"coco:{number}" for number in (*standins.VAL_REFS, *standins.TEST_REFS)}
    assert not evaluated & {sample.image_id for sample in stream_samples(out)}
    by_id, by_looks = ("leakage", "evaluated on, by its id"), ("leakage", "evaluated on, by its looks")
    assert waterfall["coco"].dropped[by_id] == len(standins.VAL_REFS) + len(standins.TEST_REFS)
    assert waterfall["visual_genome"].dropped[by_id] == len(standins.VAL_REFS)
    assert waterfall["visual_genome"].dropped[by_looks] == standins.LOOKALIKES
    assert waterfall["odinw"].dropped[by_looks] == 1


def test_the_waterfall_accounts_for_every_sample(made) -> None:
    out, manifest, waterfall = made
    kept = Counter(sample.source for sample in stream_samples(out))
    for source, course in waterfall.items():
        assert course.read == course.dropped.total() + kept[source] > 0
    told = manifest.provenance["waterfall"]
    assert {source: one["kept"] for source, one in told.items()} == dict(kept)
    assert "more than it needs" in (out / "README.md").read_text()
    assert "<svg" in (out / WATERFALL).read_text()


def test_the_curriculum_goes_from_few_objects_to_many(made) -> None:
    samples = sorted(stream_samples(made[0]), key=lambda sample: sample.curriculum)
    assert [sample.curriculum for sample in samples] == list(range(490))
    counts = [len(sample.objects) for sample in samples]
    assert counts == sorted(counts)


def test_sources_are_interleaved(made) -> None:
    first = Counter(sample.source for sample, _ in zip(stream_samples(made[0]), range(49), strict=False))
    assert first == {"coco": 30, "odinw": 5, "v3det": 4, "refcoco": 5, "visual_genome": 5}


def test_workers_change_nothing_and_the_seed_does(made, settings: list[str], tmp_path: Path) -> None:
    two, _ = curate("paper49k", tmp_path / "two", overrides=settings, workers=2)
    assert two.content == made[1].content
    other, _ = curate("paper49k", tmp_path / "other", overrides=[*settings, "seed=1"])
    assert other.samples == 490
    assert other.content != made[1].content


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_stopped_run_goes_on(made, settings: list[str], tmp_path: Path, how: signal.Signals) -> None:
    """It ends between two parts, and its workers with it; the second run makes the same data."""
    out, work = tmp_path / "killed", tmp_path / "killed.work"
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\nfrom vision_r1_data.curate import curate\n"
        "if __name__ == '__main__':\n    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    curate('paper49k', sys.argv[1], overrides=sys.argv[2:], workers=2)\n"
    )
    command = [sys.executable, script, out, *settings]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not list(work.glob("*/*.parquet")) and process.poll() is None:
        time.sleep(0.001)
    # a terminal sends Ctrl-C to the workers too, and who kills a process knows nothing of them
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
    _, said = process.communicate(timeout=60)  # the workers have ended when nobody can write any more
    assert said.count("Traceback") == (how == signal.SIGINT)
    assert list(work.glob("*/*.parquet"))
    assert not out.exists()
    manifest, _ = curate("paper49k", out, overrides=settings)
    assert manifest.content == made[1].content
    assert not work.exists()


def test_what_was_prepared_is_not_prepared_again(
    made, data: Path, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after a failure of a later pass, nor for sources that a change does not concern."""
    calls: list[str] = []
    real = prepare._prepare

    def counted(samples, steps, seed, part: Path) -> None:
        calls.append(part.parent.name.split("-")[0])
        real(samples, steps, seed, part)

    monkeypatch.setattr(prepare, "_prepare", counted)
    with pytest.raises(
        DataError, match=r"too few samples of 1 kind \(v3det easy: \d+ of 99999\).*; of v3det"
    ):
        curate(_with_count(settings, 7, 99_999), tmp_path / "out")
    sources = ["coco", "odinw", "v3det", "refcoco", "visual_genome"]
    held_out = ["coco_val", "refcoco_val", "refcoco__val", "refcocog_val", "odinw_test"]
    assert calls == [*held_out, *sources]
    calls.clear()
    os.utime(next((data / "v3det").rglob("*.jpg")), (1, 1))
    manifest, _ = curate("paper49k", tmp_path / "out", overrides=settings)
    assert calls == ["v3det"]
    assert manifest.content == made[1].content


@pytest.mark.parametrize("change", ["image added", "image replaced", "part cut off"])
def test_what_changed_since_a_stopped_run_is_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Parts of the stopped run that hold other samples than now are not mistaken for theirs."""
    monkeypatch.setattr(prepare, "_CHUNK", 4)
    annotations = write_scenes(tmp_path / "scenes", 10, seed=0)
    picture = tmp_path / "scenes" / "images" / "000003.png"
    content = picture.read_bytes()
    if change == "image added":
        picture.unlink()
    elif change == "image replaced":
        picture.write_bytes(content[:100])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"sources:\n  s: {{format: coco, annotations: {annotations}, images: {picture.parent}}}\n"
        "steps: [{step: fingerprint}]\nduplicates: null\nmix: [{source: s, count: 99}]\n"
    )
    with pytest.raises(DataError, match="too few samples"):
        curate(recipe, tmp_path / "out")
    picture.write_bytes(content)
    if change == "part cut off":
        part = next((tmp_path / "out.work").glob("*/000000-*.parquet"))
        part.write_bytes(part.read_bytes()[:-50])
    recipe.write_text(recipe.read_text().replace("count: 99", "count: 10"))
    resumed, waterfall = curate(recipe, tmp_path / "out")
    assert waterfall["s"].read == resumed.samples == 10
    assert resumed.content == curate(recipe, tmp_path / "fresh")[0].content


def _with_count(settings: list[str], number: int, count: int):
    from msgspec.structs import replace

    recipe = load_recipe("paper49k", settings)
    mix = [replace(take, count=count * 100) if k == number else take for k, take in enumerate(recipe.mix)]
    return replace(recipe, mix=mix)


def test_a_folder_that_is_there_is_not_replaced(made, settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is there already; give another folder, or replace it with force"):
        curate("paper49k", made[0], overrides=settings)
    recipe = small(tmp_path, standins.folders(made[0].parent)[0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").touch()
    with pytest.raises(DataError, match="holds something else than stored samples"):
        curate(recipe, tmp_path / "out", force=True)
    (tmp_path / "out" / MANIFEST).write_text("{}")  # somebody else's
    with pytest.raises(DataError, match="holds something else than stored samples"):
        curate(recipe, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "photo.jpg").exists()
    shutil.copytree(made[0], tmp_path / "stored")
    with pytest.raises(DataError, match="there is no such file"):
        curate(recipe, tmp_path / "stored", force=True)
    assert verify(tmp_path / "stored") == made[1]
    assert not (tmp_path / "stored.work").exists()


def test_a_folder_is_written_by_one_run_at_a_time(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, real, said = small(tmp_path, settings[1]), prepare._prepare, list[str]()

    def meanwhile(*arguments) -> None:
        with pytest.raises(DataError) as error:
            curate(recipe, tmp_path / "out", force=True)
        said.append(str(error.value))
        real(*arguments)

    monkeypatch.setattr(prepare, "_prepare", meanwhile)
    curate(recipe, tmp_path / "out")
    assert said == [
        f"{tmp_path / 'out.work'}: another run is writing there; wait for it, or give another folder"
    ]
    verify(tmp_path / "out")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(28, "No space left on device"),
            "out: cannot go on ([Errno 28] No space left on device); correct",
        ),
        (BrokenProcessPool(), "out: a worker ended without a word, as when memory runs out; call again"),
    ],
    ids=["disk full", "worker killed"],
)
def test_what_the_machine_lacks_is_one_line(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_) -> None:
        raise error

    monkeypatch.setattr(prepare, "_prepare", fail)
    with pytest.raises(DataError) as told:
        curate(small(tmp_path, settings[1]), tmp_path / "out")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_too_few_samples_tell_what_became_of_the_rest(settings, tmp_path: Path) -> None:
    more = (
        "steps: [{step: count, least: 1}, {step: strata}]\nduplicates: null\n"
        "mix: [{source: coco, stratum: harrd, count: 1}]\n"
    )
    with pytest.raises(DataError) as caught:
        curate(small(tmp_path, settings[1], more), tmp_path / "out")
    assert str(caught.value).endswith(
        "; of coco, 10 were read and 0 are left (10 mix: of no kind that it has: detection easy)"
    )


def test_a_source_without_samples_tells_why(settings, tmp_path: Path) -> None:
    recipe = small(tmp_path, settings[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"^coco: has no sample .* \(missing_image 10\), the first: .*1001.jpg;"
    ):
        curate(recipe, tmp_path / "out", overrides=[f"sources.coco.images={tmp_path}/empty"])


def small(folder: Path, coco: str, more: str = "") -> Path:
    path = folder / "small.yaml"
    path.write_text(
        f"folders: {{coco: {coco.split('=')[1]}}}\n"
        "sources:\n"
        "  coco:\n"
        "    format: coco\n"
        "    annotations: ${folders.coco}/annotations/instances_val2017.json\n"
        "    images: ${folders.coco}/val2017\n" + more
    )
    return path


def test_all_of_a_source_without_a_mixture_and_linked_images(settings, tmp_path: Path) -> None:
    recipe = small(tmp_path, settings[1], "embed: false\nduplicates: null\n")
    manifest, _ = curate(recipe, tmp_path / "out")
    samples = list(stream_samples(tmp_path / "out"))
    assert [sample.id for sample in samples] == [f"coco/{number}" for number in range(1001, 1011)]
    assert all(isinstance(sample.image, Path) and sample.fingerprint is None for sample in samples)
    assert manifest.provenance["recipe"]["embed"] is False


def test_what_was_curated_can_be_curated_again(made, tmp_path: Path) -> None:
    """Ids, sources and fingerprints stay; a file of rewards tells what is worth training on."""
    scores = tmp_path / "completions.jsonl"
    samples = list(stream_samples(made[0]))
    lines = [
        f'{{"sample": "{sample.id}", "reward": {reward}, "step": 1}}\n'
        for number, sample in enumerate(samples)
        for reward in ((0, 3) if number < 20 else (3, 3))
    ]
    scores.write_text("".join(lines))
    recipe = tmp_path / "again.yaml"
    recipe.write_text(
        f"sources:\n  paper: {{format: samples, folder: {made[0]}}}\n"
        f"difficulty: {{scores: {scores}, full: 3}}\ncurriculum: pass_rate\n"
        "mix:\n  - {source: coco, count: 5}\n"
    )
    manifest, waterfall = curate(recipe, tmp_path / "out")
    again = list(stream_samples(tmp_path / "out"))
    assert manifest.samples == 5
    assert {sample.source for sample in again} == {"coco"}
    assert {sample.pass_rate for sample in again} == {0.5}
    assert {sample.id for sample in again} <= {sample.id for sample in samples[:20]}
    of_coco = [sample.id for sample in samples[20:] if sample.source == "coco"]
    assert waterfall["paper"].dropped["difficulty", "rewards do not vary"] == len(of_coco)
    assert {sample.curriculum for sample in again} == set(range(5))


def test_an_unreadable_evaluation_image_still_guards(data: Path, settings, tmp_path: Path) -> None:
    """By its id; and that its looks do not is told."""
    coco = tmp_path / "coco"
    shutil.copytree(data / "coco" / "val2017", coco / "val2017")
    shutil.copytree(data / "coco" / "annotations", coco / "annotations")
    held = tmp_path / "held"
    shutil.copytree(coco, held)
    (held / "val2017" / "000000001001.jpg").write_bytes(b"no picture")
    (held / "val2017" / "000000001002.jpg").unlink()
    more = (
        f"held_out:\n  val:\n    format: coco\n    annotations: {held}/annotations/instances_val2017.json\n"
        f"    images: {held}/val2017\nleakage: {{distance: null}}\n"
    )
    with pytest.warns(UserWarning, match="held_out val: not all of it can be kept out"):
        _, waterfall = curate(small(tmp_path, f"coco={coco}", more), tmp_path / "out")
    assert waterfall["coco"].dropped == {("leakage", "evaluated on, by its id"): 9}
    assert waterfall["held out: val"].faults == {"missing_image": 1}


def test_made_up_scenes_are_a_source(data: Path, tmp_path: Path) -> None:
    """Cut-outs on backgrounds, and drawn shapes, mixed by task."""
    (tmp_path / "cutouts").mkdir()
    for name, colour in (("red disc", (200, 30, 30, 255)), ("blue disc", (30, 30, 200, 255))):
        disc = Image.new("RGBA", (80, 80))
        ImageDraw.Draw(disc).ellipse((5, 5, 75, 75), fill=colour)
        disc.save(tmp_path / "cutouts" / f"{name}.png")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "sources:\n"
        f"  composed: {{format: composed, cutouts: {tmp_path / 'cutouts'}, backgrounds: "
        f"{data / 'coco' / 'val2017'}, images: {tmp_path / 'composed'}, count: 6}}\n"
        f"  drawn: {{format: drawn, images: {tmp_path / 'drawn'}, count: 20}}\n"
        "duplicates: null\n"
        "mix:\n"
        "  - {source: composed, task: detection, count: 3}\n"
        "  - {source: composed, task: counting, count: 3}\n"
        "  - {source: drawn, task: rec, count: 9}\n"
    )
    manifest, _ = curate(recipe, tmp_path / "out")
    assert {(c.source, c.task): c.samples for c in manifest.counts} == {
        ("composed", "detection"): 3,
        ("composed", "counting"): 3,
        ("drawn", "rec"): 9,
    }
    assert all(sample.load_image() for sample in stream_samples(tmp_path / "out"))


def test_bad_records_are_counted_or_fatal(data: Path, settings, tmp_path: Path) -> None:
    broken = tmp_path / "coco"
    for name in ("annotations", "val2017"):
        (broken / name).mkdir(parents=True)
    for image in (data / "coco" / "val2017").iterdir():
        (broken / "val2017" / image.name).symlink_to(image)
    (broken / "val2017" / "000000001001.jpg").unlink()
    text = (data / "coco" / "annotations" / "instances_val2017.json").read_text()
    (broken / "annotations" / "instances_val2017.json").write_text(
        text.replace('"category_id": ', '"category_id": 9', 1)
    )
    recipe = small(tmp_path, f"coco={broken}")
    _, waterfall = curate(recipe, tmp_path / "out")
    assert waterfall["coco"].faults["missing_image"] == 1
    assert waterfall["coco"].faults.total() >= 1
    assert "there is no image" in waterfall["coco"].told[0]
    with pytest.raises(DataError, match=r"or skip what is bad with bad_records=skip"):
        curate(recipe, tmp_path / "again", overrides=["bad_records=error"])


def test_what_of_an_evaluation_set_cannot_be_compared_with_is_told(settings, tmp_path: Path) -> None:
    annotations = write_scenes(tmp_path / "scenes", 5, seed=0)
    images = tmp_path / "scenes" / "images"
    (images / "000001.png").unlink()
    (images / "000002.png").write_bytes((images / "000002.png").read_bytes()[:100])
    held_out = f"held_out:\n  eval: {{format: coco, annotations: {annotations}, images: {images}}}\n"
    with (
        pytest.warns(UserWarning, match=r"held_out eval: .* \(missing_image 1\), the first: .*"),
        pytest.warns(UserWarning, match="held_out: 1 images cannot be decoded; only their ids"),
    ):
        curate(small(tmp_path, settings[1], held_out), tmp_path / "out")


def test_an_empty_result_says_why(settings, tmp_path: Path) -> None:
    recipe = small(tmp_path, settings[1], "steps: [{step: count, least: 99}]\n")
    words = r"out: of 10 samples none is left, and most were left out by count \(fewer than 99 objects: 10\)"
    with pytest.raises(DataError, match=words):
        curate(recipe, tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_a_name_that_is_not_unicode_is_one_line(tmp_path: Path) -> None:
    standins.picture(random.Random(0), tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("0 0.5 0.5 0.5 0.5\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"sources: {{one: {{format: yolo, folder: {tmp_path}, images: {tmp_path}, names: [cat]}}}}"
    )
    with pytest.raises(DataError, match=r"one: sample 'one/caf\\udce9' of image .* is not Unicode; rename"):
        curate(recipe, tmp_path / "out")


def test_workers_must_be_some(settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="workers must be at least 1, got 0"):
        curate("paper49k", tmp_path / "out", overrides=settings, workers=0)


def test_the_public_progress_is_quiet_without_a_console(made, capsys: pytest.CaptureFixture[str]) -> None:
    assert capsys.readouterr().out == ""
    assert run.WATERFALL == WATERFALL
    assert read_manifest(made[0]).written_by.startswith("vision-r1-data ")
