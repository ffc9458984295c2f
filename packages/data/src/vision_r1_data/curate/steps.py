"""The steps that look at one sample alone; a recipe names them in lower case."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from PIL import Image

from vision_r1_data.curate.step import Context, Dropped, Options, keep_objects
from vision_r1_data.dialects import get_dialect
from vision_r1_data.errors import DataError
from vision_r1_data.frame import Frame
from vision_r1_data.prompts import TASKS
from vision_r1_data.sample import UNREADABLE, Sample, upright, upright_size

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
            not_exhaustive=tuple(dict.fromkeys(named(sample.not_exhaustive))),
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

    A file that is cut off after its head has a size; `Fingerprint`, which decodes it, leaves it out.

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
                stored, size = image.size, upright_size(image)
        except UNREADABLE:
            return Dropped("image unreadable")
        annotated = (sample.width, sample.height)
        if size != annotated:
            ignored = stored == annotated
            return Dropped("annotated without its EXIF orientation" if ignored else "image of another size")
        if min(size) < self.least_side:
            return Dropped("image too small")
        if max(size) > self.most_aspect * min(size):
            return Dropped("image too long")
        return sample


class Fingerprint(Options, frozen=True):
    """Compute the perceptual hash of every image, by which near duplicates and leaks are found.

    It is imagehash's 64-bit pHash: which of the 8 x 8 lowest frequencies exceed their median.

    Args:
        unreadable: keep samples whose image cannot be decoded, without a fingerprint. So of an evaluation set
            the ids of such images still count.
    """

    unreadable: bool = False

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample with its fingerprint; by default dropped where the image cannot be decoded."""
        if sample.fingerprint is not None:
            return sample
        try:
            return replace(sample, fingerprint=fingerprint(sample))
        except UNREADABLE:
            return sample if self.unreadable else Dropped("image unreadable")


class Ask(Options, frozen=True):
    """Choose the categories that a prompt asks for: those present, and some that are absent.

    Categories keep the order of the set, so that the order tells nothing. Labels that are not annotated
    exhaustively are not asked for. Without objects, an image is asked for absent categories only. A sample
    whose question does not come from its categories, as it has a query or asks for texts, stays as it is.

    Args:
        least_absent: how many absent categories are asked for at least.
        most_absent: and at most; the number is drawn evenly.
        most: the most categories of a prompt; of more, as many are drawn, present ones first.
        negatives: the share of the samples with objects that are asked for absent categories only.
        one: ask for one category: one that is present, or for a negative one that is absent.
    """

    least_absent: Annotated[int, Meta(ge=0)] = 0
    most_absent: Annotated[int, Meta(ge=0)] = 0
    most: Annotated[int, Meta(ge=1)] = 80
    negatives: Annotated[float, Meta(ge=0, le=1)] = 0.0
    one: bool = False

    def __post_init__(self) -> None:
        if self.least_absent > self.most_absent:
            raise ValueError(f"most_absent must be at least {self.least_absent}, got {self.most_absent}")

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample with the chosen categories and the objects of these; dropped if there are none."""
        if sample.query or sample.task == "ocr":
            return sample
        rng, doubtful, there = context.rng, set(sample.not_exhaustive), set(sample.objects.labels)
        labels = [c for c in dict.fromkeys((*sample.categories, *sample.objects.labels)) if c not in doubtful]
        present = [c for c in labels if c in there]
        absent = [c for c in labels if c not in there]
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
        return replace(keep_objects(sample, keep), categories=tuple([c for c in labels if c in asked]))


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
        characters: of a token on average. Every digit is a token of Qwen2.5-VL, and its JSON has about 1.8
            characters a token, counted by hand on one item.
    """

    tokens: int
    dialect: str = "qwen2_5_vl"
    tokenizer: Path | None = None
    characters: Annotated[float, Meta(gt=0)] = 1.7

    def __post_init__(self) -> None:
        get_dialect(self.dialect)  # an unknown one is an error of the recipe

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        """The sample as it was, or dropped."""
        if sample.task not in TASKS:
            return Dropped("unknown task")
        form = TASKS[sample.task].form
        if form == "number":
            return sample
        dialect = get_dialect(self.dialect)
        if form not in dialect.forms:
            return Dropped(f"{self.dialect} writes no {form}")
        frame = Frame(sample.width, sample.height, sample.width, sample.height)
        try:
            text = dialect.encode(sample.objects.without_crowd(), frame, form)
        except ValueError:
            return Dropped("answer cannot be written")
        # one more token ends the answer
        return sample if self._length(text) + 1 <= self.tokens else Dropped("answer too long")

    def _length(self, text: str) -> float:
        if self.tokenizer is None:
            return len(text) / self.characters
        return _counter(self.tokenizer)(text)


Steps = Rename | Clean | Agree | Fingerprint | Ask | Count | Strata | Budget


def fingerprint(sample: Sample) -> int:
    """The 64-bit perceptual hash of the sample's image, upright.

    Raises:
        OSError, ValueError, SyntaxError, RuntimeError: the image cannot be decoded.
    """
    import imagehash  # brings SciPy, which takes its time

    with _open(sample) as image:
        image.draft("RGB", (_LOOK, _LOOK))  # a JPEG is decoded at a smaller scale
        bits = imagehash.phash(upright(image)).hash
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
