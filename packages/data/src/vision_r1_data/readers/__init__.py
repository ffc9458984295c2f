"""From annotation files to samples."""

from vision_r1_data.readers.coco import read_coco
from vision_r1_data.readers.lvis import read_lvis
from vision_r1_data.readers.objects365 import read_objects365

__all__ = [
    "read_coco",
    "read_lvis",
    "read_objects365",
]
