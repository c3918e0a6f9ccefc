"""Next run of a TARGCC 4 row, by the facts about its runner."""

from datetime import datetime

import pytest
from naive_runner import set_next_run_time
from targcc_gen.old_runners.classic import (
    CannotComputeError,
    ClassicRow,
    ended,
    filled,
    next_time,
    read_classic,
)
from targcc_gen.readers.rows import Row


def wall(text):
    return datetime.fromisoformat(text)


def row(kind, when=None, count=0, next_run=None, last_run=None):
    moments = [wall(text) if text else None for text in (when, next_run, last_run)]
    return ClassicRow("Load", "SRV", kind.lower(), moments[0], count, moments[1], moments[2])


@pytest.mark.parametrize(
    ("what", "start", "end", "expected"),
    [
        # Daily: today at w's hour:minute, if that has passed tomorrow; seconds are dropped
        (("Daily", "2020-01-01T04:00:30", 0), "2026-11-25T04:00:01", "2026-11-25T04:09:00", "2026-11-26T04:00:00"),
        (("Daily", "2020-01-01T04:00:00", 0), "2026-11-25T03:00:00", "2026-11-25T03:09:00", "2026-11-25T04:00:00"),
        # a run across midnight: w's time on the day of the end has passed, or is still to come
        (("Daily", "2020-01-01T23:00:00", 0), "2026-11-25T23:00:01", "2026-11-26T01:00:00", "2026-11-26T23:00:00"),
        (("Daily", None, 0), "2026-11-25T00:00:01", "2026-11-25T00:00:02", "2026-11-26T00:00:00"),
        # Weekly: the weekday is computed and dropped
        (("Weekly", "2026-11-23T04:00:00", 0), "2026-11-23T04:00:01", "2026-11-23T04:01:00", "2026-11-24T04:00:00"),
        # Monthly: if passed plus one month, clipped to the month's end
        (("Monthly", "2020-01-15T04:00:00", 0), "2026-11-15T04:00:01", "2026-11-15T04:01:00", "2026-12-15T04:00:00"),
        (("Monthly", "2020-01-31T04:00:00", 0), "2027-01-31T04:00:01", "2027-01-31T04:01:00", "2027-02-28T04:00:00"),
        (("Monthly", None, 0), "2026-11-01T00:00:01", "2026-11-01T00:01:00", "2026-12-01T00:00:00"),
        # Annually: w's day and month this year, if passed plus a year
        (("Annually", "2020-03-06T04:00:00", 0), "2026-03-06T04:00:01", "2026-03-06T04:01:00", "2027-03-06T04:00:00"),
        (("Annually", "2020-02-29T04:00:00", 0), "2028-02-29T04:00:01", "2028-02-29T04:01:00", "2029-02-28T04:00:00"),
        # CyclicDay: from the START's date at w's time, plus n days until later than now
        (("CyclicDay", "2020-01-01T23:30:00", 3), "2026-11-25T23:30:01", "2026-11-26T02:00:00", "2026-11-28T23:30:00"),
        # CyclicHour: from the start's hour at w's minute; a late start moves the phase
        (("CyclicHour", "2020-01-01T00:50:00", 2), "2026-11-25T10:50:01", "2026-11-25T11:20:00", "2026-11-25T12:50:00"),
        (("CyclicHour", "2020-01-01T00:50:00", 2), "2026-11-25T11:05:00", "2026-11-25T11:06:00", "2026-11-25T11:50:00"),
        # CyclicMin, CyclicSec: START + n, at once if that has passed
        (("CyclicMin", None, 10), "2026-11-25T10:00:01", "2026-11-25T10:04:00", "2026-11-25T10:10:01"),
        (("CyclicMin", None, 10), "2026-11-25T10:00:01", "2026-11-25T10:14:00", "2026-11-25T10:14:00"),
        (("CyclicSec", None, 45), "2026-11-25T10:00:01", "2026-11-25T10:00:11", "2026-11-25T10:00:46"),
    ],
)  # fmt: skip
def test_at_the_end_of_a_run(what, start, end, expected):
    kind, when, count = what
    after = ended(row(kind, when, count), wall(start), wall(end))

    assert (after.next_run, after.last_run) == (wall(expected), wall(end))
    w = wall(when or "0001-01-01T00:00:00")
    assert set_next_run_time(kind, w, count, wall(start), wall(end)) == wall(expected)


@pytest.mark.parametrize(
    ("kind", "when", "count", "start"),
    [
        ("Monthly", "2020-01-31T04:00:00", 0, "2027-02-28T04:00:01"),
        ("Monthly", "2020-01-29T04:00:00", 0, "2027-02-28T04:00:01"),
        ("Monthly", "2020-01-31T04:00:00", 0, "2027-04-30T04:00:01"),
        ("Annually", "2020-02-29T04:00:00", 0, "2027-02-28T04:00:01"),
        ("CyclicDay", "2020-01-01T04:00:00", 0, "2026-11-25T04:00:01"),
        ("CyclicMin", None, -5, "2026-11-25T04:00:01"),
        ("UD", "2020-01-01T04:00:00", 0, "2026-11-25T04:00:01"),
        ("", None, 0, "2026-11-25T04:00:01"),
    ],
)
def test_an_end_that_cannot_be_stored(kind, when, count, start):
    with pytest.raises(CannotComputeError):
        ended(row(kind, when, count), wall(start), wall(start))


def test_a_one_off_is_switched_off_by_its_run():
    after = ended(row("OneOff"), wall("2026-11-25T10:00:00"), wall("2026-11-25T10:01:00"))

    assert (after.active, after.next_run) == (False, None)


@pytest.mark.parametrize(
    ("what", "last_run", "now", "expected"),
    [
        # a row saved on a screen: the next scan counts from the END of the last run
        (("CyclicMin", None, 10), "2026-11-25T10:04:00", "2026-11-25T10:05:00", "2026-11-25T10:14:00"),
        (("CyclicMin", None, 10), None, "2026-11-25T10:05:00", "2026-11-25T10:05:00"),
        (("CyclicDay", "2020-01-01T23:30:00", 3), "2026-11-26T02:00:00", "2026-11-26T03:00:00", "2026-11-26T23:30:00"),
        (("CyclicDay", "2020-01-01T02:30:00", 3), None, "2026-11-26T03:00:00", "2026-11-27T02:30:00"),
        # never ran: this hour or the next
        (("CyclicHour", "2020-01-01T00:50:00", 5), None, "2026-11-25T10:05:00", "2026-11-25T10:50:00"),
        (("CyclicHour", "2020-01-01T00:50:00", 5), None, "2026-11-25T10:55:00", "2026-11-25T11:50:00"),
        # OneOff: w's year, month and time with TODAY's day
        (("OneOff", "2027-01-09T08:15:00", 0), None, "2026-11-25T10:00:00", "2027-01-25T08:15:00"),
    ],
)  # fmt: skip
def test_a_scan_fills_what_is_null(what, last_run, now, expected):
    kind, when, count = what
    assert filled(row(kind, when, count, None, last_run), wall(now)).next_run == wall(expected)


def test_a_scan_leaves_a_time_that_is_there():
    known = row("Daily", next_run="2026-12-24T00:00:00")

    assert filled(known, wall("2026-11-25T10:00:00")) == known
    assert next_time(known, wall("2026-11-25T10:00:00")) == wall("2026-11-26T00:00:00")


@pytest.mark.parametrize(
    ("bits", "runs"),
    [
        ({"active": 1, "ismanaged": 1}, True),
        ({"active": 1, "ismanaged": None}, False),
        ({"active": 1, "ismanaged": 0}, False),
        ({"active": None, "ismanaged": 1}, False),
        ({"active": 0, "ismanaged": 1}, False),
    ],
)
def test_null_is_no(bits, runs):
    values = {"lkpjob": "Load", "enmjobtype": "Daily", **bits}

    assert read_classic(Row("c_job", values, "dump.sql", 1)).runs is runs
