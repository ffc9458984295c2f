import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from vision_r1_data import DataError, Frame, get_dialect
from vision_r1_data.prompts import image_question
from vision_r1_data.sample import Sample
from vision_r1_grpo import Target
from vision_r1_grpo.integrations.columns import (
    ground_truth,
    image_columns,
    read_ground_truth,
    read_row,
    read_rows,
    write_row,
    write_rows,
)

SIZES = {"width": 100, "height": 80, "model_width": 112, "model_height": 84}
ROW = {"solution": '[["cat", [0, 0, 50, 50]]]', **SIZES}


@st.composite
def targets(draw):
    sizes = [draw(st.integers(3, 5000)) for _ in range(4)]
    labels = draw(st.lists(st.text(), max_size=4))

    def corners(size):
        one, other = (
            draw(st.floats(0, size / 3)),
            draw(st.floats(size / 2, size)),
        )
        return one, other

    spans = [(corners(sizes[0]), corners(sizes[1])) for _ in labels]
    boxes = tuple((x1, y1, x2, y2) for (x1, x2), (y1, y2) in spans)
    return Target(boxes, tuple(labels), tuple(draw(st.lists(st.text(), max_size=4))), Frame(*sizes))


@given(targets())
def test_what_is_written_is_read_back(target):
    row = write_row(target)
    assert read_row(row) == target
    assert read_row({**row, "solution": json.loads(row["solution"])}) == target
    assert read_row({**row, "categories": json.dumps(row["categories"])}) == target
    assert read_ground_truth(ground_truth(row)) == target


def test_masks_are_written_and_read():
    rle = coco_mask.frPyObjects([[0, 0, 9, 0, 9, 9]], 20, 30)[0]
    target = Target(
        ((0, 0, 9, 9),) * 3, ("cat",) * 3, ("cat",), Frame(30, 20, 56, 28), ([[0, 0, 9, 0, 9, 9]], rle, None)
    )
    polygon, encoded, missing = read_row(write_row(target)).segmentations
    assert polygon == [[0, 0, 9, 0, 9, 9]]
    assert coco_mask.area(encoded) == coco_mask.area(rle) > 0
    assert missing is None


def test_masks_must_fit_the_boxes():
    row = write_row(Target(((0, 0, 9, 9),), ("cat",), ("cat",), Frame(30, 20, 56, 28)))
    with pytest.raises(DataError, match=r"row 2: Target needs one label per box, .* 2 segmentations"):
        read_row({**row, "segmentations": "[null, null]"}, "row 2")


@given(st.lists(targets(), max_size=3))
def test_rows_are_written_and_read_in_order(many):
    assert read_rows(write_rows(many)) == many


def test_several_boxes_of_one_label():
    solution = [["cat", [[0, 0, 9, 9], [5, 5, 50, 50]]], ["dog", [1, 1, 2, 2]], ["bird", []]]
    target = read_row({**ROW, "solution": json.dumps(solution)})
    assert target.labels == ("cat", "cat", "dog")
    assert target.boxes == ((0, 0, 9, 9), (5, 5, 50, 50), (1, 1, 2, 2))


def test_a_row_without_objects_is_a_negative():
    assert read_row({**ROW, "solution": "[]"}).boxes == ()


@pytest.mark.parametrize(
    ("columns", "categories"),
    [
        ({}, ("cat",)),
        ({"categories": None, "target_id_maps": None}, ("cat",)),
        ({"target_id_maps": '{"background": 0, "dog": 2, "cat": 1}'}, ("dog", "cat")),
        ({"target_id_maps": {"cat": 1}, "categories": ["bird", "cat"]}, ("bird", "cat")),
        ({"categories": "[]"}, ()),
    ],
)
def test_what_was_asked_for(columns, categories):
    assert read_row({**ROW, **columns}).categories == categories


def test_sizes_may_be_of_numpy():
    row = {**ROW, "width": np.int64(100)}
    assert read_row(row) == read_ground_truth(ground_truth(row)) == read_row(ROW)


BAD = {
    "no solution": ({"solution": None}, "has no solution; give it a list of [label, [x1, y1, x2, y2]]"),
    "no model size": ({"model_width": None}, "has no model_width; image_columns gives width, height,"),
    "a size of 0": ({"height": 0}, "height must be a whole number of pixels above 0, got 0"),
    "a size as text": ({"width": "100"}, "width must be a whole number of pixels above 0, got '100'"),
    "a broken size": ({"width": 99.5}, "width must be a whole number of pixels above 0, got 99.5"),
    "no JSON": (
        {"solution": "[cat"},
        "solution is not JSON (Expecting value: line 1 column 2 (char 1)), got",
    ),
    "no list": ({"solution": '{"cat": 1}'}, """solution must be a list, or JSON of one, got '{"cat": 1}'"""),
    "no pair": ({"solution": [["cat"]]}, "solution[0] must be [label, [x1, y1, x2, y2]] or [label, [["),
    "box first": ({"solution": [[[0, 0, 9, 9], "cat"]]}, "solution[0] must be [label, [x1, y1, x2, y2]] or"),
    "three numbers": ({"solution": [["cat", [1, 2, 3]]]}, "solution[0] has the box [1, 2, 3]; expected [x1,"),
    "text in a box": ({"solution": [["cat", ["1", 2, 3, 4]]]}, "solution[0] has the box ['1', 2, 3, 4]; exp"),
    "swapped": ({"solution": [["cat", [9, 0, 1, 9]]]}, "solution[0] has the box [9, 0, 1, 9], which has no"),
    "a flat box": ({"solution": [["cat", [1, 5, 9, 5]]]}, "solution[0] has the box [1, 5, 9, 5], which has"),
    "NaN": ({"solution": '[["cat", [0, NaN, 1, 9]]]'}, "solution[0] has the box [0, nan, 1, 9], which has"),
    "outside": (
        {"solution": [["cat", [0, 0, 9, 9]], ["dog", [0, 0, 112, 84]]]},
        "solution[1] has the box [0, 0, 112, 84], which does not lie in the image of 100 x 80; boxes are",
    ),
    "shares": (
        {"solution": [["cat", [0, 0.2, 1, 1]]]},
        "solution[0] has the box [0, 0.2, 1, 1], which lies within",
    ),
    "no outline": ({"segmentations": [[[0, 0, 9, 0]]]}, "segmentation must be polygons [x1, y1"),
    "text for a mask": ({"segmentations": ["mask.png"]}, "segmentation must be polygons [x1, y1"),
    "no counts": (
        {"segmentations": [{"size": [80, 100]}]},
        "segmentation must be polygons [x1, y1",
    ),
    "no labels": ({"categories": [1]}, "the labels asked for must be strings, got 1"),
    "no map": ({"target_id_maps": "[]"}, "target_id_maps must be label -> id, or JSON of it, got []"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_is_an_error_of_one_line_that_names_it(change, message):
    rows = [ROW, {**ROW, **change}]
    columns = {name: [row.get(name) for row in rows] for name in (*ROW, *change)}
    with pytest.raises(DataError, match="^row 1: " + re.escape(message)) as caught:
        read_rows(columns)
    assert "\n" not in str(caught.value)


def test_an_error_does_not_repeat_a_long_value():
    with pytest.raises(DataError) as caught:
        read_row({**ROW, "solution": "x" * 10_000})
    assert len(str(caught.value)) < 200


def test_a_corner_may_be_rounded_out_of_its_image():
    assert read_row({**ROW, "solution": [["cat", [-1, -0.5, 100.4, 81]]]}).boxes[0][2] == 100.4


def test_missing_and_unequal_columns():
    with pytest.raises(DataError, match="the data has no column height; image_columns gives"):
        read_rows({name: [value] for name, value in ROW.items() if name != "height"})
    with pytest.raises(DataError, match=r"must be of one length, got \{'solution': 2, 'width': 1"):
        read_rows({name: [value] for name, value in ROW.items()} | {"solution": ["[]", "[]"]})


@pytest.mark.parametrize("truth", ["cat", "[]", None, 7])
def test_a_ground_truth_is_an_object(truth):
    with pytest.raises(DataError, match=r"truth 3: must be JSON as columns\.ground_truth"):
        read_ground_truth(truth, "truth 3")


def test_a_bad_ground_truth_is_not_written():
    with pytest.raises(DataError, match="the row: has no width"):
        ground_truth({"solution": "[]"})


@pytest.mark.parametrize("size", [(150, 130), (112, 84), (60, 400)])
def test_sizes_are_those_that_the_model_sees(policy, size):
    image = Image.effect_noise(size, 90).convert("RGB")
    frame = policy.encode(image_question(Sample("0", "0.png", *size, categories=("cat",))), image).frame
    assert image_columns(image, policy.processor.image_processor) == {
        name: getattr(frame, name) for name in ("width", "height", "model_width", "model_height")
    }


def test_sizes_follow_what_a_trainer_does_before_and_with_the_image_processor(policy):
    image = Image.new("RGB", (150, 130))
    sizes = image_columns(
        image, policy.processor.image_processor, resize=lambda image: image.resize((56, 84)), do_resize=False
    )
    assert sizes == {"width": 150, "height": 130, "model_width": 56, "model_height": 84}


def test_a_perfect_answer_to_columns_is_perfect(policy):
    """Boxes in original pixels and a model that sees another size: the two meet in the frame."""
    sizes = image_columns(Image.new("RGB", (150, 130)), policy.processor.image_processor)
    assert (sizes["model_width"], sizes["model_height"]) == (112, 84)
    target = read_row({"solution": [["cat", [0, 0, 75, 65]]], **sizes})
    text = '```json\n[{"bbox_2d": [0, 0, 56, 42], "label": "cat"}]\n```'
    assert get_dialect("qwen2_5_vl").decode(text, target.frame).boxes == target.boxes
