"""From annotation files to samples."""

from vision_r1_data.readers.coco import read_coco
from vision_r1_data.readers.cvat import read_cvat
from vision_r1_data.readers.labelme import read_labelme
from vision_r1_data.readers.lvis import read_lvis
from vision_r1_data.readers.objects365 import read_objects365
from vision_r1_data.readers.odinw import read_odinw
from vision_r1_data.readers.odvg import read_odvg
from vision_r1_data.readers.openimages import read_openimages
from vision_r1_data.readers.rec import read_rec
from vision_r1_data.readers.refcoco import read_refcoco
from vision_r1_data.readers.vision_r1 import read_vision_r1
from vision_r1_data.readers.visual_genome import read_visual_genome
from vision_r1_data.readers.voc import read_voc
from vision_r1_data.readers.yolo import read_yolo

__all__ = [
    "read_coco",
    "read_cvat",
    "read_labelme",
    "read_lvis",
    "read_objects365",
    "read_odinw",
    "read_odvg",
    "read_openimages",
    "read_rec",
    "read_refcoco",
    "read_vision_r1",
    "read_visual_genome",
    "read_voc",
    "read_yolo",
]
