"""The criteria of tasks beside detection, by hand and by their audits."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vision_r1_data import Frame, Objects, Sample, get_dialect
from vision_r1_data.prompts import TASKS
from vision_r1_grpo import Refinement, Target, VisionReward
from vision_r1_grpo.rewards.audit import audit, load_score
from vision_r1_grpo.rewards.audit.scenes import iou
from vision_r1_grpo.rewards.audit.suite import suite
from vision_r1_grpo.rewards.presets import PRESETS

NAME = "qwen2_5_vl"
DIALECT = get_dialect(NAME)
FRAME = Frame(200, 100, 400, 200)  # the model sees twice the size
CAT, DOG, BIRD = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog"), ((160, 0, 200, 40), "bird")
OTHER_TASKS = [task for task in TASKS if task != "detection"]
SECOND_STAGE = Refinement((0.0,), ((0.75, 0.75, 0.9),))


def target(*objects, categories=("cat", "dog", "bird"), segmentations=()):
    boxes, labels = tuple(box for box, _ in objects), tuple(label for _, label in objects)
    return Target(boxes, labels, categories, FRAME, segmentations)


def answer(task, *objects):
    """The well-formed completion; of counting, how many they are."""
    form = TASKS[task].form
    if form == "number":
        return str(len(objects))
    boxes, labels = tuple(box for box, _ in objects), tuple(label for _, label in objects)
    return DIALECT.encode(Objects(boxes, labels), FRAME, form)


def parts(task, text, truth, **options):
    """The format, and the other part."""
    scored = VisionReward.from_preset(task, NAME, **options)([text], [truth], progress=0.0)
    form, content = (part.item() for part in scored.parts.values())
    return form, content


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_truth_table(task):
    silence = answer(task)
    assert parts(task, silence, target()) == (1, 1)  # a correct rejection
    assert parts(task, answer(task, CAT), target()) == (1, 0)  # hallucination
    assert parts(task, silence, target(CAT)) == (1, 0)  # silence
    assert parts(task, answer(task, CAT), target(CAT)) == (1, 1)
    for truth in (target(), target(CAT)):
        assert parts(task, "I see nothing.", truth) == (0, 0)
        assert parts(task, "", truth) == (0, 0)


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_a_batch_scores_as_its_completions_do(task):
    truths = [target(CAT, DOG, DOG), target(), target(BIRD), target(CAT), target(CAT)]
    texts = [
        *(answer(task, DOG), answer(task, CAT, BIRD), answer(task, BIRD, BIRD, CAT)),
        *("?", answer(task, CAT)),
    ]
    reward = VisionReward.from_preset(task, NAME)
    together = reward(texts, truths, progress=0.0).total.tolist()
    assert together == [
        reward([text], [truth], progress=0.0).total.item() for text, truth in zip(texts, truths, strict=True)
    ]
    assert reward([], [], progress=0.0).total.tolist() == []


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_its_audit_finds_no_hole(task):
    checked = audit(load_score(task, NAME), NAME, task=task, scenes=60)
    assert checked.holes == ()
    assert not checked.blind
    assert len(checked.findings) == len(suite(task)) - (2 if task == "rec" else 0)  # it has one object


# Outlines take ten times as long as boxes, and are boxes there.
@pytest.mark.parametrize("task", [task for task in OTHER_TASKS if task != "segmentation"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), resize=st.booleans())
def test_its_audit_finds_no_hole_on_any_scene(task, seed, resize):
    assert audit(load_score(task, NAME), NAME, task=task, scenes=6, seed=seed, resize=resize).holes == ()


def test_every_task_has_a_preset_of_its_name():
    assert {preset.task for preset in PRESETS.values()} == set(TASKS)
    assert all(PRESETS[task].task == task for task in OTHER_TASKS)


# Naive rewards of those tasks: the audit finds what they pay for.


def any_point_inside(answer, truth):
    hits = [
        any(x1 <= box[0] <= x2 and y1 <= box[1] <= y2 for box in answer.boxes)
        for x1, y1, x2, y2 in truth.boxes
    ]
    return sum(hits) / max(len(hits), 1)


def first_number(text):
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0


def test_a_point_for_each_object_wherever_else_it_points():
    def score(completions, targets):
        return [
            any_point_inside(DIALECT.decode(text, truth.frame, "points"), truth)
            for text, truth in zip(completions, targets, strict=True)
        ]

    holes = {finding.name for finding in audit(score, NAME, task="pointing", scenes=40).holes}
    assert {"junk boxes", "duplicate boxes", "wrong labels", "grid"} <= holes
    assert "silence" not in holes


def test_the_first_number_of_any_text():
    def score(completions, targets):
        return [
            float(first_number(text) == len(truth.boxes))
            for text, truth in zip(completions, targets, strict=True)
        ]

    holes = {finding.name for finding in audit(score, NAME, task="counting", scenes=40).holes}
    assert {"said twice", "in a sentence", "as a fraction"} <= holes
    assert not {"one more", "one less", "constant count"} & holes


def test_the_right_number_alone_is_a_sound_reward():
    def score(completions, targets):
        return [
            float(text == str(len(truth.boxes))) for text, truth in zip(completions, targets, strict=True)
        ]

    assert audit(score, NAME, task="counting", scenes=60).holes == ()


def test_a_near_number_is_a_hole_and_not_blind():
    def score(completions, targets):
        return [
            float(text.isdecimal() and abs(int(text) - len(truth.boxes)) <= 1)
            for text, truth in zip(completions, targets, strict=True)
        ]

    checked = audit(score, NAME, task="counting", scenes=60)
    assert {"one more", "one less"} <= {finding.name for finding in checked.holes}
    assert not checked.blind


def by_place(form, alike):
    """Strict's F-measure, whose pairs are the boxes of one place whose labels are `alike`."""

    def score(completions, targets):
        answers = [
            DIALECT.decode(text, truth.frame, form) for text, truth in zip(completions, targets, strict=True)
        ]
        return [
            5
            * sum(
                any(
                    iou(box, said) >= 0.5 and alike(name, label)
                    for said, name in zip(a.boxes, a.labels, strict=True)
                )
                for box, label in zip(truth.boxes, truth.labels, strict=True)
            )
            / max(len(a) + 4 * len(truth.boxes), 1)
            for a, truth in zip(answers, targets, strict=True)
        ]

    return score


@pytest.mark.parametrize(
    ("task", "alike", "hole"),
    [
        ("ocr", lambda said, true: true in said, "all texts in each box"),
        ("ocr", lambda said, true: said in true, "boxes without text"),
        ("ocr", lambda said, true: said[:1] == true[:1], "first letters"),
        ("segmentation", lambda said, true: said == true, "half an outline"),
    ],
)
def test_a_naive_reward_of_texts_or_outlines(task, alike, hole):
    checked = audit(by_place(TASKS[task].form, alike), NAME, task=task, scenes=20)
    assert hole in {finding.name for finding in checked.holes}


# By hand.


def test_grounding_averages_over_phrases():
    """One of two cats and the dog: F 5 * 1 / (1 + 4 * 2) and 1. An absent bird is a fifth of a phrase."""
    truth = target(CAT, ((100, 0, 140, 40), "cat"), DOG)

    def mean_f(*said):
        return parts("grounding", answer("grounding", *said), truth)[1]

    assert mean_f(CAT, DOG) == pytest.approx((5 / 9 + 1) / 2)
    assert mean_f(CAT, DOG, BIRD) == pytest.approx((5 / 9 + 1) / 2.2)
    assert mean_f(BIRD) == 0


def test_a_wrong_phrase_earns_nothing():
    assert parts("grounding", answer("grounding", (CAT[0], "dog")), target(CAT))[1] == 0


def test_rec_ignores_the_label_and_divides_by_the_boxes():
    truth = target(CAT, categories=("the cat on the left",))
    assert parts("rec", answer("rec", (CAT[0], "anything")), truth)[1] == 1
    assert parts("rec", answer("rec", CAT, DOG), truth)[1] == 0.5
    assert parts("rec", answer("rec", CAT, CAT, CAT, CAT), truth)[1] == 0.25
    near = ((0, 0, 40, 24), "cat")  # IoU .6
    assert parts("rec", answer("rec", near), truth)[1] == pytest.approx(0.6)
    assert parts("rec", answer("rec", near), truth, refinement=SECOND_STAGE)[1] == 0


def test_an_expression_that_fits_two_objects():
    assert parts("rec", answer("rec", CAT), target(CAT, DOG))[1] == 0.5
    assert parts("rec", answer("rec", CAT, DOG), target(CAT, DOG))[1] == 1
    assert parts("rec", answer("rec", CAT, BIRD), target(CAT, DOG))[1] == pytest.approx(1 / 3)


def points(*named):
    items = ", ".join(f'{{"point_2d": [{x}, {y}], "label": "{label}"}}' for x, y, label in named)
    return f"```json\n[{items}]\n```"


def test_a_point_counts_in_its_box_once():
    """Model pixels are half as large."""
    truth = target(CAT, DOG)
    assert parts("pointing", points((78, 78, "cat"), (180, 180, "dog")), truth) == (1, 1)
    assert parts("pointing", points((82, 78, "cat")), truth) == (1, 0)
    assert parts("pointing", points((78, 78, "dog")), truth) == (1, 0)
    assert parts("pointing", points((10, 10, "cat"), (20, 20, "cat")), truth)[1] == pytest.approx(5 / 10)
    assert parts("pointing", answer("rec", CAT), truth) == (0, 0)  # boxes are no points


TRIANGLE = [[0, 0, 40, 0, 0, 40]]  # the upper left half of the cat's box


@pytest.mark.parametrize("encoded", [False, True])
def test_a_point_in_the_box_but_not_in_the_mask(encoded):
    rle = coco_mask.merge(coco_mask.frPyObjects(TRIANGLE, 100, 200))
    truth = target(CAT, DOG, segmentations=(rle if encoded else TRIANGLE, None))
    assert parts("pointing", points((10, 10, "cat")), truth)[1] == pytest.approx(5 / 9)
    assert parts("pointing", points((70, 70, "cat")), truth)[1] == 0
    assert (
        parts("pointing", points((10, 10, "cat"), (180, 180, "dog")), truth)[1] == 1
    )  # the dog has a box only
    assert parts("pointing", points((9999, -5, "cat")), truth) == (0, 0)


def polygon(label, *corners):
    return (
        f'```json\n[{{"polygon_2d": [{", ".join(map(str, map(list, corners)))}], "label": "{label}"}}]\n```'
    )


@pytest.mark.parametrize("kind", ["polygon", "rle", "uncompressed"])
def test_segmentation_by_the_iou_of_masks(kind):
    rle = coco_mask.merge(coco_mask.frPyObjects(TRIANGLE, 100, 200))
    flat = coco_mask.decode(rle).ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    runs = np.diff(np.concatenate([[0], changes])).tolist()
    masks = {"polygon": TRIANGLE, "rle": rle, "uncompressed": {"size": [100, 200], "counts": runs}}
    truth = target(CAT, segmentations=(masks[kind],))
    assert parts("segmentation", polygon("cat", (0, 0), (80, 0), (0, 80)), truth) == (1, 1)
    assert parts("segmentation", polygon("dog", (0, 0), (80, 0), (0, 80)), truth) == (1, 0)
    # Three quarters of its height: 30 of 40 rows' worth of the triangle.
    low = parts("segmentation", polygon("cat", (0, 0), (80, 0), (0, 52)), truth)[1]
    assert low == pytest.approx(0.65, abs=0.03)
    # The whole box: IoU about one half, at the threshold.
    assert parts("segmentation", answer("segmentation", CAT), truth)[1] in (0, pytest.approx(0.5, abs=0.02))


def test_an_outline_far_outside_costs_no_memory():
    far = polygon("cat", (-9e8, -9e8), (9e8, -9e8), (9e8, 9e8), (-9e8, 9e8))
    assert parts("segmentation", far, target(CAT)) == (0, 0)
    assert parts("segmentation", far, target(((0, 0, 200, 100), "cat"))) == (0, 1)  # the image is all of it


def test_ocr_by_edit_distance():
    sign = ((0, 0, 40, 40), "EXIT")
    assert parts("ocr", answer("ocr", (CAT[0], "EXIT")), target(sign)) == (1, 1)
    assert parts("ocr", answer("ocr", (CAT[0], "EXIL")), target(sign))[1] == pytest.approx(0.75)
    assert parts("ocr", answer("ocr", (CAT[0], "exit")), target(sign))[1] == 0
    assert parts("ocr", answer("ocr", (CAT[0], "EDGE")), target(sign))[1] == 0  # one letter of four is right
    assert parts("ocr", answer("ocr", (DOG[0], "EXIT")), target(sign))[1] == 0
    near = ((0, 0, 40, 24), "EXIL")  # IoU .6
    assert parts("ocr", answer("ocr", near), target(sign))[1] == pytest.approx(0.6 * 0.75)


@pytest.mark.parametrize(
    ("text", "form", "count"),
    [
        ("4", 1, 1.0),
        (" 4\n", 1, 1.0),
        ("3", 1, 0.75),
        ("5", 1, 0.8),
        ("2", 1, 0.5),
        ("1", 1, 0.0),
        ("There are 4.", 0, 1.0),
        ("3-5", 0, 0.0),
        ("4.0", 0, 0.0),
        ("-4", 0, 0.0),
        ("four", 0, 0.0),
        ("4444444444", 0, 0.0),
    ],
)
def test_counting(text, form, count):
    assert parts("counting", text, target(CAT, CAT, DOG, BIRD)) == (form, pytest.approx(count))


def test_no_count_is_a_plain_zero():
    assert str(parts("counting", "none that I see", target(CAT))[1]) == "0.0"


def test_counting_tightens():
    truth = target(*[CAT] * 4)
    assert parts("counting", "3", truth, refinement=SECOND_STAGE)[1] == 0.75
    assert parts("counting", "2", truth, refinement=SECOND_STAGE)[1] == 0


def test_what_a_count_does_not_earn_has_no_sign():
    assert math.copysign(1, parts("counting", "many", target(CAT))[1]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ()}, "got 1 boxes, 0 labels, 0 segmentations"),
        ({"segmentations": (TRIANGLE, TRIANGLE)}, "got 1 boxes, 1 labels, 2 segmentations"),
        (
            {"segmentations": ({"size": [9, 9], "counts": []},)},
            "encoding of height 100 and width 200, got {'size': [9, 9]",
        ),
        *(
            ({"segmentations": (mask,)}, "segmentation must be polygons")
            for mask in (
                [],
                [[]],
                [[0, 0, 40, 40]],
                [[0, 0, 40, 0, 40]],
                [[math.nan, 0, 40, 0, 40, 40]],
                [[[0, 0], [40, 0], [40, 40]]],
                [0, 0, 40, 0, 40, 40],
                "none",
                {"size": [100, 200]},
                {"size": [100, 200], "counts": [5, 50000]},
                {"size": [100, 200], "counts": [-5, 20005]},
            )
        ),
    ],
)
def test_a_target_that_does_not_fit_together(arguments, message):
    given = {"boxes": (CAT[0],), "labels": ("cat",), "categories": ("cat",), "frame": FRAME, **arguments}
    with pytest.raises(ValueError, match=re.escape(message)):
        Target(**given)


def test_the_masks_of_a_sample_are_those_of_its_target():
    objects = Objects((CAT[0], DOG[0]), ("cat", "dog"), (False, True), (TRIANGLE, None))
    sample = Sample("1", Path("a.png"), 200, 100, "pointing", categories=("cat", "dog"), objects=objects)
    truth = Target.of(sample, FRAME)
    assert truth.segmentations == (TRIANGLE,)
    assert parts("pointing", points((10, 10, "cat")), truth) == (1, 1)
    assert parts("pointing", points((70, 70, "cat")), truth) == (1, 0)
