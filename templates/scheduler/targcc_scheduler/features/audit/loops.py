"""Chain the rows of the audit."""

from __future__ import annotations

from ...kernel.audit_chain import IS_UNSEALED

UNSEALED = IS_UNSEALED
"""Condition: an audit row has no place in the chain."""
