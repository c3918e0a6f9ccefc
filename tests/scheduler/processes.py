"""Processes that tests start many of."""

from __future__ import annotations

import os


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests, with these variables."""
    return {**os.environ, **more}
