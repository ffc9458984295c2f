import io
import random
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from vision_r1_data import Answer, DataError, Objects, Sample
from vision_r1_data.sample import upright_size

ROTATED = 6  # EXIF orientation: the stored picture is to be turned by 90 degrees


def test_crowd_flags_default_to_false() -> None:
    objects = Objects(((0, 0, 1, 1), (1, 1, 2, 2)), ("a", "b"))
    assert objects.crowd == (False, False)
    assert len(objects) == 2


def test_without_crowd_keeps_single_objects() -> None:
    objects = Objects(((0, 0, 1, 1), (1, 1, 2, 2)), ("a", "b"), (True, False))
    assert objects.without_crowd() == Objects(((1, 1, 2, 2),), ("b",))


def test_without_crowd_of_a_crowd_is_empty() -> None:
    assert Objects(((0, 0, 1, 1),), ("a",), (True,)).without_crowd() == Objects()


@pytest.mark.parametrize(("labels", "crowd"), [((), ()), (("a", "b"), ()), (("a",), (True, False))])
def test_objects_of_unequal_lengths(labels, crowd) -> None:
    with pytest.raises(ValueError, match="one label and one crowd flag per box, got 1 boxes"):
        Objects(((0, 0, 1, 1),), labels, crowd)


def test_an_answer_says_nothing_by_default() -> None:
    answer = Answer()
    assert len(answer) == 0
    assert not answer.well_formed


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
def test_images_are_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (7, 5)).save(path)
    image = Sample("1", path, 7, 5).load_image()
    assert (image.mode, image.size) == ("RGB", (7, 5))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
def test_images_are_turned_upright(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("white", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    stored.save(path, exif=exif)
    image = Sample("1", path, width=32, height=64).load_image()
    assert image.size == (32, 64)
    assert image.getpixel((16, 8)) > (200, 200, 200)  # the left of the stored picture is now the top
    assert image.getpixel((16, 56)) < (50, 50, 50)
    assert ImageOps.exif_transpose(image).size == (32, 64)  # nobody turns it again
    with Image.open(path) as file:
        assert upright_size(file) == (32, 64)


def test_an_image_is_turned_upright_where_the_rest_of_its_exif_is_damaged() -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010E] = ROTATED, "a description"
    Image.new("RGB", (64, 32)).save(file, "JPEG", exif=exif)
    content = file.getvalue().replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02")  # a width that is text
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert Sample("1", content, 32, 64).load_image().size == (32, 64)


def test_a_size_that_is_not_the_annotated_one(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (7, 5)).save(path)
    with pytest.raises(
        DataError, match=r"image\.png: is 7x5 .* says 5x7; correct .* image '1' in some\.json"
    ):
        Sample("1", path, 5, 7, source="some.json").load_image()


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: cannot be read .* drop image '1'"):
        Sample("1", tmp_path / "none.png", 7, 5).load_image()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "ppm", "avif"])
def test_damaged_images_are_read_or_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.effect_noise((40, 30), 50).convert("RGB").save(path)
    content = path.read_bytes()
    rng = random.Random(0)
    lines = []
    for place in range(min(len(content), 300)):
        damaged = bytearray(content)
        damaged[place] = rng.choice((0, 255, rng.randrange(256)))
        for version in (damaged, content[: place * len(content) // 300]):
            path.write_bytes(version)
            try:
                Sample("1", path, 40, 30).load_image()
            except DataError as error:
                lines.append(str(error))
    assert lines
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)


def test_masks_are_one_for_each_box_or_none_at_all() -> None:
    with pytest.raises(ValueError, match="got 1 boxes, 2 segmentations"):
        Objects(((0, 0, 1, 1),), ("cat",), segmentations=(None, None))
