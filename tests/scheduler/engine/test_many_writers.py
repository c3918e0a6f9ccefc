"""Calls for databases with many writers: locks before changes, and statements that save round trips. Without such a database."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_stat
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import dependencies, limits, statistics
from targcc_scheduler.kernel.node import slots
from targcc_scheduler.kernel.runs import create
from targcc_scheduler.kernel.runs.transition import OTHER
from targcc_scheduler.kernel.runs.values import Ending, NewRun

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
LINE = "2026-06-10 enqueued\n"


@pytest.fixture
def calls(monkeypatch):
    """Return the statements and parameters that are sent; ``answers`` has their rows."""
    sent = SimpleNamespace(made=[], answers=[])

    class Connection:
        async def execute(self, statement, parameters=None):
            sent.made.append((statement, parameters))

    sent.connection = Connection()

    def replace(module, name):
        class Statement:
            async def all(self, connection, parameters):
                assert connection is sent.connection
                sent.made.append((name, parameters))
                return sent.answers

            async def counts(self, connection, many):
                assert connection is sent.connection
                sent.made.append((name, list(many)))
                return []

        monkeypatch.setattr(module, name, Statement())

    def writers(module, *, many):
        dialect = SimpleNamespace(many_writers=many, changes_in_ctes=many)
        monkeypatch.setattr(module, "known", SimpleNamespace(of=lambda _: dialect))

    sent.replace, sent.writers = replace, writers
    return sent


async def test_keys_are_held_and_missing_keys_inserted(calls):
    calls.writers(limits, many=True)
    calls.replace(limits, "_HOLD")
    calls.answers = [SimpleNamespace(LimitKey="a", is_new=True), SimpleNamespace(LimitKey="b", is_new=False)]  # fmt: skip
    row = {"LimitKey": "a", "JobName": "Work", "Most": 1, "UpdatedAt": NOW}
    assert await limits.hold(calls.connection, [row]) == {"a": True, "b": False}
    ((_, parameters),) = calls.made
    assert json.loads(parameters["rows"]) == [
        {"limitkey": "a", "jobname": "Work", "most": 1, "updatedat": NOW.isoformat()}
    ]


def test_a_run_that_waits_for_capacity_is_taken_only_if_nobody_has_locked_it():
    condition = limits.still_asks(OTHER.c.Id == 7)
    text = str(sa.select(sa.literal(1)).where(condition).compile(dialect=postgresql.dialect()))
    assert "FOR UPDATE SKIP LOCKED" in text
    assert "State = (SELECT 'awaiting'" in text.replace('"', "")


@pytest.mark.parametrize("many", [True, False])
async def test_keys_are_read_and_their_first_runs_admitted_in_one_statement(calls, many):
    calls.writers(limits, many=many)
    for name in ("_LOOK", "_LOOK_AND_ADMIT"):
        calls.replace(limits, name)
    row = SimpleNamespace(LimitKey="a")
    calls.answers = [row]
    assert await limits._look(calls.connection, {"a"}, NOW, LINE) == {"a": row}
    parameters = {"keys": ["a"]}
    if many:
        assert calls.made == [("_LOOK_AND_ADMIT", {**parameters, "now": NOW, "line": LINE})]
    else:
        assert calls.made == [("_LOOK", parameters)]


@pytest.mark.parametrize(
    ("many", "uncounted", "keys"), [(True, [], ["a", "b"]), (True, ["a"], ["b"]), (True, ["a", "b"], None), (False, [], None)]
)  # fmt: skip
async def test_readers_of_a_key_notice_that_capacity_was_given(calls, many, uncounted, keys):
    calls.writers(limits, many=many)
    calls.replace(limits, "_GIVEN")
    rooms = dict.fromkeys("ba", SimpleNamespace(token_at=None))
    await limits.given(calls.connection, rooms, uncounted=uncounted)
    assert calls.made == ([] if keys is None else [("_GIVEN", [{"keys": keys}])])


@pytest.mark.parametrize(
    ("many", "names", "locks"), [(True, ["b", "a"], True), (True, [], False), (False, ["a"], False)]
)
async def test_schedules_are_locked_before_several_change(calls, many, names, locks):
    calls.writers(slots, many=many)
    await slots.lock(calls.connection, names)
    assert calls.made == ([(slots._LOCK, {"jobs": names})] if locks else [])


@pytest.mark.parametrize("many", [True, False])
async def test_runs_are_locked_with_their_waiting_dependents(calls, monkeypatch, many):
    locked = []

    async def with_children(connection, run_ids, which):
        assert (connection, which) == (calls.connection, dependencies.AWAITS)
        return {*run_ids, 9}

    async def lock(connection, run_ids):
        assert connection is calls.connection
        locked.append(run_ids)

    calls.writers(dependencies, many=many)
    monkeypatch.setattr(dependencies, "with_children", with_children)
    monkeypatch.setattr(dependencies, "lock", lock)
    await dependencies.lock_rows(calls.connection, [7])
    assert locked == ([{7, 9}] if many else [])


async def test_files_of_new_runs_are_stored_or_copied(calls, monkeypatch):
    async def insert_runs(_connection, rows):
        return [(number,) for number, _ in enumerate(rows, 7)]

    async def add(connection, *given):
        calls.made.append(("add", connection is calls.connection, *given))

    async def copy(connection, *given):
        calls.made.append(("copy", connection is calls.connection, *given))

    dialect = SimpleNamespace(insert_runs=insert_runs)
    monkeypatch.setattr(create, "known", SimpleNamespace(of=lambda _: dialect))
    monkeypatch.setattr(create, "blobs", SimpleNamespace(add=add, copy=copy))
    given = {"job_name": "Work", "job_type": "Manual", "queue": "q", "priority": 0}
    given |= {"arguments_json": None, "due_at": NOW, "triggered_by": "dana"}
    runs = [NewRun(**given), NewRun(**given, contents=("file",)), NewRun(**given, contents_of=3)]
    assert await create.insert_many(calls.connection, runs, NOW) == [7, 8, 9]
    assert calls.made == [("add", True, 8, ("file",), NOW), ("copy", True, 3, 9, NOW)]


# Statistics on a database.


def _ending(minutes=0, milliseconds=10):
    at = NOW + timedelta(minutes=minutes)
    return Ending(job="Work", at=at, outcome=RunState.SUCCEEDED, duration_ms=milliseconds)


async def test_endings_are_counted_over_any_connection(migrated_url):
    store = Store(migrated_url)
    async with store.write() as connection:
        await connection.run_sync(lambda sync: statistics.add_plainly(sync, [], 3))
        endings = [_ending(), _ending(), _ending(60)]
        await connection.run_sync(lambda sync: statistics.add_plainly(sync, endings, 3))
        await connection.run_sync(lambda sync: statistics.add_plainly(sync, [_ending()], 3))
        columns = (job_stat.c.Shard, job_stat.c.Count, job_stat.c.SumMs)
        rows = await connection.execute(sa.select(*columns).order_by(job_stat.c.BeginsAt))
        assert [tuple(row) for row in rows] == [(3, 3, 30), (3, 1, 10)]
    await store.dispose()


@pytest.mark.parametrize(("keys", "left"), [([9, 8], "7"), ([8, 9], "7"), ([9], None), ([], None)])
async def test_a_recount_goes_on_below_the_rows_that_it_counted(calls, monkeypatch, keys, left):
    """Fewer rows than asked for are the last."""
    added = []

    async def note(_connection, _name):
        return statistics._Left(9, NOW)

    async def attempts(_connection, _left, most):
        assert most == 2
        return keys, [_ending()]

    async def add(_connection, endings, shard):
        added.append((endings, shard))

    for name, function in (("_left", note), ("_attempts", attempts), ("add", add)):
        monkeypatch.setattr(statistics, name, function)
    assert await statistics._step(calls.connection, statistics._ATTEMPTS, 2) is True
    assert added == [([_ending()], statistics.HISTORY_SHARD)]
    ((statement, _),) = calls.made
    values = statement.compile().params
    assert isinstance(statement, sa.Delete if left is None else sa.Update)
    assert left is None or left in values.values()
