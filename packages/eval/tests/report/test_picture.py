import base64
import io

import pytest
from PIL import Image

from vision_r1_eval.report.picture import data_url, edge_colours, load_picture


def decode(url):
    head, body = url.split(",", 1)
    return head, Image.open(io.BytesIO(base64.b64decode(body)))


def test_small_images_are_kept_exactly():
    image = Image.effect_noise((112, 80), 50).convert("RGB")
    head, decoded = decode(data_url(image))
    assert head == "data:image/png;base64"
    assert decoded.tobytes() == image.tobytes()


def test_large_images_are_shrunk():
    head, decoded = decode(data_url(Image.new("RGB", (2000, 1000))))
    assert head == "data:image/jpeg;base64"
    assert decoded.size == (800, 400)


def test_reads_files_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    picture = load_picture(str(tmp_path / "a.jpg"))
    assert (picture.size, picture.mode) == ((10, 20), "RGB")
    with pytest.raises(OSError, match="missing"):
        load_picture(tmp_path / "missing.jpg")


def test_the_largest_side_can_be_chosen():
    _, decoded = decode(data_url(Image.new("RGB", (1000, 2000)), largest=640))
    assert decoded.size == (320, 640)


@pytest.mark.parametrize("size", [(2, 1), (3, 7), (640, 480)])
def test_colours_of_edges(size):
    image = Image.new("RGB", size, (10, 20, 30))
    image.paste((200, 100, 0), (size[0] // 2, 0, *size))
    assert edge_colours(image, sideways=True) == ("rgb(10 20 30)", "rgb(200 100 0)")
    over, under = edge_colours(image.transpose(Image.Transpose.ROTATE_90), sideways=False)
    assert (over, under) == ("rgb(200 100 0)", "rgb(10 20 30)")
