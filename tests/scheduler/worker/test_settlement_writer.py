"""Write outcomes in batches: a row that the database refuses affects only its own run; on both databases."""

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from engine_rig import nodes_on
from sqlalchemy.exc import OperationalError
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_limit, job_link, job_log_line, job_run, logged_job
from targcc_scheduler.kernel.runs import claim, values
from targcc_scheduler.kernel.runs.values import Tie
from targcc_scheduler.kernel.worker.recorder import SettlementWriter

NAIVE = datetime(2026, 6, 10, 12)  # noqa: DTZ001 - no database takes it
TOO_LARGE = 2**70
WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def node(migrated_url):
    async with nodes_on(migrated_url) as make:
        yield await make()


@pytest.fixture
def writer(node):
    return SettlementWriter(node.store, node.engine, node.clock, lambda: True)


async def _claim(node, count):
    ids = [await node.create() for _ in range(count)]
    offer = values.Offer(runs=[values.OfferedRun(run_id, "Work") for run_id in ids])
    async with node.store.write() as connection:
        return list((await claim.claim(connection, offer, node.terms())).claims)


def _succeeded(claim, **attempt):
    ended = {"ended_at": datetime.now(UTC), "success": True, "server": "me", "message": "done"}
    record = values.AttemptRecord(**(ended | attempt))
    return values.Settlement(claim=claim, state=RunState.SUCCEEDED, message="done", attempt=record)


def _line(claim, at):
    row = {"RunId": claim.run_id, "Attempt": 1, "At": at, "Level": "info", "Message": "hello"}
    return values.Settlement(
        **{**_fields(_succeeded(claim)), "log_lines": [row]},
    )


def _fields(value):
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


async def _rows(node, table):
    async with node.store.read() as connection:
        return (await connection.execute(sa.select(table))).all()


async def test_a_value_of_which_no_parameter_can_be_made_costs_the_others_nothing(node, writer):
    first, bad, last = await _claim(node, 3)
    written = await asyncio.gather(
        writer.settle(_line(first, datetime.now(UTC))),
        writer.settle(_line(bad, NAIVE)),
        writer.settle(_line(last, datetime.now(UTC))),
    )
    assert [one.state for one in written] == [RunState.SUCCEEDED] * 3
    assert {row.State for row in await _rows(node, job_run)} == {"succeeded"}
    assert {row.RunId for row in await _rows(node, job_log_line)} == {first.run_id, last.run_id}
    assert len(await _rows(node, logged_job)) == 3


async def test_a_run_whose_details_are_refused_still_has_its_row_of_history(node, writer):
    first, bad = await _claim(node, 2)
    written = await asyncio.gather(
        writer.settle(_succeeded(first, duration_ms=12)),
        writer.settle(_succeeded(bad, duration_ms=TOO_LARGE)),
    )
    assert [one.state for one in written] == [RunState.SUCCEEDED] * 2
    kept = {row.JobId: (row.DurationMs, row.ResultMessage) for row in await _rows(node, logged_job)}
    assert kept == {str(first.run_id): (12, "done"), str(bad.run_id): (None, "done")}


async def test_what_cannot_be_written_at_all_fails_alone(node, writer):
    first, bad = await _claim(node, 2)
    written = await asyncio.gather(
        writer.settle(_succeeded(first)),
        writer.settle(_succeeded(bad, ended_at="noon")),
        return_exceptions=True,
    )
    assert written[0].state is RunState.SUCCEEDED
    assert isinstance(written[1], Exception)
    assert await node.state(first.run_id) == RunState.SUCCEEDED
    assert await node.state(bad.run_id) == RunState.RUNNING


class UndoneError(Exception):
    sqlstate = "40P01"


async def test_what_was_written_is_known_when_what_was_tied_meanwhile_is_undone(
    node, writer, monkeypatch
):
    first, tied = await _claim(node, 2)
    async with node.store.write() as connection:
        statement = sa.update(job_run).where(job_run.c.Id == tied.run_id)
        await connection.execute(statement.values(Ties=int(Tie.FOLLOWED)))

    async def undone(_work):
        monkeypatch.undo()
        raise OperationalError("", {}, UndoneError())

    monkeypatch.setattr(node.store, "change", undone)
    written = await asyncio.gather(
        *(writer.settle(_succeeded(claimed_run)) for claimed_run in (first, tied))
    )
    assert [one.state for one in written] == [RunState.SUCCEEDED] * 2
    assert len(await _rows(node, logged_job)) == 2


async def test_a_key_of_a_limit_is_locked_after_what_waits_for_the_run_on_postgresql(
    migrated_postgresql_url,
):
    async with nodes_on(migrated_postgresql_url) as make:
        node = await make()
        parent, child = await node.create(), await node.create()
        async with node.store.write() as connection:
            await _follow(connection, parent, child)
        offer = values.Offer(runs=[values.OfferedRun(parent, "Work")])
        [claim] = await node.claim(lambda _: asyncio.sleep(0, offer))
        writer = SettlementWriter(node.store, node.engine, node.clock, lambda: False)
        async with node.store.engine.begin() as other:
            query = sa.select(job_run.c.Id).where(job_run.c.Id == child)
            await other.execute(query.with_for_update())
            task = asyncio.create_task(writer.settle(_succeeded(claim)))
            async with asyncio.timeout(30):
                while not await other.scalar(WAITING):  # noqa: ASYNC110 - it is in the database
                    await asyncio.sleep(0.01)
            free = sa.select(job_limit.c.LimitKey).with_for_update(skip_locked=True)
            assert list(await other.scalars(free)) == ["a"]
        assert await task


async def _follow(connection, parent, child):
    """Give a run a limit key, and let another run wait for it."""
    now = datetime.now(UTC)
    limited = {"Ties": int(Tie.LIMITED | Tie.FOLLOWED), "LimitKey": "a"}
    waits = {"Ties": int(Tie.FOLLOWS), "State": str(RunState.AWAITING)}
    for run_id, change in ((parent, limited), (child, waits)):
        await connection.execute(sa.update(job_run).where(job_run.c.Id == run_id).values(change))
    link = {"ChildId": child, "ParentKind": "run", "ParentId": parent, "Condition": "success"}
    link |= {"Quorum": "all", "Otherwise": "discard"}
    await connection.execute(sa.insert(job_link).values(link))
    key = {"LimitKey": "a", "JobName": "Work", "Most": 1, "UpdatedAt": now}
    await connection.execute(sa.insert(job_limit).values(key))
