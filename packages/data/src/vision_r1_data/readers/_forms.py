"""The forms in which referring expressions are passed around, told by the names of their fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from vision_r1_data.readers._parts import Id, xywh_to_xyxy

# COCO's picture with the number of an annotation behind it, as in COCO_train2014_000000581857_16.jpg.
_NUMBERED = re.compile(r"(COCO_\w+_\d{12})_\d+(?=\.\w+$)")

_Pixels = Annotated[int, msgspec.Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class Referred:
    """What a record says, whatever its form."""

    file_name: str
    box: Any
    """x1, y1, x2, y2."""
    expressions: list[tuple[str, str]]
    """The id of its sample, and the text."""
    content: bytes | None = None
    """The image itself, where the file holds it."""
    size: tuple[int, int] | None = None
    split: str | None = None
    crowd: bool = False


class _Flat(msgspec.Struct, kw_only=True):
    """One expression and one box. Each form has names of its own for them."""

    image: str
    expression: str
    box: Any
    width: _Pixels | None = None
    height: _Pixels | None = None
    split: str | None = None

    def referred(self, number: int) -> Referred:
        size = (self.width, self.height) if self.width and self.height else None
        return Referred(self.image, self.box, [(str(number), self.expression)], size=size, split=self.split)


class Shikra(_Flat, kw_only=True):
    """Shikra's JSONL, such as REC_refcoco_unc_train.jsonl."""

    image: str = msgspec.field(name="img_path")
    box: Any = msgspec.field(name="bbox")


class QwenVL(_Flat, kw_only=True):
    """The JSONL that Qwen-VL and InternVL evaluate on, such as refcoco_testA.jsonl."""

    expression: str = msgspec.field(name="sent")
    box: Any = msgspec.field(name="bbox")


class VlmR1(_Flat, kw_only=True):
    """VLM-R1's JSON, such as refcoco_train.json."""

    expression: str = msgspec.field(name="normal_caption")
    box: Any = msgspec.field(name="solution")


class VlmR1Problem(_Flat, kw_only=True):
    """The same without the bare expression: the question stands for it."""

    expression: str = msgspec.field(name="problem")
    box: Any = msgspec.field(name="solution")


class _Sentence(msgspec.Struct):
    sent_id: Id
    sent: str


class _Size(msgspec.Struct):
    width: _Pixels
    height: _Pixels


class Jxu124(msgspec.Struct, kw_only=True):
    """A row of jxu124/refcoco: an object of REFER and all that was said of it."""

    image_path: str
    bbox: Any
    ref_id: Id
    sentences: list[_Sentence]
    raw_image_info: str | None = None
    split: str | None = None

    def referred(self, number: int) -> Referred:
        info = msgspec.json.decode(self.raw_image_info, type=_Size) if self.raw_image_info else None
        return Referred(
            self.image_path,
            self.bbox,
            [(f"{self.ref_id}:{sentence.sent_id}", sentence.sent) for sentence in self.sentences],
            size=(info.width, info.height) if info else None,
            split=self.split,
        )


class _Picture(msgspec.Struct):
    content: bytes | None = msgspec.field(default=None, name="bytes")
    path: str | None = None


class LmmsLab(msgspec.Struct, kw_only=True):
    """A row of lmms-lab/RefCOCO: an image, an object in it and all that was said of it."""

    image: _Picture
    answer: list[str]
    bbox: Any
    file_name: str | None = None
    iscrowd: int = 0
    split: str | None = None

    def referred(self, number: int) -> Referred:
        file_name = self.file_name or self.image.path or str(number)
        return Referred(
            _NUMBERED.sub(r"\1", file_name),
            xywh_to_xyxy(self.bbox),
            [(f"{number}:{k}", expression) for k, expression in enumerate(self.answer)],
            content=self.image.content,
            split=self.split,
            crowd=bool(self.iscrowd),
        )


Form = type[_Flat] | type[Jxu124] | type[LmmsLab]
RECORDS: tuple[Form, ...] = (Shikra, QwenVL, VlmR1, VlmR1Problem)
"""The forms of JSON; of those that fit, the first."""
COLUMNS: tuple[Form, ...] = (Jxu124, LmmsLab)
"""The forms of Parquet, likewise."""
