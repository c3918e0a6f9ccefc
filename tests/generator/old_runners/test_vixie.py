"""Compare Vixie cron texts as croniter parses them with our parsing, and list each way in which croniter differs from Vixie cron."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from targcc_gen.old_runners.cron import read_cron_text
from targcc_gen.parity.readings import read_as
from targcc_scheduler.schedules.errors import CronError

VECTORS = Path(__file__).parents[2] / "scheduler" / "schedules" / "data" / "vectors.jsonl"
YEAR = [date(2028, 1, 1) + timedelta(days=n) for n in range(366)]
BERLIN = ZoneInfo("Europe/Berlin")  # 29 March 2026 02:00 to 03:00; 25 October 2026 03:00 to 02:00


def vectors():
    lines = VECTORS.read_text("utf-8").splitlines()
    return sorted({json.loads(line)["expr"] for line in lines})


def chance_texts(seed, count):
    chance = random.Random(seed)

    def part(low, high, names):
        first, last = sorted((chance.randint(low, high), chance.randint(low, high)))
        name = chance.choice(names or [str(first)])
        step = chance.choice([1, 2, 3, 7, 13, 45])
        words = ["*", f"*/{step}", str(first), name, f"{first}-{last}", f"{first}-{last}/{step}"]
        return chance.choice([*words, f"{first}-{first}"])

    def field(low, high, names=()):
        return ",".join(part(low, high, names) for _ in range(chance.choice([1, 1, 2, 3])))

    for _ in range(count):
        days, months = field(1, 31), field(1, 12, ["jan", "FEB"])
        yield f"{field(0, 59)} {field(0, 23)} {days} {months} {field(0, 7, ['sun', 'SAT'])}"


def days_of(schedules):
    return [day for day in YEAR if any(schedule.matches_day(day) for schedule in schedules)]


def times_of(schedule):
    return {
        (hour, minute)
        for hour in range(24)
        for minute in range(60)
        if schedule.hour >> hour & schedule.minute >> minute & 1
    }


@pytest.mark.slow
def test_our_own_reading_is_croniters():
    """Uses Cronos's vectors that Vixie cron accepts, and random texts with all of its syntax."""
    compared = 0
    for text in [*vectors(), *chance_texts(1, 120)]:
        try:
            ours = read_as(text, "vixie").schedules
        except CronError:
            continue
        croniters = read_cron_text(text, "vixie")
        assert days_of(ours) == [day for day in YEAR if croniters.names(day)], text
        assert times_of(ours[0]) == croniters.times, text
        compared += 1
    assert compared == 49 + 120


def test_what_croniter_takes_and_vixie_cron_refuses_is_refused():
    taken = []
    for text in vectors():
        try:
            read_as(text, "vixie")
        except CronError:
            if croniter.is_valid(text) and len(text.split()) == 5:
                taken.append(text)
    assert taken
    for text in taken:
        minute, hour, day, month, weekday = text.split()
        reasons = [
            any("?" in field or "#" in field for field in (day, weekday)),
            any(letter in day for letter in "LW"),
            any("/" in part and part[0] != "*" for part in text.replace(",", " ").split()),
            any("-" in field for field in (minute, hour, month, weekday)),  # 22-2
        ]
        assert any(reasons), text


NEXT = datetime(2026, 1, 1, tzinfo=UTC)


def raw(text, count=3, start=NEXT, **options):
    walk = croniter(text, start, ret_type=datetime, **options)
    return [f"{walk.get_next():%d %b %H:%M}" for _ in range(count)]


def read(text, count=3, start=NEXT, days=60):
    moments = read_as(text, "vixie").between(start, start + timedelta(days=days), start.tzinfo)
    return [f"{moment:%d %b %H:%M}" for moment in sorted(moments) if moment > start][:count]


@pytest.mark.parametrize(
    ("text", "croniters", "vixies"),
    [
        # croniter treats a range of one value as every value
        ("0 5-5 * * *", ["01 Jan 01:00", "01 Jan 02:00"], ["01 Jan 05:00", "02 Jan 05:00"]),
        ("0 0 7-7 * *", ["02 Jan 00:00", "03 Jan 00:00"], ["07 Jan 00:00", "07 Feb 00:00"]),
        # croniter treats a star after the first part of a list like a star at the start of the field
        ("0 0 9,* * 1", ["05 Jan 00:00", "12 Jan 00:00"], ["02 Jan 00:00", "03 Jan 00:00"]),
        ("0 0 1-31 * 1,*/6", ["03 Jan 00:00", "04 Jan 00:00"], ["02 Jan 00:00", "03 Jan 00:00"]),
        # croniter without an option does not combine both day fields when one starts with a star
        ("0 0 */13 * 5", ["02 Jan 00:00", "09 Jan 00:00"], ["27 Feb 00:00"]),
    ],
)
def test_where_croniter_reads_fields_otherwise(text, croniters, vixies):
    assert raw(text, len(croniters)) == croniters
    assert read(text, len(vixies)) == vixies


@pytest.mark.parametrize(
    ("text", "night", "croniters", "vixies"),
    [
        # a fixed time that comes twice runs once
        (
            "30 2 * * *",
            datetime(2026, 10, 25, tzinfo=BERLIN),
            ["25 Oct 02:30", "25 Oct 02:30", "26 Oct 02:30"],
            ["25 Oct 02:30", "26 Oct 02:30", "27 Oct 02:30"],
        ),
        (
            "0 1-3 * * *",
            datetime(2026, 10, 25, tzinfo=BERLIN),
            ["25 Oct 01:00", "25 Oct 02:00", "25 Oct 02:00", "25 Oct 03:00"],
            ["25 Oct 01:00", "25 Oct 02:00", "25 Oct 03:00", "26 Oct 01:00"],
        ),
        # both agree: for times in the gap, and for hourly schedules
        ("30 2 * * *", datetime(2026, 3, 29, tzinfo=BERLIN), ["29 Mar 03:00"], ["29 Mar 03:00"]),
        (
            "30 * * * *",
            datetime(2026, 10, 25, 1, tzinfo=BERLIN),
            ["25 Oct 01:30", "25 Oct 02:30", "25 Oct 02:30", "25 Oct 03:30"],
            ["25 Oct 01:30", "25 Oct 02:30", "25 Oct 02:30", "25 Oct 03:30"],
        ),
        (
            "30 * * * *",
            datetime(2026, 3, 29, 1, tzinfo=BERLIN),
            ["29 Mar 01:30", "29 Mar 03:30"],
            ["29 Mar 01:30", "29 Mar 03:30"],
        ),
    ],
)
def test_what_croniter_does_at_a_change_of_the_clock(text, night, croniters, vixies):
    assert raw(text, len(croniters), night) == croniters
    assert read(text, len(vixies), night, days=3) == vixies


def test_a_text_that_croniter_refuses_names_no_times():
    for text in ("0 0 2 * * *", "*/0 * * * *", "@reboot"):
        with pytest.raises(ValueError, match=r"\S"):
            read_cron_text(text, "vixie")
