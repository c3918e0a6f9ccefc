"""Helpers for the processes that tests start."""

from __future__ import annotations

import os


def environment(**more: str) -> dict[str, str]:
    """Return the environment of the tests, extended by these variables."""
    return {**os.environ, **more}
