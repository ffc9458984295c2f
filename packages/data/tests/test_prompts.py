from pathlib import Path

import pytest

from vision_r1_data import Sample
from vision_r1_data.prompts import TASKS, detection_text, image_question


@pytest.mark.parametrize(
    ("categories", "words"),
    [((), "every object"), (("cat",), "every cat in"), (("cat", "red dog"), "includes cat, red dog.")],
)
def test_categories_are_named(categories: tuple[str, ...], words: str) -> None:
    assert words in detection_text(categories)


def test_an_image_then_the_categories() -> None:
    (message,) = image_question(Sample("1", Path("a.png"), 4, 5, categories=("cat",)))
    assert message["role"] == "user"
    assert message["content"] == [{"type": "image"}, {"type": "text", "text": detection_text(("cat",))}]


def test_a_query_comes_before_the_categories() -> None:
    (message,) = image_question(Sample("1", Path("a.png"), 4, 5, query="Where is it?", categories=("cat",)))
    assert message["content"][1]["text"] == "Where is it?"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_question(task: str) -> None:
    sample = Sample("1", Path("a.png"), 4, 5, task=task, categories=("cat", "red dog"))
    question = image_question(sample)[0]["content"][1]["text"]
    assert question == question.strip()
    assert question.endswith((".", "?"))
    assert ("red dog" in question) == (task != "ocr")


def test_an_unknown_task_is_said() -> None:
    with pytest.raises(ValueError, match="sample '1' has task 'guess'; known are detection, grounding"):
        image_question(Sample("1", Path("a.png"), 4, 5, task="guess"))
