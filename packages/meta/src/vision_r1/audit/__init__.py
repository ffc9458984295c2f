"""The audit of a reward, as a table, as a page and as JSON."""

from vision_r1.audit.command import run_audit
from vision_r1.audit.page import audit_page

__all__ = ["audit_page", "run_audit"]
