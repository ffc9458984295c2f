"""An audit of any reward: which exploits earn what an honest answer earns?"""

from vision_r1_grpo.rewards.audit.findings import Audit, Example, Finding, audit
from vision_r1_grpo.rewards.audit.score import Score, load_score

__all__ = ["Audit", "Example", "Finding", "Score", "audit", "load_score"]
