import json

import pytest

from vision_r1.config import CocoConfig, DataConfig
from vision_r1.run import read_splits
from vision_r1_data.scenes import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "train", 20, seed=0)


def source(path, **rest):
    return DataConfig(str(path), str(path.parent / "images"), **rest)


def ids(samples):
    return [sample.id for sample in samples]


def test_held_out_images_are_not_trained_on(scenes):
    splits = read_splits(source(scenes, held_out=0.25), seed=1)
    assert (len(splits.train), len(splits.test)) == (15, 5)
    assert sorted(ids(splits.train) + ids(splits.test), key=int) == [str(n) for n in range(20)]
    assert ids(splits.validation) == ids(splits.test)


def test_the_seed_fixes_what_is_held_out(scenes):
    first, second, other = (read_splits(source(scenes), seed) for seed in (1, 1, 2))
    assert ids(first.test) == ids(second.test)
    assert ids(first.test) != ids(other.test)


def test_a_test_set_of_its_own(scenes, tmp_path):
    other = write_scenes(tmp_path / "test", 4, seed=9)
    test = CocoConfig(str(other), str(other.parent / "images"))
    splits = read_splits(source(scenes, test=test, validation_images=3), seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 3, 4)
    assert splits.test[0].image.parent == other.parent / "images"


def test_a_validation_set_of_its_own(scenes, tmp_path):
    other = write_scenes(tmp_path / "validation", 4, seed=9)
    validation = CocoConfig(str(other), str(other.parent / "images"))
    splits = read_splits(source(scenes, validation=validation), seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 4, 2)


def test_images_without_objects_are_kept(scenes):
    content = json.loads(scenes.read_text())
    empty = scenes.with_name("empty.json")
    empty.write_text(json.dumps(content | {"annotations": []}))
    splits = read_splits(source(empty), seed=0)
    assert len(splits.train) + len(splits.test) == 20
