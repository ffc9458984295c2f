"""One self-contained HTML file that shows what training changed."""

from vision_r1_eval.report.content import Monitors, Panel, Report, Scene, Series
from vision_r1_eval.report.page import write_report
from vision_r1_eval.report.panel import svg_panel
from vision_r1_eval.report.scene import label_colours, scene_figure

__all__ = [
    "Monitors",
    "Panel",
    "Report",
    "Scene",
    "Series",
    "label_colours",
    "scene_figure",
    "svg_panel",
    "write_report",
]
