"""Rows that are inserted once: the inserting process learns whether the row is new, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.db.tables import job_alert_thread, job_failure
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.alerts import model as alert_model
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.runs import create
from targcc_scheduler.kernel.runs.values import NewRun

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
FAILED = alert_model.Happened(
    thread="export", kind="failed", job="Export", about="", title="Export failed",
    run_id=None, targets_json="[]", escalates=False,
)  # fmt: skip


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def test_a_concern_is_new_once(store):
    for is_new in (True, False):
        async with store.write() as connection:
            noted = await error_groups.note_issue(
                connection, "Nightly", "must_finish_by", "late", NOW
            )
        assert noted is is_new


async def test_a_concern_that_was_removed_is_new_again(store):
    async with store.write() as connection:
        assert await error_groups.note_issue(connection, "Nightly", "must_finish_by", "late", NOW)
        assert await error_groups.remove(connection, "Nightly", "must_finish_by")
        assert not await error_groups.remove(connection, "Nightly", "must_finish_by")
        assert await error_groups.note_issue(connection, "Nightly", "must_finish_by", "late", NOW)


async def test_an_alert_that_another_node_has_begun_meanwhile_is_counted(store, monkeypatch):
    async with store.write() as connection:
        await alert_model.note(connection, FAILED, NOW)

    async def none_yet(*_: object) -> int:
        """Return 0: the other node has not committed its row yet."""
        return 0

    monkeypatch.setattr(alert_model, "changed", none_yet)
    async with store.write() as connection:
        await alert_model.note(connection, FAILED, NOW)
        number = await connection.scalar(sa.select(job_alert_thread.c.Number))
    assert number == 2


@pytest.mark.parametrize(
    ("states", "groups"),
    [
        ([RunState.MISSED], ["Nightly"]),
        ([RunState.MISSED, RunState.MISSED], ["Nightly"]),
        ([RunState.MISSED, RunState.ENQUEUED], []),  # the late run makes up for the slot
        ([RunState.SKIPPED], []),
    ],
)
async def test_missed_slots_are_one_entry_of_the_inbox(store, states, groups):
    runs = [
        NewRun(
            job_name="Nightly",
            job_type="Recurring",
            queue="default",
            priority=0,
            due_at=slot,
            scheduled_for=slot,
            triggered_by="System",
            state=state,
        )
        for number, state in enumerate(states)
        for slot in [NOW - timedelta(hours=number)]
    ]
    async with store.write() as connection:
        new = await create.insert_slots(connection, runs, NOW)
        assert list(new) == [("Nightly", run.scheduled_for) for run in runs]
        assert await create.insert_slots(connection, runs, NOW) == {}
        rows = (await connection.execute(sa.select(job_failure))).all()
    assert [row.JobName for row in rows] == groups
    assert {row.FirstRunId for row in rows} <= {*new.values()}
