# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Passwords and tokens in texts that people will see: the process's log, the messages and tracebacks of runs."""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"((?:token|password|secret|api_?key)=|://[^:/@\s]*:|Bearer\s+)[^&\s@'\"]+", re.IGNORECASE
)


def masked(text: str) -> str:
    """``text`` without passwords in URLs and tokens in addresses."""
    return _SECRET.sub(r"\1••••••", text)
