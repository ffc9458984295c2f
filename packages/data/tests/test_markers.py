from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from vision_r1_data import DataError
from vision_r1_data.markers import SMALLEST, TURNED, draw, find, join_patches

PICTURE = draw((64, 40))
SIZES = SimpleNamespace(patch_size=2, merge_size=2, temporal_patch_size=2)


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1)


def test_where_the_markers_are() -> None:
    assert PICTURE.name == "64x40"
    assert PICTURE.markers.labels == ("red square", "green square", "blue square", "yellow square")
    assert PICTURE.markers.boxes == ((4, 8, 16, 18), (48, 8, 60, 18), (4, 22, 16, 32), (48, 22, 60, 32))
    assert [PICTURE.image.getpixel((int(x), int(y))) for x, y, _, _ in PICTURE.markers.boxes] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
    ]
    assert PICTURE.image.getpixel((0, 0)) == PICTURE.image.getpixel((30, 20)) == (0, 0, 0)


@pytest.mark.parametrize("size", [(SMALLEST, SMALLEST), (9, 14), (1500, 60)])
def test_markers_have_room(size: tuple[int, int]) -> None:
    picture = draw(size)
    assert find(pixels_of(picture.image), picture) == picture.markers.boxes


def test_a_turn_that_only_the_tag_says() -> None:
    turned = draw((64, 40), TURNED)
    assert (turned.image.size, turned.name) == ((64, 40), "64x40, EXIF turn")
    assert ImageOps.exif_transpose(turned.image).size == (40, 64)
    assert ImageOps.exif_transpose(PICTURE.image).size == (64, 40)


def test_normalised_pixels_show_the_markers_too() -> None:
    mean, std = np.array([120, 110, 100])[:, None, None], np.array([60, 70, 80])[:, None, None]
    assert find((pixels_of(PICTURE.image) - mean) / std, PICTURE) == PICTURE.markers.boxes
    half = PICTURE.image.resize((32, 20), Image.Resampling.BILINEAR)
    assert find(pixels_of(half), PICTURE)[3] == (24, 11, 30, 16)


def test_a_marker_that_is_not_there() -> None:
    cut = PICTURE.image.crop((0, 0, 40, 40))
    with pytest.raises(
        DataError, match=r"an image of 64x40 is seen without its green square at \(48, 8, 60, 18"
    ):
        find(pixels_of(cut), PICTURE)
    with pytest.raises(DataError, match="without its red square"):
        find(np.zeros((3, 40, 64)), PICTURE)


def test_patches_come_cell_by_cell() -> None:
    """Two by four patches of 2 x 2 pixels in cells of 2 x 2 patches, written down by hand."""
    numbers = np.array(
        [
            [0, 0, 1, 1, 4, 4, 5, 5],
            [0, 0, 1, 1, 4, 4, 5, 5],
            [2, 2, 3, 3, 6, 6, 7, 7],
            [2, 2, 3, 3, 6, 6, 7, 7],
        ]
    )
    patches = np.repeat(np.arange(8)[:, None], 3 * 2 * 2 * 2, axis=1)
    joined = join_patches(patches, np.array([[1, 2, 4]]), SIZES, PICTURE)
    assert joined.tolist() == [numbers.tolist()] * 3


def test_a_patch_is_channels_then_times_then_rows() -> None:
    patches = np.arange(4 * 24).reshape(4, 24)
    joined = join_patches(patches, np.array([[1, 2, 2]]), SIZES, PICTURE)
    assert joined[:, :2, :2].tolist() == [[[0, 1], [2, 3]], [[8, 9], [10, 11]], [[16, 17], [18, 19]]]


def test_patches_of_another_size_than_is_said() -> None:
    with pytest.raises(
        DataError,
        match=r"64x40 becomes pixel_values of shape \(8, 27\) with image_grid_thw \[\[1, 2, 4\]\], "
        r"but \(8, 24\) is what the image processor's patch_size 2 and temporal_patch_size 2 would make",
    ):
        join_patches(np.zeros((8, 27)), np.array([[1, 2, 4]]), SIZES, PICTURE)
