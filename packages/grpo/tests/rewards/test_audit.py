import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1_data import Frame, get_dialect
from vision_r1_grpo import ConfigError, Target, VisionReward
from vision_r1_grpo.rewards.audit import audit, load_score
from vision_r1_grpo.rewards.audit.scenes import iou, random_scenes
from vision_r1_grpo.rewards.audit.suite import EXPLOITS

NAME = "qwen2_5_vl"
DIALECT = get_dialect(NAME)


@pytest.fixture(scope="module")
def scenes():
    return random_scenes(150, 7, DIALECT)


def read(text, scene):
    answer = DIALECT.decode(text, scene.target.frame)
    return list(zip(answer.boxes, answer.labels, strict=True))


def found(text, scene):
    """The objects that a box with their label hits at IoU .5."""
    said = read(text, scene)
    return [
        k
        for k, (true, own) in enumerate(scene.objects)
        if any(label == own and iou(box, true) >= 0.5 for box, label in said)
    ]


def verdicts(score, scenes=60, seed=0):
    return {
        finding.name: finding.verdict for finding in audit(score, NAME, scenes=scenes, seed=seed).findings
    }


def per_completion(function):
    """A reward from a function of what one completion says and its target."""
    return lambda completions, targets: [
        function(DIALECT.decode(text, target.frame), target)
        for text, target in zip(completions, targets, strict=True)
    ]


def overlaps(answer, target):
    """(M, K) IoU of every predicted and true box with the same label."""
    return [
        [
            iou(box, true) * (label == own)
            for true, own in zip(target.boxes, target.labels, strict=True)
        ]
        for box, label in zip(answer.boxes, answer.labels, strict=True)
    ]  # fmt: skip


# The scenes and the honest answers are what they are said to be.


def test_scenes_are_varied(scenes):
    counts = [len(scene.objects) for scene in scenes]
    assert min(counts) == 0
    assert max(counts) >= 10
    assert 0.05 < counts.count(0) / len(counts) < 0.3
    frames = [scene.target.frame for scene in scenes]
    assert len({(frame.width, frame.height) for frame in frames}) >= 5
    assert any(frame.width != frame.model_width for frame in frames)
    assert all(set(scene.target.categories) > set(scene.target.labels) for scene in scenes)


def test_scenes_depend_on_the_seed_alone(scenes):
    again = random_scenes(40, 7, DIALECT)
    assert [scene.target for scene in again] == [scene.target for scene in scenes[:40]]
    assert [scene.attempt for scene in again] == [scene.attempt for scene in scenes[:40]]
    assert [scene.target for scene in random_scenes(40, 8, DIALECT)] != [scene.target for scene in again]


def test_without_resizing_the_model_sees_the_original():
    for scene in random_scenes(20, 0, DIALECT, resize=False):
        frame = scene.target.frame
        assert (frame.width, frame.height) == (frame.model_width, frame.model_height)


def test_a_perfect_answer_is_perfect(scenes):
    for scene in scenes:
        said = read(scene.perfect, scene)
        assert DIALECT.decode(scene.perfect, scene.target.frame).well_formed
        assert [label for _, label in said] == list(scene.target.labels)
        assert all(iou(box, true) > 0.8 for (box, _), true in zip(said, scene.target.boxes, strict=True))


def test_an_honest_attempt_has_the_faults_it_is_said_to_have(scenes):
    for scene in scenes:
        count, said = len(scene.objects), read(scene.attempt, scene)
        missed, invented = (
            count - len(found(scene.attempt, scene)),
            len(said) - len(found(scene.attempt, scene)),
        )
        assert missed + invented == (count > 2)
        best = [max((iou(box, true) for true in scene.target.boxes), default=0) for box, _ in said]
        assert all(0.59 < overlap < 0.91 or overlap < 0.1 for overlap in best)


def test_every_exploit_does_something_on_some_scene(scenes):
    for exploit in EXPLOITS:
        pairs = [pair for scene in scenes if (pair := exploit.pair(scene)) is not None]
        assert pairs, exploit.name
        assert all(text != honest for text, honest in pairs), exploit.name
        assert exploit.does.endswith("."), exploit.name
    assert len({exploit.name for exploit in EXPLOITS}) == len(EXPLOITS)


def test_small_steps_change_what_they_say(scenes):
    exploits = {exploit.name: exploit for exploit in EXPLOITS}
    for scene in scenes:
        if pair := exploits["withholding a right box"].pair(scene):
            less, more = pair
            assert len(read(more, scene)) == len(read(less, scene)) + 1
            assert len(found(more, scene)) == len(found(less, scene)) + 1
        more, less = exploits["adding a wrong box"].pair(scene)
        assert len(read(more, scene)) == len(read(less, scene)) + 1
        assert found(more, scene) == found(less, scene)


# The presets.


def test_strict_has_no_hole():
    checked = audit(load_score("strict", NAME), NAME, scenes=600)
    assert checked.holes == ()
    assert not checked.blind
    assert {finding.verdict for finding in checked.findings} == {"loses", "holds"}
    assert len(checked.findings) == len(EXPLOITS)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), resize=st.booleans())
def test_strict_has_no_hole_on_any_scene(seed, resize):
    assert audit(load_score("strict", NAME), NAME, scenes=8, seed=seed, resize=resize).holes == ()


def test_paper_shows_its_holes():
    said = verdicts(load_score("paper", NAME), scenes=100)
    assert said["wrong labels"] == "wins"
    assert said["lookalike labels"] == "free"
    assert said["one sure box"] == "wins"
    assert said["withholding a right box"] == "wins"
    assert said["adding a wrong box"] == "wins"  # a wrong label
    assert said["junk boxes"] == said["duplicate boxes"] == said["silence"] == "loses"


# Toy rewards with faults that others' rewards have: the exploit that names the fault finds it.


def precision_of_matched(answer, target):
    matched = [max(row) for row in overlaps(answer, target) if max(row, default=0) >= 0.5]
    return sum(matched) / len(matched) if matched else 0.0


def recall_only(answer, target):
    columns = list(zip(*overlaps(answer, target), strict=True))
    return sum(max(column) >= 0.5 for column in columns) / max(len(target.boxes), 1)


def first_box(answer, target):
    rows = overlaps(answer, target)
    return max(rows[0], default=0.0) if rows else 0.0


def many_to_one(answer, target):
    """Each box and each truth counts its best partner, whoever else has it."""
    rows = overlaps(answer, target)
    columns = list(zip(*rows, strict=True))
    sides = [[max(line, default=0.0) for line in side] for side in (rows, columns)]
    return sum(sum(side) / len(side) for side in sides if side)


def silence_is_fine(answer, target):
    return 1.0 if not answer.boxes else recall_only(answer, target)


@pytest.mark.parametrize(
    ("reward", "holes", "sound"),
    [
        (precision_of_matched, ["one best box", "one sure box", "junk boxes"], ["wrong labels", "silence"]),
        (recall_only, ["junk boxes", "every label", "duplicate boxes"], ["one best box", "silence"]),
        (first_box, ["one best box", "one sure box", "junk boxes"], ["wrong labels", "whole image"]),
        (many_to_one, ["duplicate boxes"], ["junk boxes", "every label", "wrong labels", "silence"]),
        (silence_is_fine, ["silence", "no text"], ["wrong labels"]),
    ],
)
def test_a_known_fault_is_exposed(reward, holes, sound):
    checked = audit(per_completion(reward), NAME, scenes=60)
    names = {finding.name for finding in checked.holes}
    assert set(holes) <= names
    assert not set(sound) & names
    # None of these looks at the form, except that boxes must be read.
    assert {"extra text", "truncated", "two blocks"} <= names


# How findings are judged.


def test_a_constant_reward_is_blind_and_everything_is_free():
    checked = audit(lambda completions, _: [0.5] * len(completions), NAME, scenes=10)
    assert checked.blind
    assert {finding.verdict for finding in checked.findings} == {"free", "holds"}
    assert all(finding.at_least == 1 for finding in checked.findings)


def test_a_reward_that_does_not_scale_boxes_is_noticed():
    frame = Frame(9999, 9999, 9999, 9999)  # pixels stay what they are

    def score(completions, targets):
        return [
            sum(max(row, default=0.0) for row in overlaps(DIALECT.decode(text, frame), target))
            for text, target in zip(completions, targets, strict=True)
        ]

    assert audit(score, NAME, scenes=30).unscaled
    assert not audit(score, NAME, scenes=30, resize=False).unscaled
    assert not audit(load_score("strict", NAME), NAME, scenes=30).unscaled


def test_the_worst_scene_is_where_the_exploit_gains_most():
    score = load_score("paper", NAME)
    for finding in audit(score, NAME, scenes=40).findings:
        worst = finding.worst
        assert score([worst.exploit, worst.honest], [worst.target] * 2) == pytest.approx(
            [worst.exploit_score, worst.honest_score]
        )
        assert finding.hole == (worst.gain > -1e-5 and finding.verdict != "holds")
        assert 0 <= finding.at_least <= 1


def test_the_same_seed_gives_the_same_audit():
    score = load_score("paper", NAME)
    assert audit(score, NAME, scenes=20, seed=3) == audit(score, NAME, scenes=20, seed=3)
    assert audit(score, NAME, scenes=20, seed=3) != audit(score, NAME, scenes=20, seed=4)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        pytest.param(lambda c, _: [math.nan] * len(c), "one finite number for each text, got nan", id="nan"),
        pytest.param(lambda c, _: [0.0], "got 1 for", id="too few"),
        pytest.param(lambda c, _: [{}[text] for text in c], "'duplicate boxes' (KeyError", id="raises"),
        pytest.param(lambda c, _: ["good"] * len(c), "'duplicate boxes' (ValueError", id="no number"),
    ],
)
def test_a_reward_that_does_not_score(score, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        audit(score, NAME, scenes=10)
    assert "\n" not in str(caught.value)


def test_there_must_be_scenes():
    with pytest.raises(ValueError, match="scenes must be at least 1, got 0"):
        audit(load_score("strict", NAME), NAME, scenes=0)


# Rewards from elsewhere.

REWARDS = """
import json, re
from vision_r1_grpo import VisionReward

PRESET = VisionReward.from_preset("strict", "qwen2_5_vl", weights={"format": 0.0})
NUMBER = 3

def ours(completions, targets):
    return PRESET(completions, targets, progress=0.0).total

def as_trl(prompts, completions, solution, width, height, categories, **kwargs):
    assert len(prompts) == len(width) == len(height) == len(categories) == len(completions)
    scores = []
    for text, truth in zip(completions, solution):
        if not isinstance(text, str):
            (message,) = text
            assert message["role"] == "assistant"
            text = message["content"]
        boxes = [[float(x) for x in box.split(",")] for box in re.findall(r"\\[([\\d., ]+)\\]", text)]
        hits = [any(overlap(box, true) > 0.5 for box in boxes) for _, true in json.loads(truth)]
        scores.append(float(sum(hits)))
    return scores

def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)

def few_columns(completions, solution):
    return [float(len(text) > len(truth)) for text, truth in zip(completions, solution)]

def neither(texts, truths):
    return [0.0 for _ in texts]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS)
    return path


def test_a_function_of_our_signature(file):
    scene = random_scenes(1, 0, DIALECT)[0]
    assert load_score(f"{file}:ours", NAME)([scene.perfect], [scene.target]) == [2.0]


def test_a_reward_object(file):
    """It takes progress and returns a batch."""
    scene = random_scenes(1, 0, DIALECT)[0]
    assert load_score(f"{file}:PRESET", NAME)([scene.perfect], [scene.target]) == [2.0]


def test_a_module_of_the_present_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    file.rename(file.parent / "rewards_of_the_present_folder.py")
    load_score("rewards_of_the_present_folder:ours", NAME)


@pytest.mark.parametrize("chat", [False, True])
def test_a_function_of_trls_signature(file, chat):
    """It counts true boxes that some box hits, whatever the label, in original pixels."""
    score = load_score(f"{file}:as_trl", NAME, chat=chat)
    names = {finding.name for finding in audit(score, NAME, scenes=30, resize=False).holes}
    assert {"wrong labels", "junk boxes", "duplicate boxes", "every label", "extra text"} <= names
    assert "silence" not in names


def test_trls_columns(file):
    score = load_score(f"{file}:few_columns", NAME)
    scene = random_scenes(1, 0, DIALECT)[0]
    assert score(["", "x" * 9999], [scene.target] * 2) == [0.0, 1.0]


def test_a_signature_can_be_said(file):
    score = load_score(f"{file}:neither", NAME, signature="targets")
    assert score(["a"], [random_scenes(1, 0, DIALECT)[0].target]) == [0.0]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{file}:neither", "neither f(completions, targets) nor TRL's"),
        ("{file}:missing", "has no function 'missing'"),
        ("{file}:NUMBER", "has no function 'NUMBER'"),
        ("{file}:", "is no reward; give a preset"),
        ("{file}.py:f", "there is no such file"),
        ("no_such_module:f", "cannot be imported (ModuleNotFoundError"),
        ("lenient", "unknown reward preset 'lenient'; known are"),
    ],
)
def test_what_is_no_reward(file, place, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_score(place.format(file=file), NAME)
    assert "\n" not in str(caught.value)


def test_tensors_are_floats():
    assert load_score("strict", NAME)([], []) == []
    target = Target((), (), ("cat",), random_scenes(1, 0, DIALECT)[0].target.frame)
    reward = VisionReward.from_preset("strict", NAME)
    total = reward([""], [target], progress=0.0).total
    assert isinstance(total, torch.Tensor)
    assert load_score("strict", NAME)([""], [target]) == total.tolist()
