"""TaskManager runs its rows one at a time by the wall clock, also on nights of clock changes."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from naive_runner import looks, naive_runs
from targcc_gen.old_runners.classic import ClassicRow, ClassicRunner, Settings

JERUSALEM = ZoneInfo(
    "Asia/Jerusalem"
)  # 26 March 2027 02:00 to 03:00; 31 October 2027 02:00 to 01:00
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def wall(text):
    return datetime.fromisoformat(text)


def at(text, fold=0, zone=JERUSALEM):
    return wall(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def row(kind, when="2020-01-01T00:00:00", count=0, next_run=None, code="Load", **more):
    return ClassicRow(
        code, "SRV", kind.lower(), wall(when), count, wall(next_run) if next_run else None, **more
    )


def runs(*rows, since, until, **settings):
    return list(ClassicRunner(rows, JERUSALEM, Settings(**settings)).runs(at(since), at(until)))


def clocks(found):
    return [run.slot.astimezone(JERUSALEM).strftime("%d %H:%M") for run in found]


# --- One at a time ----------------------------------------------------------------------------------------------------


def test_jobs_of_one_runner_queue_and_never_overlap():
    started = runs(
        row("Daily", "2020-01-01T04:00:00", code="Long"),
        row("Daily", "2020-01-01T04:10:00", code="Second"),
        row("Daily", "2020-01-01T04:05:00", code="First"),
        since="2026-11-25T01:00:00", until="2026-11-26T01:00:00", durations={"Long": HOUR},
    )  # fmt: skip

    assert [run.row for run in started] == [0, 2, 1]
    assert clocks(started) == ["25 04:00", "25 04:05", "25 04:10"]
    assert started[1].start - at("2026-11-25T05:00:00") < timedelta(seconds=1)
    assert all(first.end <= second.start for first, second in itertools.pairwise(started))


def test_after_downtime_each_overdue_row_runs_once_the_oldest_first():
    started = runs(
        row("Daily", "2020-01-01T04:00:00", next_run="2026-11-24T04:00:00", code="Late"),
        row("CyclicMin", count=5, next_run="2026-11-24T03:00:00", code="Later"),
        since="2026-11-24T03:00:00", until="2026-11-24T05:01:00", durations={"Later": 2 * HOUR},
    )  # fmt: skip

    assert [run.row for run in started] == [1, 0, 1]


def test_a_run_longer_than_the_interval_is_followed_by_the_next_at_once():
    started = runs(
        row("CyclicMin", count=5, next_run="2026-11-25T04:00:00"),
        since="2026-11-25T03:00:00", until="2026-11-25T04:20:00", durations={"Load": 7 * MINUTE},
    )  # fmt: skip

    assert clocks(started) == ["25 04:00", "25 04:07", "25 04:14"]


@pytest.mark.parametrize("bits", [{"active": False}, {"managed": False}])
def test_rows_that_task_manager_does_not_take(bits):
    assert not runs(row("Daily", **bits), since="2026-11-25T01:00:00", until="2026-11-28T01:00:00")


@pytest.mark.parametrize("code", ["ImAlive", "ScanJobs"])
def test_codes_that_are_no_jobs(code):
    rows = [row("Daily", code=code)]
    assert not runs(*rows, since="2026-11-25T01:00:00", until="2026-11-28T01:00:00")


# --- What cannot be computed ------------------------------------------------------------------------------------------


def test_a_month_end_hangs_the_runner_until_the_month_is_over():
    started = runs(
        row("Monthly", "2020-01-31T04:00:00", next_run="2027-01-31T04:00:00", code="End"),
        row("Daily", "2020-01-01T06:00:00", code="Daily"),
        since="2027-02-26T00:00:00", until="2027-04-01T00:00:00",
    )  # fmt: skip
    months = [run for run in started if run.row == 0]
    days = [run for run in started if run.row == 1]

    assert clocks(months) == ["28 04:00", "31 04:00"]
    assert months[0].end == at("2027-03-01T00:00:00")
    assert (months[0].hung is not None, months[1].hung) == (True, None)
    assert clocks(days)[:4] == ["26 06:00", "27 06:00", "28 06:00", "01 06:00"]
    assert days[2].start >= at("2027-03-01T00:00:00")  # the late run of the 28th


def test_the_29th_of_february_hangs_until_a_leap_year():
    started = runs(
        row("Annually", "2020-02-29T04:00:00", next_run="2027-02-28T04:00:00"),
        since="2027-02-01T00:00:00", until="2027-12-31T00:00:00",
    )  # fmt: skip

    assert clocks(started) == ["28 04:00"]
    assert started[0].end >= at("2027-12-31T00:00:00")


def test_a_cycle_without_a_count_runs_once_and_hangs_or_waits_for_ever():
    period = {"since": "2026-11-25T00:00:00", "until": "2027-11-25T00:00:00"}
    ran = runs(row("CyclicDay", next_run="2026-11-26T04:00:00"), row("Daily"), **period)

    assert [run.row for run in ran] == [1, 1, 0]
    assert not runs(row("CyclicDay"), **period)


@pytest.mark.parametrize("next_run", ["2026-11-26T04:00:00", "2026-01-01T04:00:00"])
def test_an_unknown_kind_runs_once_and_ends_its_runners_other_rows_too(next_run):
    rows = row("UD", next_run=next_run), row("Daily", "2020-01-01T06:00:00")
    started = runs(*rows, since="2026-11-25T00:00:00", until="2027-11-25T00:00:00")

    assert clocks(run for run in started if run.row == 1) == (["25 06:00"] if "11-26" in next_run else [])  # fmt: skip


# --- Clocks -----------------------------------------------------------------------------------------------------------


def test_in_spring_a_time_in_the_gap_runs_right_after_it():
    started = runs(
        row("Daily", "2020-01-01T02:30:00"),
        since="2027-03-25T00:00:00",
        until="2027-03-28T00:00:00",
    )

    assert clocks(started) == ["25 02:30", "26 03:00", "27 02:30"]


def test_in_spring_a_cycle_of_hours_with_a_slot_in_the_gap_moves_for_good():
    started = runs(
        row("CyclicHour", "2020-01-01T00:50:00", 2, next_run="2027-03-25T22:50:00"),
        since="2027-03-25T22:00:00", until="2027-03-26T08:00:00",
    )  # fmt: skip

    assert clocks(started) == [
        "25 22:50",
        "26 00:50",
        "26 03:00",
        "26 03:50",
        "26 05:50",
        "26 07:50",
    ]


def test_in_autumn_daily_runs_once():
    started = runs(
        row("Daily", "2020-01-01T01:30:00"),
        since="2027-10-30T00:00:00",
        until="2027-11-02T00:00:00",
    )

    assert clocks(started) == ["30 01:30", "31 01:30", "01 01:30"]


def test_in_autumn_daily_runs_twice_if_it_ends_after_the_clock_went_back_to_before_its_time():
    started = runs(
        row("Daily", "2020-01-01T01:30:00"), since="2027-10-31T00:00:00", until="2027-11-01T00:00:00",
        durations={"Load": 45 * MINUTE},
    )  # fmt: skip

    assert clocks(started) == ["31 01:30", "31 01:30"]
    assert started[1].slot - started[0].slot == HOUR


@pytest.mark.parametrize(
    ("kind", "count"), [("CyclicMin", 30), ("CyclicSec", 1800), ("CyclicHour", 1)]
)
def test_in_autumn_cycles_stand_still_in_the_repeated_hour(kind, count):
    started = runs(
        row(kind, count=count, next_run="2027-10-31T00:00:00"),
        since="2027-10-31T00:00:00", until="2027-10-31T03:00:00",
    )  # fmt: skip
    gaps = [later.slot - earlier.slot for earlier, later in itertools.pairwise(started)]

    assert max(gaps) - min(gaps) >= HOUR - MINUTE
    assert not [
        run
        for run in started
        if at("2027-10-31T01:00:00", 1) <= run.slot < at("2027-10-31T02:00:00")
    ]


# --- Inferred rules are settings --------------------------------------------------------------------------------------


def test_a_mended_runner_keeps_the_weekday():
    weekly = row("Weekly", "2026-11-23T04:00:00")  # a Monday
    period = {"since": "2026-11-25T00:00:00", "until": "2026-12-08T00:00:00"}

    assert len(runs(weekly, **period)) == 13
    assert clocks(runs(weekly, **period, repaired_weekly=True)) == ["30 04:00", "07 04:00"]


def test_without_the_claims_start_a_cycle_counts_from_the_end_before():
    cyclic = row(
        "CyclicMin", count=10, next_run="2026-11-25T04:00:00", last_run=wall("2026-11-25T03:55:00")
    )
    started = runs(
        cyclic, since="2026-11-25T04:00:00", until="2026-11-25T04:15:00", claim_keeps_start=False,
        durations={"Load": 2 * MINUTE},
    )  # fmt: skip

    assert clocks(started)[:2] == ["25 04:00", "25 04:05"]


# --- Comparison with the reference model ------------------------------------------------------------------------------

ZONES = ("Asia/Jerusalem", "Europe/London", "America/New_York", "Australia/Lord_Howe")
SPANS = (
    "2027-02-26", "2027-03-12", "2027-03-24", "2027-03-26", "2027-04-02", "2027-10-01", "2027-10-29", "2027-11-05",
    "2027-04-28",
)  # fmt: skip


def random_row(random_):
    kind = random_.choice(["Daily", "Weekly", "Monthly", "Annually", "CyclicDay", "CyclicHour"])
    day = random_.choice([1, 15, 26, 27, 28, 29, 30, 31])
    hour, minute = random_.choice([0, 1, 2, 3, random_.randrange(24)]), random_.randrange(60)
    month = random_.choice([1, 3, 10])
    return (
        kind,
        datetime(2020, month, day, hour, minute),  # noqa: DTZ001 - wall clock
        random_.choice([1, 2, 3, 5, 7, 26]),
    )


def both(zone, span, seed):
    """Return the run minutes of the runner and of the reference model for a random row, over four days from a span's first."""
    random_ = random.Random(f"{zone.key} {span} {seed}")
    kind, when, count = random_row(random_)
    start = wall(span).replace(tzinfo=zone).astimezone(UTC)
    first = wall(span).replace(hour=when.hour, minute=when.minute)
    tested = ClassicRow("Load", "SRV", kind.lower(), when, count, first)
    end = start + timedelta(days=4)
    slots = [run.slot for run in ClassicRunner([tested], zone).runs(start, end)]
    return (
        slots,
        list(naive_runs(kind, when, count, first, looks(zone, start, end))),
        (kind, when, count),
    )


@pytest.mark.parametrize("zone", ZONES)
def test_the_reference_runs_in_the_minutes_in_which_a_plain_look_each_minute_does(zone):
    for span in SPANS:
        slots, minutes, what = both(ZoneInfo(zone), span, 0)
        assert slots == minutes, (span, what)


@pytest.mark.soak
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("span", SPANS)
def test_it_does_so_for_many_rows(zone, span):
    for seed in range(150):
        slots, minutes, what = both(ZoneInfo(zone), span, seed)
        assert slots == minutes, (seed, what)
