"""Cut-outs with their names, and the photographs on which they are pasted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.readers._parts import image_folder, map_json
from vision_r1_data.sample import UNREADABLE, upright

OPAQUE = 128
"""Alpha from here on, of 255, is the object; less is its soft edge or its shadow."""

_IS_OPAQUE = [255 * (alpha >= OPAQUE) for alpha in range(256)]
_PHOTOGRAPHS = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_NOT_A_NAME = re.compile(r"[\s\d_()\-]+")


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture of one thing with alpha around it.

    Args:
        name: what it shows, such as "red apple".
        path: its image file.
    """

    name: str
    path: Path

    def load(self) -> Image.Image:
        """The picture as RGBA, without its empty margins.

        Raises:
            DataError: it cannot be read, has no alpha, or alpha that leaves nothing to see.
        """
        image = load_upright(self.path, "RGBA", needs_alpha=True)
        alpha = image.getchannel("A")
        if not any(alpha.histogram()[OPAQUE:]):
            raise DataError(
                f"{self.path}: shows nothing, as its alpha is below {OPAQUE} everywhere; remove it"
            )
        return image.crop(alpha.getbbox())


def read_cutouts(folder: Path | str, *, faults: Faults | None = None) -> list[Cutout]:
    """The PNG files with alpha in a folder and its sub-folders.

    A file is named by `names.json` in the folder, which maps files such as "fruit/7.png" to names, or else
    by its own name without digits, dashes and underscores: "red_apple-2.png" is a "red apple".

    Args:
        folder: holds the cut-outs; several may have one name.
        faults: told what cannot be used; by default that is an error.

    Returns:
        The cut-outs in the order of their paths. Each has been read once.

    Raises:
        DataError: there is no such folder, it has no cut-outs, `names.json` is bad, or a file is bad and not
            to be skipped.
    """
    folder, faults = image_folder(folder), faults or Faults()
    names = _names(folder, faults)
    found = []
    for path in _files(folder, {".png"}):
        own = _NOT_A_NAME.sub(" ", path.stem)
        name = " ".join(names.get(path.relative_to(folder).as_posix(), own).split())
        if not name:
            faults.add(
                "no_name", f"{path}: has no name without its digits; rename it or add it to names.json"
            )
            continue
        cutout = Cutout(name, path)
        try:
            cutout.load()
        except DataError as error:
            faults.add("bad_cutout", str(error))
            continue
        found.append(cutout)
    if not found:
        raise DataError(f"{folder}: has no cut-outs; give a folder of PNG files with alpha")
    return found


def read_backgrounds(folder: Path | str, *, faults: Faults | None = None) -> list[Path]:
    """The images in a folder and its sub-folders. They must show nothing that the cut-outs are named.

    Args:
        folder: holds the images.
        faults: told what cannot be used; by default that is an error.

    Returns:
        Their paths in order. Each has been read once.

    Raises:
        DataError: there is no such folder, it has no images, or a file is bad and not to be skipped.
    """
    folder, faults = image_folder(folder), faults or Faults()
    found = []
    for path in _files(folder, _PHOTOGRAPHS):
        try:
            load_upright(path, "RGB", least=1)
        except DataError as error:
            faults.add("bad_background", str(error))
            continue
        found.append(path)
    if not found:
        raise DataError(f"{folder}: has no images; give a folder of photographs")
    return found


def load_upright(path: Path, mode: str, *, least: int = 0, needs_alpha: bool = False) -> Image.Image:
    """An image in that mode, turned upright by its EXIF orientation.

    Args:
        path: the file.
        mode: such as "RGB".
        least: a side in pixels that is enough; a JPEG file that is much larger is then read faster.
        needs_alpha: whether an image without alpha is an error.

    Raises:
        DataError: it cannot be read, or has no alpha where it needs one.
    """
    try:
        with Image.open(path) as file:
            has_alpha = file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info
            if least:
                file.draft(mode, (least, least))
            image = upright(file).convert(mode)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error
    if needs_alpha and not has_alpha:
        raise DataError(f"{path}: has no alpha; cut out what it shows or remove it")
    return image


def opaque_box(image: Image.Image) -> tuple[int, int, int, int]:
    """The box around what is opaque in an RGBA image, in which something is."""
    box = image.getchannel("A").point(_IS_OPAQUE).getbbox()
    assert box is not None
    return box


def _names(folder: Path, faults: Faults) -> dict[str, str]:
    path = folder / "names.json"
    if not path.is_file():
        return {}
    names = map_json(path, dict[str, str], "a names.json, which maps files to names")
    for file in names:
        if not (folder / file).is_file():
            faults.add("missing_image", f"{path}: there is no image {folder / file}; add it or drop its name")
    return names


def _files(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            yield path
