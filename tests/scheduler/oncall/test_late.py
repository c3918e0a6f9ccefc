"""Any node detects a late job and alerts once; external monitors get pings while all is well."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from targcc_scheduler import JobContext, JobResult, Settings, job
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.errors import JobError
from targcc_scheduler.db.tables import job_run, job_schedule
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.triage import sla
from targcc_scheduler.features.triage.issues import issues
from targcc_scheduler.features.triage.loops import LateCheck
from targcc_scheduler.kernel.engine.sqlite import EmbeddedEngine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import deadline_before, expectations
from targcc_scheduler.kernel.node.loops import NodeContext
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.schedules.cron import CronSchedule

DANA = Actor("CLI", "dana")
DAY = datetime(2026, 11, 25, tzinfo=UTC)


@job("0 2 * * *", timezone="UTC", must_finish_by="06:00")
class NightlyJob:
    """Must finish by 06:00."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@job(must_start_within="10m", queue="narrow")
class PromptJob:
    """Must start within ten minutes."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@job(at_least="2 successes in 26h", ping="${PING_OF_THE_JOB}")
class OftenJob:
    """Must succeed twice in 26 hours."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@pytest.fixture
def settings(migrated_url) -> Settings:
    return Settings(database_url=migrated_url, heartbeat_seconds=0.2, keepalive=False)


@pytest.fixture
async def scheduler(make_scheduler):
    made = make_scheduler()
    await made.start(work=False, schedule=False)
    return made


async def add(scheduler, name, state, created, **values):
    row = {
        "JobName": name,
        "JobType": "Manual",
        "State": state,
        "Queue": "default",
        "DueAt": created,
        "CreatedAt": created,
        "TriggeredBy": "System",
        **values,
    }
    await scheduler.change(lambda db: db.execute(job_run.insert().values(row)))


async def until(condition):
    """Wait for a condition that another thread or task fulfils."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a plain condition
            await asyncio.sleep(0.01)


async def look(scheduler, now):
    jobs = list(scheduler.definitions.values())
    findings = await scheduler.read(lambda db: sla.late(db, jobs, now))
    return {(finding.subject, finding.kind): finding for finding in findings}


async def test_a_job_that_has_not_finished_by_its_time_is_late_until_it_has(scheduler):
    two, six = DAY.replace(hour=2), DAY.replace(hour=6)
    before = two - timedelta(days=1)
    await add(scheduler, "Nightly", "succeeded", before, CompletedAt=before)
    await add(scheduler, "Nightly", "running", two)
    assert ("Nightly", "must_finish_by") not in await look(scheduler, six - timedelta(minutes=1))
    finding = (await look(scheduler, six + timedelta(minutes=1)))["Nightly", "must_finish_by"]
    assert finding.detail == "the slot of 02:00 must succeed by 06:00 and has not"
    assert finding.since == six
    done = six + timedelta(minutes=20)
    await add(scheduler, "Nightly", "succeeded", done, CompletedAt=done)
    assert ("Nightly", "must_finish_by") not in await look(scheduler, six + timedelta(hours=1))
    assert ("Nightly", "must_finish_by") in await look(scheduler, six + timedelta(days=1))


async def test_a_job_that_is_new_is_not_late(scheduler):
    assert await look(scheduler, DAY.replace(hour=7)) == {}


async def test_a_run_that_waits_too_long_is_late(scheduler):
    await add(scheduler, "Prompt", "enqueued", DAY)
    assert await look(scheduler, DAY + timedelta(minutes=9)) == {}
    findings = await look(scheduler, DAY + timedelta(minutes=11))
    assert "for a worker (limit: 10 min)" in findings["Prompt", "must_start_within"].detail
    assert findings["default", "queue"].number == 1
    await scheduler.pause_queue("default", by=DANA)
    assert ("default", "queue") not in await look(scheduler, datetime.now(UTC))


async def test_a_slot_that_no_node_has_handled_is_late(scheduler):
    handled = {"JobName": "Nightly", "ScheduleText": "0 2 * * *", "LastSlot": DAY}
    await scheduler.change(lambda db: db.execute(job_schedule.insert().values(handled)))
    assert ("Nightly", "slot") not in await look(scheduler, DAY.replace(hour=2, minute=1))
    findings = await look(scheduler, DAY.replace(hour=2, minute=5))
    assert (
        findings["Nightly", "slot"].detail
        == "the slot of 02:00 was due 5 min ago and has not started"
    )


async def test_a_job_that_succeeds_too_seldom_is_late(scheduler):
    await add(scheduler, "Often", "succeeded", DAY, CompletedAt=DAY)
    assert await look(scheduler, DAY + timedelta(hours=1)) == {}
    finding = (await look(scheduler, DAY + timedelta(hours=27)))["Often", "at_least"]
    assert finding.detail == "expected 2 successes in 26h, counted none"
    assert finding.since == DAY + timedelta(hours=26)


async def test_people_are_told_once_and_hear_of_the_next_time(make_scheduler):
    events = []

    async def notify(event):
        events.append((event.kind, event.definition.name, event.message))

    scheduler = make_scheduler(notify=notify)
    await scheduler.start(work=False, schedule=True)
    long_ago = datetime.now(UTC) - timedelta(hours=30)
    await add(scheduler, "Often", "failed", long_ago, CompletedAt=long_ago)
    rounds, _ = scheduler.node.loops["rounds"]
    for _ in range(3):
        await scheduler.call(rounds.look_once())
    await until(lambda: events)
    assert events == [
        ("late", "Often", "expected 2 successes in 26h, counted none"),
    ]
    now = datetime.now(UTC)
    for _ in range(2):
        await add(scheduler, "Often", "succeeded", now, CompletedAt=now)
    await scheduler.call(rounds.look_once())
    jobs = scheduler.definitions.values()
    wrong = await scheduler.read(lambda db: issues(db, jobs, now, lost_after=20))
    assert [finding for finding in wrong if finding.kind == "at_least"] == []


class CountingStore(Store):
    """Store that counts write transactions."""

    writes = 0

    def write(self):
        self.writes += 1
        return super().write()


async def test_a_look_that_finds_nothing_new_finds_no_slot_again_and_writes_nothing(
    scheduler, settings, monkeypatch
):
    now, last = datetime.now(UTC), job_schedule.c.LastSlot
    row = {"JobName": "Nightly", "ScheduleText": "0 2 * * *", "LastSlot": now - timedelta(days=9)}
    await scheduler.change(lambda db: db.execute(job_schedule.insert().values(row)))
    store, clock = CountingStore(settings.database_url), SystemClock()
    services = NodeServices(store, EmbeddedEngine(None, clock), clock, settings, print)
    rounds = LateCheck(NodeContext(services, scheduler.definitions))
    await rounds.look_once()
    assert store.writes == 1  # the start of error groups, and the first sight of Often
    calls, following = [], CronSchedule.next
    monkeypatch.setattr(
        CronSchedule, "next", lambda one, *rest: calls.append(one) or following(one, *rest)
    )
    await rounds.look_once()
    assert (store.writes, calls) == (1, [])
    await scheduler.change(lambda db: db.execute(job_schedule.update().values({last: now})))
    await rounds.look_once()
    assert (store.writes, len(calls)) == (2, 1)  # the earlier slot is no longer late
    monkeypatch.delattr(sla, "_HANDLED")  # nothing to read until the next slot is late
    await rounds.look_once()
    await store.dispose()


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a dead man's switch and the list of requested paths."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Suppress the request log."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    thread.join()
    server.server_close()


async def test_the_outside_hears_of_the_scheduler_and_of_each_good_run(
    make_scheduler, settings, listener, monkeypatch
):
    address, heard = listener
    monkeypatch.setenv("PING_OF_THE_JOB", f"{address}/job")
    chosen = settings.model_copy(update={"ping_url": f"{address}/whole"})
    scheduler = make_scheduler(settings=chosen)
    await scheduler.start(schedule=True)
    await scheduler.wait(await scheduler.enqueue(OftenJob), timeout=30)
    await until(lambda: {"/whole", "/job"} <= set(heard))


async def test_nobody_pings_while_slots_are_late(make_scheduler, settings):
    scheduler = make_scheduler(settings=settings.model_copy(update={"ping_url": "http://x"}))
    await scheduler.start(work=False, schedule=True)
    rounds, _ = scheduler.node.loops["rounds"]
    rounds._pinged = float("-inf")
    before = rounds._pings._addresses.qsize()
    rounds._ping_if_well([sla.Late("Nightly", "slot", "", DAY)])
    assert rounds._pings._addresses.qsize() == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("must_finish_by", "25:00"),
        ("must_start_within", "soon"),
        ("must_start_within", "0s"),
        ("at_least", "often"),
        ("at_least", "0 successes in 1h"),
        ("at_least", "1 success in ages"),
    ],
)
def test_an_expectation_that_cannot_be_read_is_refused_by_name(option, value):
    with pytest.raises(JobError, match=f"Sync: {option}"):
        define(lambda: None, name="Sync", **{option: value})


def test_a_deadline_is_one_of_the_jobs_own_clock():
    by = expectations("A", must_finish_by="06:00").finish_by
    now = datetime(2026, 11, 25, 4, 30, tzinfo=UTC)  # 06:30 in Jerusalem
    assert deadline_before(by, "Asia/Jerusalem", now) == datetime(2026, 11, 25, 4, tzinfo=UTC)
    assert deadline_before(by, "UTC", now) == datetime(2026, 11, 24, 6, tzinfo=UTC)


def test_jobs_are_looked_at_when_a_kept_slot_is_late_or_the_jobs_have_changed():
    def handled(job, hour):
        following.after(DAY.replace(hour=hour), job, job.schedule)

    def doubtful(hour, jobs, asleep=frozenset()):
        return [job.name for job in following.doubtful(jobs, asleep, DAY.replace(hour=hour))]

    following = sla.NextSlots()
    two, four, new = (define(len, f"0 {n} * * *", name=f"At{n}", timezone="UTC") for n in (2, 4, 6))
    jobs = [two, four]
    assert doubtful(1, jobs) == ["At2", "At4"]  # nothing is known yet
    handled(two, 0), handled(four, 0)
    assert [doubtful(1, jobs), doubtful(1, [*jobs])] == [[], []]
    assert doubtful(1, [*jobs, new]) == ["At6"]
    handled(new, 0)
    assert [doubtful(hour, jobs) for hour in (1, 2, 2, 3)] == [[], ["At2"], ["At2"], ["At2"]]
    assert doubtful(3, jobs, {"At2"}) == []
    assert doubtful(4, jobs, {"At2"}) == ["At4"]
    assert doubtful(3, jobs) == ["At2"]  # the pause has ended
    handled(two, 2)
    assert [doubtful(hour, jobs) for hour in (3, 4)] == [[], ["At4"]]
    handled(four, 4)
    changed = define(len, "0 1 * * *", name="At4", timezone="UTC")
    assert doubtful(4, [two, changed]) == ["At4"]
    rounds = [doubtful(4, jobs) for _ in range(20)]
    assert sorted(map(len, rounds)) == [*[0] * 19, 2]  # all, as a wrong clock may have been set
