import json
import math
from pathlib import Path

import pytest

import vision_r1_tiny
from vision_r1.measure import Measured, measure, unmeasured, write_text
from vision_r1_data import DataError, Frame, Objects, Sample, get_dialect, read_coco
from vision_r1_data.dialects.number import decode_number
from vision_r1_data.scenes import write_scenes
from vision_r1_eval import evaluate
from vision_r1_grpo import Policy, VisionReward

FRAME, DIALECT = Frame(100, 100, 100, 100), get_dialect("qwen2_5_vl")
TRUTH = Objects(((0, 0, 40, 40),), ("cat",))


def test_answers_come_back_from_their_file(tmp_path):
    texts = (DIALECT.encode(TRUTH, FRAME), "a\u2028b\n猫", '[{"bbox_2d": [9, 9, 1, 1], "label": "dog"}')
    samples = [
        Sample(str(n), Path(f"{n}.png"), 100, 100, categories=("cat", "dog"), objects=TRUTH) for n in range(3)
    ]
    answers = tuple(DIALECT.decode(text, FRAME) for text in texts)
    measured = Measured.of(samples, answers, texts, (3.0, 1.0, 0.5))
    measured.save(tmp_path / "answers.jsonl", samples)
    assert json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["sample"] == "0"
    again = Measured.load(tmp_path / "answers.jsonl", samples)
    assert (again.answers, again.texts, again.rewards) == (answers, texts, (3.0, 1.0, 0.5))
    assert again.as_dict() == pytest.approx(measured.as_dict())
    assert again.as_dict()["reward"] == 1.5
    assert again.metrics == evaluate(samples, answers)


def test_only_boxes_are_in_the_metrics(tmp_path):
    """One box, right; one outline and one count, whose rewards alone tell."""
    samples = [
        Sample(task, Path("a.png"), 100, 100, task, categories=("cat",), objects=TRUTH)
        for task in ("detection", "segmentation", "counting")
    ]
    answers = (
        DIALECT.decode(DIALECT.encode(TRUTH, FRAME), FRAME),
        DIALECT.decode(DIALECT.encode(TRUTH, FRAME, "polygons"), FRAME, "polygons"),
        decode_number("2"),
    )
    Measured.of(samples, answers, ("",) * 3, (3, 2, 1)).save(tmp_path / "answers.jsonl", samples)
    measured = Measured.load(tmp_path / "answers.jsonl", samples)
    assert measured.answers == answers
    assert measured.metrics == evaluate(samples[:1], answers[:1])
    assert {key: value for key, value in measured.as_dict().items() if key.startswith("reward")} == {
        "reward": 2,
        "reward_of/counting": 1,
        "reward_of/detection": 3,
        "reward_of/segmentation": 2,
    }
    assert unmeasured(samples) == {"counting": 1, "segmentation": 1}


def test_without_boxes_no_metric_has_a_number():
    sample = Sample("1", Path("a.png"), 100, 100, "counting", objects=TRUTH)
    measured = Measured.of([sample], [decode_number("1")], ["1"], [3.0])
    assert all(math.isnan(value) for value in measured.metrics.as_dict().values())


def test_answers_to_other_images_are_refused(tmp_path):
    samples = [Sample(str(n), Path(f"{n}.png"), 100, 100, objects=TRUTH) for n in range(2)]
    answers = (DIALECT.decode("", FRAME),) * 2
    Measured.of(samples, answers, ("", ""), (0.0, 0.0)).save(tmp_path / "answers.jsonl", samples)
    with pytest.raises(DataError, match="answers other images"):
        Measured.load(tmp_path / "answers.jsonl", samples[::-1])


def test_a_file_is_complete_or_not_there(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", "\ud83d")
    assert not (tmp_path / "file").exists()
    write_text(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tokens_that_end_a_completion_end_an_answer_too(tmp_path):
    policy = Policy.from_pretrained(vision_r1_tiny.path(), device="cpu")
    path = write_scenes(tmp_path / "scenes", 2, seed=0)
    samples = list(read_coco(path, path.parent / "images"))
    reward = VisionReward.from_preset("strict", "qwen2_5_vl")

    def texts(**options):
        return measure(policy, reward, samples, max_new_tokens=40, batch=2, **options).texts

    whole = texts()
    assert all("[" in text for text in whole)
    tokenizer = policy.processor.tokenizer
    stop = next(i for i in tokenizer.encode(whole[0]) if "[" in tokenizer.decode([i]))
    assert texts(stop_token_ids=(stop,))[0] == whole[0].split(tokenizer.decode([stop]))[0]
