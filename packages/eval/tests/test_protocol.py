import pytest

from vision_r1_eval import Protocol


def test_says_every_choice_in_one_line():
    line = str(Protocol(max_dets=7))
    assert "\n" not in line
    for choice in ("all categories in one prompt", "constant scores", "emission order", "maxDets 7"):
        assert choice in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category_mode": "each"}, r"category_mode must be one of 'all', got 'each'"),
        ({"score_mode": "random"}, r"score_mode must be one of 'constant', got 'random'"),
        ({"max_dets": 0}, r"max_dets must be a positive integer, got 0"),
        ({"max_dets": 1.5}, r"max_dets must be a positive integer, got 1.5"),
        ({"max_dets": True}, r"max_dets must be a positive integer, got True"),
    ],
)
def test_refuses_what_it_does_not_know(options, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**options)
