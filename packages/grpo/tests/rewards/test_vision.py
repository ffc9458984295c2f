import random
import re
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data import Frame, Objects, Sample, get_dialect
from vision_r1_grpo import Refinement, Target, VisionReward
from vision_r1_ops import Thresholds

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import answer, score, target

CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")
PRESETS = pytest.mark.parametrize("preset", ["strict", "paper", "released"])
ADAPTIVE = {"released": {"adaptive": True}}


def random_cases(count):
    """Answers and truths of 0 to 6 objects, some of them unreadable."""
    rng = random.Random(0)

    def objects():
        boxes = [(rng.randint(0, 40), rng.randint(0, 40)) for _ in range(rng.randint(0, 6))]
        return [
            ((x, y, x + rng.randint(20, 50), y + rng.randint(20, 50)), rng.choice("ab")) for x, y in boxes
        ]

    truths = [objects() for _ in range(count)]
    texts = [answer(*(truth if rng.random() < 0.5 else objects())) for truth in truths]
    return [text[: rng.choice([len(text), len(text), 30])] for text in texts], [target(*t) for t in truths]


@PRESETS
def test_batched_equals_single_whatever_the_padding(preset):
    completions, targets = random_cases(40)
    batch = score(preset, completions, targets)
    assert len(set(batch.total.tolist())) > 3
    for n in range(len(completions)):
        alone = score(preset, completions[n : n + 1], targets[n : n + 1])
        assert alone.total.item() == pytest.approx(batch.total[n].item())
        for name, part in batch.parts.items():
            assert alone.parts[name].item() == pytest.approx(part[n].item()), name


@PRESETS
def test_order_of_the_batch_changes_nothing(preset):
    completions, targets = random_cases(20)
    forward = score(preset, completions, targets).total
    assert torch.equal(score(preset, completions[::-1], targets[::-1]).total.flip(0), forward)


@PRESETS
def test_order_of_the_objects_changes_nothing(preset):
    both = [answer(CAT, DOG, ((0, 60, 20, 80), "cat")), answer(((0, 60, 20, 80), "cat"), DOG, CAT)]
    forth, back = score(preset, both, target(CAT, DOG)).total.tolist()
    assert forth == back == pytest.approx(score(preset, both[:1], target(DOG, CAT)).total.item())


@PRESETS
def test_no_completions(preset):
    scored = score(preset, [], [])
    assert scored.total.shape == (0,)
    assert {part.shape for part in scored.parts.values()} == {(0,)}
    assert scored.answers == ()


@PRESETS
def test_labels_that_only_one_side_knows(preset):
    scored = score(preset, [answer(((0, 0, 40, 40), "zebra"))], target(CAT))
    assert scored.answers[0].labels == ("zebra",)
    assert scored.parts["format"].item() == 1
    assert scored.total.item() == (1 if preset == "strict" else 3)
    assert scored.matched.tolist() == [1]


def test_total_is_the_weighted_sum_of_the_parts():
    scored = score("strict", [answer(CAT)], target(CAT, DOG))
    assert scored.total.item() == pytest.approx(1 + 2 * scored.parts["f_measure"].item())


@PRESETS
@given(st.data())
def test_a_part_of_any_preset_can_weigh_anything_and_is_there_all_the_same(preset, data):
    completions, targets = random_cases(8)
    plain = score(preset, completions, targets)
    weights = data.draw(st.fixed_dictionaries({}, optional={name: st.floats(-3, 3) for name in plain.parts}))
    scored = score(preset, completions, targets, weights=weights)
    assert all(torch.equal(part, scored.parts[name]) for name, part in plain.parts.items())
    expected = plain.total + sum(
        (weight - (2 if name == "f_measure" else 1)) * plain.parts[name] for name, weight in weights.items()
    )
    torch.testing.assert_close(scored.total, expected)


@PRESETS
def test_a_weight_of_zero_drops_a_part_from_the_total_only(preset):
    whole = score(preset, [answer(CAT)], target(CAT))
    scored = score(preset, [answer(CAT)], target(CAT), weights={"format": 0.0})
    assert scored.total.item() == whole.total.item() - 1
    assert scored.parts["format"].item() == 1


def test_unknown_names_are_said():
    with pytest.raises(ValueError, match=r"unknown reward preset 'lenient'; known are strict, paper"):
        VisionReward.from_preset("lenient", "qwen2_5_vl")
    with pytest.raises(ValueError, match=r"unknown dialect 'morse'; known are .*qwen2_5_vl"):
        VisionReward.from_preset("strict", "morse")


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        (
            "papers",
            {},
            "unknown reward preset 'papers'; known are strict, paper, released, grounding, rec, pointing, "
            "segmentation, ocr, counting; did you mean 'paper'?",
        ),
        (
            "strict",
            {"weights": {"recall": 2.0}},
            "'strict' has no part 'recall'; its parts are format, f_measure",
        ),
        ("strict", {"adaptive": True}, "'strict' has no option 'adaptive'; its options are none"),
        ("paper", {"denominators": "matched"}, "its options are denominator; did you mean 'denominator'?"),
        ("paper", {"denominator": "match"}, "predicted, matched; did you mean 'matched'?, got 'match'"),
        ("paper", {"denominator": True}, "option denominator must be one of predicted, matched, got True"),
        ("released", {"adaptive": "yes"}, "option adaptive must be true or false, got 'yes'"),
        (
            "paper",
            {"weights": {"format": float("nan")}},
            "weight of part 'format' must be a finite number, got nan",
        ),
        ("paper", {"weights": {"format": "2"}}, "weight of part 'format' must be a finite number, got '2'"),
        (
            "paper",
            {"added": {"short": "a.py:f"}},
            "'short' must be a function f(completions, targets), got 'a.py:f'",
        ),
        ("released", {"refinement": Refinement()}, "'released' has its own thresholds; leave refinement out"),
    ],
)
def test_what_a_preset_does_not_have_is_said_in_one_line(preset, settings, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        VisionReward.from_preset(preset, "qwen2_5_vl", **settings)
    assert "\n" not in str(caught.value)


def test_every_completion_needs_its_target():
    with pytest.raises(ValueError, match="must be lists of one length, got 2 and 1"):
        score("strict", [answer(CAT), answer(CAT)], [target(CAT)])
    with pytest.raises(ValueError, match="must be lists of one length, got one text"):
        VisionReward.from_preset("strict", "qwen2_5_vl")("x", [target(CAT)], progress=0.0)


@PRESETS
@pytest.mark.parametrize(
    "text",
    [answer(CAT), answer(CAT).removeprefix("```json\n"), answer(CAT, CAT), answer(CAT) + "!", "[]", ""],
)
def test_format_is_whether_the_answer_is_well_formed(preset, text):
    scored = score(preset, [text], target(CAT))
    assert scored.parts["format"].item() == float(scored.answers[0].well_formed)


def test_boxes_are_compared_in_original_pixels():
    frame = Frame(1000, 500, 100, 100)
    truth = Target(((0, 0, 400, 200),), ("cat",), ("cat",), frame)
    assert score("strict", [answer(CAT)], truth).total.item() == 3


def test_thresholds_follow_the_progress():
    refinement = Refinement.staged(0.5)
    loose = [answer(((0, 0, 40, 26), "cat"))]  # IoU .65
    early = score("strict", loose, target(CAT), progress=0.49, refinement=refinement)
    late = score("strict", loose, target(CAT), progress=0.5, refinement=refinement)
    assert early.parts["f_measure"].item() == pytest.approx(0.65)
    assert late.parts["f_measure"].item() == 0


def test_thresholds_can_be_given_in_place_of_progress():
    loose = [answer(((0, 0, 40, 26), "cat"))]  # IoU .65
    reward = VisionReward.from_preset("strict", "qwen2_5_vl")
    tight = reward(loose, [target(CAT)], thresholds=Thresholds(0.75, 0.75, 0.9))
    assert tight.parts["f_measure"].item() == 0
    for both in ({}, {"progress": 0.0, "thresholds": Thresholds(0.5, 0.5, 0.75)}):
        with pytest.raises(ValueError, match="give either progress or thresholds"):
            reward(loose, [target(CAT)], **both)


@PRESETS
def test_saturated_pairs_are_those_at_or_above_xi2(preset):
    """Two exact boxes, one at IoU .7, and one too many."""
    third = ((0, 50, 40, 90), "bird")
    answers = [answer(CAT, DOG, ((0, 50, 40, 78), "bird"), ((95, 0, 99, 4), "cat")), "no", answer(CAT)]
    scored = score(preset, answers, target(CAT, DOG, third), progress=0.0, **ADAPTIVE.get(preset, {}))
    assert scored.matched.tolist() == [3, 0, 1]
    assert scored.saturated.tolist() == [2, 0, 1]


def test_crowds_are_no_targets():
    objects = Objects((CAT[0], DOG[0]), ("cat", "dog"), (True, False))
    sample = Sample("1", Path("1.png"), 100, 100, categories=("cat", "dog"), objects=objects)
    truth = Target.of(sample, Frame(100, 100, 112, 112))
    assert (truth.boxes, truth.labels) == ((DOG[0],), ("dog",))
    assert truth.categories == ("cat", "dog")
    assert truth.frame.model_width == 112


def test_the_dialect_that_scores_is_the_one_that_asks():
    assert VisionReward.from_preset("strict", "qwen2_5_vl").dialect is get_dialect("qwen2_5_vl")


def shortness(completions, targets):
    assert len(completions) == len(targets)
    return [1 / (1 + len(text)) for text in completions]


def test_a_part_of_ones_own_is_added_weighed_and_logged():
    plain = score("strict", ["", answer(CAT)], target(CAT))
    scored = score("strict", ["", answer(CAT)], target(CAT), added={"shortness": shortness})
    assert scored.parts["shortness"][0] == 1
    assert torch.equal(scored.total, plain.total + scored.parts["shortness"])
    settings = {"added": {"shortness": shortness}, "weights": {"shortness": -2.0}}
    scored = score("strict", ["", answer(CAT)], target(CAT), **settings)
    assert torch.equal(scored.total, plain.total - 2 * scored.parts["shortness"])


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan")], [[1.0], [1.0]]])
def test_a_part_of_ones_own_must_score_every_completion(values):
    with pytest.raises(
        ValueError, match="part 'odd' must return one finite number for each of 2 completions"
    ):
        score("strict", ["", ""], target(CAT), added={"odd": lambda *_: values})


def test_a_part_of_ones_own_needs_a_name_of_its_own():
    with pytest.raises(ValueError, match="has a part 'format' of its own; give the added one another name"):
        score("strict", [""], target(CAT), added={"format": shortness})


@pytest.mark.parametrize("name", ["shikra", "llava", "glm_v"])
def test_a_dialect_without_labels_says_the_one_that_was_asked_for(name):
    box, frame = (0.0, 0.0, 50.0, 50.0), Frame(100, 100, 100, 100)
    text = get_dialect(name).encode(Objects((box,), ("cat",)), frame)
    reward = VisionReward.from_preset("strict", name)
    scored = reward([text], [Target((box,), ("cat",), ("cat",), frame)], progress=1.0)
    assert scored.parts["f_measure"].item() == 1
    other = Target((box,), ("cat",), ("cat", "dog"), frame)
    with pytest.raises(
        ValueError, match=f"'strict' compares labels and dialect '{name}' names none; ask for one"
    ):
        reward([text], [other], progress=1.0)
    for preset in ("paper", "rec"):
        assert VisionReward.from_preset(preset, name)([text], [other], progress=1.0).total.item() == 3
