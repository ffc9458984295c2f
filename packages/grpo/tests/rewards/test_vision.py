import random
import sys
from pathlib import Path

import pytest
import torch

from vision_r1_data import Frame, Objects, Sample, get_dialect
from vision_r1_grpo import Refinement, Target, VisionReward

sys.path.insert(0, str(Path(__file__).parent))
from reward_cases import answer, score, target

CAT, DOG = ((0, 0, 40, 40), "cat"), ((50, 50, 90, 90), "dog")
PRESETS = pytest.mark.parametrize("preset", ["strict", "paper"])


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


def test_total_is_the_weighted_sum_of_the_parts():
    scored = score("strict", [answer(CAT)], target(CAT, DOG))
    assert scored.total.item() == pytest.approx(1 + 2 * scored.parts["f_measure"].item())


def test_weights_replace_those_of_the_preset():
    scored = score("paper", [answer(CAT)], target(CAT), weights={"format": 0.0, "recall": 5.0})
    assert scored.total.item() == 6
    assert {name: part.item() for name, part in scored.parts.items()} == {
        "format": 1.0,
        "recall": 1.0,
        "precision": 1.0,
    }


def test_unknown_names_are_said():
    with pytest.raises(ValueError, match=r"unknown reward preset 'lenient'; known are strict, paper"):
        VisionReward.from_preset("lenient", "qwen2_5_vl")
    with pytest.raises(ValueError, match="unknown dialect 'morse'; known are qwen2_5_vl"):
        VisionReward.from_preset("strict", "morse")
    with pytest.raises(ValueError, match=r"'strict' has no part 'recall'; its parts are format, f_measure"):
        VisionReward.from_preset("strict", "qwen2_5_vl", weights={"recall": 2.0})


def test_every_completion_needs_its_target():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        score("strict", [answer(CAT), answer(CAT)], [target(CAT)])


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


def test_crowds_are_no_targets():
    objects = Objects((CAT[0], DOG[0]), ("cat", "dog"), (True, False))
    sample = Sample("1", Path("1.png"), 100, 100, categories=("cat", "dog"), objects=objects)
    truth = Target.of(sample, Frame(100, 100, 112, 112))
    assert (truth.boxes, truth.labels) == ((DOG[0],), ("dog",))
    assert truth.categories == ("cat", "dog")
    assert truth.frame.model_width == 112


def test_the_dialect_that_scores_is_the_one_that_asks():
    assert VisionReward.from_preset("strict", "qwen2_5_vl").dialect is get_dialect("qwen2_5_vl")
