"""What every test gets."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and settings of its own: no test sees the developer's ``.env`` or touches a real database."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TARGCC_", "APP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TARGCC_DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
