"""Limits by key: never more concurrent runs than allowed, most urgent first, no run left behind; on both databases."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pydantic
import pytest
import sqlalchemy as sa
from targcc_scheduler import JobError, Scheduler, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_limit, job_run
from targcc_scheduler.features.triage.why import why_run
from targcc_scheduler.kernel import limits
from targcc_scheduler.kernel.engine.submit import submission
from targcc_scheduler.kernel.jobs.declaration import declare
from targcc_scheduler.kernel.queries import runs
from targcc_scheduler.kernel.worker.claimer import LimitPolicies
from targcc_scheduler.project import Project, current

RUNNING: Counter[str] = Counter()
MOST: Counter[str] = Counter()
ORDER: dict[str, list[int]] = defaultdict(list)
OPEN: set[str] = set()


async def _busy(tenant: str, number: int, weight: int = 1) -> None:
    RUNNING[tenant] += weight
    MOST[tenant] = max(MOST[tenant], RUNNING[tenant])
    ORDER[tenant].append(number)
    await asyncio.sleep(0.005)
    RUNNING[tenant] -= weight


async def _until_open() -> None:
    while not OPEN:  # noqa: ASYNC110 - jobs have a loop of their own
        await asyncio.sleep(0.02)


@job(limit={"key": "tenant", "running": 2})
class LimitedJob:
    async def execute(self, tenant: str, number: int = 0) -> None:
        await _busy(tenant, number)


@job(limit={"key": "tenant", "running": 1}, retries=1, backoff="0s")
class OneByOneJob:
    async def execute(self, tenant: str, number: int = 0) -> None:
        await _busy(tenant, number)
        if number < 0:
            raise ValueError("this one fails")


@job(limit={"running": 4, "weight": 3})
class HeavyJob:
    async def execute(self) -> None:
        await _busy("heavy", 0, 3)


@job(limit={"key": "tenant", "running": 2})
class HeldJob:
    async def execute(self, tenant: str) -> None:  # noqa: ARG002 - its key
        await _until_open()


@job(limit={"running": 4, "weight": 3})
class HeldHeavyJob:
    async def execute(self) -> None:
        await _until_open()


@job(limit={"key": "tenant", "rate": "5/s", "burst": 2})
class SlowlyJob:
    async def execute(self, tenant: str) -> None:
        await _busy(tenant, 0)


@pytest.fixture
async def scheduler(migrated_url, monkeypatch):
    for counts in (RUNNING, MOST, ORDER, OPEN):
        counts.clear()
    project = replace(current(), queues={"default": 20})
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    settings = Settings(database_url=migrated_url, migrate_on_start=False, keepalive=False)
    made = Scheduler(settings, jobs_package=__name__, notify=_ignore)
    yield made
    await made.stop()


async def _ignore(_event: object) -> None:
    """Send no alerts."""


async def _until_awaiting(scheduler, run_id):
    query = sa.select(job_run.c.State).where(job_run.c.Id == run_id)
    for _ in range(3_000):
        if await scheduler.read(lambda db: db.scalar(query)) == "awaiting":
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"run {run_id} does not ask for room")


@pytest.mark.slow
async def test_no_key_has_more_than_its_limit_at_once_and_all_are_done(scheduler):
    many = [{"tenant": f"t{n % 3}", "number": n} for n in range(60)]
    ids = await scheduler.enqueue_many(LimitedJob, many)
    ids += [await scheduler.enqueue(HeavyJob) for _ in range(3)]
    ids += [await scheduler.enqueue(OneByOneJob, tenant="one", number=n) for n in (1, -2, 3)]
    await scheduler.start(schedule=False)
    done = Counter([await scheduler.wait(run_id, 60) for run_id in ids])
    assert done == {"succeeded": 65, "failed": 1}
    most = dict.fromkeys(("t0", "t1", "t2"), 2) | {"heavy": 3, "one": 1}
    assert all(MOST[key] <= limit for key, limit in most.items()), MOST


@pytest.mark.slow
async def test_so_many_of_each_key_begin_as_there_is_room_for_and_the_others_have_no_worker(
    scheduler,
):
    many = [{"tenant": f"t{n % 3}"} for n in range(60)]
    ids = await scheduler.enqueue_many(HeldJob, many)
    ids += [await scheduler.enqueue(HeldHeavyJob) for _ in range(3)]
    await scheduler.start(schedule=False)
    counted = sa.select(job_run.c.LimitKey, job_run.c.State, sa.func.count()).group_by(
        job_run.c.LimitKey, job_run.c.State
    )
    tenants = [f"Held tenant=t{n}" for n in range(3)]
    wanted = {
        **{(key, "running"): 2 for key in tenants},
        **{(key, "awaiting"): 18 for key in tenants},
        ("HeldHeavy", "running"): 1,
        ("HeldHeavy", "awaiting"): 2,
    }
    async with asyncio.timeout(60):
        counts = {}
        while counts != wanted:
            await asyncio.sleep(0.02)
            rows = await scheduler.read(lambda db: db.execute(counted))
            counts = {row[:2]: row[2] for row in rows}
    answer = await why(scheduler, ids[-1])
    assert "4 of" not in answer
    assert "has 3 of 4 in use" in answer
    OPEN.add("all")
    assert Counter([await scheduler.wait(run_id, 60) for run_id in ids]) == {"succeeded": 63}


async def why(scheduler: Scheduler, run_id: int) -> str:
    """Return the stated reasons why a run waits."""
    now = scheduler.clock.now()

    async def ask(db):
        run = await runs.get_run(db, run_id)
        return await why_run(db, run, scheduler.definitions, now, lost_after=30)

    return " ".join(reason.text for reason in (await scheduler.read(ask)).reasons)


@pytest.mark.slow
async def test_the_most_urgent_of_a_key_goes_first_and_cancelled_and_deleted_ones_free_their_room(
    scheduler,
):
    ids = [await scheduler.enqueue(OneByOneJob, tenant="a", number=n, priority=n) for n in range(5)]
    await scheduler.start(schedule=False)
    await asyncio.gather(*(scheduler.wait(run_id, 60) for run_id in ids))
    assert ORDER["a"] == [4, 3, 2, 1, 0]
    await scheduler.stop()
    ids = [await scheduler.enqueue(OneByOneJob, tenant="b", number=n) for n in range(4)]
    await scheduler.cancel(ids[0], by=SYSTEM)
    await scheduler.delete(ids[1], by=SYSTEM)
    await scheduler.start(schedule=False)
    await asyncio.gather(*(scheduler.wait(run_id, 60) for run_id in ids[2:]))
    assert ORDER["b"] == [2, 3]


async def test_tokens_come_at_the_rate_and_a_few_are_saved_up(scheduler):
    """Two tokens are saved up; each later run starts a fifth of a second after the run before. A slow machine can only delay runs."""
    await scheduler.start(schedule=False)
    began = datetime.now(UTC) - timedelta(milliseconds=50)  # tolerance for clock differences
    ids = await scheduler.enqueue_many(SlowlyJob, [{"tenant": "x"}] * 5)
    await asyncio.gather(*(scheduler.wait(run_id, 60) for run_id in ids))
    query = sa.select(job_run.c.StartedAt).order_by(job_run.c.StartedAt)
    starts = list(await scheduler.read(lambda db: db.scalars(query)))
    assert len(starts) == 5
    for tokens, start in enumerate(starts[2:], 1):
        assert start - began >= tokens * timedelta(seconds=0.2)


@pytest.mark.usefixtures("no_sweeps")
async def test_a_raised_limit_of_a_new_release_is_swept(scheduler):
    await scheduler.start(schedule=False)
    run_id = await scheduler.enqueue(LimitedJob, tenant="z")
    assert await scheduler.wait(run_id, 60) == "succeeded"
    none = sa.update(job_limit).values(Most=0)
    await scheduler.operate(lambda call: call.connection.execute(none), None)
    stuck = await scheduler.enqueue(LimitedJob, tenant="z")
    await _until_awaiting(scheduler, stuck)
    terms = LimitPolicies(scheduler.definitions)

    async def sweep(call):
        await limits.renew(call.connection, terms, call.now)
        ready, rest = await limits.admit_waiting(call.connection, "", call.now)
        assert rest is None
        await call.engine.submit(call.connection, [submission(run) for run in ready])

    await scheduler.operate(sweep, None)
    assert await scheduler.wait(stuck, 60) == "succeeded"


def test_secrets_and_long_values_are_digests_in_keys_and_wrong_limits_are_refused():
    def keyed(token: pydantic.SecretStr, tenant: str) -> None:
        del token, tenant

    def key(by: str, **given: str) -> str:
        made = declare(keyed, limit={"key": by, "running": 1}).complete(
            Project(name="p", package="p")
        )
        limit_key = made.room(made.check({"token": "a", "tenant": "b", **given}))["limit_key"]
        assert limit_key is not None
        return limit_key

    assert key("tenant", tenant="acme") == "Keyed tenant=acme"
    assert "hush" not in key("token", token="hush")
    assert key("token", token="hush") == key("token", token="hush") != key("token", token="x")
    assert len(key("tenant", tenant="y" * 500)) < 80
    for wrong, message in (
        ({"key": "nobody", "running": 1}, "no argument 'nobody'"),
        ({"rate": "often"}, "such as 100/min"),
        ({"running": 2, "weight": 3}, "no room"),
        ({"key": "tenant"}, "running, rate or both"),
        ({"running": 1, "burst": 2}, "belongs to rate"),
        ({"runing": 1}, "no 'runing'"),
        ({"running": 0}, "from 1"),
    ):
        with pytest.raises(JobError, match=message):
            declare(keyed, limit=wrong)
