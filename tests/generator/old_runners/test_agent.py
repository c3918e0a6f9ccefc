"""SQL Server Agent's schedules: the days and times that msdb's numbers name, and the starts at clock changes."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targcc_gen.old_runners.agent import AgentScheduleError, agent_starts, read_schedule
from targcc_gen.sources.drafts import Refused
from targcc_gen.sources.sql_agent.schedules import translated
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.intervals import EverySchedule

DAILY, WEEKLY, MONTHLY, RELATIVE = 4, 8, 16, 32
UTC_ZONE = ZoneInfo("UTC")
LONDON, JERUSALEM = ZoneInfo("Europe/London"), ZoneInfo("Asia/Jerusalem")


def schedule(**values):
    columns = {f"freq_{name}" if name in {"type", "interval", "subday_type", "subday_interval", "relative_interval", "recurrence_factor"} else f"active_{name}": value for name, value in values.items()}  # fmt: skip
    return read_schedule({"active_start_date": 20260101, **columns}, "nightly")


def starts(row, start: datetime, days: int, zone=UTC_ZONE) -> list[str]:
    end = start + timedelta(days=days)
    return [f"{moment.astimezone(zone):%m-%d %H:%M}" for moment in agent_starts([row], zone, start, end)]  # fmt: skip


MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": DAILY, "interval": 1, "start_time": 90000}, ["11-30 09:00", "12-01 09:00", "12-02 09:00"]),
        ({"type": DAILY, "interval": 2, "start_date": 20261130, "start_time": 130}, ["11-30 00:01", "12-02 00:01"]),
        ({"type": WEEKLY, "interval": 0b0000101, "recurrence_factor": 1, "start_time": 235900}, ["12-01 23:59"]),
        ({"type": DAILY, "interval": 1, "subday_type": 8, "subday_interval": 6, "start_time": 10000, "end_time": 130000}, ["11-30 01:00", "11-30 07:00", "11-30 13:00", "12-01 01:00", "12-01 07:00", "12-01 13:00", "12-02 01:00", "12-02 07:00", "12-02 13:00"]),
        ({"type": WEEKLY, "interval": 2, "recurrence_factor": 1, "subday_type": 8, "subday_interval": 2, "start_time": 220000, "end_time": 20000}, ["11-30 22:00", "12-01 00:00", "12-01 02:00"]),
        ({"type": RELATIVE, "interval": 3, "relative_interval": 1, "recurrence_factor": 1, "start_time": 0}, ["12-01 00:00"]),
        ({"type": MONTHLY, "interval": 2, "recurrence_factor": 1, "start_time": 120000}, ["12-02 12:00"]),
    ],
)  # fmt: skip
def test_days_and_times(values, expected):
    assert starts(schedule(**values), MONDAY, 3) == expected


def test_weeks_count_from_the_week_of_the_start_date_which_begins_on_sunday():
    row = schedule(type=WEEKLY, interval=0b0000011, recurrence_factor=2, start_date=20261125)

    assert starts(row, datetime(2026, 11, 25, tzinfo=UTC), 21) == ["12-06 00:00", "12-07 00:00"]


def test_a_month_without_the_day_has_no_start():
    row = schedule(type=MONTHLY, interval=31, recurrence_factor=1)

    assert starts(row, datetime(2026, 1, 1, tzinfo=UTC), 160) == ["01-31 00:00", "03-31 00:00", "05-31 00:00"]  # fmt: skip


def test_a_time_in_the_gap_runs_right_after_it():
    """The measured case: an hourly job at half past, on 28 March 2021 in London."""
    row = schedule(type=DAILY, interval=1, subday_type=8, subday_interval=1, start_time=3000, start_date=20210101)  # fmt: skip

    assert starts(row, datetime(2021, 3, 28, tzinfo=UTC), 1, LONDON)[:4] == ["03-28 00:30", "03-28 02:00", "03-28 02:30", "03-28 03:30"]  # fmt: skip


def test_nothing_runs_in_the_repeated_hour():
    row = schedule(type=DAILY, interval=1, subday_type=4, subday_interval=20, start_date=20210101)
    moments = agent_starts([row], LONDON, datetime(2021, 10, 31, tzinfo=UTC), datetime(2021, 10, 31, 3, tzinfo=UTC))  # fmt: skip

    assert [f"{moment:%H:%M}" for moment in moments] == ["00:00", "00:20", "00:40", "02:00", "02:20", "02:40"]  # fmt: skip


def test_schedules_that_name_the_same_time_start_the_job_once():
    row = schedule(type=DAILY, interval=1, start_time=90000)

    assert len(agent_starts([row, row], UTC_ZONE, MONDAY, MONDAY + timedelta(days=2))) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": 3}, "freq_type 3"),
        ({"type": DAILY, "subday_type": 7}, "freq_subday_type 7"),
        ({"type": DAILY, "start_time": 250000}, "no time HHMMSS"),
        ({"type": DAILY, "start_date": 20261399}, "no date YYYYMMDD"),
        ({"type": "daily"}, "no whole number"),
    ],
)
def test_numbers_that_msdb_does_not_allow_are_refused(values, message):
    with pytest.raises(AgentScheduleError, match=message):
        schedule(**values)


# The translation against the simulation, in a zone without clock changes.

TIMES = st.integers(0, 23).flatmap(lambda hour: st.integers(0, 59).map(lambda minute: hour * 10000 + minute * 100))  # fmt: skip
SCHEDULES = st.fixed_dictionaries({
    "type": st.sampled_from([DAILY, WEEKLY, MONTHLY, RELATIVE]),
    "interval": st.integers(1, 31),
    "recurrence_factor": st.sampled_from([1, 1, 1, 2, 3, 6]),
    "relative_interval": st.sampled_from([1, 2, 4, 8, 16]),
    "subday_type": st.sampled_from([1, 1, 4, 8, 2]),
    "subday_interval": st.sampled_from([1, 2, 5, 10, 15, 20, 30, 45, 90]),
    "start_time": TIMES, "end_time": TIMES,
    "start_date": st.sampled_from([20260101, 20260315, 20261129]),
})  # fmt: skip


def new_walls(fields, start: datetime, end: datetime) -> list[datetime]:
    if "cron" in fields:
        return list(CronSchedule.parse(fields["cron"]).between(start, end, UTC_ZONE))
    return list(EverySchedule(fields["every"], fields["anchor"]).between(start, end, UTC_ZONE))


@pytest.mark.slow
@given(SCHEDULES)
@settings(max_examples=150, deadline=None)
def test_the_translation_names_the_times_of_the_simulation(values):
    row = schedule(**values)
    try:
        fields = translated(row)
    except Refused:
        return
    start, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 8, tzinfo=UTC)
    if row.frequency in {MONTHLY, RELATIVE} and row.step is None:
        end = datetime(2028, 3, 1, tzinfo=UTC)

    new = sorted(moment for each in fields for moment in new_walls(each, start, end))

    assert new == agent_starts([row], UTC_ZONE, start, end)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": DAILY, "interval": 1, "start_time": 23000}, ["30 2 * * *"]),
        ({"type": WEEKLY, "interval": 62, "recurrence_factor": 1, "start_time": 60000}, ["0 6 * * MON-FRI"]),
        ({"type": DAILY, "interval": 1, "subday_type": 4, "subday_interval": 15}, ["*/15 * * * *"]),
        ({"type": DAILY, "interval": 1, "subday_type": 2, "subday_interval": 10}, ["*/10 * * * * *"]),
        ({"type": RELATIVE, "interval": 9, "relative_interval": 16, "recurrence_factor": 1}, ["0 0 LW * *"]),
        ({"type": RELATIVE, "interval": 10, "relative_interval": 1, "recurrence_factor": 1}, ["0 0 1 * SUN", "0 0 1-6 * SAT"]),
        ({"type": MONTHLY, "interval": 15, "recurrence_factor": 3, "start_date": 20260201}, ["0 0 15 2/3 *"]),
    ],
)  # fmt: skip
def test_cron_texts(values, expected):
    assert sorted(each["cron"] for each in translated(schedule(**values))) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"type": 64}, "when Agent starts"),
        ({"type": 128}, "when the CPU is idle"),
        ({"type": DAILY, "interval": 1, "subday_type": 4, "subday_interval": 7}, "takes 7 cron texts"),
        ({"type": MONTHLY, "interval": 1, "recurrence_factor": 5}, "every 5 months"),
        ({"type": DAILY, "interval": 10**10}, "more than ten years"),
        ({"type": RELATIVE, "interval": 10, "relative_interval": 16, "recurrence_factor": 1}, "last weekend day"),
        ({"type": MONTHLY, "interval": 1, "recurrence_factor": 1, "subday_type": 8, "subday_interval": 1, "start_time": 230000, "end_time": 10000}, "window over midnight"),
    ],
)  # fmt: skip
def test_a_schedule_that_no_few_texts_name_is_refused_with_its_reason(values, reason):
    with pytest.raises(Refused, match=reason):
        translated(schedule(**values))


def test_a_schedule_that_is_over_names_no_day():
    row = schedule(type=DAILY, interval=1, end_date=20260110)

    assert not row.names_day(date(2026, 1, 11))
    assert starts(row, datetime(2026, 1, 9, tzinfo=UTC), 9) == ["01-09 00:00", "01-10 00:00"]
