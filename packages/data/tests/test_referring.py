import itertools
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data.referring import clear_order, find_references, is_mistakable, is_towards, unmistakable

SIZE = (400, 300)
ORDINALS = {"second": 1, "third": 2, "fourth": 3, "fifth": 4}
# How far the centre of a box lies from each side, and how far its near and far edges do.
FROM = {
    "left": lambda b: ((b[0] + b[2]) / 2, b[0], b[2]),
    "right": lambda b: (400 - (b[0] + b[2]) / 2, 400 - b[2], 400 - b[0]),
    "top": lambda b: ((b[1] + b[3]) / 2, b[1], b[3]),
    "bottom": lambda b: (300 - (b[1] + b[3]) / 2, 300 - b[3], 300 - b[1]),
}
TOWARDS = {"to the left of": "left", "to the right of": "right", "above": "top", "below": "bottom"}
FORMS = {
    "only": r"the only (?P<name>.+)",
    "extreme": r"the (?P<side>left|right|top|bottom)most (?P<name>.+)",
    "ordinal": r"the (?P<ordinal>second|third|fourth|fifth) (?P<name>.+) from the (?P<side>\w+)",
    "size": r"the (?P<end>largest|smallest) (?P<name>.+)",
    "relation": rf"the (?P<name>.+) (?P<words>{'|'.join(TOWARDS)}) the (?P<anchor>.+)",
    "relations": rf"every (?P<name>.+) (?P<words>{'|'.join(TOWARDS)}) the (?P<anchor>.+)",
}


def is_named(kind: str, text: str, boxes, labels):
    """The objects an expression is true of by its words alone, whichever of centre and edges one goes by."""
    match = re.fullmatch(FORMS[kind], text)
    assert match is not None, text
    words = match.groupdict()
    group = [k for k, label in enumerate(labels) if label == words["name"]]
    if kind == "only":
        assert len(group) == 1
        return group
    if kind == "size":
        areas = [(boxes[k][2] - boxes[k][0]) * (boxes[k][3] - boxes[k][1]) for k in group]
        ends = sorted(areas, reverse=words["end"] == "largest")[:2]
        assert max(ends) >= 2 * min(ends)
        return [group[areas.index(ends[0])]]
    if kind in ("relation", "relations"):
        (anchor,) = [k for k, label in enumerate(labels) if label == words["anchor"]]
        measure = FROM[TOWARDS[words["words"]]]
        by_centre = [k for k in group if measure(boxes[k])[0] < measure(boxes[anchor])[0]]
        wholly = [k for k in group if measure(boxes[k])[2] <= measure(boxes[anchor])[1]]
        assert by_centre == wholly
        assert (len(wholly) > 1) == (kind == "relations")
        return wholly
    place = ORDINALS[words["ordinal"]] if kind == "ordinal" else 0
    orders = [sorted(group, key=lambda k, by=by: FROM[words["side"]](boxes[k])[by])[place] for by in range(3)]
    centres = sorted(FROM[words["side"]](boxes[k])[0] for k in group)
    margin = (400 if words["side"] in ("left", "right") else 300) / 20
    neighbours = [b - a for a, b in itertools.pairwise(centres)]
    assert min(neighbours[max(place - 1, 0) : place + 1]) >= margin
    assert len(set(orders)) == 1
    return [orders[0]]


def check(boxes, labels) -> list[str]:
    """The kinds of expressions that are found, each of which names exactly its objects."""
    found = find_references(boxes, labels, SIZE)
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert is_named(one.kind, one.text, boxes, labels) == list(one.objects), one
        if {"cat", "black cat"} <= set(labels):
            assert "cat" not in one.text
    return [one.kind for one in found]


@st.composite
def scenes(draw):
    boxes, labels = [], []
    for _ in range(draw(st.integers(0, 9))):
        width, height = draw(st.integers(4, 120)), draw(st.integers(4, 120))
        x, y = draw(st.integers(0, 400 - width)), draw(st.integers(0, 300 - height))
        boxes.append((float(x), float(y), float(x + width), float(y + height)))
        labels.append(draw(st.sampled_from(("apple", "red cup", "dog", "cat", "black cat"))))
    return boxes, labels


@given(scenes())
def test_an_expression_names_exactly_its_objects(scene) -> None:
    check(*scene)


def test_expressions_of_all_kinds_in_scenes_at_random() -> None:
    rng, kinds = random.Random(0), Counter()
    for _ in range(1000):
        places = [
            (rng.uniform(0, 320), rng.uniform(0, 220), rng.uniform(10, 80)) for _ in range(rng.randint(1, 8))
        ]
        labels = rng.choices(("apple", "red cup", "dog", "cat"), k=len(places))
        kinds.update(check([box(*place) for place in places], labels))
    assert set(kinds) == set(FORMS)
    assert min(kinds.values()) > 300


@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_objects_does_not_matter(scene, rng) -> None:
    boxes, labels = scene
    order = rng.sample(range(len(boxes)), len(boxes))
    shuffled = find_references([boxes[k] for k in order], [labels[k] for k in order], SIZE)
    assert {(one.text, frozenset(order[k] for k in one.objects)) for one in shuffled} == {
        (one.text, frozenset(one.objects)) for one in find_references(boxes, labels, SIZE)
    }


def box(x: float, y: float, side: float = 20):
    return (x, y, x + side, y + side)


def texts(boxes, labels, kind: str):
    return {one.text: one.objects for one in find_references(boxes, labels, SIZE) if one.kind == kind}


def test_places_in_a_row() -> None:
    boxes, labels = [box(200, 100), box(0, 100), box(100, 100)], ["cat"] * 3
    assert texts(boxes, labels, "extreme") == {"the leftmost cat": (1,), "the rightmost cat": (0,)}
    assert texts(boxes, labels, "ordinal") == {
        "the second cat from the left": (2,),
        "the third cat from the left": (0,),
        "the second cat from the right": (2,),
        "the third cat from the right": (1,),
    }


def test_the_margin_of_an_order() -> None:
    # a twentieth of 400 is 20
    assert clear_order([box(100, 0), box(120, 0)], "left", SIZE) == [0, 1]
    assert clear_order([box(100, 0), box(119, 0)], "left", SIZE) == []
    assert clear_order([box(0, 100), box(0, 115)], "top", SIZE) == [0, 1]
    assert clear_order([box(0, 100), box(0, 114)], "bottom", SIZE) == []


def test_the_wider_of_two_may_be_both_first_and_last() -> None:
    around, within = (100, 0, 300, 20), (220, 0, 280, 20)
    assert clear_order([around, within], "left", SIZE) == []
    assert clear_order([around, within], "right", SIZE) == []


def test_an_order_is_clear_up_to_the_first_doubt() -> None:
    boxes = [box(0, 0), box(100, 0), box(105, 0), box(300, 0)]
    assert clear_order(boxes, "left", SIZE) == [0]
    assert clear_order(boxes, "right", SIZE) == [3]


@pytest.mark.parametrize(
    ("one", "side", "truth"),
    [
        (box(130, 150), "left", True),
        (box(131, 150), "left", None),  # overlaps it by a pixel
        (box(149, 150), "left", None),
        (box(150, 150), "left", False),  # right before it
        (box(300, 150), "left", False),
        (box(100, 200), "left", True),
        (box(100, 201), "left", None),  # rather below it
        (box(100, 201), "bottom", True),
        (box(150, 10), "top", True),
        (box(150, 10), "bottom", False),
        (box(300, 150), "right", True),
    ],
)
def test_sides_of_another(one, side: str, truth) -> None:
    assert is_towards(one, box(150, 150), side, SIZE) is truth


def test_the_margin_of_a_side() -> None:
    small, other = (135, 150, 139, 154), (139, 150, 143, 154)
    assert is_towards(small, other, "left", SIZE) is None
    assert is_towards((119, 150, 123, 154), other, "left", SIZE) is True


def test_one_and_several_beside_another() -> None:
    boxes = [box(0, 100), box(50, 100), box(150, 100), box(250, 100)]
    labels = ["apple", "apple", "dog", "apple"]
    assert texts(boxes, labels, "relation")["the apple to the right of the dog"] == (3,)
    assert texts(boxes, labels, "relations") == {"every apple to the left of the dog": (0, 1)}


def test_doubt_about_one_leaves_the_expression_out() -> None:
    boxes = [box(0, 100), box(140, 100), box(150, 100)]
    labels = ["apple", "apple", "dog"]
    assert not any("left of the dog" in text for text in texts(boxes, labels, "relation"))


def test_another_of_two_is_no_anchor() -> None:
    boxes, labels = [box(0, 100), box(150, 100), box(250, 100)], ["apple", "dog", "dog"]
    found = find_references(boxes, labels, SIZE)
    assert not any(one.text.endswith("the dog") for one in found)
    assert texts(boxes, labels, "relations") == {"every dog to the right of the apple": (1, 2)}


@pytest.mark.parametrize(
    ("side", "expected"), [(28, {}), (29, {"the largest cat": (1,), "the smallest cat": (0,)})]
)
def test_the_largest_has_twice_the_area(side: float, expected) -> None:
    boxes = [box(0, 0), box(100, 0, side)]  # 400, and 784 or 841 square pixels
    assert texts(boxes, ["cat", "cat"], "size") == expected


def test_the_largest_of_three_alone() -> None:
    boxes = [box(0, 0), box(100, 0), box(200, 0, 90)]
    assert texts(boxes, ["cat"] * 3, "size") == {"the largest cat": (2,)}


def test_nothing_to_refer_to() -> None:
    assert find_references([], [], SIZE) == []


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("apple", "red apple", True),
        ("red apple", "apple", True),
        ("apple", "apple fuji", True),
        ("Cat", "cat", True),
        ("cat", "cat", False),
        ("cat", "caterpillar", False),
        ("red circle", "green circle", False),
    ],
)
def test_names_that_are_mistakable(name: str, other: str, expected: bool) -> None:
    assert is_mistakable(name, other) is expected


def test_names_that_only_one_thing_has() -> None:
    assert unmistakable(["red apple", "dog", "apple", "cat", "dog"]) == ["cat", "dog"]


def test_two_that_reach_the_edge_are_not_in_order_from_it() -> None:
    boxes = [(0, 0, 40, 20), (0, 100, 200, 120)]
    assert clear_order(boxes, "left", SIZE) == clear_order(boxes, "right", SIZE) == []
