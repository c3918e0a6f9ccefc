"""Dependencies between the bars of a timeline, computed from the rows; on both databases."""

import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import job_batch, job_link, job_run, logged_job
from targcc_scheduler.features.timeline.gantt import gantt
from targcc_scheduler.features.timeline.relatives import Chained, Tie, chained
from targcc_scheduler.kernel import statistics
from targcc_scheduler.kernel.runs.values import Ending

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


class Past:
    """Insert past runs of a minute each, started the given number of minutes ago."""

    def __init__(self, db: AsyncConnection) -> None:
        self.db = db

    async def run(self, job: str, ago: int, state: str = "succeeded", **more: Any) -> int:
        start, end = NOW - timedelta(minutes=ago), NOW - timedelta(minutes=ago - 1)
        began = state not in {"awaiting", "cancelled"}
        row = {
            "JobName": job,
            "JobType": "Manual",
            "State": state,
            "Queue": "default",
            "DueAt": start,
        }
        row |= {"CreatedAt": start, "TriggeredBy": "System", "StartedAt": start if began else None}
        over = None if state in {"awaiting", "running"} else end
        made = await self.db.execute(job_run.insert().values(row | {"CompletedAt": over} | more))
        run_id: int = made.inserted_primary_key[0]
        if over is not None and began:
            attempt = {
                "JobName": job,
                "JobId": str(run_id),
                "JobType": "Manual",
                "StartedAt": start,
            }
            attempt |= {"CompletedAt": end, "Success": state == "succeeded", "DurationMs": 60_000}
            await self.db.execute(logged_job.insert().values(attempt | {"CreatedAt": end}))
            took = 60_000 if state == "succeeded" else None
            ending = Ending(job=job, at=start, outcome=RunState(state), duration_ms=took)
            await statistics.add(self.db, [ending], shard=0)
        return run_id

    async def link(self, child: int, parent: int, kind: str = "run") -> None:
        row = {"ChildId": child, "ParentKind": kind, "ParentId": parent, "Condition": "success"}
        row |= {"Quorum": "all", "Otherwise": "discard"}
        await self.db.execute(job_link.insert().values(row))

    async def batch(self, name: str, state: str, kind: str = "batch", **more: Any) -> int:
        row = {"Name": name, "Kind": kind, "State": state, "CreatedBy": "System", "CreatedAt": NOW}
        made = await self.db.execute(job_batch.insert().values(row | more))
        batch_id: int = made.inserted_primary_key[0]
        return batch_id

    async def seen(self) -> tuple[Chained, ...]:
        chart = await gantt(self.db, [], NOW, since=NOW - timedelta(hours=3), until=NOW)
        return chart.chained


@pytest.fixture
async def past(migrated_url: str) -> AsyncIterator[Past]:
    engine = make_engine(migrated_url)
    async with engine.connect() as connection, connection.begin() as transaction:
        yield Past(connection)
        await transaction.rollback()
    await engine.dispose()


async def test_runs_that_follow_each_other_are_one_thing_with_the_state_of_what_is_not_drawn(past):
    first = await past.run("Import", 60)
    second = await past.run("Check", 58)
    last = await past.run("Mail", 50, "awaiting")
    await past.run("Apart", 40)
    await past.link(second, first)
    await past.link(last, second)
    [chain] = await past.seen()
    assert chain == Chained(
        kind="run",
        id=first,
        name="Import",
        state="awaiting",
        at="Mail",
        runs=(first, second),
        ties=(Tie(first, second),),
    )


async def test_a_run_that_failed_is_named_until_it_was_done_again_well(past):
    first = await past.run("Import", 60)
    bad = await past.run("Check", 58, "failed")
    await past.link(bad, first)
    [chain] = await past.seen()
    assert (chain.state, chain.at) == ("failed", "Check")
    again = await past.run("Check", 30, RetryOf=bad)
    await past.link(again, first)
    [chain] = await past.seen()
    assert (chain.state, chain.ties) == ("succeeded", (Tie(first, bad), Tie(first, again)))


async def test_what_waits_for_a_batch_follows_the_member_that_ended_last(past):
    outer = await past.batch("month end", "succeeded")
    inner = await past.batch("reminders", "succeeded", ParentId=outer)
    await past.run("Post", 60, BatchId=outer)
    late = await past.run("Remind", 50, BatchId=inner)
    callback = await past.run("Report", 48)
    await past.link(callback, outer, "batch")
    [chain] = await past.seen()
    assert (chain.kind, chain.id, chain.name, chain.state, chain.at) == (
        "batch",
        outer,
        "month end",
        "succeeded",
        None,
    )
    assert chain.ties == (Tie(late, callback),)
    assert len(chain.runs) == 3


async def test_the_steps_of_a_flow_follow_each_other_in_their_last_round(past):
    flow = await past.batch("MonthEnd", "running", "flow")
    starter = await past.run("MonthEnd", 70, BatchId=flow)
    old = await past.run("Load", 65, "failed", BatchId=flow, Step="load")
    loads = [await past.run("Load", ago, BatchId=flow, Step="load") for ago in (60, 55, 57)]
    report = await past.run("Report", 50, "running", BatchId=flow, Step="report")
    steps = {"load": ((), loads[0]), "report": ("load", report)}
    document = {
        name: {"said": {"after": after}, "job": "Load", "queue": "default", "priority": 0}
        | {"given": None, "state": "running", "first": first}
        for name, (after, first) in steps.items()
    }
    definition = job_batch.update().where(job_batch.c.Id == flow)
    await past.db.execute(definition.values(DefinitionJson=json.dumps(document)))
    [chain] = await past.seen()
    assert (chain.kind, chain.name, chain.state, chain.at) == ("flow", "MonthEnd", "running", None)
    assert old in chain.runs
    assert set(chain.ties) == {
        *(Tie(starter, load) for load in loads),
        Tie(loads[1], report),
    }


async def test_of_a_very_long_chain_the_part_around_what_is_drawn_is_looked_at(past):
    ids = [await past.run("Long", 170 - n // 2, "awaiting" if n > 20 else "succeeded") for n in range(60)]  # fmt: skip
    for before, after in itertools.pairwise(ids):
        await past.link(after, before)
    assert await chained(past.db, []) == ()
    [chain] = await past.seen()
    assert (chain.id, chain.state, len(chain.ties)) == (ids[0], "awaiting", 20)
