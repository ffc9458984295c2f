import contextlib
import io
import math
import random

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_r1_eval import Protocol, coco_metrics

NAMES = ["mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
HIT, MISS = (10, 10, 50, 50), (60, 60, 90, 90)


def test_ties_go_by_emission_order(make_sample, make_answer):
    sample = make_sample((HIT, "cat"))
    early = coco_metrics([sample], [make_answer((HIT, "cat"), (MISS, "cat"), (MISS, "cat"))])
    late = coco_metrics([sample], [make_answer((MISS, "cat"), (MISS, "cat"), (HIT, "cat"))])
    assert early["mAP"] == pytest.approx(1.0)
    assert late["mAP"] == pytest.approx(1 / 3)


def test_ties_across_images_go_by_sample_order(make_sample, make_answer):
    found = make_sample((HIT, "cat"), id="found"), make_answer((HIT, "cat"))
    hallucinated = make_sample(id="negative"), make_answer((MISS, "cat"))
    first, last = [found, hallucinated], [hallucinated, found]
    assert coco_metrics(*zip(*first, strict=True))["mAP"] == pytest.approx(1.0)
    assert coco_metrics(*zip(*last, strict=True))["mAP"] == pytest.approx(0.5)


def test_all_right_is_one(make_sample, make_answer):
    numbers = coco_metrics([make_sample((HIT, "cat"))], [make_answer((HIT, "cat"))])
    assert list(numbers) == NAMES
    for name in NAMES:
        # 40 x 40 pixels is of medium size.
        assert math.isnan(numbers[name]) if name[-1] in "sl" else numbers[name] == pytest.approx(1.0)


def test_nothing_found_is_zero_and_nothing_to_find_is_nan(make_sample, make_answer):
    assert coco_metrics([make_sample((HIT, "cat"))], [make_answer()])["mAP"] == 0
    assert coco_metrics([make_sample()], [make_answer()]).keys() == set(NAMES)
    assert math.isnan(coco_metrics([make_sample()], [make_answer((HIT, "cat"))])["mAP"])
    assert math.isnan(coco_metrics([make_sample(categories=())], [make_answer()])["mAP"])


def test_unknown_labels_are_no_detections(make_sample, make_answer):
    samples = [make_sample((HIT, "cat"), categories=("cat",)), make_sample((HIT, "dog"), id="2")]
    # "dog" is a category of the set, but it is not asked for in the first image.
    answers = [make_answer((MISS, "dog"), (MISS, "bird"), (HIT, "cat")), make_answer((HIT, "dog"))]
    assert coco_metrics(samples, answers)["mAP"] == pytest.approx(1.0)


def test_a_box_in_a_crowd_costs_nothing(make_sample, make_answer):
    answer = make_answer((MISS, "cat"), (HIT, "cat"))
    assert coco_metrics([make_sample((HIT, "cat"), (MISS, "cat", True))], [answer])["mAP"] == pytest.approx(1)
    assert coco_metrics([make_sample((HIT, "cat"))], [answer])["mAP"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "bad",
    [(50, 10, 10, 50), (50, 50, 10, 10), (0, 0, 1e6, 1e6), (0, 0, math.nan, 9), (0, 0, math.inf, 9)],
    ids=["swapped_x", "swapped", "giant", "nan", "inf"],
)
def test_a_bad_box_costs_as_much_as_any_wrong_one(make_sample, make_answer, bad):
    numbers = coco_metrics([make_sample((HIT, "cat"))], [make_answer((bad, "cat"), (HIT, "cat"))])
    assert numbers["mAP"] == pytest.approx(0.5)


def test_max_dets_keeps_the_first(make_sample, make_answer):
    sample, answer = make_sample((HIT, "cat")), make_answer((MISS, "cat"), (HIT, "cat"))
    assert coco_metrics([sample], [answer], Protocol(max_dets=1))["AR100"] == 0
    assert coco_metrics([sample], [answer], Protocol(max_dets=2))["AR100"] == pytest.approx(1)


def test_says_nothing_on_stdout(make_sample, make_answer, capsys):
    coco_metrics([make_sample((HIT, "cat"))], [make_answer((HIT, "cat"))])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_direct_run_of_pycocotools(make_sample, make_answer, seed):
    rng = random.Random(seed)
    labels = ("cat", "dog", "bird")

    def box():
        x, y = rng.uniform(0, 400), rng.uniform(0, 400)
        return (x, y, x + rng.uniform(5, 200), y + rng.uniform(5, 200))

    def near(b):
        moved = [v + rng.gauss(0, 6) for v in b]
        return (*moved[:2], max(moved[2], moved[0] + 1), max(moved[3], moved[1] + 1))

    samples, answers = [], []
    for number in range(30):
        truth = [(box(), rng.choice(labels), rng.random() < 0.1) for _ in range(rng.randint(0, 5))]
        found = [(near(b), label) for b, label, _ in truth if rng.random() < 0.7]
        found += [(box(), rng.choice(labels)) for _ in range(rng.randint(0, 2))]
        rng.shuffle(found)
        samples.append(make_sample(*truth, id=str(number), categories=labels))
        answers.append(make_answer(*found))

    expected = _direct(samples, answers, labels)
    numbers = [coco_metrics(samples, answers)[name] for name in NAMES]
    assert np.nan_to_num(numbers, nan=-1) == pytest.approx(expected, abs=1e-12)


def _direct(samples, answers, labels):
    ids = {label: number for number, label in enumerate(labels, start=1)}

    def entries(parts, **constant):
        for image, part in enumerate(parts, start=1):
            for (x1, y1, x2, y2), label in zip(part.boxes, part.labels, strict=True):
                yield {
                    "image_id": image,
                    "category_id": ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    **constant,
                }

    truth = list(entries(sample.objects for sample in samples))
    crowds = [crowd for sample in samples for crowd in sample.objects.crowd]
    for number, (entry, crowd) in enumerate(zip(truth, crowds, strict=True), start=1):
        entry.update(id=number, iscrowd=int(crowd))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number + 1} for number in range(len(samples))],
            "categories": [{"id": number, "name": label} for label, number in ids.items()],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(list(entries(answers, score=0.99))), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
