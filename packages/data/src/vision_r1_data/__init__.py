"""Samples, annotation readers and box dialects for vision-language models."""

from vision_r1_data.dialects import Dialect, get_dialect, list_dialects
from vision_r1_data.errors import DataError
from vision_r1_data.faults import Faults
from vision_r1_data.frame import Box, Frame
from vision_r1_data.preflight import Preflight, preflight
from vision_r1_data.processor import EncodedPrompt, VisionProcessor, image_frame
from vision_r1_data.readers import read_coco
from vision_r1_data.sample import Answer, Objects, Sample
from vision_r1_data.store import load_samples, save_samples, stream_samples

__all__ = [
    "Answer",
    "Box",
    "DataError",
    "Dialect",
    "EncodedPrompt",
    "Faults",
    "Frame",
    "Objects",
    "Preflight",
    "Sample",
    "VisionProcessor",
    "get_dialect",
    "image_frame",
    "list_dialects",
    "load_samples",
    "preflight",
    "read_coco",
    "save_samples",
    "stream_samples",
]
