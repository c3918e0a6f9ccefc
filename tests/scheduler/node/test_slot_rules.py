"""Rounds in which a job's due slots become runs, and the start of its schedule, by tables, without a database."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from targcc_scheduler import JobContext, RunState
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node import recurring
from targcc_scheduler.kernel.node.recurring import DueSlots
from targcc_scheduler.kernel.node.slots import ScheduleRow

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENQUEUED, SKIPPED, MISSED = RunState.ENQUEUED, RunState.SKIPPED, RunState.MISSED


async def work(ctx: JobContext) -> None:
    """Job function for the definitions."""


def _job(**options):
    return define(work, **{"name": "Work", "schedule": "* * * * *", "overlap": "skip", **options})


def _at(*minutes):
    return tuple(NOW + minute * MINUTE for minute in minutes)


def _round(job, run, *, missed=(), busy=(), window=None):
    due = DueSlots(_at(*run), _at(*missed), NOW)
    slots = recurring._JobSlots(job, due, list(busy), NOW, window)
    return slots, [(item.state, item.due_at, item.blocked_by) for item in slots.next_round()]


@pytest.mark.parametrize(
    ("options", "run", "busy", "states"),
    [
        ({}, [0], [], [ENQUEUED]),
        ({}, [0], [7], [SKIPPED]),
        ({}, [-1, 0], [7], [SKIPPED, SKIPPED]),
        ({"concurrency": 2}, [0], [7], [ENQUEUED]),
        ({"concurrency": 2}, [0], [7, 8], [SKIPPED]),
        ({"overlap": "queue"}, [0], [7], [ENQUEUED]),
        # Of several slots, the first decides whether the next one runs.
        ({}, [-1, 0], [], [ENQUEUED]),
        ({"concurrency": 2}, [-2, -1, 0], [], [ENQUEUED, ENQUEUED]),
        ({"overlap": "queue"}, [-1, 0], [], [ENQUEUED, ENQUEUED]),
        # A job that catches up runs all its slots.
        ({"misfire": "run_all"}, [-2, 0], [7], [ENQUEUED, ENQUEUED]),
        ({"misfire": "run_all"}, [-1, 0], [7], [SKIPPED, SKIPPED]),  # on time
        ({"misfire": "run_once"}, [-2], [7], [SKIPPED]),
    ],
)
def test_a_busy_job_skips_its_slots(options, run, busy, states):
    _, rows = _round(_job(**options), run, busy=busy)
    assert [state for state, _, _ in rows] == states
    assert [slot for _, slot, _ in rows] == list(_at(*run))[: len(states)]
    assert {by for _, _, by in rows} == {busy[0] if SKIPPED in states else None}


def test_missed_slots_are_recorded_once_and_first():
    slots, rows = _round(_job(), [0], missed=[-2, -1])
    assert [row[0] for row in rows] == [MISSED, MISSED, ENQUEUED]
    assert slots.next_round() == []
    _, rows = _round(_job(), [], missed=[-2])
    assert [row[0] for row in rows] == [MISSED]


def test_a_created_run_makes_its_job_busy():
    slots, _ = _round(_job(), [-1, 0])
    created = list(slots.created({("Work", NOW - MINUTE): 12}))
    assert [(run_id, run.due_at) for run_id, run in created] == [(12, NOW - MINUTE)]
    assert [(run.state, run.blocked_by) for run in slots.next_round()] == [(SKIPPED, 12)]


def test_a_slot_that_another_node_has_created_makes_no_job_busy():
    slots, _ = _round(_job(), [-1, 0])
    assert list(slots.created({})) == []
    assert [run.state for run in slots.next_round()] == [ENQUEUED]


def test_a_maintenance_window_skips_all_slots():
    window = SimpleNamespace(reason="moving")
    slots, rows = _round(_job(), [-1, 0], missed=[-2], window=window)
    assert [state for state, _, _ in rows] == [MISSED, SKIPPED, SKIPPED]
    assert slots.next_round() == []


@pytest.mark.parametrize(
    ("earlier", "counted", "note"),
    [
        (0, True, "nobody could start it in time"),
        (1, True, "nobody could start it in time; so was 1 earlier slot"),
        (2, True, "nobody could start it in time; so were 2 earlier slots"),
        (1000, False, "nobody could start it in time; so were at least 1000 earlier slots"),
    ],
)
def test_the_oldest_missed_slot_counts_the_earlier_ones(earlier, counted, note):
    due = DueSlots((), _at(-2, -1), NOW, earlier, counted)
    runs = list(recurring._missed_run(_job(), due))
    assert [run.note for run in runs] == [note, "nobody could start it in time"]


@pytest.mark.parametrize(
    ("missed", "earlier", "message"),
    [
        ([-1], 0, "1 slot was missed; the newest was due at 2026-06-10T11:59:00+00:00"),
        ([-2, -1], 3, "5 slots were missed; the newest was due at 2026-06-10T11:59:00+00:00"),
    ],
)
def test_the_alert_counts_all_missed_slots(missed, earlier, message):
    event = recurring._missed_event(_job(), DueSlots((), _at(*missed), NOW, earlier))
    assert (event.message, event.scheduled_for) == (message, NOW - MINUTE)


SECONDS = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("last_slot", "text", "restarts"),
    [
        (NOW, None, False),
        (NOW - 400 * MINUTE, None, False),
        (NOW + 5 * SECONDS, None, False),
        (NOW + 6 * SECONDS, None, True),  # written by a wrong clock
        (NOW, "another schedule", True),
        (None, None, True),
    ],
)
def test_a_schedule_goes_on_or_starts_from_now(last_slot, text, restarts):
    job = _job()
    row = ScheduleRow(last_slot, text or recurring.schedule_of(job), None, None, None)
    assert recurring._restarts(job, row, NOW) is restarts


def test_the_schedule_of_a_new_job_starts_from_now():
    assert recurring._restarts(_job(), None, NOW) is True


@pytest.mark.parametrize("misfire", ["skip", "run_once", "run_all"])
@pytest.mark.parametrize("covers", [True, False])
def test_a_window_skips_slots_of_jobs_that_skip(misfire, covers):
    window = SimpleNamespace(covers=lambda queue: covers and queue == "default")
    skipping = recurring._skipping(_job(misfire=misfire), [window])
    assert skipping is (window if misfire == "skip" and covers else None)
