"""From annotation files to samples."""

from vision_r1_data.readers.coco import read_coco

__all__ = ["read_coco"]
