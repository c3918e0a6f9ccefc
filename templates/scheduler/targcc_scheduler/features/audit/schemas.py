"""Schemas of the API of the audit."""

from __future__ import annotations

from ...web.api.schema import Schema
from .queries import Fault


class VerdictOut(Schema):
    """Result of a verification of the audit."""

    rows: int
    head: str
    unchained: int
    fault: Fault | None
    too_old: bool
    """Whether retention removed the row of the noted head, so the head proves nothing."""
