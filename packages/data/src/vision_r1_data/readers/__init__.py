"""From annotation files to samples."""

from vision_r1_data.readers.coco import read_coco
from vision_r1_data.readers.lvis import read_lvis
from vision_r1_data.readers.objects365 import read_objects365
from vision_r1_data.readers.odvg import read_odvg
from vision_r1_data.readers.vision_r1 import read_vision_r1

__all__ = [
    "read_coco",
    "read_lvis",
    "read_objects365",
    "read_odvg",
    "read_vision_r1",
]
