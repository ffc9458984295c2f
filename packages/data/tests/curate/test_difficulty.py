import json
import random
from pathlib import Path

import pytest

from vision_r1_data import DataError, Sample
from vision_r1_data.curate import Context, Difficulty, Dropped


def completions(path: Path, rewards: dict[str, list[float]]) -> Path:
    """A file as a training run writes it, the samples' answers mixed."""
    rows = [{"sample": id, "reward": reward} for id, earned in rewards.items() for reward in earned]
    random.Random(0).shuffle(rows)
    rows = [
        {"step": k, "completion": "[]", "parts": {"format": 1, "recall": None}} | row
        for k, row in enumerate(rows)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


def outcome(step: Difficulty, id: str) -> float | str | None:
    """The pass rate, or why the sample is dropped."""
    result = step(Sample(id, b"", 40, 30), Context(random.Random(0)))
    return result.reason if isinstance(result, Dropped) else result.pass_rate


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    rewards = {
        "coco/never": [0, 0, 0, 0],
        "coco/always": [3, 3, 3],
        "coco/middling": [1.5, 1.5],
        "coco/hard": [0, 0, 0, 1.5],
        "coco/even": [0, 3, 0, 3],
        "coco/easy": [3, 3, 3, 1.5],
        "coco/once": [1],
    }
    return completions(tmp_path / "completions.jsonl", rewards)


def test_the_pass_rate_is_the_mean_reward_of_the_highest(scores: Path) -> None:
    step = Difficulty(scores, full=3)
    assert outcome(step, "coco/hard") == 0.125
    assert outcome(step, "coco/even") == 0.5
    assert outcome(step, "coco/easy") == 0.875
    assert outcome(Difficulty(scores, full=6), "coco/even") == 0.25


@pytest.mark.parametrize("id", ["coco/never", "coco/always", "coco/middling", "coco/once"])
def test_equal_rewards_teach_nothing(scores: Path, id: str) -> None:
    assert outcome(Difficulty(scores, full=3), id) == "rewards do not vary"


def test_what_is_too_hard_and_too_easy(scores: Path) -> None:
    ids = ("coco/hard", "coco/even", "coco/easy")

    def outcomes(**bounds: float) -> list[float | str | None]:
        return [outcome(Difficulty(scores, 3, **bounds), id) for id in ids]

    assert outcomes(least=0.2, most=0.8) == ["too hard", 0.5, "too easy"]
    assert outcomes(least=0.125, most=0.875) == [0.125, 0.5, 0.875]
    assert outcomes(least=0.126, most=0.874) == ["too hard", 0.5, "too easy"]


def test_what_the_file_says_nothing_about(scores: Path) -> None:
    assert outcome(Difficulty(scores, 3), "coco/new") == "not scored"
    assert outcome(Difficulty(scores, 3, unscored=True), "coco/new") is None
    assert outcome(Difficulty(scores, 3, unscored=True), "coco/never") == "rewards do not vary"


def test_negative_rewards(tmp_path: Path) -> None:
    path = completions(tmp_path / "c.jsonl", {"a": [-1, 0]})
    assert outcome(Difficulty(path, full=1), "a") == "too hard"
    assert outcome(Difficulty(path, full=1, least=-1), "a") == -0.5


BAD_LINES = {
    "not JSON": ('{"sample": "a", "rew', "JSON is malformed"),
    "not text": (b"\xff\xfe", "JSON is malformed"),
    "a list": ("[1]", "Expected `object`, got `array`"),
    "no reward": ('{"sample": "a"}', "Object missing required field `reward`"),
    "no sample": ('{"reward": 1}', "Object missing required field `sample`"),
    "reward of text": ('{"sample": "a", "reward": "1"}', "Expected `float`, got `str` - at `$.reward`"),
    "no number": ('{"sample": "a", "reward": NaN}', "JSON is malformed"),
    "sample of number": ('{"sample": 7, "reward": 1}', "Expected `str`, got `int` - at `$.sample`"),
}


@pytest.mark.parametrize(("line", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, words: str) -> None:
    path = completions(tmp_path / "c.jsonl", {"a": [0, 1]})
    bad = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(path.read_bytes().rstrip() + b"\n" + bad + b"\n")
    with pytest.raises(DataError) as caught:
        outcome(Difficulty(path, full=1), "a")
    said = str(caught.value)
    assert said.startswith(f"{path}:3: {words}")
    assert said.endswith("; correct the line")
    assert "\n" not in said


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: there is no such file; give the path of a JSONL file"):
        outcome(Difficulty(tmp_path / "none.jsonl", full=1), "a")


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match=r"empty\.jsonl: is empty"):
        outcome(Difficulty(tmp_path / "empty.jsonl", full=1), "a")


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    for rewards, expected in (((1, 1), "rewards do not vary"), ((0, 1, 1), None)):
        path.write_text("".join(f'{{"sample": "a", "reward": {reward}}}\n' for reward in rewards))
        result = outcome(Difficulty(path, full=1), "a")
        assert (result == expected) if expected else (result != "rewards do not vary")
