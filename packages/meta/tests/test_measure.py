import json
from pathlib import Path

import pytest

from vision_r1.measure import Measured, write_text
from vision_r1_data import DataError, Frame, Objects, Sample, get_dialect
from vision_r1_eval import evaluate

FRAME, DIALECT = Frame(100, 100, 100, 100), get_dialect("qwen2_5_vl")
TRUTH = Objects(((0, 0, 40, 40),), ("cat",))


def test_answers_come_back_from_their_file(tmp_path):
    texts = (DIALECT.encode(TRUTH, FRAME), "a\u2028b\n猫", '[{"bbox_2d": [9, 9, 1, 1], "label": "dog"}')
    samples = [
        Sample(str(n), Path(f"{n}.png"), 100, 100, categories=("cat", "dog"), objects=TRUTH) for n in range(3)
    ]
    answers = tuple(DIALECT.decode(text, FRAME) for text in texts)
    measured = Measured(evaluate(samples, answers), answers, texts)
    measured.save(tmp_path / "answers.jsonl", samples)
    assert json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["sample"] == "0"
    again = Measured.load(tmp_path / "answers.jsonl", samples)
    assert (again.answers, again.texts) == (answers, texts)
    assert again.metrics.as_dict() == pytest.approx(measured.metrics.as_dict())


def test_answers_to_other_images_are_refused(tmp_path):
    samples = [Sample(str(n), Path(f"{n}.png"), 100, 100, objects=TRUTH) for n in range(2)]
    answers = (DIALECT.decode("", FRAME),) * 2
    Measured(evaluate(samples, answers), answers, ("", "")).save(tmp_path / "answers.jsonl", samples)
    with pytest.raises(DataError, match="answers other images"):
        Measured.load(tmp_path / "answers.jsonl", samples[::-1])


def test_a_file_is_complete_or_not_there(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", "\ud83d")
    assert not (tmp_path / "file").exists()
    write_text(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
