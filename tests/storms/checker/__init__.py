"""The checker: judges a storm by what jobs, submitter and storm wrote down, and by the tables, read with plain SQL.

It imports nothing of the scheduler, so that no mistake there is made here again; a test holds it to that.
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
