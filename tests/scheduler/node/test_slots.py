"""Recurring scheduler with a clock that the test sets and a real database."""

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from rt_tools import Database
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import pauses
from targcc_scheduler.kernel.engine.sqlite import EmbeddedEngine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node import recurring, slots
from targcc_scheduler.kernel.node.recurring import Agenda, RecurringScheduler
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DANA = Actor(ActorKind.MANUAL, "dana")


def test_the_agenda_knows_which_slot_comes_first():
    agenda = Agenda()
    assert (agenda.first(), agenda.due(NOON)) == (None, [])
    for name, at in (("a", NOON + HOUR), ("b", NOON), ("c", None), ("d", NOON + MINUTE)):
        agenda.put(name, at)
    assert (agenda.first(), agenda.due(NOON - SECOND), agenda.due(NOON)) == (NOON, [], ["b"])
    assert agenda.due(NOON + HOUR) == ["a", "b", "d"]
    agenda.put("b", None)
    assert agenda.first() == NOON + MINUTE
    agenda.keep({"a", "c"})
    assert (agenda.first(), "d" in agenda, "c" in agenda) == (NOON + HOUR, False, True)


def _nothing() -> None:
    """A job's work."""


class World:
    """One database, one clock, and any number of nodes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = Store(database.url)
        self.clock = ManualClock(NOON)
        self.events = []

    def node(self, *jobs) -> RecurringScheduler:
        """Return a node with these jobs."""
        engine = EmbeddedEngine(None, self.clock)
        definitions = {item.name: item for item in jobs}
        settings = Settings(_env_file=None, database_url=self.database.url)
        services = NodeServices(self.store, engine, self.clock, settings, self.events.append)
        return RecurringScheduler(services, definitions)

    async def walk(self, node: RecurringScheduler, end: datetime) -> None:
        """Move the clock from slot to slot up to an instant, like a node that sleeps until the next slot."""
        while (following := await node.tick()) is not None and following <= end:
            self.clock.set(following)
            self.finish()
        self.clock.set(end)

    def finish(self) -> None:
        """Mark every waiting or running run as succeeded now."""
        self.database.change(
            "UPDATE c_JobRun SET State = 'succeeded', StartedAt = DueAt, CompletedAt = DueAt"
            " WHERE State IN ('enqueued', 'running')"
        )

    def slots(self, state: str = "%") -> list[datetime]:
        """Return the slots that have a run, oldest first."""
        sql = "SELECT ScheduledFor FROM c_JobRun WHERE State LIKE ? ORDER BY ScheduledFor"
        return [
            datetime.fromisoformat(row[0]).replace(tzinfo=UTC)
            for row in self.database.rows(sql, state)
        ]


@pytest.fixture
async def world(database):
    made = World(database)
    yield made
    await made.store.dispose()


def _job(cron=None, name="Report", **options):
    return define(_nothing, cron, **{"name": name, "timezone": "UTC", **options})


async def test_a_job_that_is_seen_for_the_first_time_starts_from_now(world):
    node = world.node(_job("* * * * *"))
    assert await node.tick() == NOON + MINUTE
    assert world.slots() == []
    world.clock.set(NOON + MINUTE)
    await node.tick()
    assert world.slots("enqueued") == [NOON + MINUTE]


@pytest.mark.parametrize(
    ("last", "cron", "warns"),
    [(NOON, "5 * * * *", False), (NOON + HOUR, "0 * * * *", True), (NOON + HOUR, "5 * * * *", True)],
)  # fmt: skip
async def test_a_schedule_that_a_wrong_clock_handled_ahead_starts_from_now_with_a_warning(
    world, caplog, last, cron, warns
):
    await world.node(_job("0 * * * *")).tick()
    world.database.change("UPDATE c_JobSchedule SET LastSlot = ?", last.isoformat(" ", "microseconds")[:26])  # fmt: skip
    minute = int(cron.split()[0])
    assert await world.node(_job(cron)).tick() == NOON + minute * MINUTE + (HOUR if minute == 0 else timedelta())  # fmt: skip
    assert ("Report was handled up to 2026-06-10 13:00" in caplog.text) is warns


async def test_schedules_are_locked_in_one_statement_before_any_changes(world, monkeypatch):
    acts = []
    for name in ("lock", "restart", "own"):
        real = getattr(slots, name)

        async def noted(connection, *given, name=name, real=real, **named):
            acts.append((name, given[0]))
            await real(connection, *given, **named)

        monkeypatch.setattr(slots, name, noted)
    await world.node(_job("0 * * * *", "A"), _job("0 * * * *", "B")).tick()
    acts.clear()
    await world.node(_job("0 * * * *", "A"), _job("5 * * * *", "B")).tick()
    assert acts == [("lock", ["B"]), ("restart", "B"), ("own", [])]


async def test_other_tasks_get_a_turn_between_the_transactions_of_a_tick(world, monkeypatch):
    node, turns = world.node(), []
    monkeypatch.setattr(recurring, "_JOBS_A_TRANSACTION", 1)
    due = [[_job("0 * * * *", name) for name in "ab"], []]
    monkeypatch.setattr(node, "_due", lambda: due.pop(0))

    async def create(jobs):
        turns.append(jobs[0].name)
        asyncio.get_running_loop().call_soon(turns.append, "another")

    monkeypatch.setattr(node, "_create_runs", create)
    await node.tick()
    assert turns == ["a", "another", "b", "another"]


async def test_any_number_of_nodes_makes_one_run_a_slot(world):
    nodes = [world.node(_job("* * * * *", overlap="allow")) for _ in range(3)]
    for minute in range(10):
        world.clock.set(NOON + minute * MINUTE)
        for node in nodes:
            await node.tick()
    assert Counter(world.slots()) == {NOON + minute * MINUTE: 1 for minute in range(1, 10)}


async def test_slots_of_a_downtime_are_recorded_and_told_once(world):
    hourly = _job("0 * * * *")
    await world.node(hourly).tick()
    world.clock.set(NOON + 3 * HOUR + MINUTE)
    await world.node(hourly).tick()  # the node restarts
    assert world.slots("enqueued") == [NOON + 3 * HOUR]
    assert world.slots("missed") == [NOON + HOUR, NOON + 2 * HOUR]
    [event] = world.events
    assert (event.kind, event.message.split(";")[0]) == ("missed", "2 slots were missed")


async def test_the_oldest_missed_row_says_how_many_there_were_before(world):
    minutely = _job("* * * * *")
    await world.node(minutely).tick()
    world.clock.set(NOON + 301 * MINUTE)
    await world.node(minutely).tick()
    sql = "SELECT Message FROM c_JobRun WHERE State = 'missed' ORDER BY ScheduledFor LIMIT 1"
    assert world.database.one(sql).endswith("so were 200 earlier slots")


async def test_a_slot_that_comes_while_the_job_is_busy_is_skipped_and_says_for_which_run(world):
    node = world.node(_job("* * * * *"))
    await node.tick()
    for minute in (1, 2):
        world.clock.set(NOON + minute * MINUTE)
        await node.tick()
    first, second = world.database.rows("SELECT * FROM c_JobRun ORDER BY Id")
    assert (second["State"], second["BlockedBy"]) == ("skipped", first["Id"])
    assert second["Message"] == f"run {first['Id']} was still busy"


@pytest.mark.parametrize("overlap", ["queue", "allow"])
async def test_a_slot_of_a_busy_job_waits_when_overlap_says_so(world, overlap):
    node = world.node(_job("* * * * *", overlap=overlap))
    await node.tick()
    for minute in (1, 2):
        world.clock.set(NOON + minute * MINUTE)
        await node.tick()
    assert len(world.slots("enqueued")) == 2


async def test_the_slots_of_a_paused_job_pass_silently(world):
    node = world.node(_job("* * * * *"))
    await node.tick()
    async with world.store.write() as connection:
        await pauses.pause_job(connection, "Report", DANA, NOON, reason=None, until=None)
    await world.walk(node, NOON + 10 * MINUTE)
    assert world.slots() == []
    async with world.store.write() as connection:
        await pauses.resume_job(connection, "Report", world.clock.now())
    await world.walk(node, NOON + 12 * MINUTE)
    assert world.slots() == [NOON + 11 * MINUTE, NOON + 12 * MINUTE]


async def test_a_pause_ends_by_itself(world):
    node = world.node(_job("* * * * *"))
    await node.tick()
    until = NOON + 5 * MINUTE
    async with world.store.write() as connection:
        await pauses.pause_job(connection, "Report", DANA, NOON, reason=None, until=until)
    await world.walk(node, NOON + 7 * MINUTE)
    assert world.slots() == [NOON + 6 * MINUTE, NOON + 7 * MINUTE]
    assert world.database.one("SELECT PausedAt FROM c_JobSchedule") is None


async def test_a_job_that_is_created_paused_waits_to_be_resumed(world):
    node = world.node(_job("* * * * *", paused=True))
    await world.walk(node, NOON + 3 * MINUTE)
    assert world.slots() == []
    assert world.database.one("SELECT PauseReason FROM c_JobSchedule") == "created paused"


async def test_a_job_of_one_instant_runs_once(world):
    node = world.node(_job(at="2026-06-10T12:05"))
    await world.walk(node, NOON + HOUR)
    assert world.slots() == [NOON + 5 * MINUTE]


async def test_an_instant_that_had_passed_before_anybody_saw_it_is_not_forgotten_in_silence(world):
    await world.node(_job(at="2026-06-01T12:05")).tick()
    assert len(world.slots("missed")) == 1


async def test_an_interval_after_completion_counts_from_the_end_of_the_run(world):
    node = world.node(_job(every="10m", after="completion"))
    assert await node.tick() == NOON + 10 * MINUTE
    world.clock.set(NOON + 10 * MINUTE)
    await node.tick()
    world.clock.set(NOON + 25 * MINUTE)  # the run is still active
    await node.tick()
    assert len(world.slots()) == 1
    world.database.change(
        "UPDATE c_JobRun SET State = 'succeeded', StartedAt = DueAt, CompletedAt = ?",
        "2026-06-10 12:25:00.000000",
    )
    node.completed("Report")
    assert await node.tick() == NOON + 35 * MINUTE
    world.clock.set(NOON + 35 * MINUTE)
    await node.tick()
    assert world.slots()[-1] == NOON + 35 * MINUTE


async def test_an_interval_after_start_counts_from_the_start_and_a_longer_run_is_followed_at_once(
    world,
):
    node = world.node(_job(every="10m", after="start"))

    async def ran(start: datetime, end: datetime) -> datetime | None:
        """Run a slot as a worker would; return when the next slot is due."""
        world.clock.set(start)
        await node.tick()
        world.clock.set(end)
        world.database.change(
            "UPDATE c_JobRun SET State = 'succeeded', StartedAt = ?, CompletedAt = ? WHERE State = 'enqueued'",
            f"{start:%Y-%m-%d %H:%M:%S}.000000", f"{end:%Y-%m-%d %H:%M:%S}.000000",
        )  # fmt: skip
        node.completed("Report")
        return await node.tick()

    first = NOON + 10 * MINUTE
    assert await ran(first, first + 3 * MINUTE) == first + 10 * MINUTE
    await ran(first + 10 * MINUTE, first + 35 * MINUTE)
    assert world.slots("enqueued") == [first + 35 * MINUTE]


async def test_a_paused_job_that_waits_for_its_end_is_looked_at_now_and_then(world):
    node = world.node(_job(every="10m", after="completion"))
    await node.tick()
    async with world.store.write() as connection:
        await pauses.pause_job(connection, "Report", DANA, NOON, reason=None, until=None)
    world.clock.set(NOON + 10 * MINUTE)
    async with asyncio.timeout(30):
        following = await node.tick()
    assert following == NOON + 10 * MINUTE + 5 * SECOND


async def test_a_schedule_that_was_changed_starts_from_now(world):
    await world.node(_job("0 2 * * *")).tick()
    world.clock.set(NOON + 3 * HOUR)
    node = world.node(_job("0 13 * * *"))  # at 13:00 the schedule had no slot at 13:00
    assert await node.tick() == NOON + 25 * HOUR
    assert world.slots() == []


async def test_a_clock_that_jumps_forward_an_hour_makes_no_storm(world):
    node = world.node(_job("* * * * *"))
    await node.tick()
    world.clock.set(NOON + HOUR)
    await node.tick()
    assert world.slots("enqueued") == [NOON + HOUR]
    assert len(world.slots("missed")) == 59


async def test_a_clock_that_jumps_back_an_hour_runs_nothing_twice(world):
    node = world.node(_job("* * * * *"))
    await world.walk(node, NOON + HOUR)
    before = world.slots()
    world.clock.set(NOON)
    await world.walk(node, NOON + HOUR)
    assert world.slots() == before
    await world.walk(node, NOON + HOUR + MINUTE)
    assert world.slots() == [*before, NOON + HOUR + MINUTE]


async def test_a_clock_that_was_a_year_ahead_does_not_silence_a_job_for_a_year(world):
    minutely = _job("* * * * *")
    world.clock.set(NOON + timedelta(days=365))
    await world.node(minutely).tick()
    world.clock.set(NOON)
    assert await world.node(minutely).tick() == NOON + MINUTE


NIGHTS = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Asia/Jerusalem": (date(2026, 3, 27), date(2026, 10, 25)),
}


@pytest.mark.parametrize("zone", NIGHTS)
@pytest.mark.parametrize("season", ["spring", "autumn"])
async def test_a_clock_change_night(world, zone, season):
    """A fixed time runs once per night. An interval keeps counting: an hour less in spring, an hour more in autumn."""
    midnight = datetime.combine(NIGHTS[zone][season == "autumn"], time(), ZoneInfo(zone))
    world.clock.set(midnight.astimezone(UTC) - SECOND)
    jobs = [
        _job("30 2 * * *", name="Fixed", timezone=zone, overlap="allow"),
        _job("30 1 * * *", name="Early", timezone=zone, overlap="allow"),
        _job("*/15 * * * *", name="Quarters", timezone=zone, overlap="allow"),
        _job("0 */2 * * *", name="Even", timezone=zone, overlap="allow"),
        _job(every="30m", name="Interval", timezone=zone, overlap="allow"),
    ]
    await world.walk(world.node(*jobs), (midnight + timedelta(hours=5)).astimezone(UTC))
    rows = world.database.rows("SELECT JobName, COUNT(*) FROM c_JobRun GROUP BY JobName")
    runs = dict(map(tuple, rows))
    hours = 4 if season == "spring" else 6
    assert (runs["Fixed"], runs["Early"]) == (1, 1)
    assert runs["Quarters"] == hours * 4 + 1
    assert runs["Interval"] == hours * 2 + 1
    assert world.slots("missed") == world.slots("skipped") == []
