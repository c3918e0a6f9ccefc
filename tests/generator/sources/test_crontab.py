"""Crontabs as a source: lines, settings, names, schedules, and the comparison with Vixie cron."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from four_zones import ZONES
from targcc_gen.importing.project import new_project
from targcc_gen.parity.compare import compared, differences
from targcc_gen.render import render_project
from targcc_gen.sources.crontab import Crontab, is_crontab, job_name, schedules_of, split_input
from targcc_gen.sources.drafts import Refused
from targcc_gen.sources.kinds import recognized
from targcc_gen.sources.model import Import, Options, ReadingOptions

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


def imported(
    folder: Path, text: str, name: str = "ops.cron", zone: str = "Asia/Jerusalem"
) -> Import:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    options = Options(ZoneInfo(zone), NOW)
    source = recognized([str(path)]).open(None)
    files = source.read([str(path)], ReadingOptions(options.zone))
    return source.convert(files, options)


def test_an_entry_becomes_a_command_that_cron_would_run(tmp_path):
    (job,) = imported(tmp_path, "# Books of the day\n30 2 * * 1-5 /opt/books.sh --all\n").jobs

    assert (job.key, job.spec.cron, job.spec.description) == ("Books", "30 2 * * 1-5", "Books of the day")  # fmt: skip
    assert str(job.spec.params["command"]) == "str = /opt/books.sh --all"
    assert (job.spec.retries, job.spec.overlap, job.spec.misfire.policy) == (0, "allow", "skip")


def test_settings_hold_for_the_entries_below_them(tmp_path):
    text = "0 1 * * * /opt/a\nMAILTO=ops@example.com\nCRON_TZ=America/New_York\nSHELL=/bin/bash\nDB='x y'\n0 2 * * * /opt/b\n"

    before, after = imported(tmp_path, text).jobs

    assert (before.spec.alerts, before.spec.timezone, list(before.spec.params)) == (None, None, ["command"])  # fmt: skip
    assert (after.spec.alerts.email, after.spec.timezone) == (("ops@example.com",), "America/New_York")  # fmt: skip
    assert str(after.spec.params["shell"]) == "str = /bin/bash"
    assert after.spec.params["environment"].default == {"DB": "x y"}


def test_a_system_crontab_names_the_user_of_each_command(tmp_path):
    result = imported(tmp_path, "17 * * * * root cd / && /opt/hourly\n", "cron.d/app")
    (job,) = result.jobs

    assert str(job.spec.params["command"]) == "str = cd / && /opt/hourly"
    assert job.old.runner == "root"
    assert any("cron ran it as root" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("text", "runners"),
    [
        ("0 1 * * * root /opt/a\n0 2 * * * www-data php /opt/b\n", ["root", "www-data"]),
        ("0 1 * * * app /opt/a\n", ["app"]),
        ("0 1 * * * /opt/a\n0 2 * * * cd /opt && ./b\n", ["", ""]),
        ("0 1 * * * python /opt/a.py\n", [""]),
        ("0 1 * * * backup --all\n", [""]),
    ],
)
def test_a_file_named_crontab_outside_etc_has_users_where_its_entries_name_them(tmp_path, text, runners):  # fmt: skip
    result = imported(tmp_path, text, "crontab")

    assert result.rejected == []
    assert [job.old.runner for job in result.jobs] == runners


def test_a_file_named_crontab_may_have_more_other_lines_than_entries(tmp_path):
    result = imported(tmp_path, "/**\n * Entries\n */\n0 7 * * 1 /opt/a\n", "crontab.txt")

    assert len(result.jobs) == 1
    assert [rejection.line for rejection in result.rejected] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("@reboot /opt/start", "no time"),
        ("61 * * * * /opt/a", "61"),
        ("0 0 30 2 * /opt/a", "never runs"),
        ("0~30 2 * * * /opt/a", "random time"),
        ("0 2 * *", "five fields"),
        ("CRON_TZ=Mars/Base\n0 2 * * * /opt/a", "no time zone"),
    ],
)
def test_each_line_that_becomes_no_job_says_why(tmp_path, line, reason):
    result = imported(tmp_path, f"0 1 * * * /opt/first\n{line}\n")

    (rejection,) = result.rejected
    assert reason in rejection.reason
    assert rejection.line == 2 + line.count("\n")
    assert result.rows == len(result.jobs) + len(result.rejected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/10 * * * *", ["*/10 * * * *"]),
        ("@daily", ["@daily"]),
        ("0 5 * * 7", ["0 5 * * 7"]),
        ("0 5 1 * 1", ["0 5 1 * *", "0 5 2-31 * 1"]),
    ],
)  # fmt: skip
def test_schedules(text, expected):
    assert schedules_of(text) == expected


def test_a_random_minute_is_refused():
    with pytest.raises(Refused, match="random"):
        schedules_of("~ 2 * * *")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("tar -cf a", ("tar -cf a", "")),
        (r"date +\%F", ("date +%F", "")),
        ("mail -s hello%one%two", ("mail -s hello", "one\ntwo\n")),
    ],
)
def test_a_percent_sign_begins_the_input(command, expected):
    assert split_input(command) == expected


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full >/dev/null 2>&1", "backup"),
        ("cd /srv/app && python3 manage.py clearsessions", "manage clearsessions"),
        ("flock -n /tmp/lock /opt/sync-orders", "lock"),
        ("PATH=/x:$PATH /opt/report.py", "report"),
        ("'", "command"),
    ],
)
def test_a_job_is_named_after_its_program(command, name):
    assert job_name(command) == name


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_entries_run_as_vixie_cron_runs_them(tmp_path, zone):
    """Fixed times run once in both nights; a star follows the clock. Only hours written as numbers with a star for minutes differ."""
    text = "30 1 * * * /opt/one\n30 2 * * * /opt/two\n*/20 * * * * /opt/three\n0 5 13 * 5 /opt/either\n15 3 * * 0 /opt/sunday\n"
    result = imported(tmp_path, text, zone=zone)

    assert [(item.job.key, item.kind) for item in differences(result)] == []
    assert compared(result) == 6


def test_a_schedule_that_differs_is_named(tmp_path):
    """The fault that the comparison must find: a translation that runs an hour late."""
    result = imported(tmp_path, "30 2 * * * /opt/two\n")
    job = result.jobs[0]
    late = job.spec.model_copy(update={"cron": "30 3 * * *"})
    object.__setattr__(job, "spec", late)

    kinds = {item.kind: item.count for item in differences(result)}
    assert kinds["calendar"] > 700


def test_a_second_import_is_quiet_and_a_changed_line_is_one_change(tmp_path):
    text = "30 2 * * * /opt/books.sh\n0 5 13 * 5 /opt/either\n"
    arrival = new_project(imported(tmp_path, text), tmp_path / "shop", lambda spec, _: render_project(spec))  # fmt: skip

    paths = {change.path for change in arrival.plan.changes}
    assert {"src/shop/jobs/books.py", "src/shop/jobs/either.py", "src/shop/jobs/either2.py"} <= paths  # fmt: skip


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("crontab", "# m h dom mon dow command\n0 1 * * * root /x\n", True),
        ("jobs.txt", "MAILTO=a@b\n*/5 * * * * /opt/x\n@daily /opt/y\n", True),
        ("c_Job.txt", "1;Nightly;0 2 * * *;dbo.usp\n", False),
        ("dump.sql", "0 1 * * * x\n", False),
        ("notes.txt", "We run it at night.\n", False),
    ],
)
def test_a_crontab_is_recognized(name, head, expected):
    assert is_crontab(Path(name), head) is expected


def test_a_folder_of_crontabs_is_read(tmp_path):
    for name in ("one", "two", "old.bak"):
        (tmp_path / name).write_text("0 1 * * * /opt/job\n", encoding="utf-8")
    source = Crontab()

    files = source.read([str(tmp_path)], ReadingOptions(ZoneInfo("UTC")))

    assert [Path(file.name).name for file in files] == ["one", "two"]
