import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_refcoco

NAME = "COCO_train2014_000000581857.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "refcoco").mkdir()
    (tmp_path / "train2014").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "train2014" / NAME)
    Image.new("RGB", (30, 60)).save(tmp_path / "train2014" / "COCO_train2014_000000000009.jpg")
    return tmp_path


@pytest.fixture
def refs() -> list[dict[str, Any]]:
    def ref(ref_id: int, ann_id: int, image_id: int, split: str, *sents: str) -> dict[str, Any]:
        sentences = [
            {"raw": sent.upper(), "sent": sent, "sent_id": 10 * ref_id + k, "tokens": sent.split()}
            for k, sent in enumerate(sents)
        ]
        return {
            "ref_id": ref_id,
            "ann_id": ann_id,
            "category_id": 1,
            "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
            "image_id": image_id,
            "split": split,
            "sentences": sentences,
            "sent_ids": [sentence["sent_id"] for sentence in sentences],
        }

    return [
        ref(0, 16, 581857, "train", "the lady with the blue shirt", " lady "),
        ref(1, 17, 581857, "testA", "man"),
        ref(2, 20, 9, "train", "left bowl"),
    ]


@pytest.fixture
def instances() -> dict[str, Any]:
    return {
        "images": [
            {"id": 581857, "file_name": NAME, "width": 40, "height": 20},
            {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 30, "height": 60},
        ],
        "annotations": [
            {"id": 16, "image_id": 581857, "category_id": 1, "bbox": [1, 2, 10, 8.5], "iscrowd": 0},
            {"id": 17, "image_id": 581857, "category_id": 1, "bbox": [20, 0, 20, 20], "iscrowd": 1},
            {"id": 20, "image_id": 9, "category_id": 51, "bbox": [0, 0, 30, 30], "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 51, "name": "bowl"}],
    }


def read(folder: Path, refs: Any, instances: Any, **options: Any):
    path = folder / "refcoco" / "refs(unc).p"
    path.write_bytes(refs if isinstance(refs, bytes) else pickle.dumps(refs, protocol=2))
    (folder / "refcoco" / "instances.json").write_text(json.dumps(instances))
    return list(read_refcoco(path, folder / "refcoco" / "instances.json", folder / "train2014", **options))


def test_every_sentence_is_a_sample(folder: Path, refs, instances) -> None:
    samples = read(folder, refs, instances)
    assert [(sample.id, sample.categories) for sample in samples] == [
        ("0:0", ("the lady with the blue shirt",)),
        ("0:1", ("lady",)),
        ("2:20", ("left bowl",)),
    ]
    first = samples[0]
    assert first.objects == Objects(((1.0, 2.0, 11.0, 10.5),), ("the lady with the blue shirt",))
    assert (first.task, first.width, first.height, first.source) == ("rec", 40, 20, "refcoco/refs(unc).p")
    assert first.image_id == "coco:581857"
    assert first.image.name == NAME
    assert first.load_image().size == (40, 20)
    assert first.not_exhaustive == ()


def test_a_split_or_all_are_read(folder: Path, refs, instances) -> None:
    (sample,) = read(folder, refs, instances, split="testA", source="refcoco")
    assert (sample.categories, sample.objects.crowd, sample.source) == (("man",), (True,), "refcoco")
    assert len(read(folder, refs, instances, split=None)) == 4


@pytest.mark.parametrize("split", ["val", "testB", "", "Train"])
def test_a_split_that_is_not_there(folder: Path, refs, instances, split: str) -> None:
    with pytest.raises(DataError, match=r"has no refs of split .*; give one of .*: 'testA', 'train'$"):
        read(folder, refs, instances, split=split)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_pickles_of_every_age(folder: Path, refs, instances, protocol: int) -> None:
    assert len(read(folder, pickle.dumps(refs, protocol=protocol), instances)) == 3


def test_text_that_python_2_wrote_is_utf8(folder: Path, refs, instances) -> None:
    refs[2]["sentences"][0]["sent"] = "SENT"
    # Protocol 2 writes unicode with X and a length of four bytes; str of Python 2 was U and one byte.
    content = pickle.dumps(refs, protocol=2).replace(b"X\x04\x00\x00\x00SENT", "U\x05café".encode())
    assert read(folder, content, instances)[2].categories == ("café",)
    with pytest.raises(DataError, match=r"is not a pickle of plain data \(UnicodeDecodeError"):
        read(folder, content.replace(b"\xc3\xa9", b"e\xe9"), instances)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_does_not_run_it(folder: Path, refs, instances, protocol: int) -> None:
    proof = folder / "ran"
    content = pickle.dumps([*refs, Hostile(proof)], protocol=protocol)
    with pytest.raises(DataError) as caught:
        read(folder, content, instances)
    assert not proof.exists()
    line = str(caught.value)
    assert line.startswith(f"{folder / 'refcoco' / 'refs(unc).p'}: is not a pickle of plain data (")
    assert "it asks for 'posix.system', and only plain data is read" in line
    assert "\n" not in line
    pickle.loads(content)  # it would have run
    assert proof.exists()


BAD_PICKLES = {
    "empty": b"",
    "cut off": pickle.dumps([{"ref_id": 0}], protocol=2)[:-4],
    "json": b'[{"ref_id": 0}]',
    "noise": b"\x80\x02\xff\x00\x01",
    "persistent": b"\x80\x02U\x01aQ.",
    "an empty stack": b"\x80\x02s.",
    "a missing memo": b"\x80\x02h\x05.",
    "a class": pickle.dumps(Path("a"), protocol=2),
    "a set": pickle.dumps({1}, protocol=2),
}


@pytest.mark.parametrize("content", BAD_PICKLES.values(), ids=BAD_PICKLES)
def test_what_is_no_pickle_of_plain_data(folder: Path, instances, content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, content, instances, faults=Faults(skip=True))
    line = str(caught.value)
    assert "refs(unc).p: is not a pickle of plain data (" in line
    assert line.endswith("; give the refs of a REFER release, such as refs(unc).p")
    assert "\n" not in line


@pytest.mark.parametrize(("content", "kind"), [({}, "dict"), (None, "NoneType"), ("refs", "str")])
def test_a_pickle_of_something_else(folder: Path, instances, content: Any, kind: str) -> None:
    with pytest.raises(DataError, match=rf"refs\(unc\)\.p: holds a {kind}, not a list of refs; give"):
        read(folder, pickle.dumps(content, protocol=2), instances)


def test_an_empty_pickle(folder: Path, instances) -> None:
    with pytest.raises(DataError, match="has no refs of split 'train'; give one of those it has: none"):
        read(folder, [], instances)


def without(key: str):
    return lambda refs, _: refs[0].pop(key)


def setting(key: str, value: Any):
    return lambda refs, _: refs[0].update({key: value})


def annotation(**values: Any):
    return lambda _, instances: instances["annotations"][0].update(values)


def image(**values: Any):
    return lambda _, instances: instances["images"][0].update(values)


BAD_RECORDS = {
    "no ref_id": (without("ref_id"), "bad_record", "missing required field `ref_id`", 1),
    "no sentences": (without("sentences"), "bad_record", "missing required field `sentences`", 1),
    "a number as split": (setting("split", 3), "bad_record", "Expected `str`, got `int` - at `$.split`", 1),
    "a flag as id": (setting("ann_id", True), "bad_record", "Expected `int | str`, got `bool`", 1),
    "a list as id": (setting("ref_id", [1]), "bad_record", "Expected `int | str`, got `array`", 1),
    "an endless id": (setting("ref_id", 10**5000), "bad_record", "Expected `int` <", 1),
    "sentences of text": (setting("sentences", ["man"]), "bad_record", "Expected `object`, got `str`", 1),
    "an empty sentence": (
        lambda refs, _: refs[0]["sentences"][0].update(sent=" "),
        "no_expression",
        "[0]: sentences[0] is empty; remove it",
        2,
    ),
    "a sentence twice": (
        lambda refs, _: refs[0]["sentences"][1].update(sent_id=0),
        "same_id",
        "[0]: sentences[1] repeats ref and sentence '0:0'",
        2,
    ),
    "an unknown image": (setting("image_id", 7), "unknown_image", "[0] names image 7, which is not under", 1),
    "an unknown annotation": (setting("ann_id", 7), "unknown_annotation", "[0] names annotation 7, which", 1),
    "an annotation of another image": (
        setting("ann_id", 20),
        "unknown_annotation",
        "[0] names annotation 20, which is not one of image 581857",
        1,
    ),
    "a box outside": (
        annotation(bbox=[30, 0, 20, 20]),
        "bad_box",
        "annotation 16 has bbox [30, 0, 20, 20], which is not an x, y, width, height inside image 581857",
        1,
    ),
    "a box of text": (annotation(bbox="1"), "bad_box", "annotation 16 has bbox '1'", 1),
    "an image without width": (image(width=0), "bad_record", "Expected `int` >= 1 - at `$.width`", 1),
    "a missing file": (image(file_name="none.jpg"), "missing_image", "[0]: there is no image", 1),
}


@pytest.mark.parametrize(("change", "kind", "words", "left"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_bad_records_are_named_or_skipped(
    folder: Path, refs, instances, change, kind: str, words: str, left: int
) -> None:
    change(refs, instances)
    with pytest.raises(DataError) as caught:
        read(folder, refs, instances)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'refcoco'}/")
    assert words in line
    assert "\n" not in line
    faults = Faults(skip=True)
    assert len(read(folder, refs, instances, faults=faults)) == left
    assert faults.counts[kind] == 1


def test_ids_of_instances_are_their_own(folder: Path, refs, instances) -> None:
    instances["annotations"].append(instances["annotations"][0])
    with pytest.raises(DataError, match=r"instances\.json: annotations\[3\] repeats the id 16; give every"):
        read(folder, refs, instances)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is not JSON"), ("[]", "is not the instances.json of a REFER release (Expected `object`")],
)
def test_bad_instances(folder: Path, refs, content: str, words: str) -> None:
    read_path = folder / "refcoco" / "refs(unc).p"
    read_path.write_bytes(pickle.dumps(refs, protocol=2))
    (folder / "refcoco" / "instances.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read_refcoco(read_path, folder / "refcoco" / "instances.json", folder / "train2014")
    assert words in str(caught.value)


def test_what_is_missing_is_said_at_once(folder: Path, refs, instances) -> None:
    read(folder, refs, instances)
    pickled, json_file, images = (
        folder / "refcoco" / "refs(unc).p",
        folder / "refcoco" / "instances.json",
        folder / "train2014",
    )
    with pytest.raises(DataError, match=r"none\.p: there is no such file; give the path of the refs of"):
        read_refcoco(folder / "none.p", json_file, images)
    with pytest.raises(DataError, match=r"train2014: cannot be read \(Is a directory\)"):
        read_refcoco(images, json_file, images)
    with pytest.raises(DataError, match=r"none\.json: there is no such file"):
        read_refcoco(pickled, folder / "none.json", images)
    with pytest.raises(DataError, match="none: is not a folder"):
        read_refcoco(pickled, json_file, folder / "none")
