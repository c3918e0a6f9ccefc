"""``targcc inbox``, ``targcc bulk`` and ``targcc alert-rules``."""

import json
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner
from targcc_scheduler import JobContext, JobResult, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.kernel.error_groups import fingerprint_of


@job(retries=0)
class ChargeJob:
    """Charge a customer."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        return JobResult.success(f"charged {customer}")


@job("0 2 * * *", at_least="1 success in 26h")
class LedgerJob:
    """Close the books."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("closed")


CAUSE = fingerprint_of("Charge", "ValueError: no card 1")


@pytest.fixture
def settings(database) -> Settings:
    return Settings(database_url=database.url)


@pytest.fixture
def targcc(database, request, monkeypatch):
    """Return a function that runs a command and returns its output."""
    monkeypatch.setenv("TARGCC_DATABASE_URL", database.url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    for number in range(5):
        database.change(
            "INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, StartedAt, CompletedAt, TriggeredBy,"
            " ArgumentsJson, Message, Cause) VALUES ('Charge', 'Manual', 'failed', 'default', ?, ?, ?, ?, 'System', ?, ?, ?)",
            *(now, now, now, now, json.dumps({"customer": number})),
            *(f"ValueError: no card {number}", CAUSE.key),
        )
    database.change(
        "INSERT INTO c_JobFailure (Cause, JobName, Kind, Message, FirstAt) VALUES (?, 'Charge', 'ValueError', 'no card <n>', ?)",
        *(CAUSE.key, now),
    )

    def run(*command: str, exit_code: int = 0, **options: str) -> str:
        done = CliRunner().invoke(main, command, **options)
        assert done.exit_code == exit_code, done.output
        return done.output

    return run


@pytest.mark.slow
def test_the_inbox_at_the_command_line(targcc):
    assert "ValueError: no card 4" in targcc("inbox", "list")
    targcc("inbox", "list", "--check", exit_code=1)
    shown = targcc("inbox", "show", CAUSE.key)
    assert "5 of 5" in shown
    assert "1 run discarded" in targcc("inbox", "discard", CAUSE.key, "--run", "1")
    targcc("inbox", "assign", CAUSE.key, "noam")
    targcc("inbox", "link", CAUSE.key, "T-7")
    targcc("inbox", "link", CAUSE.key, "javascript:x", exit_code=2)
    assert "noam" in targcc("inbox", "list")
    assert "acknowledged until" in targcc("inbox", "acknowledge", CAUSE.key, "--until", "2d")
    listing = json.loads(targcc("inbox", "list", "--json"))
    assert listing["failures"] == []
    targcc("inbox", "reopen", CAUSE.key)
    assert "operation 1 is done: 4 runs" in targcc("inbox", "retry", CAUSE.key, "--rate", "1")
    targcc("inbox", "mute", CAUSE.key, "--note", "a test")
    targcc("inbox", "mute", "nothing", exit_code=2)


@pytest.mark.slow
def test_many_runs_at_the_command_line(targcc):
    chosen = ("--job", "charge", "--state", "failed", "--since", "1h")
    counted = targcc("bulk", "do", "retry", *chosen, "--dry-run")
    assert counted.splitlines() == ["5 runs", "  failed 5", "  Charge 5"]
    searched = ("state:failed job:Char* since:1h", "not job:Nothing")
    assert targcc("bulk", "do", "retry", *searched, "--dry-run") == counted
    targcc("bulk", "do", "retry", *chosen, input="n\n", exit_code=1)
    assert targcc("bulk", "list") == "There was none.\n"
    done = targcc("bulk", "do", "retry", *chosen, "--rate", "0.5", input="y\n")
    assert "operation 1 is done: 5 runs" in done
    assert "targcc bulk undo 1 takes it back" in done
    assert "state:failed job:Charge since:" in targcc("bulk", "show", "1")
    assert "operation 2 is done: 5 runs" in targcc("bulk", "undo", "1")
    targcc("bulk", "undo", "1", exit_code=2)
    targcc("bulk", "stop", "1", exit_code=2)
    targcc("bulk", "do", "queue", *chosen, "--yes", exit_code=2)
    entries = targcc("audit")
    assert entries.count("retried many runs") == 1


def test_rules_for_prometheus_name_each_job_that_is_expected_to_succeed(targcc, tmp_path):
    file = tmp_path / "rules.yml"
    targcc("alert-rules", "--output", str(file))
    [group] = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    rules = {rule["alert"]: rule for rule in group["rules"]}
    assert rules["TargccExpected_Ledger"]["expr"] == (
        'time() - targcc_job_last_success_timestamp_seconds{job="Ledger"} > 93600'
    )
    assert {"TargccAbsent", "TargccLate", "TargccFailures"} <= rules.keys()
    assert all(rule["annotations"]["summary"] for rule in group["rules"])
