import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.readers import read_rec

NAME = "COCO_train2014_000000581857.jpg"
BOX = (1.0, 2.0, 11.0, 10.5)


def shikra() -> dict[str, Any]:
    return {
        "img_path": NAME,
        "expression": "left cup",
        "bbox": [1, 2, 11, 10.5],
        "dataset_name": "REC_refcoco_unc_train",
        "height": 20,
        "width": 40,
    }


def qwen_vl() -> dict[str, Any]:
    return {
        "image": f"data/coco/train2014/{NAME}",
        "sent": "left cup",
        "bbox": [1, 2, 11, 10.5],
        "height": 20,
        "width": 40,
    }


def vlm_r1() -> dict[str, Any]:
    return {
        "dataset": "refcoco_train",
        "text_type": "caption",
        "height": 20,
        "width": 40,
        "normal_caption": "left cup",
        "image": f"train2014/{NAME}",
        "problem": "Please provide the bounding box of the left cup.",
        "solution": [1, 2, 11, 10.5],
        "normalized_solution": [25, 100, 275, 525],
    }


def mdetr() -> dict[str, Any]:
    return {
        "info": {},
        "licenses": [],
        "images": [
            {
                "id": 5,
                "file_name": NAME,
                "height": 20,
                "width": 40,
                "original_id": 581857,
                "caption": "left cup",
                "dataset_name": "refcoco",
                "tokens_negative": [[0, 4]],
            }
        ],
        "annotations": [
            {
                "id": 9,
                "image_id": 5,
                "bbox": [1, 2, 10, 8.5],
                "area": 85,
                "iscrowd": 0,
                "category_id": 47,
                "original_id": 16,
                "tokens_positive": [[5, 8]],
            }
        ],
        "categories": [{"id": 47, "name": "cup"}],
    }


def jxu124() -> dict[str, Any]:
    sentences = [{"raw": "Left cup!", "sent": "left cup", "sent_id": 3, "tokens": ["left", "cup"]}]
    return {
        "sent_ids": [3],
        "file_name": "COCO_train2014_000000581857_16.jpg",
        "ann_id": 16,
        "ref_id": 0,
        "image_id": 581857,
        "split": "train",
        "sentences": sentences,
        "category_id": 47,
        "raw_anns": json.dumps({"bbox": [1, 2, 10, 8.5]}),
        "raw_image_info": json.dumps({"file_name": NAME, "height": 20, "width": 40, "id": 581857}),
        "image_path": f"coco/train2014/{NAME}",
        "bbox": [1, 2, 11, 10.5],
        "captions": ["left cup"],
    }


def lmms_lab() -> dict[str, Any]:
    picture = io.BytesIO()
    Image.new("RGB", (40, 20)).save(picture, "JPEG")
    return {
        "question_id": "16",
        "image": {"bytes": picture.getvalue(), "path": "16.jpg"},
        "question": "Please carefully observe the area circled in the image.",
        "answer": ["left cup"],
        "segmentation": [1.0, 2.0, 11.0, 2.0, 11.0, 10.5],
        "bbox": [1, 2, 10, 8.5],
        "iscrowd": 0,
        "file_name": "COCO_train2014_000000581857_16.jpg",
    }


def write_jsonl(path: Path, *records: Any) -> Path:
    path.with_suffix(".jsonl").write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    return path.with_suffix(".jsonl")


def write_json(path: Path, *records: Any) -> Path:
    path.with_suffix(".json").write_text(json.dumps(list(records)))
    return path.with_suffix(".json")


def write_object(path: Path, record: Any) -> Path:
    path.with_suffix(".json").write_text(json.dumps(record))
    return path.with_suffix(".json")


def write_parquet(path: Path, *records: Any, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(list(records)), path.with_suffix(".parquet"), **options)
    return path.with_suffix(".parquet")


FORMS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[..., Path]]] = {
    "Shikra, JSONL": (shikra, write_jsonl),
    "Shikra, JSON": (shikra, write_json),
    "Qwen-VL, JSONL": (qwen_vl, write_jsonl),
    "VLM-R1, JSON": (vlm_r1, write_json),
    "VLM-R1, JSONL": (vlm_r1, write_jsonl),
    "MDETR, JSON": (mdetr, write_object),
    "jxu124, Parquet": (jxu124, write_parquet),
    "lmms-lab, Parquet": (lmms_lab, write_parquet),
}
forms = pytest.mark.parametrize(("record", "write"), FORMS.values(), ids=FORMS)
LISTS = {name: form for name, form in FORMS.items() if form[0] is not mdetr}
lists = pytest.mark.parametrize(("record", "write"), LISTS.values(), ids=LISTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train2014").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "train2014" / NAME)
    return tmp_path


@forms
def test_every_form_says_the_same(folder: Path, record, write) -> None:
    path = write(folder / "refs", record())
    (sample,) = read_rec(path, folder / "train2014")
    assert (sample.task, sample.categories, sample.query) == ("rec", ("left cup",), "")
    assert sample.objects == Objects((BOX,), ("left cup",))
    assert (sample.width, sample.height, sample.source) == (40, 20, path.name)
    assert sample.image_id == "coco:581857"
    assert sample.load_image().size == (40, 20)


@forms
def test_a_source_is_named(folder: Path, record, write) -> None:
    (sample,) = read_rec(str(write(folder / "refs", record())), str(folder / "train2014"), source="refcoco")
    assert sample.source == "refcoco"


IDS = {"jsonl": ["1", "2"], "json": ["0", "1"]}


@pytest.mark.parametrize("record", [shikra, qwen_vl, vlm_r1])
@pytest.mark.parametrize("write", [write_jsonl, write_json])
def test_ids_are_the_places_of_records(folder: Path, record, write) -> None:
    path = write(folder / "refs", record(), record())
    assert [sample.id for sample in read_rec(path, folder / "train2014")] == IDS[path.suffix[1:]]


def test_every_expression_of_a_row_is_a_sample(folder: Path) -> None:
    row = jxu124()
    row["sentences"] = [{"raw": "Cup", "sent": f"cup {k}", "sent_id": k, "tokens": ["cup"]} for k in (3, 5)]
    samples = list(read_rec(write_parquet(folder / "refs", row), folder / "train2014"))
    assert [(sample.id, sample.categories) for sample in samples] == [
        ("0:3", ("cup 3",)),
        ("0:5", ("cup 5",)),
    ]
    row = lmms_lab() | {"answer": ["cup", "white cup"], "iscrowd": 1}
    samples = list(read_rec(write_parquet(folder / "refs", lmms_lab(), row)))
    assert [(sample.id, sample.categories) for sample in samples] == [
        ("0:0", ("left cup",)),
        ("1:0", ("cup",)),
        ("1:1", ("white cup",)),
    ]
    assert [sample.objects.crowd for sample in samples] == [(False,), (True,), (True,)]


def test_an_expression_for_several_boxes(folder: Path) -> None:
    content = mdetr()
    content["annotations"].append(content["annotations"][0] | {"id": 10, "bbox": [20, 0, 20, 20]})
    (sample,) = read_rec(write_object(folder / "refs", content), folder / "train2014")
    assert sample.objects == Objects((BOX, (20.0, 0.0, 40.0, 20.0)), ("left cup", "left cup"))
    assert sample.id == "5"


def test_without_a_caption_the_problem_is_the_expression(folder: Path) -> None:
    record = vlm_r1()
    del record["normal_caption"]
    (sample,) = read_rec(write_json(folder / "refs", record), folder / "train2014")
    assert sample.categories == ("Please provide the bounding box of the left cup.",)


@pytest.mark.parametrize("record", [shikra, qwen_vl, vlm_r1])
def test_the_header_says_a_size_that_the_record_does_not(folder: Path, record) -> None:
    content = record()
    del content["width"], content["height"]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # lies on its side
    Image.new("RGB", (20, 40)).save(folder / "train2014" / NAME, exif=exif)
    (sample,) = read_rec(write_jsonl(folder / "refs", content), folder / "train2014")
    assert (sample.width, sample.height) == sample.load_image().size == (40, 20)


def test_rows_without_a_size(folder: Path) -> None:
    row = jxu124()
    del row["raw_image_info"]
    (sample,) = read_rec(write_parquet(folder / "refs", row), folder / "train2014")
    assert (sample.width, sample.height) == (40, 20)


def test_an_image_may_be_named_in_a_row(folder: Path) -> None:
    row = lmms_lab() | {"image": {"bytes": None, "path": NAME}}
    (sample,) = read_rec(write_parquet(folder / "refs", row), folder / "train2014")
    assert (sample.image, sample.image_id) == (folder / "train2014" / NAME, "coco:581857")
    del row["file_name"]
    (sample,) = read_rec(write_parquet(folder / "refs", row), folder / "train2014")
    assert (sample.image, sample.image_id) == (folder / "train2014" / NAME, "coco:581857")


def test_images_lie_where_the_file_says_or_under_their_last_part(folder: Path) -> None:
    path = write_json(folder / "refs", vlm_r1())
    (nested,) = read_rec(path, folder)
    (flat,) = read_rec(path, folder / "train2014")
    assert nested.image == flat.image == folder / "train2014" / NAME


def test_numbers_do_not_tell_the_form(folder: Path) -> None:
    # As x1, y1, x2, y2 the first is no box, as x, y, width, height the second is none.
    record, row = shikra() | {"bbox": [20, 10, 15, 8]}, lmms_lab() | {"bbox": [20.0, 10.0, 30.0, 20.0]}
    for path in (write_jsonl(folder / "refs", record), write_parquet(folder / "refs", row)):
        with pytest.raises(DataError, match="which is not a box inside its image"):
            list(read_rec(path, folder / "train2014"))


def test_records_of_a_split(folder: Path) -> None:
    rows = [jxu124() | {"split": split, "ref_id": k} for k, split in enumerate(["train", "testA", "train"])]
    for path in (
        write_parquet(folder / "refs", *rows),
        write_jsonl(folder / "refs", *(shikra() | {"split": row["split"]} for row in rows)),
    ):
        assert len(list(read_rec(path, folder / "train2014", split="train"))) == 2
        assert len(list(read_rec(path, folder / "train2014", split="testA"))) == 1
        assert len(list(read_rec(path, folder / "train2014"))) == 3
        with pytest.raises(DataError, match=r"no record of split 'val'; give one .* has: 'testA', 'train'$"):
            list(read_rec(path, folder / "train2014", split="val"))


@forms
def test_a_split_where_none_is_named(folder: Path, record, write) -> None:
    content = record()
    content.pop("split", None)
    with pytest.raises(DataError, match=r"names no splits?; read all with split=None"):
        list(read_rec(write(folder / "refs", content), folder / "train2014", split="train"))


def test_rows_are_read_in_batches_and_keep_their_number(folder: Path) -> None:
    rows = [jxu124() | {"ref_id": k} for k in range(600)]
    rows[500]["bbox"] = [0, 0, 0, 0]
    faults = Faults(skip=True)
    path = write_parquet(folder / "refs", *rows, row_group_size=100)
    assert len(list(read_rec(path, folder / "train2014", faults=faults))) == 599
    assert faults.told[0].startswith(f"{path}: row 500 has the box [0.0, 0.0, 0.0, 0.0], which is not a box")


def nameless(record: dict[str, Any]) -> dict[str, Any]:
    return {"cup" if key in ("img_path", "image", "image_path") else key: record[key] for key in record}


@lists
def test_a_form_that_is_not_known(folder: Path, record, write) -> None:
    with pytest.raises(DataError) as caught:
        read_rec(write(folder / "refs", nameless(record())), folder / "train2014")
    line = str(caught.value)
    assert "is of no known form of referring expressions, its " in line
    assert "cup" in line
    assert "\n" not in line


def test_a_coco_file_without_captions(folder: Path) -> None:
    content = mdetr()
    del content["images"][0]["caption"]
    with pytest.raises(DataError, match=r"images\[0\]: Object missing required field `caption`"):
        read_rec(write_object(folder / "refs", content), folder / "train2014")
    with pytest.raises(DataError, match="is not a COCO annotation file"):
        read_rec(write_object(folder / "refs", shikra()), folder / "train2014")


def box_of(record: dict[str, Any], box: Any) -> dict[str, Any]:
    return record | ({"solution": box} if "solution" in record else {"bbox": box})


BAD_BOXES = {
    "outside": [30.0, 0.0, 50.0, 20.0],
    "no area": [5.0, 5.0, 0.0, 0.0],
    "three numbers": [1.0, 2.0, 3.0],
    "no numbers": [],
}


@pytest.mark.parametrize("box", BAD_BOXES.values(), ids=BAD_BOXES)
@lists
def test_a_bad_box_is_named_or_skipped(folder: Path, record, write, box) -> None:
    path = write(folder / "refs", record(), box_of(record(), box))
    with pytest.raises(DataError, match=r"[\[: ]\d+\]? has the box .*, which is not a box inside its image"):
        list(read_rec(path, folder / "train2014"))
    faults = Faults(skip=True)
    assert len(list(read_rec(path, folder / "train2014", faults=faults))) == 1
    assert faults.counts == {"bad_box": 1}


def test_an_entry_without_a_box(folder: Path) -> None:
    content = mdetr()
    content["annotations"][0]["bbox"] = [30, 0, 20, 20]
    path = write_object(folder / "refs", content)
    faults = Faults(skip=True)
    assert list(read_rec(path, folder / "train2014", faults=faults)) == []
    assert faults.counts == {"bad_box": 1, "no_box": 1}
    path = write_object(folder / "refs", content | {"annotations": []})
    with pytest.raises(DataError, match=r"images\[0\] has no box that can be used; annotate or remove it"):
        list(read_rec(path, folder / "train2014"))


BAD_RECORDS = [
    (
        shikra,
        write_jsonl,
        {"expression": 3},
        "bad_record",
        ":2: Expected `str`, got `int` - at `$.expression`",
    ),
    (shikra, write_jsonl, {"expression": " "}, "no_expression", ":2 has an empty expression"),
    (shikra, write_jsonl, {"width": 0}, "bad_record", ":2: Expected `int` >= 1 - at `$.width`"),
    (shikra, write_jsonl, {"img_path": "none.jpg"}, "missing_image", ":2: there is no image"),
    (qwen_vl, write_jsonl, {"sent": None}, "bad_record", ":2: Expected `str`, got `null` - at `$.sent`"),
    (vlm_r1, write_json, {"image": ["a", "b"]}, "bad_record", "[1]: Expected `str`, got `array`"),
    (vlm_r1, write_json, {"solution": "<box>"}, "bad_box", "[1] has the box '<box>', which is not a box"),
    (jxu124, write_parquet, {"ref_id": None}, "bad_record", ": row 1: Expected `int | str`, got `null`"),
    (jxu124, write_parquet, {"sentences": None}, "bad_record", ": row 1: Expected `array`, got `null`"),
    (jxu124, write_parquet, {"bbox": None}, "bad_box", ": row 1 has the box None"),
    (
        jxu124,
        write_parquet,
        {"raw_image_info": "{"},
        "bad_record",
        ": row 1: Input data was truncated in raw",
    ),
    (
        jxu124,
        write_parquet,
        {"raw_image_info": "[]"},
        "bad_record",
        ": row 1: Expected `object`, got `array`",
    ),
    (jxu124, write_parquet, {"image_path": "none.jpg"}, "missing_image", ": row 1: there is no image"),
    (lmms_lab, write_parquet, {"image": None}, "bad_record", ": row 1: Expected `object`, got `null`"),
    (lmms_lab, write_parquet, {"answer": [None]}, "bad_record", ": row 1: Expected `str`, got `null`"),
    (lmms_lab, write_parquet, {"answer": [""]}, "no_expression", ": row 1 has an empty expression"),
    (
        lmms_lab,
        write_parquet,
        {"image": {"bytes": b"GIF", "path": None}},
        "bad_image",
        ": row 1: its image cannot be read as an image (",
    ),
]


@pytest.mark.parametrize(
    ("record", "write", "change", "kind", "words"),
    BAD_RECORDS,
    ids=[f"{record.__name__} {change!r:.40}" for record, _, change, _, _ in BAD_RECORDS],
)
def test_bad_records_are_named_or_skipped(folder: Path, record, write, change, kind, words) -> None:
    path = write(folder / "refs", record(), record() | change)
    with pytest.raises(DataError) as caught:
        list(read_rec(path, folder / "train2014"))
    line = str(caught.value)
    assert line.startswith(f"{path}{words}")
    assert "\n" not in line
    faults = Faults(skip=True)
    assert len(list(read_rec(path, folder / "train2014", faults=faults))) == 1
    assert faults.counts == {kind: 1}


def test_an_image_that_is_none(folder: Path) -> None:
    record = shikra()
    del record["width"]
    (folder / "train2014" / NAME).write_text("no image")
    with pytest.raises(DataError, match=rf"{NAME} cannot be read as an image \(.*\); replace or remove it"):
        list(read_rec(write_jsonl(folder / "refs", record), folder / "train2014"))


@pytest.mark.parametrize("record", [shikra, qwen_vl, vlm_r1])
def test_a_damaged_line_is_named_or_skipped(folder: Path, record) -> None:
    path = write_jsonl(folder / "refs", record())
    path.write_text("{" + path.read_text() + path.read_text())
    with pytest.raises(DataError, match=r"refs\.jsonl:1: JSON is malformed"):
        list(read_rec(path, folder / "train2014"))
    faults = Faults(skip=True)
    assert len(list(read_rec(path, folder / "train2014", faults=faults))) == 1
    assert faults.counts == {"bad_record": 1}


BAD_FILES = {
    "empty.json": (b"", "is not JSON"),
    "list.json": (b"[]", "holds no JSON objects"),
    "numbers.json": (b"[1, 2]", "holds no JSON objects"),
    "text.json": (b'"refs"', "is not a JSON, JSONL or Parquet file of referring expressions (Expected"),
    "cut.json": (b'[{"img_path": ', "is not JSON"),
    "empty.jsonl": (b"\n", "holds no JSON objects"),
    "noise.jsonl": (b"\xff\xfe\n", "holds no JSON objects"),
    "lists.jsonl": (b"[1]\n[2]\n", "holds no JSON objects"),
    "empty.parquet": (b"", "cannot be read as Parquet ("),
    "noise.parquet": (b"PAR1" + bytes(40) + b"PAR1", "cannot be read as Parquet ("),
    "refs.p": (b"", "ends in none of .json, .jsonl and .parquet"),
}


@pytest.mark.parametrize(("name", "content", "words"), [(k, *v) for k, v in BAD_FILES.items()], ids=BAD_FILES)
def test_files_that_are_something_else(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_rec(folder / name, folder)
    line = str(caught.value)
    assert line.startswith(f"{folder / name}: {words}")
    assert "\n" not in line


def test_a_parquet_file_that_is_damaged_within(folder: Path) -> None:
    path = write_parquet(folder / "refs", *(lmms_lab() for _ in range(10)), compression="none")
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_rec(path))
    line = str(caught.value)
    assert line.startswith(f"{path}: cannot be read as Parquet (")
    assert "\n" not in line


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_what_is_missing_is_said_at_once(folder: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=rf"none\.{suffix}: there is no such file; give the path of a JSON"):
        read_rec(folder / f"none.{suffix}", folder)
    with pytest.raises(DataError, match="none: is not a folder"):
        read_rec(folder / f"none.{suffix}", folder / "none")
    (folder / f"folder.{suffix}").mkdir()
    with pytest.raises(DataError, match=rf"folder\.{suffix}: cannot be read "):
        read_rec(folder / f"folder.{suffix}", folder)


@pytest.mark.parametrize("record", [shikra, vlm_r1])
def test_images_are_asked_for_where_the_file_holds_none(folder: Path, record) -> None:
    with pytest.raises(DataError, match=r":1 holds no image; give the folder that holds the images"):
        list(read_rec(write_jsonl(folder / "refs", record())))
    with pytest.raises(DataError, match="holds no images; give the folder that holds the images"):
        read_rec(write_object(folder / "refs", mdetr()))
