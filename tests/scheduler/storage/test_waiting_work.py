"""Work that a node looks for, by tables: refused runs, and runs that are due."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.runs import create

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("fingerprint", "pattern"), [("abc", "%abc%"), ("", "")])
def test_the_pattern_of_a_node_that_refused(fingerprint, pattern):
    assert create.refused_by(fingerprint) == pattern


@pytest.mark.parametrize(
    ("waits", "next_due", "is_there"),
    [
        (0, None, False),
        (1, None, True),
        (0, NOW - SECOND, True),
        (0, NOW, True),
        (0, NOW + SECOND, False),
        (1, NOW + SECOND, True),
    ],
)
async def test_there_is_work_where_a_run_waits_or_is_due(monkeypatch, waits, next_due, is_there):
    async def rows(*_):
        return [SimpleNamespace(waits=waits, next_due=next_due)]

    monkeypatch.setattr(create, "_WAITING_WORK", SimpleNamespace(all=rows))
    assert await create.waiting_work(None, ["default"], NOW, NOW + SECOND) == (is_there, next_due)


async def test_staging_returns_the_number_of_runs(monkeypatch):
    async def counts(*_):
        return [3]

    monkeypatch.setattr(create, "_STAGE", SimpleNamespace(counts=counts))
    assert await create.stage_due(None, NOW) == 3


@pytest.mark.parametrize(
    ("state", "due", "number"),
    [
        ("scheduled", NOW - SECOND, 1),
        ("scheduled", NOW, 1),
        ("retrying", NOW, 1),
        ("scheduled", NOW + timedelta(microseconds=1), 0),
        ("awaiting", NOW, 0),
    ],
)
async def test_a_run_is_due_at_its_instant(migrated_url, state, due, number):
    store = Store(migrated_url)
    row = {"JobName": "A", "JobType": "Manual", "State": state, "Queue": "q", "Priority": 0}
    row |= {"DueAt": due, "CreatedAt": NOW, "TriggeredBy": "dana"}
    async with store.write() as connection:
        await connection.execute(sa.insert(job_run).values(row))
        assert await create.stage_due(connection, NOW) == number
        now = await connection.scalar(sa.select(job_run.c.State))
    assert now == (RunState.ENQUEUED if number else state)
    await store.dispose()


@pytest.mark.parametrize(
    ("due", "found"),
    [
        (NOW - SECOND, (True, NOW - SECOND)),
        (NOW, (True, NOW)),
        (NOW + SECOND, (False, NOW + SECOND)),
        (NOW + SECOND + timedelta(microseconds=1), (False, None)),
    ],
)
async def test_the_next_due_instant_is_looked_for_within_a_period(migrated_url, due, found):
    store = Store(migrated_url)
    row = {
        "JobName": "A",
        "JobType": "Manual",
        "Queue": "q",
        "CreatedAt": NOW,
        "TriggeredBy": "dana",
    }
    rows = [
        row | {"State": state, "DueAt": at}
        for state, at in (("scheduled", due), ("retrying", NOW + 3600 * SECOND))
    ]
    async with store.write() as connection:
        await connection.execute(sa.insert(job_run), rows)
        assert await create.waiting_work(connection, ["q"], NOW, NOW + SECOND) == found
    await store.dispose()
