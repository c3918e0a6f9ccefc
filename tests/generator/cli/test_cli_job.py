"""`targcc-gen job`: add or remove a job."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.spec import load_spec

SPEC = """\
# The jobs of Acme.
targcc: 1
project: {name: acme-jobs, timezone: Asia/Jerusalem}   # where we are

jobs:
  # Keep this one first.
  Heartbeat: {cron: "* * * * *"}
"""
pytestmark = pytest.mark.usefixtures("project")


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


def job(*arguments: str) -> Result:
    return targcc_gen("job", *arguments)


def state(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_says_what_it_understood_and_what_it_did():
    result = job("DailyReport", "--cron", "0 2 * * *", "--blueprint", "report")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "DailyReport runs at 02:00 every day (Asia/Jerusalem)"
    assert lines[1].startswith("  next    ")
    assert lines[2].startswith("          ")
    assert lines[3].startswith("  note    on ")
    assert lines[4:] == [
        "create    src/acme_jobs/jobs/daily_report.py  yours",
        "update    targcc.yaml                         +6 lines",
        "create    tests/jobs/test_daily_report.py     yours",
        "Edit src/acme_jobs/jobs/daily_report.py, then: uv run targcc job run DailyReport --wait",
    ]


def test_it_says_which_arguments_a_run_needs():
    result = job("Greet", "--manual", "--param", "user_id:int", "--param", "language:str=en")
    assert result.stdout.endswith("uv run targcc job run Greet --arg user_id=… --wait\n")


def test_the_spec_keeps_its_comments_and_order(project):
    job("DailyReport", "--cron", "0 2 * * *")
    text = (project / "targcc.yaml").read_text()
    assert text == SPEC + '  DailyReport: {cron: "0 2 * * *"}\n' or text.startswith(SPEC)
    assert load_spec(project / "targcc.yaml").jobs["DailyReport"].cron == "0 2 * * *"


@pytest.mark.parametrize(
    "name", ["DailyReport", "DailyReportJob", "daily_report", "daily-report", "Daily Report"]
)
def test_a_name_in_any_spelling(project, name):
    assert job(name, "--manual").exit_code == 0
    assert (project / "src/acme_jobs/jobs/daily_report.py").exists()


@pytest.mark.parametrize(
    ("options", "decorator"),
    [
        (["--every", "15m"], '@job(every="15m")'),
        (["--every", "5m", "--after-completion"], '@job(every="5m", after="completion")'),
        (["--every", "5m", "--after-start"], '@job(every="5m", after="start")'),
        (["--every", "3d", "--anchor", "2026-01-02T05:10", "--misfire-grace", "none"], '@job(every="3d", anchor="2026-01-02T05:10", misfire_grace="none")'),
        (["--every", "1d", "--anchor", "2026-01-01T00:00"], '@job(every="1d", anchor="2026-01-01T00:00")'),
        (["--at", "2026-12-31T02:00"], '@job(at="2026-12-31T02:00")'),
        (["--after", "heartBEAT", "--expires-in", "10m"], '@job(after=["Heartbeat"], expires_in="10m")'),
        (["--manual", "--param", "day:str", "--unique", "day", "--unique-scope", "1h"], '@job(JobType.MANUAL, unique="day", unique_scope="1h")'),
        (["--manual", "--param", "day:str", "--unique", "true"], "@job(JobType.MANUAL, unique=True)"),
        (["--manual", "--param", "day:str", "--param", "no:int", "--unique", "day", "--unique", "no", "--on-duplicate", "debounce 30s"], '@job(JobType.MANUAL, unique=("day", "no"), on_duplicate="debounce 30s")'),
        (["--manual", "--limit", "2"], '@job(JobType.MANUAL, limit={"running": 2})'),
        (["--manual", "--param", "no:int", "--limit", "9/s", "--limit", "4", "--limit-key", "no", "--limit-burst", "5", "--limit-weight", "2"], 'limit={"key": "no", "running": 4, "rate": "9/s", "burst": 5, "weight": 2}'),
        (["--manual"], "@job(JobType.MANUAL)"),
        (["--fire-and-forget"], "@job(JobType.FIRE_AND_FORGET)"),
        (["--delayed"], "@job(JobType.DELAYED)"),
        (["--cron", "@daily", "--retries", "5", "--timeout", "10m", "--paused"], '@job("@daily", retries=5, timeout="10m", paused=True)'),
        (["--manual", "--queue", "default", "--priority", "3", "--overlap", "skip"], '@job(JobType.MANUAL, queue="default", priority=3, overlap="skip")'),
        (["--cron", "0 2 * * *", "--misfire", "skip", "--misfire-grace", "1h"], '@job("0 2 * * *", misfire="skip", misfire_grace="1h")'),
        (["--manual", "--webhook", "${HOOK_URL}"], 'alerts=Alerts(webhook="${HOOK_URL}")'),
        (["--cron", "0 2 * * *", "--alert-on", "failure", "--alert-on", "slower than 5m", "--email", "a@example.com"], 'alerts=Alerts(on=("failure", "slower than 5m"), email=("a@example.com",))'),
    ],
)  # fmt: skip
def test_every_option_reaches_the_decorator(project, options, decorator):
    result = job("Report", *options)
    assert result.exit_code == 0, result.stderr
    source = (project / "src/acme_jobs/jobs/report.py").read_text()
    assert decorator in " ".join(source.split()).replace("@job( ", "@job(").replace(", )", ")")


def test_parameters(project):
    job("Send", "--fire-and-forget", "--param", "user_id:int", "--param", "since:date=2026-01-01")
    source = (project / "src/acme_jobs/jobs/send.py").read_text()
    assert "*, user_id: int, since: date = date(2026, 1, 1)" in source


def test_a_blueprint_brings_what_its_kind_needs(project):
    job("Report", "--cron", "0 2 * * *", "--blueprint", "report", "--timeout", "1h")
    report = load_spec(project / "targcc.yaml").jobs["Report"]
    assert (report.retries, report.timeout.total_seconds()) == (5, 3600)


def test_alerts_of_a_blueprint_need_somebody_who_gets_them(project):
    assert job("Disk", "--cron", "0 * * * *", "--blueprint", "alert-check").exit_code == 0
    job("Disk2", "--cron", "0 * * * *", "--blueprint", "alert-check", "--email", "a@example.com")
    jobs = load_spec(project / "targcc.yaml").jobs
    assert jobs["Disk"].alerts is None
    assert jobs["Disk2"].alerts.max_per_hour == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["X1", "--cron", "0 25 * * *"], "error[TG114]: hour 25 is not between 0 and 23\n  0 25 * * *\n    ^^\n"),
        (["X1"], "when does it run?"),
        (["X1", "--cron", "0 2 * * *", "--manual"], "--cron and --manual contradict each other"),
        (["X1", "--every", "soon"], "soon"),
        (["X1", "--after", "Heartbeet"], 'did you mean "Heartbeat"?'),
        (["X1", "--after", "Heartbeat", "--every", "5m"], "--every and --after contradict each other"),
        (["X1", "--after", "Heartbeat", "--after-start"], "--after and --after-start contradict"),
        (["X1", "--manual", "--unique", "day"], 'the job has no parameter "day"'),
        (["X1", "--manual", "--limit", "2", "--limit", "3"], "--limit 2 and --limit 3: choose one"),
        (["X1", "--manual", "--limit", "day=2"], '--limit "day=2" is neither a number nor a rate'),
        (["X1", "--manual", "--limit", "5/year"], "write 100/min, 5/s or 1000/h"),
        (["X1", "--manual", "--limit-key", "day"], "--limit-key goes with --limit"),
        (["X1", "--manual", "--limit", "2", "--limit-key", "day"], 'the job has no parameter "day"'),
        (["Heartbeat", "--remove", "--after", "X1"], "--remove takes no --after"),
        (["Heartbeat", "--remove", "--limit", "2"], "--remove takes no --limit"),
        (["X1", "--cron", "0 2 * * *", "--timezone", "Nowhere/City"], 'no time zone "Nowhere/City"'),
        (["Heartbeat", "--manual"], "there is a job Heartbeat already"),
        (["heartBEAT", "--manual"], "there is a job Heartbeat already"),
        (["HeartbeatJob", "--manual"], "there is a job Heartbeat already"),
        (["class", "--manual"], "Python keyword"),
        (["X1", "--manual", "--queue", "none"], 'no queue "none"'),
        (["X1", "--manual", "--blueprint", "reprot"], "reprot"),
        (["X1", "--manual", "--param", "user_id"], "is not NAME:TYPE"),
        (["X1", "--manual", "--param", "a:int", "--param", "a:str"], "--param a is given twice"),
        (["X1", "--manual", "--param", "a:number"], 'no parameter type "number"'),
        (["X1", "--manual", "--project", "nowhere"], "no folder nowhere"),
        (["X1", "--manual", "--project", "src"], "src is no project"),
        (["Gone", "--remove"], "no job Gone in targcc.yaml"),
        (["Heartbeet", "--remove"], 'did you mean "Heartbeat"?'),
        (["Heartbeat", "--remove", "--manual"], "--remove takes no --manual"),
    ],
)  # fmt: skip
def test_wrong_input_writes_nothing(project, arguments, problem):
    before = state(project)
    result = job(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
    assert state(project) == before


def test_a_file_that_is_in_the_way_is_a_conflict(project):
    (project / "src/acme_jobs/jobs/report.py").write_text("# mine\n")
    before = state(project)
    result = job("Report", "--manual")
    assert result.exit_code == 3
    assert "conflict  src/acme_jobs/jobs/report.py" in result.stdout
    assert state(project) == before


def test_it_works_from_a_folder_below_and_from_far_away(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project / "src/acme_jobs")
    assert job("A1", "--manual").exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert job("A2", "--manual", "--project", "acme").exit_code == 0
    assert {"A1", "A2"} <= load_spec(project / "targcc.yaml").jobs.keys()


def test_dry_run_and_json(project):
    before = state(project)
    data = json.loads(job("Report", "--cron", "0 2 * * *", "--dry-run", "--json").stdout)
    assert data["job"]["schedule"] == "at 02:00 every day"
    assert [change["action"] for change in data["changes"]] == ["create", "update", "create"]
    assert not data["written"]
    assert state(project) == before
    assert "+++ b/targcc.yaml" in job("Report", "--manual", "--dry-run", "--diff").stdout


def test_removing_takes_all_of_it_back(project):
    before = state(project)
    job("Report", "--manual")
    result = job("--remove", "report")
    assert result.exit_code == 0
    assert "delete    src/acme_jobs/jobs/report.py" in result.stdout
    after, lock = state(project), project / ".targcc/lock.jsonl"
    added = set(after.pop(lock).splitlines()) - set(before.pop(lock).splitlines())
    assert after == before
    (remembered,) = [json.loads(line) for line in added]  # so that a merge does not restore the job
    assert remembered["removed"]


def test_removing_puts_what_people_wrote_where_it_does_not_run_and_says_so(project):
    job("Report", "--manual")
    module = project / "src/acme_jobs/jobs/report.py"
    module.write_text(module.read_text() + "\n# mine\n")
    result = job("--remove", "Report")
    assert "create    .targcc/removed/src/acme_jobs/jobs/report.py.txt" in result.stdout
    assert (
        "Report runs no more. What you wrote comes back with: targcc-gen restore Report"
        in result.stdout
    )
    assert not module.exists()
    assert not (project / "tests/jobs/test_report.py").exists()


def test_a_project_stays_up_to_date_when_jobs_come_and_go():
    job("Report", "--cron", "0 2 * * *", "--blueprint", "report")
    job("Other", "--manual")
    job("--remove", "Report")
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_damaged_lock_is_named(project):
    (project / ".targcc/lock.jsonl").write_text("{\n")
    before = state(project)
    result = job("Report", "--manual")
    assert result.exit_code == 2
    assert ".targcc/lock.jsonl:1: the lock is damaged" in result.stderr
    assert state(project) == before
