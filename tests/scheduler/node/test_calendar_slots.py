"""Slots of jobs with calendars: predicted slots equal created slots, also on the nights of clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from targcc_scheduler import Project
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.overrides.effective import effective
from targcc_scheduler.kernel import pauses as calendar_model
from targcc_scheduler.kernel.engine.sqlite import EmbeddedEngine
from targcc_scheduler.kernel.jobs.declaration import declare
from targcc_scheduler.kernel.jobs.overrides import Override
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.node.releases import described, fingerprint_of, schedule_of
from targcc_scheduler.kernel.pauses import Window
from targcc_scheduler.kernel.queries.jobs import next_run
from targcc_scheduler.kernel.queries.upcoming import next_runs
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
PROJECT = Project(
    name="days",
    package="days",
    timezone="Europe/Berlin",
    queues={"default": 1, "slow": 1, "books": 1},
    calendars={
        "weekend": {"off": ("saturday", "sunday")},
        "holidays": {
            "include": ("weekend",),
            "off": ("12-25 (Christmas)", "12-26", "01-01", "2026-10-26 (bridge)", "2026-03-30"),
            "blackouts": ("2026-12-30 18:00 to 2026-12-31 12:00",),
        },
    },
    queue_calendars={"books": {"calendar": ("holidays",), "on_holiday": "previous"}},
)


def _nothing() -> None:
    """A job's work."""


def made(name, cron, project=PROJECT, **options):
    return declare(_nothing, cron, name=name, overlap="allow", **options).complete(project)


JOBS = [
    made("Skips", "30 2 * * sun,mon,wed", calendar="holidays"),
    made("Moves", "30 2 * * sat,sun,thu", calendar=("weekend", "holidays"), on_holiday="next"),
    made("Books", "0 23 * * sun,fri", queue="books"),
    made("Nights", "15 2 26,27,28,29 3,10,12 *", calendar="holidays", on_holiday="next"),
]


class World:
    """A database, a clock and the recurring scheduler of a node."""

    def __init__(self, url: str, start: datetime) -> None:
        self.store, self.clock, self.events = Store(url), ManualClock(start), []
        engine = EmbeddedEngine(None, self.clock)
        settings = Settings(_env_file=None, database_url=url)
        services = NodeServices(self.store, engine, self.clock, settings, self.events.append)
        self.definitions = {}
        self.node = RecurringScheduler(services, self.definitions)

    async def walk(self, end: datetime) -> None:
        """Move the clock from slot to slot, like a node that sleeps until the next slot."""
        while (following := await self.node.tick()) is not None and following < end:
            self.clock.set(following)

    async def runs(self) -> dict[str, list[tuple[datetime, str]]]:
        """Return slots and states of each job's runs."""
        c, runs_by_job = job_run.c, {}
        async with self.store.read() as connection:
            query = sa.select(c.JobName, c.ScheduledFor, c.State).order_by(c.ScheduledFor)
            for name, slot, state in await connection.execute(query):
                runs_by_job.setdefault(name, []).append((slot, state))
        return runs_by_job


@pytest.fixture
def url(request):
    if request.param == "sqlite":
        return request.getfixturevalue("database").url
    return request.getfixturevalue("migrated_postgresql_url")


@pytest.fixture(autouse=True)
def _project(monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)


async def equal_answers(url, start, end):
    """Check that the slots predicted at the start equal the created slots."""
    world = World(url, start)
    world.definitions |= {job.name: job for job in JOBS}
    predicted = {}
    for job in JOBS:
        shown = SimpleNamespace(definition=job, next_run=next_run(job, now=start, pause=None))
        slots = next_runs(shown, 400)
        assert slots[-1] >= end
        predicted[job.name] = list(takewhile(lambda slot: slot < end, slots))
    await world.walk(end)
    performed = await world.runs()
    await world.store.dispose()
    assert {name: [slot for slot, _ in runs] for name, runs in performed.items()} == predicted
    assert {state for runs in performed.values() for _, state in runs} == {"enqueued"}
    for name in ("Moves", "Books", "Nights"):
        days = {slot.astimezone(BERLIN) for slot in predicted[name]}
        assert not [day for day in days if day.weekday() > 4], name
    return predicted


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("start", ["2026-03-24", "2026-10-23"])
@pytest.mark.slow
async def test_slots_are_those_that_were_predicted_on_nights_of_clock_changes(url, start):
    begin = datetime.fromisoformat(start).replace(tzinfo=BERLIN)
    predicted = await equal_answers(url, begin, begin + 9 * DAY)
    changed = [f"{slot:%m-%d %H:%M}" for slot in predicted["Nights"]]
    assert (
        changed
        == {
            "2026-03-24": [
                "03-26 02:15",
                "03-27 02:15",
                "03-31 02:15",
            ],  # the 28th and the 29th move to the same day
            "2026-10-23": [
                "10-27 02:15",
                "10-28 02:15",
                "10-29 02:15",
            ],  # so do the 26th and the 27th
        }[start]
    )


@pytest.mark.soak
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_slots_of_a_year_with_holidays_are_those_that_were_predicted(url):
    start = datetime(2026, 1, 2, tzinfo=BERLIN)
    predicted = await equal_answers(url, start, start + 365 * DAY)
    christmas = [f"{slot:%m-%d %H:%M}" for slot in predicted["Books"] if slot.month == 12]
    assert christmas[-3:] == ["12-18 23:00", "12-24 23:00", "12-31 23:00"]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_in_a_maintenance_window_slots_wait_or_are_skipped_by_the_misfire_policy(url):
    start = datetime(2026, 6, 10, 12, tzinfo=UTC)
    world = World(url, start)
    plain = made("Waits", "*/10 * * * *", timezone="UTC")
    skipping = made("Skipped", "*/10 * * * *", timezone="UTC", misfire="skip")
    other = made("Other", "*/10 * * * *", timezone="UTC", misfire="skip", queue="slow")
    world.definitions |= {job.name: job for job in (plain, skipping, other)}
    await world.node.tick()
    window = Window(
        0,
        start + timedelta(minutes=5),
        start + timedelta(minutes=15),
        ("default", "books"),
        "new disk",
        "dana",
        start,
    )
    async with world.store.write() as connection:
        await calendar_model.add(connection, window)
    await world.walk(start + timedelta(minutes=25))
    runs_by_job = await world.runs()
    async with world.store.read() as connection:
        message = await connection.scalar(
            sa.select(job_run.c.Message).where(job_run.c.State == RunState.SKIPPED)
        )
    await world.store.dispose()
    assert {name: [state for _, state in runs] for name, runs in runs_by_job.items()} == {
        "Waits": ["enqueued", "enqueued"],
        "Skipped": ["skipped", "enqueued"],
        "Other": ["enqueued", "enqueued"],
    }
    assert message == "maintenance: new disk"


def test_what_a_calendar_says_is_part_of_a_job_s_definition_and_of_its_release():
    plain, held = made("Report", "0 2 * * *"), made("Report", "0 2 * * *", calendar="holidays")
    moved = made("Report", "0 2 * * *", calendar="holidays", on_holiday="next")
    later = Project(
        name="days",
        package="days",
        timezone="Europe/Berlin",
        calendars={**PROJECT.calendars, "weekend": {"off": ("friday", "saturday")}},
    )
    # the included calendar has changed
    other = made("Report", "0 2 * * *", later, calendar="holidays")
    same = made("Report", "0 2 * * *", calendar="holidays")
    every = [plain, held, moved, other]
    assert len({schedule_of(job) for job in every}) == 4
    assert len({fingerprint_of(described([job])) for job in every}) == 4
    assert (schedule_of(same), same) == (schedule_of(held), held)
    long = made("Report", f"{','.join(map(str, range(60)))} * * * *", calendar="holidays")
    assert len(schedule_of(long)) <= 300
    assert schedule_of(long).endswith(schedule_of(held)[-8:])


def test_an_override_of_the_schedule_keeps_the_calendar_and_one_of_the_queue_takes_its():
    job = made("Report", "0 2 * * *", calendar="weekend")
    friday = datetime(2026, 12, 25, 12, tzinfo=BERLIN)

    def changed(field, value):
        override = Override("Report", field, f'"{value}"', "dana", friday, "why")
        return effective(job, [override], PROJECT)

    assert f"{next_run(job, now=friday, pause=None):%m-%d %H:%M}" == "12-28 02:00"
    at_five = changed("schedule", "0 5 * * *")
    assert f"{next_run(at_five, now=friday, pause=None):%m-%d %H:%M}" == "12-28 05:00"
    books = changed("queue", "books")
    thursday = datetime(2026, 12, 24, tzinfo=BERLIN)
    assert f"{next_run(job, now=thursday + DAY, pause=None):%m-%d}" == "12-25"
    assert f"{next_run(books, now=thursday + DAY, pause=None):%m-%d}" == "12-28"
    assert books.coded is job
