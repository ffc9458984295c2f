import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_data import Frame

SIZES = st.integers(1, 5000)


def test_width_and_height_scale_apart() -> None:
    frame = Frame(width=100, height=400, model_width=200, model_height=100)
    assert frame.to_model((10, 40, 50, 400)) == (20, 10, 100, 100)
    assert frame.to_original((20, 10, 100, 100)) == (10, 40, 50, 400)


@given(SIZES, SIZES, SIZES, SIZES, st.tuples(*[st.floats(-10, 5010)] * 4))
def test_back_and_forth_is_the_identity(width: int, height: int, mw: int, mh: int, box) -> None:
    frame = Frame(width, height, mw, mh)
    assert frame.to_original(frame.to_model(box)) == pytest.approx(box, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("field", ["width", "height", "model_width", "model_height"])
@pytest.mark.parametrize("size", [0, -3])
def test_sizes_are_positive(field: str, size: int) -> None:
    sizes = {"width": 4, "height": 5, "model_width": 6, "model_height": 7, field: size}
    with pytest.raises(ValueError, match=rf"Frame\.{field} must be positive, got {size}"):
        Frame(**sizes)
