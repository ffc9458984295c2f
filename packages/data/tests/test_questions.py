import random
from collections import Counter

import pytest

from vision_r1_data import Objects
from vision_r1_data.prompts import TASKS
from vision_r1_data.questions import derive_questions

SIZE = (400, 300)
BOXES = ((0.0, 100.0, 20.0, 120.0), (100.0, 100.0, 120.0, 120.0), (300.0, 100.0, 320.0, 120.0))
THREE = Objects(BOXES, ("apple", "apple", "dog"))
VOCABULARY = ("apple", "bird", "cat", "dog", "eel")


def ask(objects: Objects = THREE, seed: int = 0, vocabulary=VOCABULARY, **options):
    return derive_questions(random.Random(seed), objects, SIZE, vocabulary, **options)


def of(task: str, **options):
    return [
        (asked, answer)
        for seed in range(200)
        for name, asked, answer in ask(seed=seed, **options)
        if name == task
    ]


def test_one_question_of_a_task_but_for_expressions() -> None:
    tasks = [task for task, *_ in ask()]
    assert tasks == ["detection", "rec", "rec", "rec", "counting", "pointing"]
    assert set(tasks) <= set(TASKS)


def test_detection_asks_for_all_that_is_there_and_some_that_is_not() -> None:
    found = of("detection")
    assert all(answer == THREE for _, answer in found)
    assert all({"apple", "dog"} <= set(asked) <= set(VOCABULARY) for asked, _ in found)
    assert {len(asked) for asked, _ in found} == {2, 3, 4, 5}
    assert {asked[0] for asked, _ in found} == set(VOCABULARY)
    assert {len(asked) for asked, _ in of("detection", absent=0)} == {2}


def test_counts_are_of_what_is_there_or_nothing() -> None:
    counts = Counter((asked[0], len(answer)) for asked, answer in of("counting"))
    assert set(counts) == {("apple", 2), ("dog", 1), ("bird", 0), ("cat", 0), ("eel", 0)}
    assert 30 < sum(count for (_, number), count in counts.items() if number == 0) < 70  # of 200


def test_points_are_to_every_object_of_one_name() -> None:
    assert set(of("pointing")) == {
        (("apple",), Objects(BOXES[:2], ("apple", "apple"))),
        (("dog",), Objects(BOXES[2:], ("dog",))),
    }


def test_an_expression_is_what_is_asked_and_the_label() -> None:
    found = dict(of("rec"))
    assert found["the leftmost apple",] == Objects(BOXES[:1], ("the leftmost apple",))
    both = "every apple to the left of the dog"
    assert found[both,] == Objects(BOXES[:2], (both, both))
    for asked, answer in found.items():
        assert set(answer.labels) == set(asked)


def test_expressions_are_of_different_kinds_first() -> None:
    for seed in range(50):
        texts = [asked[0] for task, asked, _ in ask(seed=seed, references=3) if task == "rec"]
        assert len(set(texts)) == 3
        assert sum("most apple" in text for text in texts) <= 1
    everything = [asked for task, asked, _ in ask(references=99) if task == "rec"]
    assert len(set(everything)) == len(everything) > 5


def test_masks_go_with_their_objects() -> None:
    masks = tuple({"size": [300, 400], "counts": [k, 120000 - k]} for k in range(3))
    objects = Objects(THREE.boxes, THREE.labels, segmentations=masks)
    found = {asked[0]: answer.segmentations for asked, answer in of("segmentation", objects=objects)}
    assert found == {"apple": masks[:2], "dog": masks[2:]}
    assert of("segmentation") == []


def test_what_could_be_meant_by_another_name_is_not_asked_for() -> None:
    objects = Objects(BOXES, ("apple", "red apple", "dog"))
    for seed in range(50):
        for task, asked, answer in ask(objects, seed, ("apple", "red apple", "dog", "hot dog", "cat")):
            assert not any("apple" in text or "hot" in text for text in asked)
            assert task == "counting" or set(answer.boxes) <= {BOXES[2]}


def test_a_scene_without_objects_is_a_negative() -> None:
    for seed in range(20):
        detection, counting = ask(Objects(), seed)
        assert (detection[0], counting[0]) == ("detection", "counting")
        assert 1 <= len(detection[1]) <= 3
        assert detection[2] == counting[2] == Objects()


def test_nothing_to_ask() -> None:
    assert ask(Objects(), vocabulary=()) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_the_state_decides(seed: int) -> None:
    assert ask(seed=seed) == ask(seed=seed, vocabulary=VOCABULARY[::-1])
    assert ask(seed=seed) != ask(seed=seed + 2)
