"""Questions whose answers are known, as every object of the scene is."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from vision_r1_data.referring import Reference, find_references, is_mistakable, unmistakable
from vision_r1_data.sample import Objects

Question = tuple[str, tuple[str, ...], Objects]
"""A task, what is asked for, and the objects of the answer."""

_COUNTS_OF_NOTHING = 0.25


def derive_questions(
    rng: random.Random,
    objects: Objects,
    size: tuple[int, int],
    vocabulary: Sequence[str],
    *,
    absent: int = 3,
    references: int = 3,
) -> list[Question]:
    """Ask about a scene of which every object is known.

    Nothing is asked by a name that could be meant by another name in the scene, see
    `vision_r1_data.referring.is_mistakable`.

    Args:
        rng: the source of every random choice.
        objects: all that the scene shows of the vocabulary.
        size: width and height of the scene in pixels.
        vocabulary: every name that a scene may show.
        absent: the most names asked for in detection that the scene does not show.
        references: the most referring expressions, of different kinds where there are.

    Returns:
        One detection question for all names in the scene and some that are not; referring expressions; how
        many there are of one name, of one absent from the scene in one of four; and one name to point at,
        and to outline if the objects have masks. A scene without objects is asked for what is not there.

    Example:
        >>> objects = Objects(((10, 40, 30, 60), (80, 40, 90, 60)), ("apple", "dog"))
        >>> for task, asked, answer in derive_questions(
        ...     random.Random(1), objects, (100, 100), ("apple", "cat", "dog"), references=1
        ... ):
        ...     print(task, asked, len(answer))
        detection ('dog', 'apple') 2
        rec ('the dog to the right of the apple',) 1
        counting ('apple',) 1
        pointing ('apple',) 1
    """
    present = unmistakable(objects.labels)
    shown = set(objects.labels)
    missing = [
        name
        for name in sorted(set(vocabulary) - shown)
        if not any(is_mistakable(name, other) for other in shown)
    ]
    asked = present + rng.sample(missing, rng.randint(0, min(absent, len(missing))))
    if not present and missing and not asked:
        asked = [rng.choice(missing)]
    rng.shuffle(asked)
    questions = [_of_names(objects, "detection", asked)] if asked else []
    for reference in _varied(rng, find_references(objects.boxes, objects.labels, size), references):
        labels = (reference.text,) * len(reference.objects)
        questions.append(("rec", (reference.text,), _chosen(objects, reference.objects, labels)))
    counted = missing if missing and (not present or rng.random() < _COUNTS_OF_NOTHING) else present
    if counted:
        questions.append(_of_names(objects, "counting", [rng.choice(counted)]))
    if present:
        questions.append(_of_names(objects, "pointing", [rng.choice(present)]))
    if present and objects.segmentations:
        questions.append(_of_names(objects, "segmentation", [rng.choice(present)]))
    return questions


def _varied(rng: random.Random, found: list[Reference], most: int) -> list[Reference]:
    """Some references: one of each kind before a second of any."""
    kinds: dict[str, list[Reference]] = {}
    for reference in rng.sample(found, len(found)):
        kinds.setdefault(reference.kind, []).append(reference)
    chosen: list[Reference] = []
    while len(chosen) < min(most, len(found)):
        turn = [one.pop() for one in kinds.values() if one]
        chosen += rng.sample(turn, min(len(turn), most - len(chosen)))
    return chosen


def _of_names(objects: Objects, task: str, names: Sequence[str]) -> Question:
    numbers = [k for k, label in enumerate(objects.labels) if label in names]
    return task, tuple(names), _chosen(objects, numbers, tuple(objects.labels[k] for k in numbers))


def _chosen(objects: Objects, numbers: Iterable[int], labels: tuple[str, ...]) -> Objects:
    numbers = tuple(numbers)
    return Objects(
        tuple(objects.boxes[k] for k in numbers),
        labels,
        segmentations=tuple(objects.segmentations[k] for k in numbers) if objects.segmentations else (),
    )
