"""Processes that tests start many of."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def environment(**more: str) -> dict[str, str]:
    """An environment in which Python keeps what it has compiled, so that only the first process of a test run takes its time."""
    cache = Path(tempfile.gettempdir()) / "targcc-tests-pycache"
    mine = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**mine, "PYTHONPYCACHEPREFIX": str(cache), **more}
