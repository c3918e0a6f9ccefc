"""Calendars: days off, the handling of slots on them, and consistent answers of every slot query."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, product
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.schedules.calendars import (
    WorkingAfterRunSchedule,
    WorkingSchedule,
    calendar_of,
    closure_at,
    respecting,
    settled,
)
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.intervals import AfterCompletionSchedule
from targcc_scheduler.schedules.zones import resolve

CALENDARS = {
    "weekend": {"off": ["friday", "saturday"]},
    "sundays": {"off": "Sundays"},
    "holidays": {
        "description": "of the office",
        "off": [
            "2026-12-24 to 2027-01-02 (the quiet days)",
            "2026-09-21 (Yom Kippur)",
            "03-29",
            "second tuesday (patch day)",
            "last friday of december",
        ],
        "work": "2026-12-29",
    },
    "nights": {"blackouts": ["22:00-02:30 (backup)"]},
    "doubled": {"blackouts": ["01:15-01:45", "01:30-03:10"]},
    "move": {
        "blackouts": [
            "2026-12-23 18:00 to 2026-12-27 06:00",
            "2026-03-26 10:00 to 2026-03-29 01:00 (new rack)",
        ]
    },
    "all": {"include": ["weekend", "holidays", "nights"], "work": ["2026-10-03"]},
}
BERLIN = ZoneInfo("Europe/Berlin")


def calendars(*names):
    return [calendar_of(name, CALENDARS, None) for name in names]


def working(cron, on_holiday, *names) -> WorkingSchedule:
    made = respecting(CronSchedule.parse(cron), calendars(*names), on_holiday)
    assert isinstance(made, WorkingSchedule)
    return made


def at(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def clocks(slots):
    return [f"{slot:%m-%d %H:%M}" for slot in slots]


def test_a_calendar_knows_its_days_off_by_name():
    holidays, whole = calendars("holidays", "all")
    named = {
        date(2026, 12, 25): "the quiet days",
        date(2026, 9, 21): "Yom Kippur",
        date(2030, 3, 29): "March 29",
        date(2026, 11, 10): "patch day",
        date(2027, 12, 31): "Last friday of december",
    }
    for day, name in named.items():
        assert holidays.day_off(day) == f"{name} (calendar holidays)"
    for day in (date(2026, 12, 29), date(2026, 11, 11), date(2027, 12, 24), date(2027, 9, 21)):
        assert holidays.day_off(day) is None
    assert whole.day_off(date(2026, 10, 2)) == "Friday (calendar weekend)"
    assert whole.day_off(date(2026, 10, 3)) is None  # a Saturday that is a working day


WRONG = {
    "off: someday": {"off": "someday"},
    "off: 13-25": {"off": ["13-25"]},
    "off: sixth monday": {"off": "sixth monday"},
    "off: monday of may": {"off": "monday of may"},
    "off: 2026-12-25 to 2026-12-24": {"off": "2026-12-25 to 2026-12-24"},
    "work: monday": {"work": "monday"},
    "blackouts: 22:00": {"blackouts": "22:00"},
    "blackouts: 25:00-26:00": {"blackouts": "25:00-26:00"},
    "blackouts: 10:00-10:00": {"blackouts": "10:00-10:00"},
    "include: wrong": {"include": "wrong"},
    "include: nothing": {"include": "nothing"},
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
def test_a_calendar_that_cannot_be_read_says_so(said):
    with pytest.raises(CronError):
        calendar_of("wrong", {"wrong": said}, None)


def test_a_slot_on_a_day_off_is_left_out_or_moved_and_two_that_meet_are_one():
    start, end = at("2026-12-21"), at("2027-01-05")
    daily = "0 2 * * *"
    assert clocks(working(daily, "skip", "holidays").between(start, end, BERLIN)) == [
        *("12-21 02:00", "12-22 02:00", "12-23 02:00", "12-29 02:00", "01-03 02:00", "01-04 02:00")
    ]
    fridays = working("30 7 * * fri", "next", "holidays")
    assert clocks(fridays.between(start, end, BERLIN)) == ["12-29 07:30", "01-03 07:30"]
    assert [move.why for move in fridays.moved_to(at("2026-12-29T07:30"), BERLIN)] == [
        "the quiet days (calendar holidays)"
    ]
    before = working("30 7 * * fri", "previous", "holidays")
    assert clocks(before.between(start, end, BERLIN)) == ["12-23 07:30", "12-29 07:30"]
    hours = working("15 */6 * * *", "next", "move")
    times = clocks(hours.between(at("2026-12-23T12:00"), at("2026-12-27T12:00"), BERLIN))
    assert times == ["12-23 12:15", "12-27 06:00", "12-27 06:15"]  # once, after the closure
    earlier = working("0 20 * * *", "previous", "move")
    assert clocks(islice(earlier.iter(at("2026-12-23"), BERLIN), 2)) == [
        "12-23 17:59",
        "12-27 20:00",
    ]


def test_a_schedule_of_every_minute_is_not_moved_and_one_that_never_opens_ends():
    minutes = working("* * * * *", "next", "weekend")
    assert clocks(islice(minutes.iter(at("2026-10-01T23:58"), BERLIN), 2)) == [
        "10-01 23:59",
        "10-04 00:00",
    ]
    [skipped] = minutes.skipped(at("2026-10-01T23:58"), at("2026-10-03"), BERLIN)
    assert (f"{skipped.planned:%m-%d %H:%M}", skipped.at) == ("10-02 00:00", None)
    assert working("0 2 * * sat", "skip", "weekend").next(at("2026-10-01"), BERLIN) is None


def test_what_counts_from_a_run_waits_until_it_is_open():
    schedule = respecting(AfterCompletionSchedule(timedelta(hours=1)), calendars("all"), "skip")
    assert isinstance(schedule, WorkingAfterRunSchedule)
    ended = at("2026-10-08T21:30", ZoneInfo("Asia/Jerusalem"))  # a Thursday
    due = schedule.following(ended, ended, "Asia/Jerusalem")
    assert f"{due:%a %H:%M}" == "Sun 02:30"


def brute(base, closed, on_holiday, start, end):
    """Return the slots of a wide range, checked one by one."""
    since, until = start - timedelta(days=30), end + timedelta(days=30)
    slots = set()
    for slot in base.between(since, until, BERLIN):
        closure = closure_at(closed, slot, BERLIN)
        if closure is None:
            slots.add(slot)
        elif on_holiday != "skip" and not closure.is_day:
            slots.add(settled(slot, BERLIN, closed, on_holiday))
    for clock in base.between(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), UTC):
        wall = clock.replace(tzinfo=None)
        slot = resolve(wall, BERLIN)
        closure = closure_at(closed, slot, BERLIN)
        if on_holiday != "skip" and closure is not None and closure.is_day:
            slots.add(settled(slot, BERLIN, closed, on_holiday, wall=wall))
    return sorted(slot for slot in slots if slot is not None and start <= slot < end)


TOGETHER = [
    ("weekend",),
    ("sundays", "holidays"),
    ("holidays", "nights"),
    ("doubled",),
    ("all", "move"),
]
NIGHTS = (at("2026-03-26"), at("2026-10-22"), at("2026-12-22"))


def agree(crons, policies, together, days):
    for cron, on_holiday, names, start in product(crons, policies, together, NIGHTS):
        schedule, end = working(cron, on_holiday, *names), start + timedelta(days=days)
        wanted = brute(schedule.base, schedule.calendars, on_holiday, start, end)
        case = cron, on_holiday, names, start
        assert list(schedule.between(start, end, BERLIN)) == wanted, case
        back, slot = [], schedule.previous(end, BERLIN)
        while slot is not None and slot >= start:
            back.append(slot)
            slot = schedule.previous(slot, BERLIN)
        assert back[::-1] == wanted, case
        for slot in wanted:
            assert all(move.at == slot for move in schedule.moved_to(slot, BERLIN)), case


def test_a_time_that_the_clock_leaves_out_on_a_day_off_keeps_its_time_of_the_clock():
    nights = working("15 2 28,29 * *", "next", "holidays", "sundays")
    times = clocks(nights.between(at("2026-03-28"), at("2026-04-02"), BERLIN))
    assert times == ["03-28 02:15", "03-30 02:15"]  # moved from the 29th, which had no 02:15
    both = working("0 2,3 29 * *", "next", "holidays")
    times = clocks(both.between(at("2026-03-28"), at("2026-04-02"), BERLIN))
    assert times == ["03-30 02:00", "03-30 03:00"]


@pytest.mark.slow
def test_forward_and_backward_find_what_going_through_all_slots_finds():
    agree(["30 2 * * *"], ["next", "previous"], TOGETHER, 7)


@pytest.mark.soak
def test_forward_and_backward_find_the_same_for_many_schedules():
    crons = ["30 1,2 * * *", "15 */6 * * *", "0 2,3 13,29 * *"]
    agree(crons, ["skip", "next", "previous"], TOGETHER, 8)


FIRST_TUESDAYS = ((1, 6), (2, 3), (3, 3), (4, 7))
FEED = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:pesach
DTSTART;VALUE=DATE:20260402
DTEND;VALUE=DATE:20260404
SUMMARY:Pesach\\, first
  days
END:VEVENT
BEGIN:VEVENT
UID:may
DTSTART;VALUE=DATE:20200501
RRULE:FREQ=YEARLY;UNTIL=20280501
EXDATE;VALUE=DATE:20270501
SUMMARY:May Day
END:VEVENT
BEGIN:VEVENT
UID:thanks
DTSTART;VALUE=DATE:20201126
RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH
SUMMARY:Thanksgiving
END:VEVENT
BEGIN:VEVENT
UID:thanks
RECURRENCE-ID;VALUE=DATE:20271125
DTSTART;VALUE=DATE:20271124
SUMMARY:Thanksgiving\\, a day early
END:VEVENT
BEGIN:VEVENT
UID:gone
DTSTART;VALUE=DATE:20260601
STATUS:CANCELLED
SUMMARY:Off
END:VEVENT
BEGIN:VEVENT
UID:switch
DTSTART;TZID=Asia/Jerusalem:20260106T220000
DURATION:PT2H
RRULE:FREQ=MONTHLY;COUNT=3;BYDAY=1TU
SUMMARY:switches
BEGIN:VALARM
TRIGGER:-PT10M
END:VALARM
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize("zone", ["Israel Standard Time", '"Israel Standard Time"'])
def test_an_ics_file_may_have_windows_zones_as_outlook_writes(zone, tmp_path):
    feed = FEED.replace("Asia/Jerusalem", zone)
    (tmp_path / "feed.ics").write_text(feed, encoding="utf-8")
    calendar = calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path)
    assert closure_at([calendar], datetime(2026, 1, 6, 20, 30, tzinfo=UTC), UTC)
    assert not closure_at([calendar], datetime(2026, 1, 6, 22, 30, tzinfo=UTC), UTC)


def test_an_ics_file_says_days_off_and_blackouts(tmp_path):
    (tmp_path / "feed.ics").write_text(FEED.replace("\n", "\r\n"), encoding="utf-8")
    feed = calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path)
    off = {date(2026, 1, 1) + timedelta(days=turn) for turn in range(3 * 365)}
    named = {day.isoformat(): feed.day_off(day) for day in off if feed.day_off(day)}
    assert {day: name.removesuffix(" (calendar feed)") for day, name in named.items()} == {
        "2026-04-02": "Pesach, first days",
        "2026-04-03": "Pesach, first days",
        "2026-05-01": "May Day",
        "2028-05-01": "May Day",
        "2026-11-26": "Thanksgiving",
        "2027-11-24": "Thanksgiving, a day early",
        "2028-11-23": "Thanksgiving",
    }
    tuesdays = [datetime(2026, month, day, 20, 30, tzinfo=UTC) for month, day in FIRST_TUESDAYS]
    closed = [moment.month for moment in tuesdays if closure_at([feed], moment, UTC)]
    assert closed == [1, 2, 3]
    other = calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path)
    assert other == feed
    (tmp_path / "feed.ics").write_text(FEED.replace("May", "Mai"), encoding="utf-8")
    assert calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path) != feed


REPEATED = {
    "RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=3": ["2026-01-05", "2026-01-19", "2026-02-02"],
    "RRULE:FREQ=DAILY;INTERVAL=0;COUNT=2": ["2026-01-05", "2026-01-06"],
    "RDATE;VALUE=DATE:20250301,20261231,20270301": [
        *("2025-03-01", "2026-01-05", "2026-12-31", "2027-03-01"),
    ],
}


@pytest.mark.parametrize("line", REPEATED)
def test_an_event_repeats_as_its_line_says(line, tmp_path):
    event = f"BEGIN:VEVENT\nDTSTART;VALUE=DATE:20260105\nSUMMARY:Off\n{line}\nEND:VEVENT"
    file = tmp_path / "feed.ics"
    file.write_text(f"BEGIN:VCALENDAR\n{event}\nEND:VCALENDAR\n", encoding="utf-8")
    feed = calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path)
    days = (date(2025, 1, 1) + timedelta(days=turn) for turn in range(3 * 365))
    assert [day.isoformat() for day in days if feed.day_off(day)] == REPEATED[line]


BAD_FEEDS = {
    "line 1: it does not begin with BEGIN:VCALENDAR": "hello",
    "line 6: a repetition that is not read": FEED.replace("VERSION:2.0\n", "").replace(
        "SUMMARY:Pesach", "RRULE:FREQ=YEARLY;BYSETPOS=1\nSUMMARY:Pesach"
    ),
    "a repetition that is not read: FREQ=YEARLY;COUNT=many": FEED.replace(
        "FREQ=YEARLY;UNTIL=20280501", "FREQ=YEARLY;COUNT=many"
    ),
    '"2026" is no date': FEED.replace("20260402", "2026"),
    "no time zone": FEED.replace("Asia/Jerusalem", "Asia/Atlantis"),
    "an event has no DTSTART": FEED.replace("DTSTART;VALUE=DATE:20260402\n", ""),
}


@pytest.mark.parametrize("message", BAD_FEEDS)
def test_an_ics_file_that_is_not_read_loses_no_holiday_in_silence(message, tmp_path):
    (tmp_path / "feed.ics").write_text(BAD_FEEDS[message], encoding="utf-8")
    with pytest.raises(CronError, match=message):
        calendar_of("feed", {"feed": {"ics": "feed.ics"}}, tmp_path)
    with pytest.raises(CronError, match="cannot be read"):
        calendar_of("feed", {"feed": {"ics": "none.ics"}}, tmp_path)
