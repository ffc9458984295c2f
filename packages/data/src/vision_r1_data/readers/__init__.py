"""From annotation files to samples."""

from vision_r1_data.readers.coco import read_coco
from vision_r1_data.readers.odinw import read_odinw
from vision_r1_data.readers.rec import read_rec
from vision_r1_data.readers.refcoco import read_refcoco
from vision_r1_data.readers.visual_genome import read_visual_genome

__all__ = ["read_coco", "read_odinw", "read_rec", "read_refcoco", "read_visual_genome"]
