"""Detection metrics for vision-language models that answer with boxes, and a report to open."""

from vision_r1_eval.coco import coco_metrics
from vision_r1_eval.matching import Counts, Matching, match_objects
from vision_r1_eval.metrics import Meaning, Metrics, comparison_table, evaluate, meanings
from vision_r1_eval.protocol import Protocol
from vision_r1_eval.report import (
    Monitors,
    Panel,
    Report,
    Scene,
    Series,
    label_colours,
    scene_figure,
    svg_panel,
    write_report,
)

__all__ = [
    "Counts",
    "Matching",
    "Meaning",
    "Metrics",
    "Monitors",
    "Panel",
    "Protocol",
    "Report",
    "Scene",
    "Series",
    "coco_metrics",
    "comparison_table",
    "evaluate",
    "label_colours",
    "match_objects",
    "meanings",
    "scene_figure",
    "svg_panel",
    "write_report",
]
