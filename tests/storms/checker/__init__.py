"""Checker: judges a storm by the records of jobs, submitter and storm, and by the tables, read with plain SQL.

The checker imports nothing of the scheduler, so that a mistake in the scheduler cannot repeat itself here; a test enforces this.
"""

from storms.checker.evidence import Complaint, Evidence, Limits
from storms.checker.loading import keep_tables, load, unfinished
from storms.checker.verdict import Verdict, check

__all__ = [
    "Complaint",
    "Evidence",
    "Limits",
    "Verdict",
    "check",
    "keep_tables",
    "load",
    "unfinished",
]
