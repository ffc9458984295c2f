"""The steps that look at one sample alone; a recipe names them in lower case."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image

from vision_r1_data.curate.step import Context, Dropped, Options, keep_objects
from vision_r1_data.dialects import get_dialect
from vision_r1_data.errors import DataError
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import TASKS
from vision_r1_data.sample import UNREADABLE, Sample

_TURNED = range(5, 9)  # the EXIF orientations that swap width and height
_LOOK = 256  # pixels; a perceptual hash sees no more


class Rename(Options, frozen=True):
    """Give labels other names, such as the words that a prompt should use.

    Args:
        labels: old -> new, in the categories and the objects.
    """

    labels: dict[str, str]

    def __call__(self, sample: Sample, context: Context) -> Sample:
        """The sample in other words."""

        def named(labels: tuple[str, ...]) -> tuple[str, ...]:
            return tuple([self.labels.get(label, label) for label in labels])

        return replace(
            sample,
            categories=tuple(dict.fromkeys(named(sample.categories))),
            objects=replace(sample.objects, labels=named(sample.objects.labels)),
            not_exhaustive=named(sample.not_exhaustive),
        )


class Clean(Options, frozen=True):
    """Leave out objects that nobody should be asked for.

    A label that loses an object is no longer annotated exhaustively, and is added to `not_exhaustive`: `Ask`
    does not ask for it, so that a model is not punished for finding what was left out here.

    Args:
        least_side: objects narrower or lower than this many pixels are tiny.
        crowd: leave out boxes around whole groups.
        cut: leave out objects that the edge of the image cuts off: whose box comes within a pixel of it.
    """

    least_side: float = 1.0
    crowd: bool = True
    cut: bool = False

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample without them; dropped when they were all it had."""
        faults = [self._fault(sample, k) for k in range(len(sample.objects))]
        if not any(faults):
            return sample
        context.objects.update(filter(None, faults))
        lost = {label for label, fault in zip(sample.objects.labels, faults, strict=True) if fault}
        if all(faults):
            return Dropped("no object left")
        doubtful = dict.fromkeys((*sample.not_exhaustive, *sorted(lost)))
        return replace(keep_objects(sample, [not fault for fault in faults]), not_exhaustive=tuple(doubtful))

    def _fault(self, sample: Sample, k: int) -> str:
        x1, y1, x2, y2 = sample.objects.boxes[k]
        if self.crowd and sample.objects.crowd[k]:
            return "crowd"
        if min(x2 - x1, y2 - y1) < self.least_side:
            return "tiny"
        if self.cut and (min(x1, y1) < 1 or x2 > sample.width - 1 or y2 > sample.height - 1):
            return "cut off"
        return ""


class Agree(Options, frozen=True):
    """Open every image and compare its size, turned upright by its EXIF orientation, with the annotation's.

    Args:
        least_side: images narrower or lower than this many pixels are left out.
        most_aspect: and those whose longer side is more than this many times the shorter; Qwen2.5-VL's image
            processor refuses more than 200.
    """

    least_side: int = 28
    most_aspect: float = 200.0

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was; dropped where the image does not fit."""
        try:
            with _open(sample) as image:
                width, height = image.size
                turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
        except UNREADABLE:
            return Dropped("image unreadable")
        upright = (height, width) if turned else (width, height)
        if upright != (sample.width, sample.height):
            ignored = turned and (width, height) == (sample.width, sample.height)
            return Dropped("annotated without its EXIF orientation" if ignored else "image of another size")
        if min(upright) < self.least_side:
            return Dropped("image too small")
        if max(upright) > self.most_aspect * min(upright):
            return Dropped("image too long")
        return sample


class Fingerprint(Options, frozen=True):
    """Compute the perceptual hash of every image, by which near duplicates and leaks are found.

    It is the 64-bit pHash of the library imagehash: the signs of the 8 x 8 lowest frequencies.
    """

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample with its fingerprint; dropped where the image cannot be decoded."""
        if sample.fingerprint is not None:
            return sample
        try:
            return replace(sample, fingerprint=fingerprint(sample))
        except UNREADABLE:
            return Dropped("image unreadable")


class Ask(Options, frozen=True):
    """Choose the categories that a prompt asks for: those present, and some that are absent.

    Categories keep the order of the set, so that the order tells nothing. Labels that are not annotated
    exhaustively are not asked for. Without objects, an image is asked for absent categories only.

    Args:
        least_absent: how many absent categories are asked for at least.
        most_absent: and at most; the number is drawn evenly.
        most: the most categories of a prompt; of more, as many are drawn, present ones first.
        negatives: the share of the samples with objects that are asked for absent categories only.
        one: ask for one category: one that is present, or for a negative one that is absent.
    """

    least_absent: int = 0
    most_absent: int = 0
    most: int = 80
    negatives: float = 0.0
    one: bool = False

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample with the chosen categories and the objects of these; dropped if there are none."""
        rng, doubtful = context.rng, set(sample.not_exhaustive)
        there = set(sample.objects.labels)
        present = [
            c for c in dict.fromkeys((*sample.categories, *sample.objects.labels)) if c in there - doubtful
        ]
        absent = [c for c in sample.categories if c not in there | doubtful]
        if rng.random() < self.negatives and absent:
            present = []
        most = 1 if self.one else self.most
        needed = 0 if present else 1
        extra = rng.randint(max(needed, self.least_absent), max(needed, self.most_absent))
        asked = set(rng.sample(present, min(most, len(present))))
        asked.update(rng.sample(absent, min(extra, most - len(asked), len(absent))))
        if not asked:
            return Dropped("no category to ask for")
        keep = [label in asked for label in sample.objects.labels]
        context.objects["not asked for"] += len(keep) - sum(keep)
        order = tuple([c for c in (*sample.categories, *present) if c in asked])
        return replace(keep_objects(sample, keep), categories=tuple(dict.fromkeys(order)))


class Count(Options, frozen=True):
    """Keep samples with that many objects.

    Args:
        least: objects at least.
        most: and at most.
    """

    least: int = 0
    most: int | None = None

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was, or dropped."""
        if len(sample.objects) < self.least:
            return Dropped(f"fewer than {self.least} objects")
        if self.most is not None and len(sample.objects) > self.most:
            return Dropped(f"more than {self.most} objects")
        return sample


class Strata(Options, frozen=True):
    """Say of every sample whether it is negative, easy or hard.

    Args:
        objects: with more of them than this a sample is hard; the paper's number is 10.
        categories: with objects of more categories than this too, if given.
    """

    objects: int = 10
    categories: int | None = None

    def __call__(self, sample: Sample, context: Context) -> Sample:
        """The sample with its stratum."""
        present = len(set(sample.objects.labels))
        hard = len(sample.objects) > self.objects or (
            self.categories is not None and present > self.categories
        )
        return replace(sample, stratum="hard" if hard else "easy" if sample.objects else "negative")


class Budget(Options, frozen=True):
    """Leave out samples whose perfect answer does not fit into a completion.

    The answer is written in pixels of the original image; in a resized one they have about as many digits.

    Args:
        tokens: of the longest completion.
        dialect: how the model writes boxes.
        tokenizer: the model's tokenizer.json, read with the library tokenizers; left out, `characters` tell.
        characters: of a token on average. In its JSON, Qwen2.5-VL writes about 1.8: every digit is a token.
    """

    tokens: int
    dialect: str = "qwen2_5_vl"
    tokenizer: Path | None = None
    characters: float = 1.7

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was, or dropped."""
        form = TASKS[sample.task].form
        if form == "number":
            return sample
        frame = Frame(sample.width, sample.height, sample.width, sample.height)
        try:
            text = get_dialect(self.dialect).encode(sample.objects.without_crowd(), frame, form)
        except ValueError:
            return Dropped("answer cannot be written")
        return Dropped("answer too long") if self._length(text) > self.tokens else sample

    def _length(self, text: str) -> float:
        if self.tokenizer is None:
            return len(text) / self.characters
        return _counter(self.tokenizer)(text)


Steps = Rename | Clean | Agree | Fingerprint | Ask | Count | Strata | Budget


def fingerprint(sample: Sample) -> int:
    """The 64-bit perceptual hash of the sample's image, upright.

    Raises:
        OSError, ValueError, SyntaxError: the image cannot be decoded.
    """
    import imagehash  # brings SciPy, which takes its time
    from PIL import ImageOps

    with _open(sample) as image:
        image.draft("RGB", (_LOOK, _LOOK))  # a JPEG is decoded at a smaller scale
        bits = imagehash.phash(ImageOps.exif_transpose(image)).hash
    return int("".join("1" if bit else "0" for bit in bits.flat), 2)


def _open(sample: Sample) -> Image.Image:
    return Image.open(io.BytesIO(sample.image) if isinstance(sample.image, bytes) else sample.image)


@cache
def _counter(path: Path) -> Callable[[str], int]:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DataError(f"{path}: needs the library tokenizers; pip install vision-r1-data[tokens]") from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise DataError(f"{path}: cannot be read as a tokenizer.json ({error})") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
