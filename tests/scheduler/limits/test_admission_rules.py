"""Admission of runs that wait for capacity of a limit key, by tables; on both databases."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.db.tables import job_limit, job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import limit_renames, limits
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.runs.values import Tie

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RUNNING, ENQUEUED, AWAITING = RunState.RUNNING, RunState.ENQUEUED, RunState.AWAITING
WAITS = {"State": AWAITING, "Ties": int(Tie.ASKS)}
BUSY = {"State": RUNNING}
ADMITTED = {"State": ENQUEUED, "RoomAt": NOW}


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def _limit(connection, key="K", most=1, **columns):
    given = {"LimitKey": key, "JobName": "A", "Most": most, "UpdatedAt": NOW}
    await connection.execute(sa.insert(job_limit).values(**given | columns))


async def _insert(connection, run_id, **columns):
    given = {"JobName": "A", "JobType": "Manual", "State": ENQUEUED, "Queue": "q", "Priority": 0}
    given |= {"DueAt": NOW, "CreatedAt": NOW, "TriggeredBy": "dana", "LimitKey": "K"}
    await connection.execute(sa.insert(job_run).values(Id=run_id, **given | columns))


async def _states(connection):
    rows = await connection.execute(sa.select(job_run.c.Id, job_run.c.State))
    return {row.Id: row.State for row in rows}


@pytest.mark.parametrize(
    ("most", "rows", "admitted"),
    [
        (1, [WAITS], [1]),
        (1, [WAITS, WAITS], [1]),
        (2, [WAITS, WAITS, WAITS], [1, 2]),
        (None, [WAITS, WAITS], [1, 2]),
        (0, [WAITS], []),
        # Runs that are running, or were admitted, take capacity.
        (1, [BUSY, WAITS], []),
        (2, [BUSY, WAITS, WAITS], [2]),
        (1, [ADMITTED, WAITS], []),
        (2, [ADMITTED, BUSY, WAITS], []),
        (1, [{"State": ENQUEUED}, WAITS], [2]),
        (1, [{**BUSY, "LimitKey": "L"}, WAITS], [2]),
        # The most urgent first.
        (1, [WAITS, {**WAITS, "Priority": 1}], [2]),
        (1, [WAITS, {**WAITS, "DueAt": NOW - SECOND}], [2]),
        # A heavy run waits for enough capacity, and so do the runs behind it.
        (3, [BUSY, {**WAITS, "Weight": 2}], [2]),
        (3, [BUSY, {**WAITS, "Weight": 3}], []),
        (3, [BUSY, {**WAITS, "Weight": 3}, WAITS], []),
        (3, [{**WAITS, "Weight": 2}, WAITS, WAITS], [1, 2]),
        (2, [{**WAITS, "Weight": 5}, WAITS], [1]),
        (1, [{**WAITS, "Weight": 2}], [1]),
        (2, [{**BUSY, "Weight": 2}, WAITS], []),
        # A run that waits for its parents does not wait for capacity.
        (1, [{"State": AWAITING, "Ties": int(Tie.FOLLOWS)}, WAITS], [2]),
    ],
)
async def test_waiting_runs_are_admitted_as_far_as_capacity_goes(store, most, rows, admitted):
    async with store.write() as connection:
        await _limit(connection, most=most)
        await _limit(connection, "L")
        for run_id, row in enumerate(rows, 1):
            await _insert(connection, run_id, **row)
        ready = await limits.admit(connection, ["K"], NOW)
        assert [run.run_id for run in ready] == admitted
        states = await _states(connection)
        for run_id, row in enumerate(rows, 1):
            now = ENQUEUED if run_id in admitted else row["State"]
            assert states[run_id] == now


async def test_a_key_that_is_held_says_whether_it_is_new(store):
    async with store.write() as connection:
        await _limit(connection, "there")
        rows = [
            {"LimitKey": key, "JobName": "Work", "Most": 1, "UpdatedAt": NOW}
            for key in ("there", "new")
        ]
        assert await limits.hold(connection, rows) == {"there": False, "new": True}
        assert await limits.hold(connection, rows) == {"there": False, "new": False}


async def test_only_keys_that_are_named_admit_runs(store):
    async with store.write() as connection:
        for number, key in enumerate("KLM", 1):
            await _limit(connection, key)
            await _insert(connection, number, **WAITS, LimitKey=key)
        assert await limits.lock(connection, ["M", "K", "X"]) == ["K", "M"]
        assert await limits.admit_held(connection, [], NOW) == []
        assert [run.run_id for run in await limits.admit(connection, ["M", "K"], NOW)] == [1, 3]


@pytest.mark.parametrize(
    ("is_awaited", "rows", "expected"),
    [(False, [WAITS, WAITS], True), (True, [], False), (False, [], False), (True, [WAITS], True)],
)
async def test_a_key_knows_whether_a_run_waits(store, is_awaited, rows, expected):
    async with store.write() as connection:
        await _limit(connection, most=0, IsAwaited=is_awaited)
        await _limit(connection, "L", IsAwaited=not is_awaited)
        for run_id, row in enumerate(rows, 1):
            await _insert(connection, run_id, **row)
        await limits.admit(connection, ["K"], NOW)
        awaited = dict((await connection.execute(sa.select(job_limit.c.LimitKey, job_limit.c.IsAwaited))).all())  # fmt: skip
        assert awaited == {"K": expected, "L": not is_awaited}


async def test_a_run_without_a_token_asks_again_when_the_next_token_comes(store):
    far = datetime(2999, 1, 1, tzinfo=UTC)  # the clock of the database decides when the token comes
    async with store.write() as connection:
        await _limit(connection, most=None, IntervalMs=60_000, Burst=1, NextAt=far)
        await _insert(connection, 1, **WAITS)
        await _insert(connection, 2, **WAITS)
        (ready,) = await limits.admit(connection, ["K"], NOW)
        assert ready.run_id == 1
        assert ready.due_at > NOW
        rows = {row.Id: row for row in await connection.execute(sa.select(job_run))}
        assert (rows[1].State, rows[2].State) == (RunState.SCHEDULED, AWAITING)
        assert rows[1].DueAt == ready.due_at
        assert rows[1].LifeLog.rstrip().endswith("scheduled waits for a token")
        assert await connection.scalar(sa.select(job_limit.c.WakeId)) == 1
        assert await limits.admit(connection, ["K"], NOW) == []  # one run asks for all


async def test_a_run_that_another_transaction_has_locked_does_not_ask(migrated_postgresql_url):
    far = datetime(2999, 1, 1, tzinfo=UTC)
    store = Store(migrated_postgresql_url)
    async with store.write() as connection:
        await _limit(connection, most=None, IntervalMs=60_000, Burst=1, NextAt=far)
        await _insert(connection, 1, **WAITS)
    async with store.write() as other, store.write() as connection:
        await other.execute(sa.select(job_run.c.Id).with_for_update())
        assert await limits.admit(connection, ["K"], NOW) == []
        assert await connection.scalar(sa.select(job_limit.c.WakeId)) is None
    await store.dispose()


async def test_a_key_that_another_transaction_has_locked_is_waited_for(migrated_postgresql_url):
    store = Store(migrated_postgresql_url)
    async with store.write() as connection:
        await _limit(connection)
        await _insert(connection, 1, **WAITS)
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with store.write() as other:
        await limits.lock(other, ["K"])
        assert await store.change(lambda db: limits.lock(db, ["K"], waits=False)) == []
        admitting = asyncio.create_task(store.change(lambda db: limits.admit(db, ["K"], NOW)))
        async with asyncio.timeout(30):
            while not admitting.done() and not await other.scalar(waiting):
                pass
        assert not admitting.done()
    assert [run.run_id for run in await admitting] == [1]
    await store.dispose()


async def test_a_run_that_waits_for_capacity_asks_for_no_token(store):
    """The last token is left for it: the end of the running run admits it."""
    async with store.write() as connection:
        await _limit(connection, most=2, IntervalMs=60_000, Burst=1)
        await _insert(connection, 1, **BUSY)
        await _insert(connection, 2, **WAITS, Weight=2)
        assert await limits.admit(connection, ["K"], NOW) == []
        assert (await _states(connection))[2] == AWAITING
        assert await connection.scalar(sa.select(job_limit.c.WakeId)) is None


async def test_a_token_is_spent_with_each_run(store):
    async with store.write() as connection:
        await _limit(connection, most=None, IntervalMs=3_600_000, Burst=2)
        for run_id in (1, 2, 3):
            await _insert(connection, run_id, **WAITS)
        ready = await limits.admit(connection, ["K"], NOW)
        assert [run.run_id for run in ready] == [1, 2, 3]
        states = await _states(connection)
        assert states == {1: ENQUEUED, 2: ENQUEUED, 3: RunState.SCHEDULED}
        assert await connection.scalar(sa.select(job_limit.c.NextAt)) is not None


@pytest.mark.parametrize(
    ("most", "state", "of_key", "admitted"),
    [
        (1, RUNNING, "K", True),
        (1, RunState.SUCCEEDED, "K", False),
        (1, RUNNING, None, False),
        (0, RUNNING, "K", False),
    ],
)
async def test_a_removed_run_leaves_its_capacity(store, most, state, of_key, admitted):
    async with store.write() as connection:
        await _limit(connection, most=most)
        await _insert(connection, 1, **WAITS)
        row = SimpleNamespace(LimitKey=of_key, State=state)
        ready = (await limits.removed(connection, [row], NOW)).ready
        assert [run.run_id for run in ready] == ([1] if admitted else [])


@pytest.mark.parametrize(
    ("is_awaited", "key", "admitted"),
    [(True, "K", True), (None, "K", True), (False, "K", False), (True, None, False)],
)
async def test_the_end_of_a_run_admits_the_next(store, is_awaited, key, admitted):
    async with store.write() as connection:
        await _limit(connection)
        await _insert(connection, 1, **WAITS)
        if is_awaited:
            await limits.lock(connection, ["K"])
        settled = [SimpleNamespace(limit_key=key, is_awaited=is_awaited)]
        ready = (await limits.on_settled(connection, settled, NOW)).ready
        assert [run.run_id for run in ready] == ([1] if admitted else [])


async def test_a_sweep_admits_the_runs_of_all_keys(store, monkeypatch):
    async with store.write() as connection:
        for number, key in enumerate("KLM", 1):
            await _limit(connection, key)
            await _insert(connection, number, **WAITS, LimitKey=key)
        await _limit(connection, "N")
        ready, after = await limits.admit_waiting(connection, "K", NOW)
        assert ([run.run_id for run in ready], after) == ([2, 3], None)
        monkeypatch.setattr(limits, "_MOST", 1)
        ready, after = await limits.admit_waiting(connection, "", NOW)
        assert ([run.run_id for run in ready], after) == ([1], "K")
        assert await limits.admit_waiting(connection, "K", NOW) == ([], None)


@pytest.mark.parametrize(
    ("jobs", "most"),
    [
        ({"A": LimitPolicy(5, None, None)}, {"K": 5, "L": 1}),
        ({"A": LimitPolicy(1, None, None)}, {"K": 1, "L": 1}),
        ({"C": LimitPolicy(5, None, None)}, {"K": 1, "L": 1}),
        ({"A": LimitPolicy(5, None, None), "B": LimitPolicy(6, None, None)}, {"K": 5, "L": 6}),
    ],
)
async def test_a_new_release_changes_the_limits_of_its_jobs(store, jobs, most):
    async with store.write() as connection:
        assert await limits.are_used(connection) is False
        await _limit(connection)
        await _limit(connection, "L", JobName="B")
        await limits.renew(connection, jobs, NOW + MINUTE)
        rows = (await connection.execute(sa.select(job_limit))).all()
        assert {row.LimitKey: row.Most for row in rows} == most
        changed = {row.LimitKey for row in rows if row.UpdatedAt == NOW + MINUTE}
        assert changed == {key for key, number in most.items() if number != 1}
        assert await limits.are_used(connection) is True


async def test_a_renamed_job_changes_the_limits_that_its_former_name_has(store):
    async with store.write() as connection:
        await _limit(connection)
        await _limit(connection, limit_renames.MARK + "Old", most=None)
        await limits.renew(connection, {"Old": LimitPolicy(5, None, None)}, NOW + MINUTE)
        keys = dict((await connection.execute(sa.select(job_limit.c.LimitKey, job_limit.c.Most))).all())  # fmt: skip
        assert keys["K"] == 5


@pytest.mark.parametrize(("interval", "reads"), [(None, 0), (1000, 1)])
async def test_the_clock_of_the_database_counts_for_keys_with_a_rate(monkeypatch, interval, reads):
    read = []

    class Dialect:
        async def read_clock(self, _connection):
            read.append(1)
            return NOW + MINUTE

    async def none_unbegun(*_):
        return {}

    monkeypatch.setattr(limits, "known", SimpleNamespace(of=lambda _: Dialect()))
    monkeypatch.setattr(limits, "_unbegun", none_unbegun)
    limit = SimpleNamespace(Most=1, taken=0, IntervalMs=interval, Burst=None, NextAt=None)
    rooms = await limits.capacities(None, {"K": limit}, NOW)
    assert (len(read), rooms["K"].now) == (reads, NOW + reads * MINUTE)


async def test_the_most_urgent_runs_of_a_key(store):
    async with store.write() as connection:
        await _limit(connection)
        for run_id, priority in ((1, 0), (2, 5), (3, 0)):
            await _insert(connection, run_id, **WAITS, Priority=priority)
        await _insert(connection, 4, **WAITS, LimitKey="L", Priority=9)
        await _insert(connection, 5, **BUSY, Weight=3)
        await _insert(connection, 6, **ADMITTED, Weight=4)
        assert [row.Id for row in await limits.urgent(connection, "K", 2)] == [2, 1]
        look = (await limits.look(connection, ["K"]))["K"]
        assert (look.Id, look.taken, look.Most) == (2, 7, 1)
        assert await limits.look(connection, ["X"]) == {}
        rooms = await limits.capacities(connection, {"K": look}, NOW)
        assert (rooms["K"].count, rooms["K"].now) == (0, NOW)


async def test_runs_that_keep_their_tokens_are_counted(store):
    async with store.write() as connection:
        await _limit(connection, most=None, IntervalMs=60_000, Burst=5)
        await _insert(connection, 1, **ADMITTED)
        await _insert(connection, 2, **ADMITTED)
        await _insert(connection, 3, **BUSY)
        look = await limits.look(connection, ["K"])
        assert (await limits.capacities(connection, look, NOW))["K"].tokens == 3


def test_the_policies_without_a_rate_are_a_parameter():
    terms = {"A": LimitPolicy(3, None, None), "B": LimitPolicy(None, 1000, 1)}
    assert json.loads(limits.policies_of(terms)) == [{"job": "A", "most": 3}]
