"""Cron expressions: accepted texts, run times and error messages."""

import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from targcc_scheduler.schedules.cron import CronSchedule, convert
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.intervals import EverySchedule

BERLIN = "Europe/Berlin"


def at(text):
    return datetime.fromisoformat(text)


def refused(text, **options):
    with pytest.raises(CronError) as caught:
        CronSchedule.parse(text, **options)
    return caught.value


def test_an_error_points_at_the_field_and_says_what_fields_there_are():
    error = refused("0 25 * * *")
    assert error.frame() == (
        "hour 25 is not between 0 and 23\n"
        "  0 25 * * *\n"
        "    ^^\n"
        "  Five fields are minute, hour, day of month, month, day of week; six put seconds first."
    )
    assert (error.text, error.column, error.length) == ("0 25 * * *", 3, 2)
    assert str(error) == "hour 25 is not between 0 and 23"


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("60 * * * *", "minute 60 is not between 0 and 59", 1),
        ("0 0 * 13 *", "month 13 is not between 1 and 12", 7),
        ("0 0 * * FUN", '"FUN" is no day of week', 9),
        ("0\t0 32 * *", "day of month 32 is not between 1 and 31", 5),
        ("  0 0 * * 5#6", "5#6 does not name the first to fifth day of the month", 11),
        ("*/0 * * * *", "step 0 is not between 1 and 59", 3),
        ("0 1- * * *", "a value is missing in hour", 5),
        ("1,*/5 * * * *", "* stands alone in minute", 3),
        ("1-2-3 * * * *", "minute has a range of three values", 5),
        ("1/2/3 * * * *", "minute has two steps", 5),
        ("0 2 * *", "4 fields instead of 5 or 6", 1),
        ("0 0 2 * * * 2026", "7 fields instead of 5 or 6", 13),
        ("", "0 fields instead of 5 or 6", 1),
        ("@fortnightly", "@fortnightly is not known", 1),
        ("0 0 L-31 * *", "L-31 is not between L-0 and L-30", 5),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text, message, column):
    error = refused(text)
    assert (error.message, error.column) == (message, column)
    assert error.allowed


def test_what_is_allowed_is_said_for_the_field_that_is_wrong():
    assert refused("0 0 * * FUN").allowed == (
        "A day of week is 0-7 or SUN-SAT, *, a range 2-4, a step */2, a list 2,4, 5L (the last Friday), "
        "or 2#1 (the first Tuesday)."
    )


def test_carets_stay_under_the_fault_in_a_long_or_odd_text():
    error = refused(",".join(map(str, range(60))) + " 99 * * *")
    lines = error.frame().splitlines()
    caret = lines[2].index("^")
    assert lines[1][caret : caret + 2] == "99"
    assert len(lines[1]) <= 80
    assert "\x07" not in refused("\x07 * * * *").frame()


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  00   02 *  * ?", "0 2 * * *"),
        ("0 2 * JAN-mar SUN", "0 2 * 1-3 0"),
        ("0 2 * * 7", "0 2 * * 0"),
        ("0,20,40 * * * *", "*/20 * * * *"),
        ("5/15 * * * *", "5,20,35,50 * * * *"),
        ("0 22-2 * * *", "0 0-2,22-23 * * *"),
        ("0 0 2 * * *", "0 2 * * *"),
        ("30 0 2 L-0W * MON#01", "30 0 2 LW * 1#1"),
        ("@hourly", "0 * * * *"),
        ("@every_second", "* * * * * *"),
        ("0 5-5 * * *", "0-0 5 * * *"),
        ("0 2 13 * SUN-SUN/2", "0 2 13 * 0"),
        ("0 2 13 * 7-mon/2", "0 2 13 * 7-0/7"),
    ],
)
def test_the_normal_form_is_short_and_means_the_same(text, normal):
    schedule = CronSchedule.parse(text)
    assert schedule.normal == normal
    assert CronSchedule.parse(normal) == schedule
    assert str(schedule) == text


def test_a_list_and_a_range_differ_in_autumn_so_they_are_not_equal():
    assert CronSchedule.parse("0,1 2 * * *") != CronSchedule.parse("0-1 2 * * *")
    assert CronSchedule.parse("0 0 1-31 * 0-6") == CronSchedule.parse("0 0 * * *")


def test_schedules_travel_between_processes():
    schedule = CronSchedule.parse("0 2 * * *")
    schedule.next(datetime(2026, 1, 1, tzinfo=UTC), BERLIN)
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_five_or_six_fields_can_be_demanded():
    assert refused("0 0 2 * * *", seconds=False).message == "6 fields instead of 5"
    assert refused("0 2 * * *", seconds=True).message == "5 fields instead of 6"
    assert CronSchedule.parse("@daily", seconds=True) == CronSchedule.parse("0 0 * * *")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("5/15 * * * *", "every 15 minutes, from minute 5"),
        ("*/7 * * * *", "at 0, 7, 14, 21, 28, 35, 42, 49 and 56 minutes past every hour"),
        ("0 * * * *", "every hour"),
        ("1 * * * *", "at 1 minute past every hour"),
        ("15 */2 * * *", "every 2 hours, from 00:15"),
        ("0 1/2 * * *", "every 2 hours, from 01:00"),
        ("0 2 * * *", "at 02:00 every day"),
        ("30 8,12 * * *", "at 08:30 and 12:30 every day"),
        ("0 9-17 * * MON-FRI", "every hour from 09:00 to 17:00, Monday to Friday"),
        ("*/10 9-17 * * *", "every 10 minutes from 09:00 to 17:50"),
        ("0-30 1 * * *", "every minute from 01:00 to 01:30"),
        ("*/20 0-3,12-15 * * *", "every 20 minutes from 00:00 to 03:40 and 12:00 to 15:40"),
        ("10,20,30 8-10 * * *", "at 10, 20 and 30 minutes past every hour from 08:10 to 10:30"),
        ("0 0 * * 0", "at 00:00 every Sunday"),
        ("0 0 * * 6,7", "at 00:00 on Saturday and Sunday"),
        ("0 0 * * 1-2", "at 00:00 on Monday and Tuesday"),
        ("0 0 * * 1-3", "at 00:00, Monday to Wednesday"),
        ("0 0 1 * *", "at 00:00 on the 1st of every month"),
        ("0 0 1,15,22 * *", "at 00:00 on the 1st, 15th and 22nd of every month"),
        ("0 0 */2 * *", "at 00:00 on every 2nd day from the 1st of every month"),
        ("0 0 29 2 *", "at 00:00 on the 29th of February"),
        ("0 12 * 6-8 *", "at 12:00 every day in June, July and August"),
        ("0 12 * 3-12 1", "at 12:00 every Monday from March to December"),
        ("0 0 L * *", "at 00:00 on the last day of every month"),
        ("0 0 L-3 * *", "at 00:00 on the 3rd day before the last day of every month"),
        ("0 0 LW * *", "at 00:00 on the last weekday (Monday to Friday) of every month"),
        (
            "0 0 15W 1 *",
            "at 00:00 on the weekday (Monday to Friday) nearest to the 15th of January",
        ),
        ("0 0 * * 2#1", "at 00:00 on the first Tuesday of every month"),
        ("0 0 * 3-12 5L", "at 00:00 on the last Friday of every month from March to December"),
        ("0 0 13 * 5", "at 00:00 on the 13th of every month, only when that is a Friday"),
        (
            "0 0 1-7 * 1-5",
            "at 00:00 on the 1st to 7th of every month, only when that is a day from Monday to Friday",
        ),
        ("*/10 * * * * *", "every 10 seconds"),
        ("30 0 2 * * *", "at 02:00:30 every day"),
        ("30 */5 * * * *", "at second 30 of the minute, every 5 minutes"),
        ("* 0 * * * *", "every second for a minute, every hour"),
        ("5,10 * 9-17 * * *", "at seconds 5 and 10 of every minute from 09:00 to 17:59"),
        ("0 0 30 2 *", "never (at 00:00 on the 30th of February: there is no such date)"),
        ("0 2 * * 7-1/2", "never (its range of weekdays holds no day)"),
    ],
)
def test_an_expression_in_words(text, words):
    assert CronSchedule.parse(text).describe() == words


@pytest.mark.parametrize(
    ("zone", "after", "expression", "expected"),
    [
        # a skipped day: its slot runs at the start of the next day
        ("Pacific/Apia", "2011-12-29T23:00-10:00", "0 12 * * *", "2011-12-31T00:00+14:00"),
        # a zone sets its standard time back by half an hour, and later forward
        ("Asia/Pyongyang", "2015-08-14T23:45+09:00", "50 23 * * *", "2015-08-14T23:50+09:00"),
        ("Asia/Pyongyang", "2015-08-14T23:50+09:00", "50 23 * * *", "2015-08-15T23:50+08:30"),
        ("Asia/Pyongyang", "2015-08-14T23:50+09:00", "*/50 * * * *", "2015-08-14T23:50+08:30"),
        ("Asia/Pyongyang", "2018-05-04T23:00+08:30", "45 23 * * *", "2018-05-05T00:00+09:00"),
        # midnight is skipped
        ("America/Sao_Paulo", "2018-11-03T12:00-03:00", "0 0 * * *", "2018-11-04T01:00-02:00"),
        ("Africa/Cairo", "2024-04-25T12:00+02:00", "30 0 * * *", "2024-04-26T01:00+03:00"),
        ("Asia/Beirut", "2022-03-26T12:00+02:00", "0 0 * * *", "2022-03-27T01:00+03:00"),
        # a change of two hours, and a zone whose winter time is the deviation
        ("Antarctica/Troll", "2026-03-28T12:00+00:00", "30 2 * * *", "2026-03-29T03:00+02:00"),
        ("Europe/Dublin", "2026-10-25T00:00+01:00", "30 1 * * *", "2026-10-25T01:30+01:00"),
        ("Europe/Dublin", "2026-10-25T01:30+01:00", "30 1 * * *", "2026-10-26T01:30+00:00"),
        # far beyond the zone's table
        (BERLIN, "2400-03-25T12:00+01:00", "30 2 26 3 *", "2400-03-26T03:00+02:00"),
    ],
)
def test_zones_that_change_in_their_own_ways(zone, after, expression, expected):
    assert CronSchedule.parse(expression).next(at(after), zone) == at(expected)


def test_the_calendar_ends():
    schedule = CronSchedule.parse("0 0 29 2 *")
    assert schedule.next(datetime(9996, 3, 1, tzinfo=UTC), BERLIN) is None
    assert schedule.next(datetime.max.replace(tzinfo=UTC), BERLIN) is None
    assert schedule.previous(datetime(4, 2, 1, tzinfo=UTC), BERLIN) is None
    assert schedule.previous(datetime.min.replace(tzinfo=UTC), BERLIN) is None
    assert (
        CronSchedule.parse("0 0 1 1 *").next(datetime(2499, 6, 1, tzinfo=UTC), "UTC").year == 2500
    )


def test_a_rare_date_is_found_however_far_it_is():
    schedule = CronSchedule.parse("0 0 29 2 1")
    days = list(islice(schedule.iter(datetime(2026, 1, 1, tzinfo=UTC), "UTC"), 3))
    assert [f"{day:%a %Y-%m-%d}" for day in days] == [
        "Mon 2044-02-29",
        "Mon 2072-02-29",
        "Mon 2112-02-29",
    ]


def test_times_of_the_repeated_hour_are_two_instants():
    schedule = CronSchedule.parse("30 * * * *")
    first, second = islice(schedule.iter(at("2026-10-25T02:00+02:00"), BERLIN), 2)
    assert (first.hour, second.hour) == (2, 2)
    assert second - first == timedelta(hours=1)
    assert len({first, second}) == 2
    assert first == at("2026-10-25T02:30+02:00")
    assert (first.tzname(), second.tzname()) == ("CEST", "CET")


def test_between_takes_its_start_and_leaves_its_end():
    schedule = CronSchedule.parse("0 2 * * *")
    gap_ends, end = at("2026-03-29T03:00+02:00"), at("2026-03-31T02:00+02:00")
    assert list(schedule.between(gap_ends, end, BERLIN)) == [gap_ends, at("2026-03-30T02:00+02:00")]


def test_a_time_without_a_zone_is_refused():
    moment = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake itself
    schedule = CronSchedule.parse("* * * * *")
    for ask in (schedule.next, schedule.previous, EverySchedule(timedelta(hours=1)).next):
        with pytest.raises(ValueError, match="has no time zone"):
            ask(moment, BERLIN)
    with pytest.raises(ValueError, match="has no time zone"):
        list(schedule.between(moment, datetime(2027, 1, 1, tzinfo=UTC), BERLIN))


# Other dialects.


@pytest.mark.parametrize(
    ("dialect", "text", "normal"),
    [
        ("ncrontab", "0 22-2 * * *", "0 2-22 * * *"),
        ("ncrontab", "0 0 * Janu,feb Monday", "0 0 * 1-2 1"),
        ("ncrontab", "*/30 * * * * *", "*/30 * * * * *"),
        ("ncrontab", "0 0 13 * 5", "0 0 13 * 5"),
        ("vixie", "0 0 * * 7", "0 0 * * 0"),
        ("vixie", "0 0 */2 * 1", "0 0 */2 * 1"),
        ("vixie", "0 0 1-31 * 1", "0 0 * * *"),
        ("vixie", "0 0 13 * 0-6", "0 0 * * *"),
        ("vixie", "0 0 31 2,4 1", "0 0 * 2,4 1"),
        ("vixie", "@daily", "0 0 * * *"),
        ("vixie", "*/90 * * * *", "0-0 * * * *"),
        ("quartz", "0 0 2 ? * 2", "0 2 * * 1"),
        ("quartz", "0 0 2 ? * FRI-TUE/2", "0 2 * * 0,2,5"),
        ("quartz", "0 0 2 ? * L", "0 2 * * 6"),
        ("quartz", "0 0 2 ? * 6#3 *", "0 2 * * 5#3"),
        ("quartz", "0 0 2 ? * FRIL", "0 2 * * 5L"),
        ("quartz", "0 0/5 * ? * WED,FRI", "*/5 * * * 3,5"),
        ("quartz", "/10 * * * * ?", "*/10 * * * * *"),
        ("quartz", "0 0 2 L-3 * ?", "0 2 L-3 * *"),
    ],
)
def test_another_scheduler_s_expression_is_converted_to_an_equal_one(dialect, text, normal):
    assert convert(text, dialect).describe() == CronSchedule.parse(normal).describe()
    assert CronSchedule.parse(text, dialect=dialect).text == text


@pytest.mark.parametrize(
    ("dialect", "text", "reason"),
    [
        ("ncrontab", "0 0 * * 7", "day of week 7 is not between 0 and 6"),
        ("ncrontab", "0 0 L * *", '"L" is no day of month'),
        ("ncrontab", "@daily", "1 field instead of 5 or 6"),
        (
            "vixie",
            "0 0 13 * 5",
            "vixie runs on the day of month OR the day of week; one expression here means both",
        ),
        ("vixie", "0 0 2 * * *", "6 fields instead of 5"),
        ("vixie", "5/15 * * * *", "vixie has no 5/15: one cron reads it as 5, another refuses it"),
        ("vixie", "0 22-2 * * *", "vixie refuses a range that ends before it starts"),
        ("vixie", "0 0 L * *", '"L" is no day of month'),
        ("vixie", "@reboot", "@reboot is not known"),
        ("vixie", "@every_minute", "@every_minute is not known"),
        ("quartz", "0 2 * * *", "5 fields instead of 6 or 7"),
        ("quartz", "0 0 2 ? * 0", "day of week 0 is not between 1 and 7"),
        ("quartz", "0 0 2 ? * ?", "? stands in both day fields"),
        ("quartz", "0 0 2 1 * 3", "day of month and day of week are both given"),
        ("quartz", "0 0 2 1 * ? 2027", "a year cannot be said"),
        ("quartz", "0 0 2 1,L * ?", "L, W and # in a list"),
        ("quartz", "0 0 2 5C * ?", "C asks a Quartz calendar"),
        ("quartz", "? 0 2 1 * ?", '"?" is no second'),
    ],
)
def test_what_cannot_be_said_in_one_expression_is_refused_with_the_reason(dialect, text, reason):
    error = refused(text, dialect=dialect)
    assert error.message == reason
    assert error.allowed


def test_an_unknown_dialect_is_named():
    assert refused("* * * * *", dialect="systemd").frame() == (
        'no dialect "systemd"\n  systemd\n  ^^^^^^^\n  There are cronos, ncrontab, vixie, quartz.'
    )
