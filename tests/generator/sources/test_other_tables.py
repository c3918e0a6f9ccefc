"""Celery beat, Hangfire and Quartz as sources: their code, files and tables, entries that are refused, and 13 months compared with a simulation of the old scheduler."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from four_zones import ZONES
from targcc_gen.errors import InputError
from targcc_gen.parity.compare import differences
from targcc_gen.sources.hangfire import call_of
from targcc_gen.sources.kinds import kind_named, recognized
from targcc_gen.sources.model import Import, Options, ReadingOptions
from targcc_gen.sources.quartz import moment_of

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


def imported(place: str, kind: str | None = None, zone: str = "Europe/London") -> Import:
    options = Options(ZoneInfo(zone), NOW)
    source = (kind_named(kind) if kind else recognized([place])).open(None)
    return source.convert(source.read([place], ReadingOptions(options.zone)), options)


def database(tmp_path: Path, script: str, rows: dict[str, list[tuple]]) -> str:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
        for table, values in rows.items():
            marks = ", ".join("?" * len(values[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
    return f"sqlite:///{path}"


# Celery beat.


def code(tmp_path: Path, entries: str, head: str = "") -> Import:
    path = tmp_path / "celery.py"
    path.write_text(f"{head}\napp.conf.beat_schedule = {{\n{entries}\n}}\n", encoding="utf-8")
    return imported(str(path))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("crontab(hour=2, minute=30)", {"cron": "30 2 * * *", "timezone": "UTC"}),
        ("crontab(minute='*/15', hour='8-18', day_of_week='mon-fri')", {"cron": "*/15 8-18 * * mon-fri"}),
        ("crontab(0, 0, day_of_month=[1, 15])", {"cron": "0 0 1,15 * *"}),
        ("timedelta(minutes=5)", {"every": "0:05:00", "after": "start"}),
        ("30.0", {"every": "0:00:30"}),
        ("schedules.schedule(run_every=timedelta(hours=1))", {"every": "1:00:00"}),
    ],
)  # fmt: skip
def test_schedules_in_code(tmp_path, schedule, expected):
    entry = f"'nightly-report': {{'task': 'shop.report', 'schedule': {schedule}, 'args': (1,)}},"

    (job,) = code(tmp_path, entry).jobs

    assert {name: str(getattr(job.spec, name)) for name in expected} == expected
    assert (job.key, job.spec.description) == ("NightlyReport", "Celery ran shop.report((1,))")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("'a': {'task': 'x', 'schedule': solar('sunset', 1, 2)},", "follows the sun"),
        ("'a': {'task': 'x', 'schedule': EVERY},", "without running the code"),
        ("'a': {'task': 'x', 'schedule': crontab(hour=HOUR)},", "without running the code"),
        ("'a': {'task': 'x', 'schedule': 0.2},", "the least is a second"),
        ("'a': {'task': 'x', 'schedule': crontab(hour=25)},", "25"),
        ("'a': {'task': 'x', 'schedule': 1e999},", "no interval"),
        ("'a': {'schedule': 5},", "no task"),
        ("**others,", "no entry"),
    ],
)
def test_an_entry_that_cannot_be_read_says_why(tmp_path, entry, reason):
    (rejection,) = code(tmp_path, entry).rejected

    assert reason in rejection.reason
    assert rejection.line == 3


def test_code_is_read_and_not_executed(tmp_path):
    head = "import os\nos.abort()\napp.conf.timezone = 'Asia/Jerusalem'"

    (job,) = code(tmp_path, "'a': {'task': 'x', 'schedule': crontab(hour=2, minute=0)},", head).jobs

    assert job.spec.timezone == "Asia/Jerusalem"


def test_a_module_that_is_no_python_is_refused(tmp_path):
    with pytest.raises(InputError, match="not Python"):
        code(tmp_path, "'a': (")


DJANGO = """
CREATE TABLE django_celery_beat_periodictask (id INT, name TEXT, task TEXT, args TEXT, kwargs TEXT, queue TEXT, enabled INT, one_off INT, crontab_id INT, interval_id INT, clocked_id INT, solar_id INT);
CREATE TABLE django_celery_beat_crontabschedule (id INT, minute TEXT, hour TEXT, day_of_week TEXT, day_of_month TEXT, month_of_year TEXT, timezone TEXT);
CREATE TABLE django_celery_beat_intervalschedule (id INT, every INT, period TEXT);
CREATE TABLE django_celery_beat_clockedschedule (id INT, clocked_time TEXT);
"""


def test_the_tables_of_django_celery_beat(tmp_path):
    address = database(tmp_path, DJANGO, {
        "django_celery_beat_crontabschedule": [(1, "0", "2", "*", "*", "*", "Asia/Jerusalem")],
        "django_celery_beat_intervalschedule": [(1, 10, "minutes")],
        "django_celery_beat_clockedschedule": [(1, "2027-01-02 03:04:05")],
        "django_celery_beat_periodictask": [
            (1, "Nightly", "shop.report", "[7]", '{"full": true}', None, 1, 0, 1, None, None, None),
            (2, "Often", "shop.poll", "[]", "{}", "fast", 0, 0, None, 1, None, None),
            (3, "Once", "shop.once", "[]", "{}", None, 1, 1, None, None, 1, None),
            (4, "Sun", "shop.sun", "[]", "{}", None, 1, 0, None, None, None, 5),
            (5, "celery.backend_cleanup", "celery.backend_cleanup", "[]", "{}", None, 1, 0, 1, None, None, None),
        ],
    })  # fmt: skip

    result = imported(address, "celery")

    assert [(job.stable_name, job.spec.cron, job.spec.at) for job in result.jobs] == [
        ("Nightly", "0 2 * * *", None),
        ("Once", None, datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ]
    assert result.jobs[0].spec.description == "Celery ran shop.report(*[7], **{'full': True})"
    assert [job.stable_name for job in result.inactive] == ["Often"]
    assert [rejection.name for rejection in result.rejected] == ["Sun"]
    assert result.rows == 4
    assert "WHERE name = 'Nightly'" in result.switches[result.jobs[0].row.place].off


# Hangfire.

TABLES = """
CREATE TABLE Hash (Id INT, Key TEXT, Field TEXT, Value TEXT, ExpireAt TEXT);
CREATE TABLE Job (Id INT, StateId INT, StateName TEXT, InvocationData TEXT, Arguments TEXT, CreatedAt TEXT);
CREATE TABLE State (Id INT, JobId INT, Name TEXT, Reason TEXT, CreatedAt TEXT, Data TEXT);
"""
CALL = json.dumps({"Type": "Shop.Reports, Shop", "Method": "Send", "ParameterTypes": "[]", "Arguments": '["7"]'})  # fmt: skip


def hangfire(tmp_path: Path, fields: dict[str, str], jobs: list[tuple] = (), at: str = "2027-01-02T03:04:05.1234567Z") -> Import:  # fmt: skip
    rows = [(number, "recurring-job:nightly", field, value, None) for number, (field, value) in enumerate(fields.items())]  # fmt: skip
    states = [(1, 12, "Scheduled", None, None, json.dumps({"EnqueueAt": at}))]
    content = {"Hash": rows, "State": states} | ({"Job": list(jobs)} if jobs else {})
    return imported(database(tmp_path, TABLES, content), "hangfire")


def test_a_recurring_job(tmp_path):
    result = hangfire(tmp_path, {"Job": CALL, "Cron": "0 2 * * *", "TimeZoneId": "Israel Standard Time", "Queue": "reports"})  # fmt: skip

    (job,) = result.jobs
    spec = job.spec
    assert (job.key, spec.cron, spec.timezone, spec.retries) == ("Nightly", "0 2 * * *", "Asia/Jerusalem", 10)  # fmt: skip
    assert spec.description == "Hangfire called Shop.Reports.Send(7)"
    assert result.rows == 1


def test_jobs_that_wait(tmp_path):
    jobs = [
        (12, 1, "Scheduled", CALL, None, None),
        (13, 2, "Enqueued", '{"t": "Shop.Mails, Shop", "m": "Post", "p": [], "a": ["x"]}', None, None),
        (14, 3, "Succeeded", CALL, None, None),
    ]  # fmt: skip
    result = hangfire(tmp_path, {"Job": CALL, "Cron": "0 2 * * *"}, jobs)

    assert [job.stable_name for job in result.jobs] == ["nightly", "Send 12"]
    assert result.jobs[1].spec.at == datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [(job.stable_name, job.spec.type) for job in result.inactive] == [("Post 13", "manual")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Job": "null", "Cron": "0 2 * * *"}, "no job of Hangfire"),
        ({"Job": CALL, "Cron": "0 2 * *"}, 'cron "0 2 * *"'),
        ({"Job": CALL, "Cron": "0 0 31 2 *"}, "never runs"),
        ({"Job": CALL, "Cron": "0 2 * * *", "TimeZoneId": "Mars"}, "no time zone"),
        ({"Cron": "0 2 * * *"}, "no job of Hangfire"),
    ],
)
def test_a_recurring_job_that_cannot_come_says_why(tmp_path, fields, reason):
    (rejection,) = hangfire(tmp_path, fields).rejected

    assert reason in rejection.reason


def test_a_time_beyond_the_calendar_is_no_job_of_hangfire(tmp_path):
    waiting = [(12, 1, "Scheduled", CALL, None, None)]

    (rejection,) = hangfire(tmp_path, {"Job": CALL, "Cron": "@daily"}, waiting, "9" * 30).rejected

    assert "no job of Hangfire" in rejection.reason


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Type": 7, "Method": "x"}', "not json"])
def test_a_text_that_is_no_call_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own, or ours
        call_of(text)


# Quartz.

XML = """<?xml version="1.0"?>
<job-scheduling-data xmlns="http://quartznet.sourceforge.net/JobSchedulingData" version="2.0">
  <schedule>
    <job><name>report</name><group>shop</group><description>Report</description><job-type>Shop.Report, Shop</job-type></job>
    <trigger>
      <cron><name>t1</name><job-name>report</job-name><job-group>shop</job-group>{more}<cron-expression>{cron}</cron-expression><time-zone>{zone}</time-zone></cron>
    </trigger>
  </schedule>
</job-scheduling-data>"""


def quartz_file(tmp_path: Path, cron: str, zone: str = "Israel Standard Time", more: str = "") -> Import:  # fmt: skip
    path = tmp_path / "quartz_jobs.xml"
    path.write_text(XML.format(cron=cron, zone=zone, more=more), encoding="utf-8")
    return imported(str(path))


def test_a_file_of_quartz(tmp_path):
    more = "<misfire-instruction>DoNothing</misfire-instruction>"

    (job,) = quartz_file(tmp_path, "0 30 2 ? * 2-6", more=more).jobs

    spec = job.spec
    assert (job.key, spec.cron, spec.timezone) == ("Report", "30 2 * * 1-5", "Asia/Jerusalem")
    assert (spec.misfire.policy, spec.description) == ("skip", "Report Quartz ran Shop.Report, Shop")  # fmt: skip


@pytest.mark.parametrize(
    ("cron", "zone", "reason"),
    [
        ("0 0 2 ? * MON 2030", "UTC", "year"),
        ("0 0 2 * * ?", "Mars", "no time zone"),
    ],
)
def test_a_trigger_that_cannot_come_says_why(tmp_path, cron, zone, reason):
    (rejection,) = quartz_file(tmp_path, cron, zone).rejected

    assert reason in rejection.reason


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "quartz_jobs.xml"
    path.write_text(XML[:300], encoding="utf-8")

    with pytest.raises(InputError, match="not XML"):
        imported(str(path))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1_798_765_200_000, "2027-01-01T01:00:00+00:00"),
        (639_343_620_000_000_000, "2027-01-01T01:00:00+00:00"),
        (0, None),
        (None, None),
        (-5, None),
    ],
)
def test_times_are_milliseconds_or_ticks(number, expected):
    moment = moment_of(number)

    assert (None if moment is None else moment.isoformat()) == expected


QRTZ = """
CREATE TABLE QRTZ_TRIGGERS (SCHED_NAME TEXT, TRIGGER_NAME TEXT, TRIGGER_GROUP TEXT, JOB_NAME TEXT, JOB_GROUP TEXT, TRIGGER_STATE TEXT, TRIGGER_TYPE TEXT, START_TIME INT, END_TIME INT, CALENDAR_NAME TEXT, MISFIRE_INSTR INT);
CREATE TABLE QRTZ_CRON_TRIGGERS (SCHED_NAME TEXT, TRIGGER_NAME TEXT, TRIGGER_GROUP TEXT, CRON_EXPRESSION TEXT, TIME_ZONE_ID TEXT);
CREATE TABLE QRTZ_SIMPLE_TRIGGERS (SCHED_NAME TEXT, TRIGGER_NAME TEXT, TRIGGER_GROUP TEXT, REPEAT_COUNT INT, REPEAT_INTERVAL INT, TIMES_TRIGGERED INT);
CREATE TABLE QRTZ_JOB_DETAILS (SCHED_NAME TEXT, JOB_NAME TEXT, JOB_GROUP TEXT, DESCRIPTION TEXT, JOB_CLASS_NAME TEXT, IS_DURABLE INT, IS_NONCONCURRENT INT);
"""
TICKS = 639_155_232_000_000_000  # 28 May 2026 00:00


def test_an_interval_longer_than_the_calendar_is_refused(tmp_path):
    address = database(tmp_path, QRTZ, {
        "QRTZ_TRIGGERS": [("S", "t", "g", "Poll", "g", "WAITING", "SIMPLE", 1_798_765_200_000, None, None, 0)],
        "QRTZ_SIMPLE_TRIGGERS": [("S", "t", "g", -1, 2**62, 0)],
    })  # fmt: skip

    (rejection,) = imported(address, "quartz").rejected

    assert "longer than the calendar" in rejection.reason


def test_the_tables_of_quartz(tmp_path):
    address = database(tmp_path, QRTZ, {
        "QRTZ_TRIGGERS": [
            ("S", "nightly", "g", "Report", "g", "WAITING", "CRON", TICKS, None, "holidays", 0),
            ("S", "often", "g", "Poll", "g", "PAUSED", "SIMPLE", TICKS, None, None, 0),
            ("S", "over", "g", "Old", "g", "COMPLETE", "SIMPLE", TICKS, None, None, 0),
            ("S", "daily", "g", "Day", "g", "WAITING", "DAILY_I", TICKS, None, None, 0),
        ],
        "QRTZ_CRON_TRIGGERS": [("S", "nightly", "g", "0 0 2 ? * SUN#1", "Europe/London")],
        "QRTZ_SIMPLE_TRIGGERS": [("S", "often", "g", -1, 6_000_000_000, 5), ("S", "over", "g", 0, 0, 1)],
        "QRTZ_JOB_DETAILS": [("S", "Report", "g", "Month", "Shop.Report", 1, 1)],
    })  # fmt: skip

    result = imported(address, "quartz")

    (report,) = result.jobs
    poll, old = result.inactive
    assert (report.spec.cron, report.spec.overlap) == ("0 2 * * 0#1", "queue")
    assert (str(poll.spec.every), poll.spec.anchor, poll.spec.paused) == ("0:10:00", datetime(2026, 5, 28, tzinfo=UTC), True)  # fmt: skip
    assert old.spec.type == "manual"
    assert [rejection.name for rejection in result.rejected] == ["Day"]
    assert any("holidays is left out" in warning for warning in result.warnings)


# Thirteen months in four zones.


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_thirteen_months_are_as_before(tmp_path, zone):
    beat = "'a': {'task': 'x', 'schedule': crontab(hour=2, minute=30)},\n'b': {'task': 'x', 'schedule': crontab(minute='*/20')},\n'c': {'task': 'x', 'schedule': crontab(0, 1, day_of_week='sun', day_of_month='1-7')},"

    results = [
        code(tmp_path, beat, f"app.conf.timezone = '{zone}'"),
        hangfire(tmp_path, {"Job": CALL, "Cron": "30 1,2 * * 1", "TimeZoneId": zone}),
        quartz_file(tmp_path, "0 30 1,2 ? * 1", zone),
    ]

    assert [[item.kind for item in differences(result)] for result in results] == [[], [], []]
