"""Findings of the doctor without a database: settings, job files, alerts, and the missing database itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import environment
from projects import PATH
from targcc_scheduler import Settings
from targcc_scheduler.cli.main import main
from targcc_scheduler.features.doctor.checkup import checkup

ALERTS = """
from targcc_scheduler import Alerts, job

@job(alerts=Alerts(slack="${NO_SUCH_SLACK}", email=("ops@example.com",)))
def told(ctx): ...
"""
ONCE = """
from targcc_scheduler import job

@job("0 0 31 2 *")
def never(ctx): ...
"""
SECRET = "very-secret-word"


def nowhere(jobs_package: str, **values: object) -> Settings:
    url = f"postgresql://me:{SECRET}@127.0.0.1:1/jobs"
    return Settings(database_url=url, jobs_package=jobs_package, **values)


async def test_a_database_that_is_down_is_said_and_the_rest_is_checked(make_jobs):
    package = make_jobs(good=ALERTS, broken="import no_such_module")
    findings = await checkup(nowhere(package), seconds=2)
    failed = {finding.check: finding.what for finding in findings if finding.level == "fail"}
    assert failed["database"].startswith("postgresql://me:***@127.0.0.1:1/jobs does not answer")
    assert "broken.py:1 cannot be used: ModuleNotFoundError" in failed["jobs"]
    alerts = [finding.what for finding in findings if finding.check == "alerts"]
    assert any("there is no mail server" in text for text in alerts)
    assert SECRET not in repr(findings)


async def test_a_secret_that_is_missing_is_named_and_one_that_is_there_not_shown(
    make_jobs, monkeypatch
):
    package = make_jobs(good=ALERTS)
    findings = await checkup(nowhere(package, smtp_host="mail"), seconds=2)
    [text] = [finding.what for finding in findings if finding.check == "alerts"]
    assert "good.py:4 alerts of Told cannot be sent: the environment variable NO_SUCH_SLACK" in text
    monkeypatch.setenv("NO_SUCH_SLACK", f"https://{SECRET}")
    findings = await checkup(nowhere(package, smtp_host="mail"), seconds=2)
    assert [finding.what for finding in findings if finding.check == "alerts"] == [
        "what alerts need is there"
    ]
    assert SECRET not in repr(findings)


def call(*arguments: str, status: int) -> str:
    result = CliRunner().invoke(main, ["doctor", *arguments], prog_name="targcc")
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.stdout


def test_wrong_settings_are_a_finding(monkeypatch):
    monkeypatch.setenv("TARGCC_PORT", "none")
    [finding] = json.loads(call("--json", status=1))
    assert (finding["level"], finding["check"]) == ("fail", "settings")
    assert finding["what"].startswith("TARGCC_PORT: ")


def test_it_says_what_is_wrong_and_what_to_do(monkeypatch, migrated_sqlite_url, make_jobs):
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_sqlite_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", make_jobs(bad="1 / 0"))
    lines = call(status=1).splitlines()
    assert lines[0].endswith("bad.py:1 cannot be used: ZeroDivisionError: division by zero")
    assert lines[0].startswith("fail  jobs: ")
    assert lines[1] == "      correct it and start again; the other jobs run"
    assert lines[-1].startswith("1 wrong, ")


def test_what_is_only_worth_a_look_is_no_failure(monkeypatch, migrated_sqlite_url, jobs_package):
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_sqlite_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", jobs_package)
    findings = json.loads(call("--json", status=0))
    assert "warn" in {finding["level"] for finding in findings}


_ALONE = """
import sys
from projects import WEB
from targcc_scheduler import configure
from targcc_scheduler.cli.main import main
configure(WEB)
try:
    main(["doctor", "--json"])
finally:
    assert "fastapi" not in sys.modules, "the web part was imported"
    assert not [name for name in sys.modules if name.startswith("targcc_scheduler.web")]
    sys.stderr.write("looked")
"""


@pytest.mark.usefixtures("processes")
def test_the_web_part_is_not_imported(tmp_path: Path, migrated_sqlite_url: str):
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        cwd=tmp_path,
        env=environment(PYTHONPATH=PATH, TARGCC_DATABASE_URL=migrated_sqlite_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("looked"), done.stderr
    assert json.loads(done.stdout)


async def test_jobs_that_have_no_date_to_come(make_jobs):
    findings = await checkup(nowhere(make_jobs(once=ONCE)), seconds=2)
    assert [finding.check for finding in findings if "has no date to come" in finding.what] == [
        "schedules"
    ]
