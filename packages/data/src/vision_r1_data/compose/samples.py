"""Data sets of made-up scenes: every scene follows from the seed and its number alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from vision_r1_data.compose.cutouts import Cutout
from vision_r1_data.compose.scene import ComposeSettings, compose_scene
from vision_r1_data.errors import DataError
from vision_r1_data.questions import derive_questions
from vision_r1_data.sample import Objects, Sample
from vision_r1_data.scenes import LABELS, draw_scene

_DEFAULTS = ComposeSettings()


def write_composed(
    folder: Path | str,
    count: int,
    *,
    seed: int,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Path],
    settings: ComposeSettings = _DEFAULTS,
    first: int = 0,
    source: str = "",
) -> Iterator[Sample]:
    """Compose scenes as JPEG files, and ask about them.

    Scene 7 is the same whoever makes it: workers share a set by `first` and `count`, and a run that was ended
    goes on at the scene it had come to.

    Args:
        folder: its folder `images` takes the images, each whole or not at all; they replace what is there.
        count: how many scenes.
        seed: the same seed composes the same scenes.
        cutouts: what to paste, see `read_cutouts`.
        backgrounds: image files to paste it on, see `read_backgrounds`.
        settings: how scenes are composed.
        first: the number of the first scene.
        source: what the samples name as their source; by default "composed" with the seed.

    Yields:
        The samples of one scene after another, as the scenes are made; those of a scene share its image.

    Raises:
        DataError: an image cannot be read or written.
        ValueError: there are no cut-outs or no backgrounds.
    """

    def scene(rng: random.Random) -> tuple[Image.Image, Objects]:
        return compose_scene(rng, cutouts, backgrounds, settings)

    vocabulary = sorted({cutout.name for cutout in cutouts})
    source = source or f"composed-{seed}"
    for number in range(first, first + count):
        yield from _samples(number, seed, scene, vocabulary, Path(folder) / "images", "jpg", source)


def drawn_samples(
    folder: Path | str, count: int, *, seed: int, max_objects: int = 3, first: int = 0, source: str = ""
) -> Iterator[Sample]:
    """Draw scenes of coloured shapes as PNG files, and ask about them.

    Args:
        folder: its folder `images` takes the images, each whole or not at all; they replace what is there.
        count: how many scenes.
        seed: the same seed draws the same scenes.
        max_objects: the most shapes in a scene.
        first: the number of the first scene.
        source: what the samples name as their source; by default "drawn" with the seed.

    Yields:
        The samples of one scene after another.

    Raises:
        DataError: an image cannot be written.

    Example:
        >>> import tempfile
        >>> samples = list(drawn_samples(tempfile.mkdtemp(), 1, seed=0))
        >>> [sample.task for sample in samples][:2], samples[0].id, samples[0].image_id
        (['detection', 'rec'], '000000-0-detection', 'drawn-0:000000.png')
    """

    def scene(rng: random.Random) -> tuple[Image.Image, Objects]:
        return draw_scene(rng, max_objects=max_objects)

    source = source or f"drawn-{seed}"
    for number in range(first, first + count):
        yield from _samples(number, seed, scene, LABELS, Path(folder) / "images", "png", source)


def _samples(
    number: int,
    seed: int,
    scene: Callable[[random.Random], tuple[Image.Image, Objects]],
    vocabulary: Sequence[str],
    folder: Path,
    suffix: str,
    source: str,
) -> Iterator[Sample]:
    rng = random.Random(f"{seed}:{number}")
    image, objects = scene(rng)
    path = folder / f"{number:06d}.{suffix}"
    _save(image, path)
    for k, (task, categories, answer) in enumerate(derive_questions(rng, objects, image.size, vocabulary)):
        yield Sample(
            id=f"{number:06d}-{k}-{task}",
            image=path,
            width=image.width,
            height=image.height,
            task=task,
            categories=categories,
            objects=answer,
            source=source,
            image_id=f"{source}:{path.name}",
        )


def _save(image: Image.Image, path: Path) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            image.save(temporary, quality=95)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another folder") from error
