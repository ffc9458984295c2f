"""Molmo: points in percent of the image, to one decimal.

    <point x="61.5" y="40.4" alt="dog">dog</point>
    <points x1="61.5" y1="40.4" x2="70.0" y2="8.1" alt="dog">dog</points>

Source: allenai/molmo (olmo/data/data_formatter.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vision_r1_data.dialects.points import Points
from vision_r1_data.dialects.space import Space
from vision_r1_data.dialects.tags import NUMBER

_POINT = re.compile(rf'x(\d*+)="\s*+({NUMBER})"\s++y\1="\s*+({NUMBER})"', re.ASCII)
_ATTRIBUTES = re.compile(
    rf'(?:x(\d*+)="\s*+{NUMBER}"\s++y\1="\s*+{NUMBER}"\s*+)++(?:alt="[^"]*+"\s*+)?+', re.ASCII
)


def _write(points: Sequence[tuple[str, str]], label: str) -> str:
    if len(points) == 1:
        ((x, y),) = points
        return f'<point x="{x}" y="{y}" alt="{label}">{label}</point>'
    numbered = " ".join(f'x{k}="{x}" y{k}="{y}"' for k, (x, y) in enumerate(points, start=1))
    return f'<points {numbered} alt="{label}">{label}</points>'


def _read(attributes: str) -> tuple[list[float], bool]:
    numbers = [float(number) for _, *point in _POINT.findall(attributes) for number in point]
    return numbers, _ATTRIBUTES.fullmatch(attributes) is not None


DIALECT = Points("molmo", Space(scale=100, decimals=1), _write, _read)
