"""Batched box IoU, exact assignment, matching and criterion rewards on tensors."""

from vision_r1_ops.assignment import Assignment, linear_sum_assignment
from vision_r1_ops.boxes import box_iou
from vision_r1_ops.criteria import CriterionRewards, Thresholds, criterion_rewards
from vision_r1_ops.localization import LocalizationRewards, localization_rewards
from vision_r1_ops.matching import Match, match_boxes

__all__ = [
    "Assignment",
    "CriterionRewards",
    "LocalizationRewards",
    "Match",
    "Thresholds",
    "box_iou",
    "criterion_rewards",
    "linear_sum_assignment",
    "localization_rewards",
    "match_boxes",
]
