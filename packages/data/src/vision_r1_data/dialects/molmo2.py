"""Molmo2: points in thousandths of the image, each after its number; before them the number of the image.

    <points coords="1 1 900 400 2 911 800">dog</points>

Source: allenai/molmo2 (olmo/preprocessing/point_formatter.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vision_r1_data.dialects.points import Points
from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import NUMBER

_NUMBER = re.compile(NUMBER, re.ASCII)
_ATTRIBUTES = re.compile(
    rf'(?:alt="[^"]*+"\s++)?+coords="\s*+\d++(?:\s++\d++\s++{NUMBER}\s++{NUMBER})++\s*+"\s*+', re.ASCII
)


def _write(points: Sequence[tuple[str, str]], label: str) -> str:
    numbered = " ".join(f"{k} {x} {y}" for k, (x, y) in enumerate(points, start=1))
    return f'<points coords="1 {numbered}">{label}</points>'


def _read(attributes: str) -> tuple[list[float], bool]:
    written, is_closed, _ = attributes.partition('coords="')[2].partition('"')
    words = written.split()
    if not is_closed:
        words = words[:-1]  # its last digits may be missing
    numbers: list[float] = []
    for k in range(1, len(words) - 2, 3):  # of each point: its number, x and y
        if all(_NUMBER.fullmatch(word) for word in words[k : k + 3]):
            numbers += map(float, words[k + 1 : k + 3])
    return numbers, _ATTRIBUTES.fullmatch(attributes) is not None


DIALECT = Points("molmo2", Space(scale=1000, digits=3), _write, _read)
