"""Import generated rows of both shapes and compare thirteen months slot by slot: the report names each difference by its first moment."""

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from naive_runner import set_next_run_time
from targcc_gen.old_runners.classic import ClassicRunner, read_classic
from targcc_gen.old_runners.cron import Polling, cron_runs, read_cron_text
from targcc_gen.parity import compare

ZONES = ("Asia/Jerusalem", "Europe/London", "America/New_York", "Australia/Lord_Howe")
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
END = compare.horizon(NOW)
CALENDAR = ("Daily", "Weekly", "Monthly", "Annually", "CyclicDay", "CyclicHour", "OneOff")
FROM_START = ("CyclicMin", "CyclicSec")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def text(moment):
    return f"'{moment:%Y-%m-%dT%H:%M:%S}'" if moment else "NULL"


def evidence(random_, kind, when, count):
    """Return NextRunTime and LastRunTime as the runner would leave them, for an export up to a day old; one in ten is off the grid."""
    now = datetime(2026, 11, 24, 12) + timedelta(minutes=random_.randrange(20 * 60))  # noqa: DTZ001
    end = now - timedelta(hours=random_.choice([1, 5, 30, 60]), minutes=random_.randrange(60))
    start = end - timedelta(minutes=random_.choice([1, 7, 90]))
    if random_.random() < 0.1 or kind == "OneOff":
        return now + timedelta(hours=random_.randrange(200)), end
    try:
        following = set_next_run_time(kind, when, count, start, max(end, now - timedelta(hours=1)))
    except ValueError:
        following = datetime(2026, 11, 30, when.hour, when.minute)  # noqa: DTZ001 - the month's end
    return following, end


def classic(random_, number):
    """Return a random row, with or without evidence."""
    kind = random_.choice([*CALENDAR, "CyclicHour", "CyclicHour", "Monthly", *FROM_START])
    month, day = random_.choice([(1, 1), (3, 15), (10, 28), (2, 29), (1, 30), (3, 31), (10, 31)])
    when = datetime(  # noqa: DTZ001
        2020, month, day, random_.choice([1, 2, 3, 4, 17]), random_.choice([0, 5, 30, 50])
    )
    count = random_.choice([1, 2, 3, 4, 5, 6, 7, 12, 24, 36])
    next_run, last = evidence(random_, kind, when, count)
    if random_.random() < 0.2:
        next_run, last = None, random_.choice([None, last])
    return classic_row(
        kind, when=when.isoformat(), count=count, ID=number, lkpJob=f"'Job{number}'",
        lkpJobRunner=f"'R{number // 4}'", NextRunTime=text(next_run), LastRunTime=text(last),
        IsManaged=random_.choice([1, 1, 1, 1, 1, 1, "NULL", 0]), Active=random_.choice([1, 1, 1, 0]),
    )  # fmt: skip


def cron(random_, number):
    minute = random_.choice(["0", "30", "*/15", "*", "5,35", "10-20"])
    hour = random_.choice(["1", "2", "3", "*", "*/6", "1-3", "0,2,12", "22-2"])
    day = random_.choice(["*", "*", "*", "1", "31", "L", "1-7", "LW", "15W"])
    month = random_.choice(["*", "*", "JAN-MAR", "2", "10"])
    weekday = random_.choice(["*", "*", "*", "MON-FRI", "7", "5#2"])
    return cron_row(
        number=number, name=f"Row{number}", cron=f"{minute} {hour} {day} {month} {weekday}"
    )


def apart(olds, news):
    return sorted(set(olds) ^ set(news))


def moments(schedule, zone):
    return (
        [m.astimezone(UTC) for m in schedule.between(NOW, END, zone) if m > NOW] if schedule else []
    )


def check(result, found, olds_of, zone):
    """Check for each job: no difference exists, or the report names one whose first example is the first difference."""
    problems = []
    for job in result.all_jobs:
        news = moments(compare.schedule_of(job.spec), zone)
        differ = apart(olds_of(job), news)
        named = [difference for difference in found if difference.job.key == job.key]
        counted = sum(
            difference.count
            for difference in named
            if difference.kind not in {"month end", "hung runner", "day and weekday"}
        )
        if differ and (not named or min(difference.at for difference in named) > differ[0]):
            problems.append((job.key, job.old.schedule_text, "not named", differ[0], named))
        elif not olds_of.skips(job) and counted != len(differ):
            problems.append((job.key, job.old.schedule_text, counted, len(differ), named))
    return problems


class Classic:
    """Run times of a row in the old runner alone."""

    def __init__(self, zone):
        self.zone = zone

    def skips(self, job):
        return job.old.schedule_text.startswith(("CyclicMin", "CyclicSec"))

    def __call__(self, job):
        row = read_classic(job.row)
        if not row.managed or self.skips(job):
            return []
        runs = ClassicRunner([replace(row, active=True)], self.zone).runs(NOW, END)
        return [run.slot for run in runs if run.slot > NOW]


class Cron:
    """Run times of a cron text in the old server, for each minute of the thirteen months."""

    def __init__(self, zone, polling):
        self.zone, self.polling = zone, polling

    def skips(self, _job):
        # the report counts only nights of clock changes for cron texts; the named first moment is checked
        return True

    def __call__(self, job):
        read = read_cron_text(job.old.schedule_text, "cronos")
        return [m for m in cron_runs(read, self.zone, NOW, END, self.polling) if m > NOW]


def rows(kind, seed, count):
    random_ = random.Random(seed)
    return "".join(kind(random_, number) for number in range(1, count + 1))


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("count", [15, pytest.param(120, marks=pytest.mark.soak)])
def test_classic_rows(bring, zone, count):
    zone = ZoneInfo(zone)
    result = bring(rows(classic, zone.key, count), zone=zone)
    assert len(result.all_jobs) == count

    assert not check(result, compare.differences(result), Classic(zone), zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("polling", list(Polling))
@pytest.mark.parametrize("count", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_cron_rows(bring, zone, polling, count):
    zone = ZoneInfo(zone)
    result = bring(rows(cron, f"{zone.key} {count}", count), zone=zone, polling=polling.value)
    assert len(result.all_jobs) + len(result.rejected) == count

    assert not check(result, compare.differences(result), Cron(zone, polling), zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        pytest.param("CyclicMin", 7, marks=pytest.mark.soak),
        ("CyclicMin", 90),
        pytest.param("CyclicSec", 1000, marks=pytest.mark.soak),
    ],
)
def test_what_counts_from_the_start_parts_in_the_named_nights_alone(bring, zone, kind, count):
    """Old and new gaps between two starts are equal, except around the named nights."""
    zone = ZoneInfo(zone)
    result = bring(classic_row(kind, count=count, NextRunTime="'2026-11-26T00:00:00'"), zone=zone)
    (job,) = result.all_jobs
    named = [item.at for item in compare.differences(result)]
    runs = list(ClassicRunner([read_classic(job.row)], zone).runs(NOW, END))
    steps = [
        (item.slot, next_item.slot - item.slot) for item, next_item in itertools.pairwise(runs)
    ]

    assert (job.spec.every, job.spec.after) == (steps[0][1] - timedelta(microseconds=1), "start")
    strange = [slot for slot, step in steps if abs(step - job.spec.every) > timedelta(seconds=1)]
    assert all(any(abs(slot - night) <= DAY for night in named) for slot in strange)
    assert len(named) == 2


def test_a_runner_that_hangs_is_named_at_each_of_its_jobs(bring):
    result = bring(
        classic_row("Monthly", when="2024-01-31T04:00:00", lkpJob="'End'", NextRunTime="'2027-01-31T04:00:00'")
        + classic_row("Daily", ID=2, lkpJob="'Beside'", when="2024-01-01T06:00:00")
        + classic_row("CyclicMin", ID=3, lkpJob="'Often'", count=5)
        + classic_row("Daily", ID=4, lkpJob="'Other'", lkpJobRunner="'SRV02'", when="2024-01-01T06:00:00")
    )  # fmt: skip
    hung = [
        difference for difference in compare.differences(result) if difference.kind == "hung runner"
    ]

    assert [difference.job.key for difference in hung] == ["Beside", "Often"]
    assert hung[0].at.isoformat() == "2027-02-28T06:00:00+02:00"
    assert (
        hung[0].old == "does not run until 01 Mar 2027 00:00: its runner hangs when End has ended"
    )


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"anchor": datetime(2026, 11, 25, 4, 0)}, "next run"),  # noqa: DTZ001
        ({"every": timedelta(days=4)}, "calendar"),
    ],
)
def test_a_wrong_translation_is_found(bring, wrong, kind):
    """As when a cycle is counted from LastRunTime: the comparison must detect this."""
    result = bring(
        classic_row(
            "CyclicDay", count=3, when="2024-03-06T04:00:00", NextRunTime="'2026-11-26T04:00:00'"
        )
    )
    (job,) = result.jobs
    assert not compare.differences(result)

    result.jobs[0] = replace(job, spec=job.spec.model_copy(update=wrong))

    assert kind in [difference.kind for difference in compare.differences(result)]


ODD = (
    "NULL",
    "'0001-01-01'",
    "'9999-12-31T23:59:59'",
    "'1753-01-01'",
    "'2019-02-28T04:00:00.997'",
    "'2100-02-28'",
    "'x'",
)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Asia/Jerusalem", "America/New_York"])
def test_times_at_the_ends_of_the_calendar_are_compared_too(bring, zone):
    random_ = random.Random(zone)
    script = "".join(
        classic_row(
            random_.choice([*CALENDAR, *FROM_START, "UD"]), count=random_.choice(["NULL", 0, 2, 24, 36525, 2147483647]),
            ID=number, lkpJob=f"'Job{number}'", NextRunTime=random_.choice(ODD), LastRunTime=random_.choice(ODD),
        )
        for number in range(60)
    )  # fmt: skip
    result = bring(script, zone=ZoneInfo(zone))

    assert compare.differences(result)
    for job in result.all_jobs:
        compare.next_runs(job.spec, ZoneInfo(zone), NOW, 3)
