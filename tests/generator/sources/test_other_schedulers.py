"""Windows Task Scheduler, systemd and Kubernetes as sources: the job that each entry becomes, entries that are refused, and 13 months compared with a simulation of the old scheduler."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targcc_gen.errors import InputError
from targcc_gen.old_runners.systemd import CalendarError, parse_calendar, parse_span, timer_starts
from targcc_gen.old_runners.tasks import LAST, Rule, Trigger, task_starts
from targcc_gen.parity.compare import differences
from targcc_gen.sources.drafts import Refused
from targcc_gen.sources.kinds import recognized
from targcc_gen.sources.kubernetes import vixie_text
from targcc_gen.sources.model import Import, Options, ReadingOptions
from targcc_gen.sources.systemd import translated as translated_event
from targcc_gen.sources.task_scheduler import translated as translated_trigger
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.intervals import EverySchedule

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
ZONES = ["Asia/Jerusalem", "Europe/London", "America/New_York", "UTC"]
UTC_ZONE = ZoneInfo("UTC")


def imported(path: Path, zone: str = "Europe/London") -> Import:
    options = Options(ZoneInfo(zone), NOW)
    source = recognized([str(path)]).open(None)
    return source.convert(source.read([str(path)], ReadingOptions(options.zone)), options)


def new_starts(fields, start: datetime, end: datetime) -> list[datetime]:
    starts = []
    for each in fields:
        if "cron" in each:
            starts += CronSchedule.parse(each["cron"]).between(start, end, UTC_ZONE)
        else:
            starts += EverySchedule(each["every"], each["anchor"]).between(start, end, UTC_ZONE)
    return sorted(starts)


# Windows Task Scheduler.


def task(triggers: str, *, actions: str = "<Exec><Command>run.exe</Command></Exec>", more: str = "", name: str = "Nightly") -> str:  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><URI>\\Shop\\{name}</URI></RegistrationInfo>
  <Triggers>{triggers}</Triggers>
  <Settings>{more}</Settings>
  <Actions>{actions}</Actions>
</Task>"""


def by_day(start: str = "2026-01-05T02:00:00", days: int = 1, more: str = "") -> str:
    return f"<CalendarTrigger>{more}<StartBoundary>{start}</StartBoundary><ScheduleByDay><DaysInterval>{days}</DaysInterval></ScheduleByDay></CalendarTrigger>"


def tasks(tmp_path: Path, text: str, zone: str = "Europe/London") -> Import:
    path = tmp_path / "task.xml"
    path.write_text(text, encoding="utf-16")
    return imported(path, zone)


def test_a_task_becomes_a_job(tmp_path):
    more = "<StartWhenAvailable>true</StartWhenAvailable><MultipleInstancesPolicy>Parallel</MultipleInstancesPolicy><RestartOnFailure><Interval>PT5M</Interval><Count>3</Count></RestartOnFailure>"
    actions = r"<Exec><Command>C:\My Programs\a.exe</Command><Arguments>/x</Arguments><WorkingDirectory>C:\w</WorkingDirectory></Exec><Exec><Command>b.exe</Command></Exec>"

    (job,) = tasks(tmp_path, task(by_day(), more=more, actions=actions)).jobs

    spec = job.spec
    assert (job.key, spec.cron, spec.misfire.policy, spec.overlap) == ("Nightly", "0 2 * * *", "run_once", "allow")  # fmt: skip
    assert (spec.retries, spec.backoff.total_seconds(), spec.timeout.days) == (3, 300, 3)
    assert spec.params["command"].default == r'"C:\My Programs\a.exe" /x & b.exe'
    assert spec.params["folder"].default == r"C:\w"


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (by_day(days=3), [("every", "3 days, 0:00:00")]),
        ("<TimeTrigger><StartBoundary>2027-02-03T04:05:06</StartBoundary></TimeTrigger>", [("at", "2027-02-03 04:05:06")]),
        ("<TimeTrigger><Repetition><Interval>PT15M</Interval></Repetition><StartBoundary>2020-02-03T04:05:00</StartBoundary></TimeTrigger>", [("every", "0:15:00")]),
        (by_day(more="<Repetition><Interval>PT1H</Interval><Duration>P1D</Duration></Repetition>"), [("cron", "0 2-23 * * *"), ("cron", "0 0-1 * * *")]),
        (by_day("2026-01-05T02:00:00+02:00"), [("cron", "0 0 * * *"), ("timezone", "UTC")]),
        ("<CalendarTrigger><StartBoundary>2026-01-01T03:00:00</StartBoundary><ScheduleByMonth><DaysOfMonth><Day>1</Day><Day>Last</Day></DaysOfMonth></ScheduleByMonth></CalendarTrigger>", [("cron", "0 3 1 * *"), ("cron", "0 3 L * *")]),
        ("<CalendarTrigger><StartBoundary>2026-01-01T03:00:00</StartBoundary><ScheduleByMonthDayOfWeek><Weeks><Week>2</Week></Weeks><DaysOfWeek><Tuesday/></DaysOfWeek><Months><May/></Months></ScheduleByMonthDayOfWeek></CalendarTrigger>", [("cron", "0 3 * 5 TUE#2")]),
    ],
)  # fmt: skip
def test_triggers(tmp_path, trigger, expected):
    result = tasks(tmp_path, task(trigger))
    specs = [job.spec for job in (*result.jobs, *result.second)]

    values = [(name, str(getattr(spec, name))) for spec in specs for name in ("cron", "every", "at", "timezone") if getattr(spec, name) is not None]  # fmt: skip
    assert values == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (task("<BootTrigger/>"), "the start of the machine"),
        (task("<EventTrigger/><LogonTrigger/>"), "event log and at a log-on"),
        (task(by_day(), actions=""), "no action"),
        (task(by_day("soon")), "no time"),
        (task(by_day(more="<Repetition><Interval>1 hour</Interval></Repetition>")), "no duration"),
        (task("<TimeTrigger><Repetition><Interval>PT7M</Interval><Duration>P400D</Duration></Repetition><StartBoundary>2026-11-01T00:00:00</StartBoundary></TimeTrigger>"), "for a time"),
        (task(by_day(more="<Repetition><Interval>PT7M</Interval><Duration>P1D</Duration></Repetition>")), "cron texts"),
        (task(by_day(more="<Repetition><Interval>PT0S</Interval></Repetition>")), "less than a second"),
        (task(by_day(more="<Repetition><Interval>P99999999999D</Interval></Repetition>")), "longer than the calendar"),
        (task(by_day(days=9_999_999_999)), "more than ten years"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_come_says_why(tmp_path, text, reason):
    (rejection,) = tasks(tmp_path, text).rejected

    assert reason in rejection.reason


def test_a_disabled_task_and_a_task_that_is_over_arrive_paused(tmp_path):
    disabled = tasks(tmp_path, task(by_day(), more="<Enabled>false</Enabled>"))
    over = tasks(tmp_path, task("<TimeTrigger><StartBoundary>2020-02-03T04:05:00</StartBoundary></TimeTrigger>"))  # fmt: skip

    assert [(job.spec.paused, job.spec.cron) for job in disabled.inactive] == [(True, "0 2 * * *")]
    assert [job.spec.type for job in over.inactive] == ["manual"]


def test_the_list_of_schtasks_has_each_task_with_its_path(tmp_path):
    parts = [f"<!-- \\{name} -->\n{task(by_day(), name=name)}" for name in ("One", "Two")]
    (tmp_path / "all.xml").write_text(f"<?xml version='1.0'?>\n<Tasks>\n{chr(10).join(parts)}\n</Tasks>", encoding="utf-8")  # fmt: skip

    assert [job.key for job in imported(tmp_path / "all.xml").jobs] == ["One", "Two"]


@pytest.mark.parametrize(
    "text",
    [
        task(by_day())[:300],
        "<!DOCTYPE a [<!ENTITY b 'c'>]><Task xmlns='http://schemas.microsoft.com/windows/2004/02/mit/task'/>",
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        tasks(tmp_path, text)


TRIGGERS = st.builds(
    Trigger,
    rule=st.sampled_from([Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY, Rule.MONTHLY_WEEKDAY]),
    start=st.sampled_from(["2026-11-04T02:30", "2026-11-29T23:15"]).map(datetime.fromisoformat),
    interval=st.sampled_from([1, 1, 2, 3]),
    weekdays=st.frozensets(st.integers(0, 6), min_size=1, max_size=3),
    days=st.frozensets(st.sampled_from([1, 2, 15, 30, 31, LAST]), min_size=1, max_size=3),
    months=st.sampled_from([frozenset(range(1, 13)), frozenset({12, 2}), frozenset({1, 4, 7, 10})]),
    weeks=st.frozensets(st.integers(1, 5), min_size=1, max_size=2),
)


@pytest.mark.slow
@given(TRIGGERS)
@settings(max_examples=100, deadline=None)
def test_the_translation_names_the_times_of_a_trigger(trigger):
    try:
        fields = translated_trigger(trigger)
    except Refused:
        return
    start, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 8, 1, tzinfo=UTC)

    assert new_starts(fields, start, end) == task_starts([trigger], UTC_ZONE, start, end)


# systemd.


def test_a_folder_of_units_may_have_a_service_of_the_message_bus(tmp_path):
    (tmp_path / "a.timer").write_text("[Timer]\nOnCalendar=daily\n", encoding="utf-8")
    (tmp_path / "org.a.service").write_text("[D-BUS Service]\nName=org.a\nExec=/bin/a\n", encoding="utf-8")  # fmt: skip

    assert recognized([str(tmp_path)]).name == "systemd"


def units(tmp_path: Path, timer: str, service: str = "[Service]\nExecStart=/opt/backup\n") -> Path:
    (tmp_path / "backup.timer").write_text(f"[Timer]\n{timer}\n", encoding="utf-8")
    if service:
        (tmp_path / "backup.service").write_text(service, encoding="utf-8")
    return tmp_path


def test_a_timer_and_its_service_become_a_job(tmp_path):
    service = '[Unit]\nDescription=Back up\n[Service]\nUser=ops\nWorkingDirectory=/srv\nEnvironment="A=b c" D=e\nExecStart=-/opt/backup --all \\\n  --fast\nTimeoutStartSec=1h 30min\n'

    (job,) = imported(units(tmp_path, "OnCalendar=Mon..Fri 02:00\nPersistent=true", service)).jobs

    spec = job.spec
    assert (spec.cron, spec.description, spec.misfire.policy) == ("0 2 * * MON-FRI", "Back up", "run_once")  # fmt: skip
    assert (spec.timeout.total_seconds(), spec.params["folder"].default) == (5400, "/srv")
    assert spec.params["environment"].default == {"A": "b c", "D": "e"}
    assert spec.params["command"].default == "/opt/backup --all  --fast"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily", "0 0 * * *"),
        ("Mon *-*-* 00:00:00", "0 0 * * MON"),
        ("*:0/15", "*/15 * * * *"),
        ("*-*-1..7 4:00:30", "30 0 4 1-7 * *"),
        ("*-*~1 23:00", "0 23 L * *"),
        ("*-*~3", "0 0 L-2 * *"),
        ("Sat,Sun *-1,7-1 6:00", "0 6 1 1,7 SUN,SAT"),
        ("quarterly", "0 0 1 */3 *"),
    ],
)
def test_calendar_expressions(text, expected):
    (fields,) = translated_event(parse_calendar(text))

    assert CronSchedule.parse(fields["cron"]) == CronSchedule.parse(expected)


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "*-13-1", "Mo#1", "1..x:00", "02:00 03:00", "1..99999999999:00"]
)
def test_a_text_that_is_no_calendar_expression_is_refused(text):
    with pytest.raises(CalendarError):
        parse_calendar(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1h 30min", 5400), ("2d", 172800), ("1.5s", 1.5), ("infinity", None)],
)
def test_time_spans(text, seconds):
    span = parse_span(text)

    assert (None if span is None else span.total_seconds()) == seconds


@pytest.mark.parametrize(
    ("timer", "service", "reason"),
    [
        ("OnBootSec=15min", "[Service]\n", "the start of the machine"),
        ("OnCalendar=2026..2028-01-01", "[Service]\n", "names years"),
        ("OnCalendar=nonsense!", "[Service]\n", "weekday"),
        ("OnUnitActiveSec=infinity", "[Service]\n", "no interval"),
        ("OnUnitActiveSec=99999999999d", "[Service]\n", "longer than the calendar"),
        ("OnCalendar=daily", "[Service]\nExecStart=/x\nEnvironment='a\n", "open quote"),
    ],
)
def test_a_timer_that_cannot_come_says_why(tmp_path, timer, service, reason):
    (rejection,) = imported(units(tmp_path, timer, service)).rejected

    assert reason in rejection.reason


def test_a_timer_without_its_service_becomes_a_job_that_somebody_has_to_write(tmp_path):
    result = imported(units(tmp_path, "OnUnitActiveSec=1h\nOnBootSec=5min", service=""))

    (job,) = result.jobs
    assert (job.spec.blueprint, job.spec.every.total_seconds(), job.spec.after) == ("not-ported", 3600, "start")  # fmt: skip


def test_a_time_in_a_gap_does_not_elapse_and_a_repeated_time_elapses_once():
    """As ``systemd-analyze calendar`` of systemd 257 shows both nights."""
    london = ZoneInfo("Europe/London")
    event = parse_calendar("01:30")

    def elapsed(start, end):
        return [f"{moment:%m-%d %H:%M}" for moment in timer_starts([event], london, start, end)]

    assert elapsed(datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 3, 30, tzinfo=UTC)) == ["03-29 00:30"]  # fmt: skip
    assert elapsed(datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC)) == ["10-25 00:30", "10-26 01:30"]  # fmt: skip


# Kubernetes.


def cron_job(schedule: str, spec: str = "", container: str = "{image: 'shop:1', command: [python, -m, shop]}") -> str:  # fmt: skip
    return f"""apiVersion: batch/v1
kind: CronJob
metadata: {{name: report, namespace: shop}}
spec:
  schedule: "{schedule}"
  {spec}
  jobTemplate: {{spec: {{backoffLimit: 2, template: {{spec: {{containers: [{container}]}}}}}}}}
"""


def manifest(tmp_path: Path, text: str, zone: str = "UTC") -> Import:
    path = tmp_path / "cron.yaml"
    path.write_text(text, encoding="utf-8")
    return imported(path, zone)


def test_a_cron_job_becomes_a_job(tmp_path):
    text = cron_job("*/15 8-18 * * 1-5", "timeZone: Europe/London\n  concurrencyPolicy: Forbid\n  startingDeadlineSeconds: 600")  # fmt: skip

    (job,) = manifest(tmp_path, text).jobs

    spec = job.spec
    assert (spec.cron, spec.timezone, spec.overlap, spec.retries) == ("*/15 8-18 * * 1-5", "Europe/London", "skip", 2)  # fmt: skip
    assert (spec.misfire.policy, spec.misfire.grace.total_seconds()) == ("run_once", 600)
    assert spec.params["command"].default == "python -m shop"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
        ("0 0 ? * */2", "0 0 * * 0-6/2"),
        ("0 0 */1 * *", "0 0 * * *"),
        ("0/5 9 * * *", "0-59/5 9 * * *"),
        ("5/30,7 1-5/2 * * *", "5-59/30,7 1-5/2 * * *"),
        ("@daily", "@daily"),
    ],
)
def test_the_text_of_vixie_cron_names_the_times_of_the_controller(text, expected):
    assert vixie_text(text) == expected


@pytest.mark.parametrize(
    ("schedule", "spec", "reason"),
    [
        ("@every 90m", "", "no time"),
        ("61 * * * *", "", "61"),
        ("0 2 * * *", "timeZone: Mars/Base", "no time zone"),
    ],
)
def test_a_cron_job_that_cannot_come_says_why(tmp_path, schedule, spec, reason):
    (rejection,) = manifest(tmp_path, cron_job(schedule, spec)).rejected

    assert reason in rejection.reason


def test_a_deadline_longer_than_the_calendar_is_none(tmp_path):
    text = cron_job("0 2 * * *", "startingDeadlineSeconds: 99999999999999999")

    (job,) = manifest(tmp_path, text).jobs

    assert job.spec.misfire.grace == "none"


def test_the_list_of_kubectl_and_other_documents(tmp_path):
    item = "\n".join(f"  {line}" for line in cron_job("0 2 * * *").splitlines())
    text = f"kind: Service\n---\napiVersion: v1\nkind: List\nitems:\n-{item[1:]}\n-{item[1:].replace('report', 'other')}\n"

    result = manifest(tmp_path, text)

    assert [(job.key, job.row.line) for job in result.jobs] == [("Report", 6), ("Other", 13)]
    assert result.rows == 2


@pytest.mark.parametrize(
    "text",
    [
        "kind: CronJob\n  a: [",
        "kind: CronJob\nmetadata: {{ .Values }}\n",
        "kind: CronJob\nmetadata: {creationTimestamp: 2026-13-41}\n",
    ],
)
def test_a_file_that_is_no_yaml_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="not YAML"):
        manifest(tmp_path, text)


@pytest.mark.parametrize(
    "container", ["{image: busybox}", "{image: a, command: [x]}, {image: b, command: [y]}", "7", ""]
)
def test_a_pod_whose_program_is_not_known_becomes_a_job_that_somebody_has_to_write(tmp_path, container):  # fmt: skip
    (job,) = manifest(tmp_path, cron_job("0 2 * * *", container=container)).jobs

    assert job.spec.blueprint == "not-ported"


# Thirteen months in four zones.


@pytest.mark.parametrize("zone", ZONES)
def test_thirteen_months_of_each_scheduler(tmp_path, zone):
    """Each scheduler has rules of its own at clock changes; all other times are the same."""
    files = {
        "task.xml": (task(by_day("2026-01-05T02:30:00") + by_day("2026-01-05T01:30:00")), "utf-16"),
        "backup.timer": ("[Timer]\nOnCalendar=*-*-* 01:30:00\nOnCalendar=02:30\nOnCalendar=Sun 12:00", "utf-8"),
        "cron.yaml": (cron_job("30 1,2 */2 * 1"), "utf-8"),
    }  # fmt: skip
    kinds: dict[str, set[str]] = {}
    for name, (text, encoding) in files.items():
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        kinds[name] = {item.kind for item in differences(imported(path, zone))}

    has_changes = zone != "UTC"
    assert kinds["task.xml"] == set()
    assert kinds["backup.timer"] == ({"spring"} if has_changes else set())
    assert kinds["cron.yaml"] <= ({"spring", "autumn"} if has_changes else set())
