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


def test_a_category_that_lost_a_box_is_not_asked_for(scenes):
    content = json.loads(scenes.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    bad, *others = [one for one in content["annotations"] if one["image_id"] == 3]
    bad["bbox"] = [0, 0, 0, 0]
    damaged = scenes.with_name("damaged.json")
    damaged.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="; 1 images are not asked for the categories that lost a box"):
        splits = read_splits(source(damaged, bad_records="skip"), seed=0)
    samples = {sample.id: sample for sample in [*splits.train, *splits.test]}
    lost = names[bad["category_id"]]
    assert set(samples["3"].categories) == set(names.values()) - {lost}
    kept = [names[one["category_id"]] for one in others if names[one["category_id"]] != lost]
    assert list(samples["3"].objects.labels) == kept
    assert all(lost in sample.categories for name, sample in samples.items() if name != "3")


def test_an_image_that_has_no_other_category_is_left_out(scenes):
    content = json.loads(scenes.read_text())
    content["categories"] = content["categories"][:1]
    only = content["categories"][0]["id"]
    content["annotations"] = [{**one, "category_id": only} for one in content["annotations"]]
    content["annotations"][0]["bbox"] = [0, 0, 0, 0]
    damaged = scenes.with_name("one-category.json")
    damaged.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 images have no other category and are left out"):
        splits = read_splits(source(damaged, bad_records="skip"), seed=0)
    assert len(splits.train) + len(splits.test) == 19


def test_images_without_objects_are_kept(scenes):
    content = json.loads(scenes.read_text())
    empty = scenes.with_name("empty.json")
    empty.write_text(json.dumps(content | {"annotations": []}))
    splits = read_splits(source(empty), seed=0)
    assert len(splits.train) + len(splits.test) == 20
