"""Runner of the cron shape: parse a text, and poll each minute on nights of clock changes."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from targcc_gen.old_runners.cron import Polling, cron_runs, read_cron_text
from targcc_scheduler.schedules.cron import convert
from targcc_scheduler.schedules.errors import CronError

JERUSALEM = ZoneInfo(
    "Asia/Jerusalem"
)  # 26 March 2027 02:00 to 03:00; 31 October 2027 02:00 to 01:00


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=JERUSALEM).astimezone(UTC)


def days(text, dialect="cronos", year=2027):
    read = read_cron_text(text, dialect)
    first = date(year, 1, 1)
    return [day for n in range(365) if read.names(day := first + timedelta(days=n))]


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("0 4 31 * *", "cronos", [1, 3, 5, 7, 8, 10, 12]),
        ("0 4 L * *", "cronos", [(n, d) for n, d in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1)]),
        ("0 4 L-2 FEB *", "cronos", [(2, 26)]),
        ("0 4 LW FEB,MAY *", "cronos", [(2, 26), (5, 31)]),
        ("0 4 1W MAY,AUG *", "cronos", [(5, 3), (8, 2)]),
        ("0 4 * JAN 2#1", "cronos", [(1, 5)]),
        ("0 4 * JAN FRIL", "cronos", [(1, 29)]),
        ("0 4 13 * 5", "cronos", [(8, 13)]),
        ("0 4 13 8 5", "vixie", [(8, 6), (8, 13), (8, 20), (8, 27)]),
        ("0 0 4 ? 1 2", "quartz", [(1, 4), (1, 11), (1, 18), (1, 25)]),
        ("0 0 4 ? 1 SUN#1", "quartz", [(1, 3)]),
        ("0 4 30-2 JUN *", "cronos", [(6, 1), (6, 2), (6, 30)]),
        ("0 4 * 1 FRI-MON/3", "cronos", [(1, 1), (1, 4), (1, 8), (1, 11), (1, 15), (1, 18), (1, 22), (1, 25), (1, 29)]),
        ("@yearly", "cronos", [(1, 1)]),
    ],
)  # fmt: skip
def test_a_text_names_its_days(text, dialect, expected):
    dates = [(day.month, day.day) for day in days(text, dialect)]
    assert dates == [(entry, 31) if isinstance(entry, int) else entry for entry in expected]


TEXTS = (
    "*/15 8-18 * * MON-FRI", "0 22-2 * * *", "5,10-20/5 */6 1,15 JAN-MAR ?", "0 0 1-7 * 1", "30 1 ? * 7", "0 0 * * 0,6",
    "7 3 */2 */3 *", "0 12 15W * ?", "0 12 L-3W * ?", "59 23 * 2 5#4", "0 4 * * SUN-TUE", "0 0 29 2 *", "@hourly", "0/20 0/5 * * *",
)  # fmt: skip


@pytest.mark.parametrize("dialect", ["cronos", "ncrontab", "vixie", "quartz"])
@pytest.mark.parametrize("text", TEXTS)
def test_both_readings_of_a_text_agree(text, dialect):
    """Compare the scheduler's parsing with the reference's; texts that the scheduler refuses are skipped."""
    try:
        schedule = convert(f"0 {text}" if dialect == "quartz" and text[0] != "@" else text, dialect)
    except CronError:
        return
    reference = read_cron_text(
        f"0 {text}" if dialect == "quartz" and text[0] != "@" else text, dialect
    )
    first = datetime(2027, 1, 1, 12, tzinfo=UTC)

    for number in range(731):
        day = first + timedelta(days=number)
        assert schedule.matches_day(day) == reference.names(day.date()), day
    clock = schedule.hour, schedule.minute
    named = {
        (h, m) for h in range(24) for m in range(60) if clock[0] >> h & 1 and clock[1] >> m & 1
    }
    assert named == reference.times


@pytest.mark.parametrize(
    ("text", "polling", "night", "expected"),
    [
        ("30 2 * * *", Polling.MINUTE, "2027-03-26", []),
        ("30 2 * * *", Polling.NEXT_RUN, "2027-03-26", ["03:00"]),
        ("*/20 1-3 * * *", Polling.MINUTE, "2027-03-26", ["01:00", "01:20", "01:40", "03:00", "03:20", "03:40"]),
        ("*/20 1-3 * * *", Polling.NEXT_RUN, "2027-03-26", ["01:00", "01:20", "01:40", "03:00", "03:20", "03:40"]),
        ("30 1 * * *", Polling.MINUTE, "2027-10-31", ["01:30", "01:30"]),
        ("30 1 * * *", Polling.NEXT_RUN, "2027-10-31", ["01:30"]),
        ("*/30 * * * *", Polling.NEXT_RUN, "2027-10-31", ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]),
    ],
)  # fmt: skip
def test_a_night_when_the_clock_changes(text, polling, night, expected):
    end = f"{night}T03:00:00" if expected and expected[-1] == "02:30" else f"{night}T23:00:00"
    moments = cron_runs(
        read_cron_text(text, "cronos"), JERUSALEM, at(f"{night}T00:00:00"), at(end), polling
    )

    assert [f"{moment.astimezone(JERUSALEM):%H:%M}" for moment in moments] == expected


def test_seconds_are_known_to_a_look_each_minute_only_as_a_minute():
    assert read_cron_text("*/10 0 4 * * *", "cronos").has_seconds
    assert not read_cron_text("0 0 4 * * *", "cronos").has_seconds
