"""Whatever a job returns, raises, logs or reports, its run ends in the right state and harms no other run: a real node, both databases."""

import asyncio
import contextlib
import json
import random
import time
from datetime import datetime, timedelta

import isolated_poisons
import poisons
import psutil
import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core import stored_values
from targcc_scheduler.db.tables import job_log_line, job_run, logged_job

WORKERS = 5
"""Workers of the queue that runs every poison."""
LATEST = timedelta(seconds=5)
"""A bystander slot that begins later than this was missed, whatever its row says; nothing here takes so long otherwise."""

NEEDS_LINUX = pytest.mark.skipif("sys.platform != 'linux'", reason="poisons of Linux")


class Witness:
    """Node with the poison jobs, and queries over its tables."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    async def serve(self, *names: str, job: str = "Poison") -> dict[int, str]:
        """Enqueue poisons in one call; return run id to name."""
        ids = await self.scheduler.enqueue_many(job, [{"name": name} for name in names])
        return dict(zip(ids, names, strict=True))

    async def serve_all(self, poisons: list[tuple[str, str]]) -> dict[int, str]:
        """Enqueue poisons of both jobs; return run id to name."""
        served = {}
        for job in ("Poison", "PlainPoison"):
            served |= await self.serve(
                *[name for job_name, name in poisons if job_name == job], job=job
            )
        return served

    async def ended(self, runs: dict[int, str], seconds: float = 60) -> None:
        """Wait until all runs have ended."""
        async with asyncio.timeout(seconds):
            for run_id in runs:
                await self.scheduler.wait(run_id, seconds)

    async def rows(self, table, *where):
        """Return rows of a table."""
        query = sa.select(table).where(*where).order_by(table.primary_key.columns[0])
        return await self.scheduler.read(lambda connection: _rows(connection, query))

    async def judge(self, runs: dict[int, str]) -> dict[str, str]:
        """Return the faults of the runs by poison name."""
        states = {row.Id: row for row in await self.rows(job_run)}
        history = {run_id: [] for run_id in runs}
        for row in await self.rows(logged_job):
            history.get(int(row.JobId), []).append(row)
        wrong = {}
        for run_id, name in runs.items():
            row, attempts = states[run_id], history[run_id]
            ending = (row.State, [bool(attempt.Success) for attempt in attempts], row.StopNote)
            state = "failed" if name in isolated_poisons.DEADLY else poisons.state_of(name)
            if ending != (state, [state == "succeeded"], None) or row.Message is None:
                wrong[name] = f"{ending} {row.Message}"
        return wrong

    async def slots(self, latest: timedelta = timedelta.max) -> list[datetime]:
        """Return the bystander's slots; each slot has run once and has its history row."""
        rows = await self.rows(job_run, job_run.c.JobName == "Bystander")
        done = [row for row in rows if row.State == "succeeded"]
        history = await self.rows(logged_job, logged_job.c.JobName == "Bystander")
        run_ids = [row.JobId for row in history]  # read later: there can be one more row by now
        assert len(run_ids) == len(set(run_ids))
        assert {str(row.Id) for row in done} <= set(run_ids)
        assert {row.State for row in rows} <= {"succeeded", "running", "enqueued"}
        late = max((row.StartedAt - row.ScheduledFor for row in done), default=timedelta())
        assert late < latest
        return [row.ScheduledFor for row in rows]


async def _rows(connection, query):
    return (await connection.execute(query)).all()


def _settings(url: str) -> Settings:
    return Settings(_env_file=None, database_url=url, **QUICK | {"lost_after_seconds": 20})


@pytest.fixture
async def witness(migrated_url):
    scheduler = Scheduler(_settings(migrated_url), jobs_package="poisons", notify=_ignore)
    await scheduler.start(schedule=True)
    yield Witness(scheduler)
    await scheduler.stop()


@pytest.fixture
async def isolated(migrated_url):
    scheduler = Scheduler(_settings(migrated_url), jobs_package="isolated_poisons", notify=_ignore)
    await scheduler.start(schedule=True)
    yield Witness(scheduler)
    before = psutil.Process().children()
    await scheduler.stop()
    assert not [child for child in before if child.is_running() and "job_process" in _told(child)]


def _told(process):
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


async def _ignore(event):
    """Send no alerts."""


@pytest.mark.slow
async def test_no_poison_keeps_its_run_its_worker_or_the_bystander_from_ending(witness):
    runs = await witness.serve_all(poisons.ALL)
    assert len({name for _, name in poisons.ALL}) >= 60
    await witness.ended(runs)
    assert await witness.judge(runs) == {}
    again = await witness.serve(*["metadata_set"] * WORKERS)  # one per worker
    await witness.ended(again)
    slots = await witness.slots()
    assert slots == [slots[0] + timedelta(seconds=n) for n in range(len(slots))]


async def test_what_poisons_leave_can_be_read_and_is_of_bounded_length(witness):
    names = [
        "metadata_surrogate",
        "metadata_many",
        "metadata_huge_text",
        "message_huge",
        "raised_huge",
    ]
    names += ["logged_huge", "logged_many", "logged_texts", "metadata_huge_int", "raised_surrogate"]
    runs = await witness.serve(*names)
    await witness.ended(runs)
    for row in await witness.rows(logged_job, logged_job.c.JobName == "Poison"):
        assert json.loads(row.MetadataJson or "{}") is not None
        assert len(row.MetadataJson or "") < 2 * stored_values.LONGEST_METADATA
        assert len(row.StackTrace or "") < stored_values.LONGEST_STACK_TRACE + 100
        assert len(row.ResultMessage) < stored_values.LONGEST_MESSAGE + 100
        "".join(map(str, row)).encode()  # fails on lone surrogates
    lines = await witness.rows(job_log_line)
    assert max(len(line.Message) for line in lines) < stored_values.LONGEST_LOG_LINE + 100
    (many,) = [run_id for run_id, name in runs.items() if name == "logged_many"]
    messages = [line.Message for line in lines if line.RunId == many]
    assert len(messages) == stored_values.MOST_LOG_LINES
    assert messages[-1] == f"more than {stored_values.MOST_LOG_LINES} lines: the rest is not kept"


@pytest.mark.usefixtures("processes")
@NEEDS_LINUX
async def test_what_kills_or_cuts_off_its_process_costs_nothing_else(isolated):
    runs = await isolated.serve_all(poisons.ALL[::40])
    runs |= await isolated.serve(*isolated_poisons.SOME, job="Deadly")
    await isolated.ended(runs)
    await _nothing_else_was_harmed(isolated, runs)


@pytest.mark.usefixtures("processes")
@pytest.mark.soak
@NEEDS_LINUX
async def test_no_poison_harms_anything_outside_its_process(isolated):
    runs = await isolated.serve_all(poisons.ALL)
    for job in ("Deadly", "PlainDeadly"):
        runs |= await isolated.serve(*isolated_poisons.DEADLY, job=job)
    await isolated.ended(runs, 120)
    await _nothing_else_was_harmed(isolated, runs)


async def _nothing_else_was_harmed(witness, runs):
    assert await witness.judge(runs) == {}
    again = await witness.serve(
        *["metadata_set"] * 2 * WORKERS
    )  # every worker is free and no process is unhealthy
    await witness.ended(again, 20)
    assert await witness.judge(again) == {}
    slots = await witness.slots(LATEST)
    assert slots == [slots[0] + timedelta(seconds=n) for n in range(len(slots))]


@pytest.mark.soak
async def test_poisons_in_any_order_for_a_minute(migrated_url, start_node):
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201 - to do it again
    chance = random.Random(seed)
    options = {
        "JOBS_PACKAGE": "poisons",
        "HUGE_POISON": 50_000_000,
        "TARGCC_LOST_AFTER_SECONDS": 20,
        "schedule": True,
    }
    for _ in range(2):
        node = start_node(TARGCC_DATABASE_URL=migrated_url, **options)
        await until(lambda node=node: "node is up" in node.said(), 60)
    client = Scheduler(_settings(migrated_url), jobs_package="poisons", notify=_ignore)
    await client.start(work=False, schedule=False)
    witness, end = Witness(client), time.monotonic() + 60
    while time.monotonic() < end:
        runs = await witness.serve_all(chance.choices(poisons.ALL, k=48))
        await witness.ended(runs)
        assert await witness.judge(runs) == {}, seed
    assert await witness.rows(job_run, job_run.c.LostWorkers > 0) == []
    slots = await witness.slots()
    assert slots == [slots[0] + timedelta(seconds=n) for n in range(len(slots))]
    await client.stop()
