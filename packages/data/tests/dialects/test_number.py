import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data.dialects.number import decode_number


@given(st.integers(0, 999_999))
def test_a_number_is_read(count: int) -> None:
    answer = decode_number(f" {count}\n")
    assert (answer.count, answer.well_formed, answer.problems) == (count, True, ())


@pytest.mark.parametrize(
    ("text", "count", "problem"),
    [
        ("There are 3 cats.", 3, "extra_text"),
        ("3.", 3, "extra_text"),
        ("3 or 4", None, "no_number"),
        ("3-4", None, "no_number"),
        ("3 3", None, "no_number"),
        ("-3", None, "no_number"),
        ("3.0", None, "no_number"),
        ("1,000", None, "no_number"),
        ("1000000", None, "no_number"),
        ("\u0663", None, "no_number"),  # a digit of another script
        ("three", None, "no_number"),
        ("", None, "no_number"),
    ],
)
def test_what_is_not_a_number_alone(text: str, count: int | None, problem: str) -> None:
    answer = decode_number(text)
    assert (answer.count, answer.well_formed, answer.problems) == (count, False, (problem,))


@given(st.text())
def test_any_text_is_an_answer(text: str) -> None:
    answer = decode_number(text)
    assert answer.well_formed == (not answer.problems)
    assert answer.count is not None or not answer.well_formed
