"""What is particular to each family: its own texts, and boxes that were computed by hand."""

import random
from pathlib import Path

import pytest

from vision_r1_data import Answer, Box, Frame, Objects, Sample, get_dialect, list_dialects
from vision_r1_data.dialects.space import Space
from vision_r1_data.prompts import Form

FRAME = Frame(width=1000, height=500, model_width=2000, model_height=250)
_REF, _BOX = "<|object_ref_start|>{}<|object_ref_end|>", "<|box_start|>{}<|box_end|>"

# dialect -> form, text, labels, boxes in original pixels
TEXTS: dict[str, tuple[Form, str, tuple[str, ...], tuple[tuple[float, ...], ...]]] = {
    "qwen2_vl": (
        "boxes",
        _REF.format("dog") + _BOX.format("(176,106),(232,160)"),
        ("dog",),
        ((176, 53, 232, 80),),
    ),
    "qwen2_5_vl": (
        "boxes",
        '```json\n[\n\t{"bbox_2d": [38, 95, 113, 164], "label": "chair"}\n]\n```',
        ("chair",),
        ((19, 190, 56.5, 328),),
    ),
    "qwen3_vl": (
        "points",
        '```json\n[\n\t{"point_2d": [925, 618], "label": "cup"}\n]\n```',
        ("cup",),
        ((925, 309, 925, 309),),
    ),
    "gemini": (
        "boxes",
        '```json\n[\n\t{"box_2d": [125, 250, 500, 750], "label": "cat"}\n]\n```',
        ("cat",),
        ((250, 62.5, 750, 250),),
    ),
    "internvl": (
        "boxes",
        "<ref>cat</ref><box>[[100, 200, 300, 400], [0, 0, 1000, 1000]]</box>",
        ("cat", "cat"),
        ((100, 100, 300, 200), (0, 0, 1000, 500)),
    ),
    "griffon": (
        "boxes",
        "person-[0.001,0.345,0.111,0.678]&dog-[0.250,0.500,0.750,1.000]",
        ("person", "dog"),
        ((1, 172.5, 111, 339), (250, 250, 750, 500)),
    ),
    "ferret": (
        "boxes",
        "a cat [120, 200, 450, 800]. a St. Bernard [0, 0, 500, 1000].",
        ("a cat", "a St. Bernard"),
        ((120, 100, 450, 400), (0, 0, 500, 500)),
    ),
    "shikra": (  # of a square of 1000, in which the image lies between 250 and 750
        "boxes",
        "[0.100,0.250,0.300,0.400;0.500,0.600,0.700,0.750]",
        ("", ""),
        ((100, 0, 300, 150), (500, 350, 700, 500)),
    ),
    "llava": ("boxes", "[0.10, 0.20, 0.30, 0.40]", ("",), ((100, 100, 300, 200),)),
    "kosmos2": (
        "boxes",
        "<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>",
        ("a fire",),
        ((171.875, 7.8125, 484.375, 445.3125),),
    ),
    "paligemma": (
        "boxes",
        "<loc0256><loc0128><loc0768><loc0512> cat ; <loc0000><loc0000><loc0512><loc0512> a dog",
        ("cat", "a dog"),
        ((125, 125, 500, 375), (0, 0, 500, 250)),
    ),
    "florence2": (
        "boxes",
        "car<loc_52><loc_332><loc_932><loc_774>door<loc_0><loc_0><loc_499><loc_999>",
        ("car", "door"),
        ((52.5, 166.25, 932.5, 387.25), (0.5, 0.25, 499.5, 499.75)),
    ),
    "deepseek_vl2": (
        "boxes",
        "<|ref|>giraffe<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>",
        ("giraffe",),
        ((580 / 0.999, 135 / 0.999, 1000, 450 / 0.999),),
    ),
    "minicpm_v": ("boxes", "<ref>book</ref><box>10 20 300 400</box>", ("book",), ((10, 10, 300, 200),)),
    "glm_v": (
        "boxes",
        "<|begin_of_box|>[[100, 200, 300, 400], [0, 0, 1000, 1000]]<|end_of_box|>",
        ("", ""),
        ((100, 100, 300, 200), (0, 0, 1000, 500)),
    ),
    "molmo": (
        "points",
        '<point x="61.5" y="40.4" alt="dog">dog</point> '
        '<points x1="0.0" y1="50.0" x2="100.0" y2="100.0" alt="a cat">a cat</points>',
        ("dog", "a cat", "a cat"),
        ((615, 202, 615, 202), (0, 250, 0, 250), (1000, 500, 1000, 500)),
    ),
    "molmo2": (
        "points",
        '<points coords="1 1 900 400 2 911 800">dog</points>',
        ("dog", "dog"),
        ((900, 200, 900, 200), (911, 400, 911, 400)),
    ),
    "rex_omni": (
        "boxes",
        _REF.format("dog")
        + _BOX.format("<0><35><980><987>, <646><0><999><940>")
        + ", "
        + _REF.format("cat")
        + _BOX.format("<0><0><999><999>"),
        ("dog", "dog", "cat"),
        (
            (0, 17.5 / 0.999, 980 / 0.999, 493.5 / 0.999),
            (646 / 0.999, 0, 1000, 470 / 0.999),
            (0, 0, 1000, 500),
        ),
    ),
}


def read(name: str, text: str, form: Form = "boxes", categories: tuple[str, ...] = ()) -> Answer:
    return get_dialect(name).decode(text, FRAME, form, categories)


def test_every_dialect_has_its_text() -> None:
    assert tuple(sorted(TEXTS)) == list_dialects()


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_a_family(name: str) -> None:
    form, text, labels, boxes = TEXTS[name]
    answer = read(name, text, form)
    assert answer.problems == ()
    assert answer.well_formed
    assert answer.labels == labels
    assert answer.boxes == tuple(pytest.approx(box) for box in boxes)
    assert get_dialect(name).encode(Objects(answer.boxes, labels), FRAME, form) == text


# Labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("minicpm_v", "<box>10 20 300 400</box>"),
        ("internvl", "<box>[[100, 200, 300, 400]]</box>"),
        ("kosmos2", "<object><patch_index_0005><patch_index_0911></object>"),
        ("florence2", "<loc_52><loc_332><loc_932><loc_774>"),
    ],
)
def test_a_label_that_is_left_out_is_the_one_that_was_asked_for(name: str, text: str) -> None:
    answer = read(name, text, categories=("book",))
    assert (answer.labels, answer.problems) == (("book",), ())
    answer = read(name, text, categories=("book", "cup"))
    assert (answer.labels, answer.problems) == (("",), ("no_label", "unknown_label"))
    assert (read(name, text).labels, read(name, text).problems) == (("",), ("no_label",))


@pytest.mark.parametrize("name", ["shikra", "llava", "glm_v"])
def test_a_family_without_labels_says_so(name: str) -> None:
    text = TEXTS[name][1]
    assert not get_dialect(name).names_labels
    assert set(read(name, text, categories=("book",)).labels) == {"book"}
    several = read(name, text, categories=("book", "cup"))
    assert (set(several.labels), several.problems, several.well_formed) == ({""}, ("unknown_label",), True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("internvl", "a</ref>b"),
        ("qwen2_vl", "<|box_start|>"),
        ("griffon", "a-[b"),
        ("griffon", "&a"),
        ("griffon", "two\nlines"),
        ("ferret", "[a]"),
        ("ferret", "a."),
        ("florence2", "a<b"),
        ("paligemma", "a;b"),
        ("molmo", 'a "b"'),
        ("molmo2", "<b>"),
        ("deepseek_vl2", " a"),
    ],
)
def test_a_label_that_cannot_be_written_is_refused_in_one_line(name: str, label: str) -> None:
    dialect = get_dialect(name)
    with pytest.raises(ValueError, match=f"dialect '{name}' cannot write the label .*; rename it") as caught:
        dialect.encode(Objects(((0, 0, 100, 100),), (label,)), FRAME, dialect.forms[0])
    assert "\n" not in str(caught.value)


# Variants and faults

FAULTS = {
    "a separator is missing": ("griffon", "a-[0,0,1,1] b-[0,0,1,1]", ("a", "b"), {"no_separator"}),
    "words around": ("griffon", "I see:\na-[0,0,1,1]\nDone.", ("a",), {"extra_text"}),
    "something is to follow": ("griffon", "a-[0,0,1,1]&", ("a",), {"truncated"}),
    "a label is begun": ("griffon", "a-[0,0,1,1]&b", ("a",), {"truncated"}),
    "three numbers": ("griffon", "a-[0,0,1]&b-[0,0,1,1]", ("b",), {"bad_number"}),
    "five numbers": ("griffon", "a-[0,0,1,1,1]&b-[0,0,1,1]", ("b",), {"bad_number"}),
    "no number": ("griffon", "a-[0,0,1,one]&b-[0,0,1,1]", ("b",), {"bad_number"}),
    "None of Griffon": ("griffon", "None", (), set()),
    "words of no form": ("griffon", "There is no cat.", (), {"no_boxes"}),
    "a full stop is missing": ("ferret", "a [0, 0, 9, 9]", ("a",), {"truncated"}),
    "white space": ("internvl", " <ref> a </ref>\n<box> [ [0,0,  9,9] ]</box> \n", ("a",), set()),
    "one bracket": ("internvl", "<ref>a</ref><box>[0, 0, 9, 9]</box>", ("a",), {"bad_number"}),
    "one bad box of two": (
        "internvl",
        "<ref>a</ref><box>[[0, 0, 9], [0, 0, 9, 9]]</box>",
        ("a",),
        {"bad_number"},
    ),
    "an empty list": ("internvl", "<ref>a</ref><box>[]</box>", (), {"bad_number"}),
    "an open tag within": (
        "internvl",
        "<ref>a</ref><box>[[0, 0, 9, 9]<ref>b</ref><box>[[0, 0, 9, 9]]</box>",
        ("b",),
        {"bad_item", "extra_text"},
    ),
    "a cut in the marks": ("internvl", "<ref>a</ref><box>[[0, 0, 9, 9]]</bo", ("a",), {"truncated"}),
    "a cut after a label": (
        "internvl",
        "<ref>a</ref><box>[[0, 0, 9, 9]]</box><ref>b</ref>",
        ("a",),
        {"truncated"},
    ),
    "only a label": ("internvl", "<ref>a</ref>", (), {"no_boxes", "truncated"}),
    "a cut in a number": ("minicpm_v", "<ref>a</ref><box>0 0 9 9", (), {"truncated"}),
    "commas for spaces": ("minicpm_v", "<ref>a</ref><box>0, 0, 9, 9</box>", (), {"bad_number"}),
    "no box of this category": (
        "rex_omni",
        _REF.format("a") + _BOX.format("None") + ", " + _REF.format("b") + _BOX.format("<0><0><9><9>"),
        ("b",),
        set(),
    ),
    "a point for a box": ("rex_omni", _REF.format("a") + _BOX.format("<0><0>"), (), {"bad_number"}),
    "no marks": ("glm_v", "[[0, 0, 9, 9], [1, 1, 9, 9]]", ("", ""), set()),
    "no marks and a cut": ("glm_v", "[[0, 0, 9, 9], [1, 1, 9", ("",), {"truncated"}),
    "one pair of brackets": ("glm_v", "<|begin_of_box|>[0, 0, 9, 9]<|end_of_box|>", ("",), set()),
    "round brackets": ("glm_v", "<|begin_of_box|>((0, 0, 9, 9))<|end_of_box|>", ("",), set()),
    "angles": ("glm_v", "<|begin_of_box|><0, 0, 9, 9><|end_of_box|>", ("",), set()),
    "words before the marks": (
        "glm_v",
        "It is <|begin_of_box|>[[0, 0, 9, 9]]<|end_of_box|>.",
        ("",),
        {"extra_text"},
    ),
    "a caption": (
        "kosmos2",
        "An image of<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>.",
        ("a fire",),
        {"extra_text"},
    ),
    "cells that are not there": (
        "kosmos2",
        "<phrase> a</phrase><object><patch_index_0005><patch_index_1024></object>",
        ("a",),
        {"out_of_bounds", "swapped_corners"},
    ),
    "a box in the padding": ("shikra", "[0.100,0.249,0.300,0.400]", ("",), {"out_of_bounds"}),
    "an empty label": ("internvl", "<ref></ref><box>[[0, 0, 9, 9]]</box>", ("",), {"no_label"}),
    "three locations": (
        "florence2",
        "a<loc_0><loc_0><loc_9>b<loc_0><loc_0><loc_9><loc_9>",
        ("b",),
        {"bad_number"},
    ),
    "three locations and a cut": ("florence2", "a<loc_0><loc_0><loc_9><loc_9><loc_1>", ("a",), {"truncated"}),
    "a bin that is not there": ("florence2", "a<loc_0><loc_0><loc_9><loc_1000>", ("a",), {"out_of_bounds"}),
    "words that stand apart": ("florence2", "a<loc_0><loc_0><loc_9><loc_9> Done", ("a",), {"extra_text"}),
    "no semicolon": (
        "paligemma",
        "<loc0000><loc0000><loc0009><loc0009> a <loc0000><loc0000><loc0009><loc0009> b",
        ("a", "b"),
        {"no_separator"},
    ),
    "a label to come": (
        "paligemma",
        "<loc0000><loc0000><loc0009><loc0009>",
        ("",),
        {"truncated", "no_label"},
    ),
}


@pytest.mark.parametrize(("name", "text", "labels", "problems"), FAULTS.values(), ids=FAULTS)
def test_variants_and_faults(name: str, text: str, labels: tuple[str, ...], problems: set[str]) -> None:
    answer = read(name, text)
    assert set(answer.problems) == problems
    assert answer.labels == labels
    assert answer.well_formed == (not problems)


POINTS = {
    "one in the plural": ("molmo", '<points x1="10" y1="20" alt="a">a</points>', ("a",), set()),
    "no alt": ("molmo", '<point x="10" y="20">a</point>', ("a",), set()),
    "a pair that is none": (
        "molmo",
        '<points x1="1" y1="2" x2="3" y3="4" alt="a">a</points>',
        ("a",),
        {"bad_number"},
    ),
    "cut in the points": ("molmo", '<points x1="1" y1="2" x2="3', ("",), {"truncated"}),
    "cut in the label": ("molmo", '<points x1="1" y1="2" x2="3" y2="4" alt="a">a', ("", ""), {"truncated"}),
    "cut in the end": ("molmo", '<point x="1" y="2" alt="a">a</poi', ("a",), {"truncated"}),
    "not closed": (
        "molmo",
        '<point x="1" y="2" alt="a">a <point x="1" y="2" alt="b">b</point>',
        ("b",),
        {"bad_item"},
    ),
    "words": (
        "molmo",
        'Counting the <point x="1" y="2" alt="a">a</point> shows a total of 1.',
        ("a",),
        {"extra_text"},
    ),
    "beyond": ("molmo", '<point x="101" y="2" alt="a">a</point>', ("a",), {"out_of_bounds"}),
    "none": ("molmo", "There are none.", (), set()),
    "with alt": ("molmo2", '<points alt="a" coords="1 1 100 200">a</points>', ("a",), set()),
    "one number too many": ("molmo2", '<points coords="1 1 100 200 2">a</points>', ("a",), {"bad_number"}),
    "no numbers": ("molmo2", '<points coords="">a</points>', (), {"bad_number"}),
    "cut in a number": ("molmo2", '<points coords="1 1 100 200 2 300 40', ("",), {"truncated"}),
}


@pytest.mark.parametrize(("name", "text", "labels", "problems"), POINTS.values(), ids=POINTS)
def test_points(name: str, text: str, labels: tuple[str, ...], problems: set[str]) -> None:
    answer = read(name, text, "points")
    assert set(answer.problems) == problems
    assert answer.labels == labels


def test_points_and_texts_of_families_that_write_boxes_too() -> None:
    cat = Objects(((100, 100, 301, 200),), ("cat",))
    point = get_dialect("rex_omni").encode(cat, FRAME, "points")
    assert point == _REF.format("cat") + _BOX.format("<200><300>")
    assert read("rex_omni", point, "points").boxes == (pytest.approx((200 / 0.999, 150 / 0.999) * 2),)
    assert '{"point": [300, 201], "label": "cat"}' in get_dialect("gemini").encode(cat, FRAME, "points")
    assert get_dialect("minicpm_v").encode(cat, FRAME, "texts") == "<ref>cat</ref><box>100 200 301 400</box>"


# Spaces


def test_the_square_of_a_tall_image_has_it_in_the_middle() -> None:
    tall = Frame(201, 400, 336, 336)  # 99 pixels to the left of it, 100 to the right
    dialect = get_dialect("shikra")
    text = dialect.encode(Objects(((1, 40, 101, 200),), ("",)), tall)
    assert text == "[0.250,0.100,0.500,0.500]"
    assert dialect.decode(text, tall).boxes == ((1, 40, 101, 200),)


def test_there_is_no_token_for_the_edge_itself() -> None:
    edges = Objects(((500, 250, 1000, 500),), ("a",))
    assert get_dialect("paligemma").encode(edges, FRAME) == "<loc0512><loc0512><loc1023><loc1023> a"
    assert get_dialect("florence2").encode(edges, FRAME) == "a<loc_500><loc_500><loc_999><loc_999>"


@pytest.mark.parametrize("name", ["florence2", "paligemma", "rex_omni", "kosmos2", "internvl", "shikra"])
@pytest.mark.parametrize("box", [(500, 250, 1100, 500), (500, 250, 1000, 600), (-100, 250, 1000, 500)])
def test_a_box_beyond_the_image_is_not_written_as_one_within(name: str, box: Box) -> None:
    answer = read(name, get_dialect(name).encode(Objects((box,), ("a",)), FRAME))
    assert not answer.well_formed


def test_boxes_of_kosmos_are_those_of_transformers() -> None:
    theirs = pytest.importorskip("transformers.models.kosmos2.processing_kosmos2")
    rng = random.Random(0)
    for _ in range(2000):
        x1, y1 = rng.uniform(0, 0.99), rng.uniform(0, 0.99)
        box = (x1, y1, rng.uniform(x1 + 1e-3, 1), rng.uniform(y1 + 1e-3, 1))  # often within one row or column
        first, last = theirs.coordinate_to_patch_index(box, 32)
        scaled = (box[0] * 1000, box[1] * 500, box[2] * 1000, box[3] * 500)
        text = get_dialect("kosmos2").encode(Objects((scaled,), ("a",)), FRAME)
        assert (
            text == f"<phrase> a</phrase><object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
        )
        back = theirs.patch_index_to_coordinate(first, last, 32)
        answer = read("kosmos2", text)
        assert answer.well_formed
        assert answer.boxes == (
            pytest.approx((back[0] * 1000, back[1] * 500, back[2] * 1000, back[3] * 500)),
        )


def test_a_space_is_a_value_that_can_be_changed() -> None:
    thousandths = Space(scale=1000)
    assert thousandths.write((500, 250), FRAME) == ["500", "500"]
    assert Space(scale=1000, yx=True, digits=4).write((500, 125), FRAME) == ["0250", "0500"]
    assert Space(scale=1000, square=True).write((500, 0), FRAME) == ["500", "250"]
    assert Space(scale=100, decimals=1).write((1.5, 0), FRAME) == ["0.2", "0.0"]
    assert Space(scale=10, last=9, centre=True).boxes([(0, 0, 9, 9)], FRAME) == ((50, 25, 950, 475),)


# Questions


@pytest.mark.parametrize(
    ("name", "task", "labels", "question"),
    [
        ("paligemma", "detection", ("cat", "red dog"), "detect cat ; red dog"),
        ("florence2", "detection", ("cat",), "Locate cat in the image."),
        ("internvl", "rec", ("the left cat",), "region this sentence describes: <ref>the left cat</ref>"),
        ("rex_omni", "detection", ("cat", "dog"), "Detect cat, dog. Output the bounding box coordinates in"),
        ("rex_omni", "pointing", ("cat",), "Point to cat."),
        ("molmo", "pointing", ("cat",), "Point to cat."),
        ("kosmos2", "rec", ("a fire",), "<grounding><phrase> a fire</phrase>"),
        ("deepseek_vl2", "rec", ("The giraffe",), "<|ref|>The giraffe<|/ref|>."),
        ("griffon", "detection", ("cat", "dog"), "The category set includes cat, dog. The output format"),
        ("shikra", "rec", ("a cat",), "Where is a cat in the image? answer in [x0,y0,x1,y1] format."),
        (
            "qwen3_vl",
            "detection",
            ("cat",),
            "Locate every cat in the image and output the coordinates in JSON",
        ),
    ],
)
def test_questions_are_in_the_words_of_the_family(
    name: str, task: str, labels: tuple[str, ...], question: str
) -> None:
    sample = Sample("1", Path("1.png"), 1000, 500, task=task, categories=labels)
    assert question in get_dialect(name).prompt(sample)[0]["content"][1]["text"]
