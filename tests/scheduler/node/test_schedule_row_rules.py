"""Schedule rows: which slots are due, where a schedule begins, and the statements on the rows, on both databases."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import JobContext, RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node import recurring, slots
from targcc_scheduler.kernel.node.recurring import Agenda, due_slots
from targcc_scheduler.kernel.node.slots import ScheduleRow

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def work(ctx: JobContext) -> None:
    """Job function for the definitions."""


def _job(schedule="* * * * *", **options):
    return define(work, **{"name": "Work", "schedule": schedule, "timezone": "UTC", **options})


# The agenda.


@pytest.mark.parametrize(
    ("slots_at", "due", "first"),
    [
        ({}, [], None),
        ({"A": None}, [], None),
        ({"A": 0}, ["A"], 0),
        ({"A": 1}, [], 1),
        ({"A": -1, "B": None, "C": 0, "D": 1}, ["A", "C"], -1),
    ],
)
def test_the_agenda_has_the_jobs_that_are_due(slots_at, due, first):
    agenda = Agenda()
    for name, minutes in slots_at.items():
        agenda.put(name, None if minutes is None else NOW + minutes * MINUTE)
    assert agenda.due(NOW) == due
    assert agenda.first() == (None if first is None else NOW + first * MINUTE)
    agenda.keep(["B"])
    assert agenda.first() is None


# Due and missed slots. Times are minutes from now.


@pytest.mark.parametrize(
    ("options", "span", "run", "missed", "done"),
    [
        ({}, (-1, 0), [0], [], 0),
        ({}, (-0.5, 0), [0], [], 0),
        ({}, (-0.5, -0.01), [], [], None),
        ({}, (0, 0), [], [], None),
        ({}, (-3, 0.5), [0], [-2, -1], 0),
        ({"misfire": "run_all"}, (-3, 0.5), [-2, -1, 0], [], 0),
        # A slot is on time for a minute.
        ({"schedule": "0 * * * *", "misfire": "skip"}, (-1, 1), [0], [], 0),
        ({"schedule": "0 * * * *", "misfire": "skip"}, (-1, 1.01), [], [0], 0),
        ({"misfire": "skip"}, (-3, 0.5), [0], [-2, -1], 0),
        ({"misfire": "skip"}, (-3, 0), [-1, 0], [-2], 0),
        # A slot exactly as old as the grace still runs.
        ({"misfire": "run_all", "misfire_grace": "2m"}, (-4, 0), [-2, -1, 0], [-3], 0),
        ({"schedule": "0 * * * *", "misfire_grace": "2m"}, (-1, 2), [0], [], 0),
        ({"schedule": "0 * * * *", "misfire_grace": "2m"}, (-1, 2.01), [], [0], 0),
    ],
)
def test_due_and_missed_slots(options, span, run, missed, done):
    due = due_slots(_job(**options), *(NOW + minutes * MINUTE for minutes in span))
    if done is None:
        assert due is None
        return
    assert [(slot - NOW) / MINUTE for slot in due.run] == run
    assert [(slot - NOW) / MINUTE for slot in due.missed] == missed
    assert (due.last - NOW) / MINUTE == done
    assert (due.earlier, due.counted) == (0, True)


@pytest.mark.parametrize(
    ("slots_missed", "recorded", "earlier", "counted"),
    [
        (99, 99, 0, True),
        (100, 100, 0, True),
        (101, 100, 1, True),
        (1099, 100, 999, True),
        (1100, 100, 1000, False),
        (5000, 100, 1000, False),
    ],
)
def test_a_hundred_missed_slots_are_recorded_and_the_earlier_ones_counted(
    slots_missed, recorded, earlier, counted
):
    due = due_slots(_job(), NOW - (slots_missed + 1) * MINUTE, NOW)
    assert due.run == (NOW,)
    assert due.missed == tuple(NOW - minutes * MINUTE for minutes in range(recorded, 0, -1))
    assert (due.earlier, due.counted) == (earlier, counted)


# The beginning of a schedule.


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({}, NOW),
        ({"schedule": None, "at": NOW + SECOND}, NOW),
        ({"schedule": None, "at": NOW}, NOW - timedelta(microseconds=1)),
        ({"schedule": None, "at": NOW - HOUR}, NOW - HOUR - timedelta(microseconds=1)),
    ],
)
def test_a_single_slot_in_the_past_still_counts(options, begins):
    assert recurring._begin(_job(**options), NOW) == begins


def test_a_schedule_may_be_handled_an_hour_ahead_and_no_more():
    job = _job()
    text = recurring.schedule_of(job)
    far = NOW + recurring._FAR_AHEAD
    for last, restarts in ((far, False), (far + SECOND, True), (NOW, False), (None, True)):
        row = ScheduleRow(last, text, None, None, "r")
        assert recurring._restarts(job, row, NOW) is restarts


@pytest.mark.parametrize(
    ("paused", "owned", "paused_at"),
    [(False, [], None), (True, [], NOW), (True, ["Work"], None), (False, ["Work"], None)],
)
def test_the_row_of_a_new_job(paused, owned, paused_at):
    job, known = _job(paused=paused), _job(name="Known")
    (row,) = recurring._new_rows([job, known], {"Known": None}, NOW, "r1", owned)
    assert (row["JobName"], row["LastSlot"], row["Release"]) == ("Work", NOW, "r1")
    assert (row["PausedAt"], row["PauseReason"]) == (
        paused_at,
        None if paused_at is None else "created paused",
    )
    assert (row["PausedBy"] is None) is (paused_at is None)


def test_each_job_is_given_its_row():
    jobs = [_job(), _job(name="Other")]
    assert [*recurring._with({"Work": 7}, jobs)] == [(jobs[0], 7), (jobs[1], None)]


@pytest.mark.parametrize(
    ("paused_at", "until", "paused"),
    [
        (None, None, False),
        (None, NOW + SECOND, False),
        (NOW, None, True),
        (NOW, NOW + SECOND, True),
        (NOW, NOW, False),
        (NOW, NOW - SECOND, False),
    ],
)
def test_a_pause_lasts_until_its_end(paused_at, until, paused):
    assert ScheduleRow(None, None, paused_at, until, None).is_paused(NOW) is paused


@pytest.mark.parametrize(
    ("text", "name"),
    [("renamed to New", "New"), ("* * * * *", None), (None, None), ("", None)],
)
def test_a_row_may_point_to_the_other_name_of_its_job(text, name):
    assert ScheduleRow(None, text, None, None, None).renamed_to == name


# Statements.


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def _add(connection, *names):
    rows = [{"JobName": name, "ScheduleText": "x", "LastSlot": NOW, "Release": "r1"} for name in names]  # fmt: skip
    await slots.add_new(connection, rows)


async def test_rows_of_new_jobs_are_added_and_the_others_left(store):
    async with store.write() as connection:
        await slots.add_new(connection, [])
        await _add(connection, "A", "B")
        await slots.advance(connection, {"A": NOW + HOUR})
        await _add(connection, "A", "C")
        rows = await slots.load(connection)
        assert {name: row.last_slot for name, row in rows.items()} == {
            "A": NOW + HOUR,
            "B": NOW,
            "C": NOW,
        }
        assert set(await slots.load(connection, ["A", "X"])) == {"A"}


async def test_each_job_gets_its_own_last_slot(store):
    async with store.write() as connection:
        await _add(connection, "A", "B", "C")
        await slots.advance(connection, {"A": NOW + HOUR, "B": NOW + MINUTE})
        await slots.advance(connection, {})
        rows = await slots.load(connection)
        assert [rows[name].last_slot for name in "ABC"] == [NOW + HOUR, NOW + MINUTE, NOW]
        assert await slots.go_on_from(connection, "C", NOW - HOUR) is True
        assert await slots.go_on_from(connection, "D", NOW) is False
        rows = await slots.load(connection)
        assert [rows[name].last_slot for name in "ABC"] == [NOW + HOUR, NOW + MINUTE, NOW - HOUR]


async def test_a_release_owns_any_number_of_schedules(store, monkeypatch):
    monkeypatch.setattr(slots, "_MANY", 2)
    async with store.write() as connection:
        await _add(connection, *"ABCDEF")
        await slots.own(connection, list("ABCDE"), "r2")
        await slots.own(connection, [], "r3")
        rows = await slots.load(connection)
        assert [rows[name].release for name in "ABCDEF"] == ["r2"] * 5 + ["r1"]


async def test_a_pause_that_ends_and_a_schedule_that_starts_again_change_one_row(store):
    async with store.write() as connection:
        await _add(connection, "A", "B")
        await connection.execute(
            sa.update(slots.job_schedule).values(PausedAt=NOW, PausedBy="dana")
        )
        await slots.end_pause(connection, "A", NOW + HOUR)
        rows = await slots.load(connection)
        assert (rows["A"].paused_at, rows["A"].last_slot) == (None, NOW + HOUR)
        assert (rows["B"].paused_at, rows["B"].last_slot) == (NOW, NOW)
        await slots.restart(connection, "A", "y", NOW, "r2")
        await slots.forget(connection, ["B"])
        rows = await slots.load(connection)
        assert (rows["A"].text, rows["A"].release, rows["A"].last_slot) == ("y", "r2", NOW)
        assert (rows["B"].text, rows["B"].release, rows["B"].last_slot) == (None, None, NOW)


async def _insert(connection, name, state, **columns):
    given = {"JobName": name, "JobType": "Manual", "State": state, "Queue": "q", "Priority": 0}
    given |= {"DueAt": NOW, "CreatedAt": NOW, "TriggeredBy": "dana"}
    await connection.execute(sa.insert(job_run).values(**given | columns))


async def test_busy_runs_are_those_that_run_or_wait_for_a_worker(store):
    async with store.write() as connection:
        for run_id, state in enumerate(RunState, 1):
            await _insert(connection, "A", state, Id=run_id)
            await _insert(connection, "B", state, Id=run_id + 100, UnknownSince=NOW)
        busy = await slots.busy_runs(connection, ["A", "B", "C"])
        states = [*RunState]
        expected = {RunState.ENQUEUED, RunState.RUNNING, RunState.RETRYING}
        assert {states[run_id - 1] for run_id in busy["A"]} == expected
        assert busy["A"] == sorted(busy["A"])
        assert (busy["B"], busy["C"]) == ([], [])
        assert await slots.busy_runs(connection, []) == {}


async def test_the_last_run_is_the_one_that_ended_last(store):
    async with store.write() as connection:
        assert await slots.last_run(connection, "A") is None
        over = RunState.SUCCEEDED
        for run_id, start, end in ((1, 0, 9), (2, 1, 3), (3, 2, None), (4, None, 10)):
            started = None if start is None else NOW + start * MINUTE
            ended = None if end is None else NOW + end * MINUTE
            state = over if end is not None else RunState.RUNNING
            await _insert(connection, "A", state, Id=run_id, StartedAt=started, CompletedAt=ended)
        await _insert(connection, "B", over, Id=9, StartedAt=NOW, CompletedAt=NOW + HOUR)
        assert await slots.last_run(connection, "A") == (NOW, NOW + 9 * MINUTE)


# A tick.


@pytest.mark.parametrize(
    ("last", "until", "expected", "ends"),
    [
        (None, None, None, False),
        (NOW, "open", None, False),
        (NOW, NOW + SECOND, None, False),
        (NOW, None, NOW, False),
        (NOW - HOUR, NOW - MINUTE, NOW - MINUTE, True),
        (NOW, NOW - MINUTE, NOW, True),
    ],
)
async def test_the_last_slot_of_a_job(monkeypatch, last, until, expected, ends):
    job = _job()
    text = recurring.schedule_of(job)
    paused = until is not None
    row = ScheduleRow(last, text, NOW - HOUR if paused else None, None if until == "open" else until, "r")  # fmt: skip
    put, ended, passed = [], [], []
    node = SimpleNamespace(
        _agenda=SimpleNamespace(put=lambda *words: put.append(words)),
        _pass=lambda job, now: passed.append((job.name, now)),
    )

    async def end_pause(_, name, at):
        ended.append((name, at))

    monkeypatch.setattr(slots, "end_pause", end_pause)
    result = await recurring.RecurringScheduler._last_slot(node, None, job, row, NOW)
    assert result == (None if last is None else expected)
    assert ended == ([("Work", expected)] if ends else [])
    assert put == ([("Work", None)] if last is None else [])
    assert passed == ([("Work", NOW)] if last is not None and expected is None else [])


@pytest.mark.parametrize(
    ("schedule", "last", "at"),
    [
        ("* * * * *", NOW, NOW + MINUTE),
        ("* * * * *", NOW - HOUR, NOW - HOUR + MINUTE),
        ("* * * * *", None, None),
    ],
)
def test_the_next_slot_of_a_job_is_planned(schedule, last, at):
    agenda, job = Agenda(), _job(schedule)
    node = SimpleNamespace(_agenda=agenda, _planned={})
    recurring.RecurringScheduler._plan(node, job, last, NOW)
    assert ("Work" in agenda, agenda.first()) == (True, at)
    assert node._planned == {"Work": (last, recurring.schedule_of(job))}
