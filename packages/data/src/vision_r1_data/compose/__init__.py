"""Composed scenes: named cut-outs on photographs, with exact truth and questions about it."""

from vision_r1_data.compose.cutouts import Cutout, read_backgrounds, read_cutouts
from vision_r1_data.compose.samples import drawn_samples, write_composed
from vision_r1_data.compose.scene import ComposeSettings, compose_scene

__all__ = [
    "ComposeSettings",
    "Cutout",
    "compose_scene",
    "drawn_samples",
    "read_backgrounds",
    "read_cutouts",
    "write_composed",
]
