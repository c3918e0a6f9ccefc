"""Schemas of the API of the audit."""

from __future__ import annotations

from ...web.api.schema import Schema
from .queries import Fault


class VerdictOut(Schema):
    """What came out when the audit was verified."""

    rows: int
    head: str
    unchained: int
    fault: Fault | None
    too_old: bool
    """The head is of a row that was removed for its age, so that it says nothing."""
