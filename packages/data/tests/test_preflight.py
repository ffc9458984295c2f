"""Real image processors of transformers, right and sabotaged; models that answer perfectly in some space."""

import dataclasses
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vision_r1_data import (
    Answer,
    DataError,
    Dialect,
    EncodedPrompt,
    Frame,
    Objects,
    VisionProcessor,
    get_dialect,
    image_frame,
    list_dialects,
)
from vision_r1_data.dialects.json_list import JsonList
from vision_r1_data.dialects.space import Space
from vision_r1_data.markers import find
from vision_r1_data.preflight import ASKED, SIZES, Preflight, preflight
from vision_r1_data.prompts import Message

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
QWEN = get_dialect("qwen2_5_vl")
SMALL = SIZES[:-1]
PAD = "<|image_pad|>"


def qwen(**limits: int) -> Any:
    module = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl
    return module.Qwen2VLImageProcessorPil(**{"max_pixels": 28 * 28 * 400, **limits})


class CharTokenizer:
    """One token a character; the image placeholder is `#`."""

    def convert_tokens_to_ids(self, token: str) -> int:
        return ord("#")

    def apply_chat_template(self, messages: list[Message], **_: bool) -> str:
        return "".join("#" if part["type"] == "image" else part["text"] for part in messages[0]["content"])

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}


class Sabotaged:
    """An image processor to which images come changed, or which says another patch size than it has."""

    def __init__(
        self, change: Callable[[Image.Image], Image.Image] = lambda image: image, patch_size: int = 14
    ) -> None:
        self.change, self.patch_size, self.images = change, patch_size, qwen()
        self.merge_size, self.temporal_patch_size = 2, 2

    def __call__(self, images: list[Image.Image], return_tensors: str) -> Any:
        return self.images(images=[self.change(image) for image in images], return_tensors=return_tensors)


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("name", [name for name in list_dialects() if name != "shikra"])
def test_a_real_image_processor_passes_in_every_dialect(name: str) -> None:
    report = preflight(qwen(), get_dialect(name), sizes=SMALL)
    assert [one.picture for one in report.seen] == [
        *("640x480", "98x70", "1001x333", "9x14", "1500x60", "640x480, EXIF turn")
    ]
    first = report.seen[0]
    assert (first.width, first.height) == (644, 476)
    assert all(one.error <= one.allowed for one in report.seen)


def test_an_image_beyond_the_limit() -> None:
    report = preflight(qwen(), QWEN)
    largest = report.seen[-2]
    assert (largest.picture, largest.width, largest.height) == ("4800x3600", 644, 476)
    assert largest.error <= 1.5


def test_the_report_is_a_table() -> None:
    report = preflight(qwen(), QWEN, sizes=[(98, 70)])
    assert re.fullmatch(
        "qwen2_5_vl: boxes lie where the model sees them\n"
        "picture +seen as +worst error +allowed\n"
        r"98x70 +112x56 +0\.\d\d px +2\.00 px" + "\n"
        r"98x70, EXIF turn +112x56 +0\.\d\d px +2\.00 px",
        str(report),
    )
    assert str(Preflight("mine", (), {"its own space": 0.914})).endswith("\nanswers fit its own space: 0.91")


@pytest.mark.parametrize(
    "wrap", [lambda images: SimpleNamespace(image_processor=images), lambda images: images]
)
def test_a_processor_stands_for_its_image_processor(wrap: Callable[[Any], Any]) -> None:
    assert preflight(wrap(qwen()), QWEN, sizes=[(98, 70)]).seen[0].width == 112


def test_a_vision_processor_is_asked_for_its_own_frame() -> None:
    class Swapped(VisionProcessor):
        def encode(self, messages: Any, image: Image.Image) -> EncodedPrompt:
            prompt = super().encode(messages, image)
            frame = prompt.frame
            swapped = Frame(frame.width, frame.height, frame.model_height, frame.model_width)
            return dataclasses.replace(prompt, frame=swapped)

    assert preflight(VisionProcessor(CharTokenizer(), qwen()), QWEN, sizes=SMALL).seen[0].height == 476
    with pytest.raises(
        DataError,
        match="preflight: an image of 640x480 is seen as 644x476, but its frame says 476x644; swap its width",
    ):
        preflight(Swapped(CharTokenizer(), qwen()), QWEN, sizes=SMALL)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_frames_of_other_limits(name: str) -> None:
    """Harmless to numbers of the image's own, and still not what the model sees."""
    other = qwen(max_pixels=28 * 28 * 200)
    with pytest.raises(
        DataError, match=r"640x480 is seen as 644x476, but its frame says 448x336; take it from the model's"
    ):
        preflight(qwen(), get_dialect(name), frame=lambda image: image_frame(image, other))
    with pytest.raises(DataError, match="1001x333 is seen as 952x308, but its frame says 1008x336"):
        preflight(qwen(), QWEN, frame=lambda image: image_frame(image, qwen(max_pixels=4_000_000)))


def test_frames_that_do_not_resize_or_are_of_another_image() -> None:
    with pytest.raises(DataError, match="640x480 is seen as 644x476, but its frame says 640x480; take"):
        preflight(qwen(), QWEN, frame=lambda image: Frame(*image.size, *image.size))
    with pytest.raises(DataError, match="640x480 has a frame of 480x640; make frames and boxes of upright"):
        preflight(
            qwen(), QWEN, frame=lambda image: image_frame(image.transpose(Image.Transpose.ROTATE_90), qwen())
        )


def test_another_patch_size_than_is_said() -> None:
    with pytest.raises(DataError, match=r"with image_grid_thw \[\[1, 34, 46\]\], but \(1564, 1536\) is what"):
        preflight(Sabotaged(patch_size=16), QWEN)
    with pytest.raises(DataError, match="640x480 is seen as 640x480, but its frame says 560x420"):
        preflight(qwen(patch_size=16), QWEN, frame=lambda image: Frame(*image.size, 560, 420))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            ImageOps.mirror,
            r"its red square there at \(483, 95, 604, 214\) where qwen2_5_vl writes \(40, 95, 161, 214\); "
            "the image processor mirrors images: switch that off",
        ),
        (ImageOps.flip, "mirrors images"),
        (lambda image: image.rotate(180), "turns images: give it upright ones"),
        (lambda image: ImageOps.pad(image, (image.width, image.width)).resize(image.size), "pads images"),
        (lambda image: image.crop((0, 0, 620, 480)).resize(image.size), "crops or moves images"),
        (lambda image: ImageOps.expand(image, 20).resize(image.size), "crops or moves images"),
        (lambda image: image.crop((0, 0, 400, 480)).resize(image.size), r"without its green square at \(480"),
    ],
    ids=["mirror", "flip", "turn", "pad", "crop", "border", "cut off"],
)
def test_images_that_come_changed(change: Callable[[Image.Image], Image.Image], match: str) -> None:
    with pytest.raises(DataError, match=f"preflight: an image of 640x480 is seen .*{match}"):
        preflight(Sabotaged(change), QWEN)


def test_images_that_are_turned_by_their_tag() -> None:
    with pytest.raises(
        DataError, match=r"640x480, EXIF turn is seen as 476x644.* turns images: give it upright"
    ):
        preflight(Sabotaged(ImageOps.exif_transpose), QWEN, sizes=SMALL)


def test_a_dialect_that_disagrees_with_itself() -> None:
    class Deaf(JsonList):
        def decode(self, text: str, frame: Frame, *rest: Any) -> Answer:
            one = Frame(frame.width, frame.height, frame.width, frame.height)
            return super().decode(text, one, *rest)

    class Terse(JsonList):
        def decode(self, text: str, frame: Frame, *rest: Any) -> Answer:
            return Answer()

    keys, space = QWEN.keys, QWEN.space  # type: ignore[attr-defined]
    with pytest.raises(
        DataError, match=r"98x70 has its \w+ square at \(\d.*\), but deaf reads what it writes of it as \(\d"
    ):
        preflight(qwen(), Deaf("deaf", keys, space), sizes=[(98, 70)])
    with pytest.raises(DataError, match="640x480: terse reads 0 of 4 boxes in its own text"):
        preflight(qwen(), Terse("terse", keys, space))


def llava(**options: Any) -> Any:
    module = transformers.models.llava.image_processing_pil_llava
    return module.LlavaImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, **options
    )


def test_pixels_that_are_padded_to_a_square() -> None:
    assert preflight(llava(do_pad=True), get_dialect("shikra")).seen[0].width == 336
    with pytest.raises(
        DataError, match=r"640x480 is seen as 336x336, .*llava writes .* pads images to a square"
    ):
        preflight(llava(do_pad=True), get_dialect("llava"))
    with pytest.raises(DataError, match=r"shikra writes .* the image processor crops or moves images"):
        preflight(llava(do_pad=False), get_dialect("shikra"))


def test_pixels_that_are_not_padded() -> None:
    stretched = transformers.SiglipImageProcessorPil(size={"height": 384, "width": 384})
    assert preflight(stretched, get_dialect("paligemma")).seen[0].height == 384
    with pytest.raises(DataError, match=r"shikra writes .* the image processor pads nothing: give a copy"):
        preflight(stretched, get_dialect("shikra"))
    with pytest.raises(DataError, match="644x476, but shikra writes numbers of the image padded to a square"):
        preflight(qwen(), get_dialect("shikra"))


@pytest.mark.parametrize(
    "vision", [{"pixel_values": np.zeros((1, 5, 3, 336, 336))}, {"image_patches": np.zeros((9, 6))}]
)
def test_what_cannot_be_seen_does_not_pass(vision: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="without image_grid_thw, in which it cannot be seen whole"):
        preflight(lambda **_: vision, QWEN)


@pytest.mark.parametrize("sizes", [[], [(640, 7)]])
def test_sizes_that_hold_no_markers(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="sizes must be widths and heights of 8 pixels or more"):
        preflight(qwen(), QWEN, sizes=sizes)


class Model:
    """Finds every marker, and writes it in its own dialect; without `images` it sees images as they are."""

    def __init__(self, dialect: Dialect, images: Any = None) -> None:
        self.dialect, self.images = dialect, images
        self.asked: list[tuple[int, int]] = []

    def __call__(self, image: Image.Image, messages: list[Message]) -> str:
        self.asked.append(image.size)
        self.question = messages[0]["content"][1]["text"]
        picture = SimpleNamespace(where="", markers=Objects(((0, 0, 1, 1),) * 4, ("?",) * 4))
        boxes = find(pixels_of(image), picture)  # type: ignore[arg-type]
        frame = image_frame(image, self.images) if self.images else Frame(*image.size, *image.size)
        objects = Objects(boxes, ("red", "green", "blue", "yellow"))
        return self.dialect.encode(objects, frame, self.dialect.forms[0])


@pytest.mark.parametrize(
    "name", ["qwen2_5_vl", "qwen3_vl", "gemini", "molmo", "llava", "florence2", "kosmos2"]
)
def test_a_model_that_speaks_the_dialect(name: str) -> None:
    dialect = get_dialect(name)
    model = Model(dialect, qwen())
    fits = preflight(qwen(), dialect, answer=model, sizes=SMALL).fits
    assert next(iter(fits)) == "its own space"
    assert fits["its own space"] == max(fits.values()) > (0.7 if name == "kosmos2" else 0.9)
    assert len(fits) == (1 if name == "kosmos2" else 10)
    assert model.asked == list(ASKED)
    assert "yellow square" in model.question


@pytest.mark.parametrize(
    ("dialect", "spoken", "named"),
    [
        ("qwen2_5_vl", "qwen3_vl", "the space of qwen3_vl"),
        ("qwen3_vl", "qwen2_5_vl", "the space of qwen2_5_vl"),
        ("qwen3_vl", "gemini", "the space of gemini"),
        ("gemini", "qwen3_vl", "the space of qwen3_vl"),
        ("griffon", "shikra", "the space of shikra"),
        ("molmo", "molmo2", "the space of molmo2"),
    ],
)
def test_a_model_that_writes_the_numbers_of_another_dialect(dialect: str, spoken: str, named: str) -> None:
    given: Any = get_dialect(dialect)
    space: Space = get_dialect(spoken).space
    model = Model(dataclasses.replace(given, space=space), qwen())
    with pytest.raises(
        DataError,
        match=rf"answers such as '.*' fit {named} \((0\.9\d|1\.00)\) better than the space of {dialect} "
        rf"\(0\.[0-5]\d\); give that dialect, or a copy of {dialect} with its Space",
    ):
        preflight(qwen(), given, answer=model, sizes=SMALL)


def test_a_model_that_writes_pixels_of_the_original_image() -> None:
    with pytest.raises(
        DataError, match=r"fit pixels of the original image \(1\.00\) better .* let frames say"
    ):
        preflight(qwen(), QWEN, answer=Model(QWEN), sizes=SMALL)


@pytest.mark.parametrize(
    "text", ["I see nothing.", QWEN.encode(Objects(((0, 0, 9, 9),), ("red",)), Frame(9, 9, 9, 9))]
)
def test_a_model_that_finds_nothing(text: str) -> None:
    with pytest.raises(
        DataError, match=r"fit no space that is known, best .* \(0\.0\d\); give the dialect that"
    ):
        preflight(qwen(), QWEN, answer=lambda *_: text, sizes=SMALL)
