"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder with default settings, apart from the developer's ``.env`` and database."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TARGCC_", "APP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TARGCC_DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
