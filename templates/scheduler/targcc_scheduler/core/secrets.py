"""Secrets in texts: what may be one is masked before a text goes out."""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"((?:token|password|secret|api_?key)=|://[^:/@\s]*:|Bearer\s+)[^&\s@'\"]+", re.IGNORECASE
)


def mask(text: str) -> str:
    """``text`` without passwords in URLs and tokens in addresses."""
    return _SECRET.sub(r"\1••••••", text)


MASK = "••••••"
"""What is shown instead of a secret."""
