import json
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from PIL import Image

from vision_r1_data import DataError, Objects, Sample, store
from vision_r1_data.manifest import read_manifest
from vision_r1_data.shard import sample_features
from vision_r1_data.store import load_samples, save_samples, stream_samples, verify

POLYGON, RUNS = [[1.0, 2.0, 11.0, 2.0, 11.0, 10.0]], {"size": [30, 40], "counts": [100, 1100]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    found = []
    for number in range(7):
        image = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 30), (number * 30, 0, 0)).save(image)
        box = (1.5, 2.0, 10.0 + number, 20.25)
        found.append(Sample(str(number), image, 40, 30, objects=Objects((box,), ("cat",)), source="a"))
    found[1] = replace(found[1], objects=Objects(), stratum="negative", fingerprint=2**64 - 1)
    found[2] = replace(
        found[2],
        task="segmentation",
        query="Where?",
        categories=("cat", "dög"),
        objects=Objects(
            ((0, 0, 9, 9),) * 3, ("cat", "dog", "cat"), (False, True, False), (POLYGON, None, RUNS)
        ),
        image_id="coco:2",
        not_exhaustive=("dog",),
        pass_rate=0.25,
        curriculum=3,
    )
    return found


def without_images(samples) -> list[Sample]:
    return [replace(sample, image=b"") for sample in samples]


def test_samples_come_back_as_they_were(samples, tmp_path: Path) -> None:
    manifest = save_samples(samples, tmp_path / "set", embed=False)
    assert list(stream_samples(tmp_path / "set")) == samples
    assert (manifest.samples, manifest.objects, manifest.negatives) == (7, 8, 1)
    assert {(c.task, c.stratum): c.samples for c in manifest.counts} == {
        ("detection", ""): 5,
        ("detection", "negative"): 1,
        ("segmentation", ""): 1,
    }
    assert read_manifest(tmp_path / "set") == manifest


def test_embedded_images_are_the_bytes_of_their_files(samples, tmp_path: Path) -> None:
    save_samples(samples, tmp_path / "set")
    stored = list(stream_samples(tmp_path / "set"))
    assert [sample.image for sample in stored] == [sample.image.read_bytes() for sample in samples]
    assert without_images(stored) == without_images(samples)
    assert stored[3].load_image().getpixel((0, 0)) == (90, 0, 0)
    save_samples(stored, tmp_path / "again")
    assert read_manifest(tmp_path / "again").content == read_manifest(tmp_path / "set").content


def test_by_number(samples, tmp_path: Path) -> None:
    save_samples(samples, tmp_path / "set")
    stored = load_samples(tmp_path / "set")
    assert len(stored) == 7
    assert without_images([stored[2], *stored[5:]]) == without_images([samples[2], *samples[5:]])
    assert stored[-1].id == "6"
    with pytest.raises(IndexError):
        stored[7]


def test_hugging_face_datasets_reads_the_folder_and_decodes_images(samples, tmp_path: Path) -> None:
    save_samples(samples, tmp_path / "set")
    rows = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "hf"))
    assert rows.features == sample_features()
    assert rows[3]["image"].getpixel((0, 0)) == (90, 0, 0)
    assert rows[0]["objects"]["boxes"] == [[1.5, 2.0, 10.0, 20.25]]


def test_many_shards_hold_the_same(samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = save_samples(samples, tmp_path / "one")
    monkeypatch.setattr(store, "_GROUP_ROWS", 2)
    monkeypatch.setattr(store, "_SHARD_BYTES", 1)
    many = save_samples(samples, tmp_path / "many")
    assert [shard.rows for shard in many.shards] == [2, 2, 2, 1]
    assert many.content == one.content
    ids = [sample.id for sample in stream_samples(tmp_path / "many")]
    assert ids == list("0123456")
    ranks = [[s.id for s in stream_samples(tmp_path / "many", rank=r, world=3)] for r in range(3)]
    assert ranks == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    assert [s.id for s in stream_samples(tmp_path / "many", rank=1, world=3, start=1)] == ["4"]
    assert list(stream_samples(tmp_path / "many", start=7)) == []


def test_the_content_hash_sees_every_change(samples, tmp_path: Path) -> None:
    def content(name: str, changed: list[Sample]) -> str:
        return save_samples(changed, tmp_path / name).content

    first = content("first", samples)
    assert content("order", samples[::-1]) != first
    assert content("label", [replace(samples[0], stratum="hard"), *samples[1:]]) != first
    assert content("image", [replace(samples[0], image=samples[1].image), *samples[1:]]) != first


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set: there are no samples to write"):
        save_samples([], tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("number", [0, 1], ids=["objects", "negative"])
def test_one_sample_alone(samples, tmp_path: Path, number: int) -> None:
    manifest = save_samples(samples[number : number + 1], tmp_path / "set")
    assert read_manifest(tmp_path / "set") == manifest
    assert manifest.negatives == number


def test_the_card_says_what_is_there(samples, tmp_path: Path) -> None:
    manifest = save_samples(samples, tmp_path / "set", title="Cats")
    card = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    assert "# Cats\n\n7 samples with 8 annotated objects; 1 samples are negatives" in card
    assert "| a | segmentation | - | 1 |" in card
    assert manifest.content in card


def test_a_folder_appears_whole_or_not_at_all(samples, tmp_path: Path) -> None:
    samples[4].image.unlink()
    with pytest.raises(DataError, match=r"4\.png: No such file .*; add the file or drop sample '4'"):
        save_samples(samples, tmp_path / "set")
    assert not list(tmp_path.glob("set*"))
    save_samples(samples[:4], tmp_path / "set")
    with pytest.raises(DataError, match="set: is there already"):
        save_samples(samples[:4], tmp_path / "set")
    assert read_manifest(tmp_path / "set").samples == 4


def test_what_is_there_is_replaced_when_all_is_written(samples, tmp_path: Path) -> None:
    old = save_samples(samples[:2], tmp_path / "set")
    (tmp_path / "set.partial" / "data").mkdir(parents=True)  # of a process that was killed
    missing = replace(samples[4], image=tmp_path / "none.png")
    with pytest.raises(DataError, match=r"none\.png: No such file"):
        save_samples([samples[3], missing], tmp_path / "set", force=True)
    assert verify(tmp_path / "set") == old
    new = save_samples(samples, tmp_path / "set", force=True)
    assert verify(tmp_path / "set") == new
    assert [path.name for path in tmp_path.glob("set*")] == ["set"]


def test_a_kill_while_a_folder_is_replaced_loses_nothing(samples, tmp_path: Path) -> None:
    old = save_samples(samples[:2], tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / "set.replaced")
    with pytest.raises(DataError, match="there are no samples to write"):
        save_samples([], tmp_path / "set")
    assert verify(tmp_path / "set") == old
    assert not (tmp_path / "set.replaced").exists()


@pytest.mark.parametrize("make", [Path.touch, lambda path: (path / "photos").mkdir(parents=True)])
def test_force_replaces_nothing_but_samples(samples, tmp_path: Path, make) -> None:
    make(tmp_path / "mine")
    with pytest.raises(DataError, match="mine: holds something else than stored samples"):
        save_samples(samples, tmp_path / "mine", force=True)
    assert (tmp_path / "mine").exists()
    (tmp_path / "empty").mkdir()
    assert save_samples(samples, tmp_path / "empty", force=True).samples == 7


def test_linked_images_are_found_from_any_folder(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_samples([replace(samples[0], image=Path("0.png"))], "set", embed=False)
    monkeypatch.chdir(tmp_path.parent)
    assert next(stream_samples(tmp_path / "set")).load_image().size == (40, 30)


def test_damage_is_told(samples, tmp_path: Path) -> None:
    manifest = save_samples(samples, tmp_path / "set")
    verify(tmp_path / "set")
    shard = tmp_path / "set" / manifest.shards[0].path
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"00000\.parquet: is missing or not what was written"):
        verify(tmp_path / "set")
    with pytest.raises(DataError, match=r"00000\.parquet: cannot be read"):
        list(stream_samples(tmp_path / "set"))
    (tmp_path / "set" / "manifest.json").write_text(json.dumps({"samples": "many"}))
    with pytest.raises(DataError, match=r"manifest\.json: is damaged \(Expected `int`, got `str`"):
        next(stream_samples(tmp_path / "set"))
    with pytest.raises(DataError, match=r"manifest\.json: No such file or directory; give a folder that"):
        load_samples(tmp_path)


def test_ranks_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 2, 2 and 0"):
        next(stream_samples(tmp_path, rank=2, world=2))
