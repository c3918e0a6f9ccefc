"""Fixtures for the cutover tests."""

import pytest
from rehearsal import Rehearsal, local

# Later than the real clock of any database: the scripts for the way back read that clock.
START = "2031-06-01T12:00"


@pytest.fixture(params=["sqlite", "postgresql"])
async def rehearsal(request, tmp_path, monkeypatch):
    """Both schedulers on real databases; the old server's process is running."""
    if request.param in {"sqlite", "cron"}:
        url = request.getfixturevalue("migrated_sqlite_url")
        old_url = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        url = request.getfixturevalue("migrated_postgresql_url")
        old_url = request.getfixturevalue("postgresql_url")
    made = Rehearsal(tmp_path, url, old_url, local(START), monkeypatch)
    if request.param == "cron":
        made.make_cron_table()
    made.start_old_server()
    yield made
    await made.stop()
