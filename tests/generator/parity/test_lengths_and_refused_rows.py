"""Old runs with real durations, and rejected rows that still block their runner."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.old_runners.cron import Polling, cron_runs, read_cron_text
from targcc_gen.parity.compare import differences, next_runs
from targcc_gen.spec import JobSpec

JERUSALEM = ZoneInfo("Asia/Jerusalem")  # 31 October 2027: 02:00 becomes 01:00
LOG = "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus) VALUES "


def log(*minutes, job=1, day=1, clock="01:30"):
    rows = (
        f"({number}, {job}, '2026-11-{day + number:02}T{clock}', {round(length * 60)}, 'Success')"
        for number, length in enumerate(minutes)
    )
    return LOG + ", ".join(rows) + "\n"


def told(result):
    zone = result.options.zone
    return [(difference.job.old.name, difference.kind, f"{difference.at.astimezone(zone):%Y-%m-%d %H:%M}", difference.old) for difference in differences(result)]  # fmt: skip


# --- Runs take time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ((), []),
        ((0, 0, 0), []),
        ((5, 5, 5), []),
        ((45, 45, 45), ["2027-10-31 01:30"]),
        ((45, 45, 5, 600, 46), ["2027-10-31 01:30"]),
        ((5, 5, 5, 45, 600), []),
        ((95, 95, 95), []),
    ],
)
def test_a_daily_job_that_runs_into_the_repeated_hour_ran_twice_there(bring, minutes, expected):
    """The run ends after the clock went back to before its own time. The usual duration counts: half of the runs keep to it."""
    row = classic_row("Daily", when="2024-03-06T01:30:00", NextRunTime="'2026-11-26T01:30:00'")
    result = bring(row + (log(*minutes) if minutes else ""))
    entries = told(result)

    assert [at for _, _, at, _ in entries] == expected
    assert all(
        kind == "autumn" and "a run usually takes 45 min" in old for _, kind, _, old in entries
    )


@pytest.mark.slow
def test_a_cycle_whose_runs_are_longer_than_its_hours_left_times_out(bring):
    row = classic_row("CyclicHour", count=1, when="2024-03-06T00:30:00", NextRunTime="'2026-11-25T03:30:00'")  # fmt: skip
    result = bring(row + log(90, 90, 90, clock="04:30"))
    entries = [entry for entry in told(result) if entry[1] == "calendar"]

    assert [(at, old) for _, _, at, old in entries] == [
        ("2026-11-25 04:30", "does not run; its times stay apart from then on; a run usually takes 1 h 30 min")
    ]  # fmt: skip


NIGHT = datetime(2027, 10, 30, 12, tzinfo=UTC), datetime(2027, 10, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("polling", "minutes", "runs"),
    [
        (Polling.MINUTE, 0, 2),
        (Polling.MINUTE, 45, 2),
        (Polling.MINUTE, 90, 1),
        (Polling.NEXT_RUN, 0, 1),
        (Polling.NEXT_RUN, 45, 2),
        (Polling.NEXT_RUN, 95, 1),
    ],
)
def test_a_row_with_a_cron_text_is_looked_at_again_when_its_run_has_ended(polling, minutes, runs):
    text = read_cron_text("30 1 * * *", "cronos")
    length = timedelta(minutes=minutes)

    assert len(list(cron_runs(text, JERUSALEM, *NIGHT, polling, length=length))) == runs


@pytest.mark.parametrize(
    ("polling", "minutes", "kinds"),
    [
        ("next-run", 5, []),
        ("next-run", 45, ["autumn"]),
        ("minute", 5, ["autumn"]),
        ("minute", 90, []),
    ],
)
def test_the_report_takes_the_usual_length_of_cron_rows_too(bring, polling, minutes, kinds):
    result = bring(cron_row(cron="30 1 * * *") + log(minutes, minutes, minutes), polling=polling)

    assert [difference.kind for difference in differences(result)] == kinds


def test_a_cron_row_that_is_due_again_before_it_has_ended_is_compared_by_its_text(bring):
    """The overlap happens every day, so it is no difference of the night."""
    with_length = bring(cron_row(cron="*/5 * * * *") + log(7, 7, 7), polling="next-run")
    without = bring(cron_row(cron="*/5 * * * *"), polling="next-run")

    assert [difference.at for difference in differences(with_length)] == [
        difference.at for difference in differences(without)
    ]


# --- Rejected rows --------------------------------------------------------------------------------------------------

DAILY = classic_row("Daily", ID=2, lkpJob="'Daily'", when="2024-03-06T06:00:00", NextRunTime="'2026-11-25T06:00:00'")  # fmt: skip
BESIDE = classic_row("Daily", ID=3, lkpJob="'Beside'", lkpJobRunner="'SRV02'", when="2024-03-06T06:00:00")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "count", "why"),
    [
        ("UD", "NULL", "its enmJobType is UD"),
        ("Hourly", 1, "its enmJobType is HOURLY"),
        ("", 1, "its enmJobType is NULL"),
        ("CyclicMin", 0, "its CyclicCount is 0"),
        ("CyclicDay", "NULL", "its CyclicCount is 0"),
    ],
)
def test_a_row_whose_next_time_is_never_known_ends_its_runners_other_rows_too(
    bring, kind, count, why
):
    stuck = classic_row(kind, count=count, lkpJob="'Odd'", NextRunTime="'2026-12-01T03:00:00'")
    result = bring(stuck + DAILY + BESIDE)

    assert [rejection.name for rejection in result.rejected] == ["Odd"]
    assert told(result) == [
        (
            "Daily", "hung runner", "2026-12-01 06:00",
            f"does not run any more: its runner hangs for good when Odd has run, as {why}",
        )
    ]  # fmt: skip


def test_a_row_whose_time_has_passed_holds_its_runner_now(bring):
    stuck = classic_row("UD", lkpJob="'Odd'", NextRunTime="'2026-11-01T03:00:00'")

    assert [at for _, _, at, _ in told(bring(stuck + DAILY))] == ["2026-11-25 06:00"]


def test_a_row_after_whose_time_others_ran_did_not_hold_them(bring):
    stuck = classic_row("UD", lkpJob="'Odd'", NextRunTime="'2026-11-01T03:00:00'")
    result = bring(stuck + DAILY + log(1, 1, 1, job=2, day=20, clock="06:00"))

    assert told(result) == []


@pytest.mark.parametrize("columns", [{"Active": 0}, {"IsManaged": "NULL"}, {"DeletedOn": "'2025-01-01'"}, {"lkpJob": "'ScanJobs'"}])  # fmt: skip
def test_a_row_that_the_runner_never_takes_holds_nothing(bring, columns):
    stuck = classic_row("UD", **{"lkpJob": "'Odd'", "NextRunTime": "'2026-12-01T03:00:00'", **columns})  # fmt: skip

    assert told(bring(stuck + DAILY)) == []


def test_a_scan_that_ends_at_a_row_leaves_others_without_a_time(bring):
    stuck = classic_row("UD", lkpJob="'Odd'", NextRunTime="NULL")
    waits = classic_row("Daily", ID=4, lkpJob="'Waits'", when="2024-03-06T06:00:00", NextRunTime="NULL")  # fmt: skip

    assert told(bring(stuck + DAILY + waits)) == [
        (
            "Waits", "hung runner", "2026-11-25 06:00",
            "may not run: NextRunTime is NULL, and the scan that fills it ends at Odd each time, as its enmJobType is UD",
        )
    ]  # fmt: skip


def test_a_built_in_job_that_drops_out_holds_its_runner_at_the_end_of_a_month(bring):
    audits = classic_row("Monthly", lkpJob="'MoveAudits'", when="2024-01-31T04:00:00", NextRunTime="'2027-01-31T04:00:00'")  # fmt: skip

    assert told(bring(audits + DAILY)) == [
        ("Daily", "hung runner", "2027-02-28 06:00", "does not run until 01 Mar 2027 00:00: its runner hangs when MoveAudits has ended")
    ]  # fmt: skip


HANGS = classic_row("Monthly", lkpJob="'Statements'", when="2024-01-31T04:00:00", NextRunTime="'2027-01-31T04:00:00'")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "count", "following", "moved"),
    [
        ("CyclicHour", 4, "02:15", ", and from then on at 00:15, 04:15, 08:15, 12:15, 16:15, 20:15"),
        ("CyclicHour", 4, "00:15", ""),
        ("CyclicHour", 5, "02:15", ", and from then on every 5 hours from 00:15"),
        ("CyclicDay", 3, "06:15", ", and from then on every 3 days from Mon 01 Mar at 06:15"),
        ("Daily", "NULL", "06:15", ""),
    ],
)  # fmt: skip
def test_a_cycle_counts_from_its_first_run_after_a_hang(bring, kind, count, following, moved):
    cycle = classic_row(kind, count=count, ID=2, lkpJob="'Cycle'", when=f"2024-03-06T{following}:00", NextRunTime=f"'2026-11-27T{following}:00'")  # fmt: skip
    texts = [old for name, which, _, old in told(bring(HANGS + cycle)) if (name, which) == ("Cycle", "hung runner")]  # fmt: skip

    assert texts == [
        f"does not run until 01 Mar 2027 00:00: its runner hangs when Statements has ended{moved}"
    ]


def test_a_one_time_run_in_the_gap_runs_right_after_it_on_both_sides(bring):
    once = classic_row("OneOff", lkpJob="'Once'", when="2027-03-26T02:30:00", NextRunTime="'2027-03-26T02:30:00'")  # fmt: skip
    result = bring(once)
    (job,) = result.jobs

    (run,) = next_runs(job.spec, result.options.zone, result.options.now, 2)
    assert run.isoformat() == "2027-03-26T03:00:00+03:00"
    assert told(result) == []


def test_a_one_time_run_is_judged_by_the_clock_of_its_own_zone():
    spec = JobSpec.model_validate({"at": "2027-03-26T02:30:00", "timezone": "UTC"})
    (run,) = next_runs(spec, ZoneInfo("Asia/Jerusalem"), datetime(2027, 1, 1, tzinfo=UTC), 2)

    assert run.isoformat() == "2027-03-26T02:30:00+00:00"
