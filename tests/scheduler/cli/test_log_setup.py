"""Log of a process: JSON without structlog, and the same line after a job imports structlog."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from processes import environment

START = """
import logging, sys
from targcc_scheduler.cli.log_setup import configure_logging
from targcc_scheduler.project import Project, configure
from targcc_scheduler.settings import Settings
configure(Project(name="acme-jobs", package="acme_jobs"))
configure_logging(Settings(log_format="json", log_level="INFO"))
log = logging.getLogger("acme.jobs")
assert "structlog" not in sys.modules
"""
RECORD = """
try:
    raise ValueError("password=hunter2")
except ValueError:
    log.exception("sent %d to postgresql://me:hunter2@db", 3, extra={"run_id": 7, "when": None})
"""


def lines(code: str) -> list[dict]:
    """Start a process as ``targcc worker`` starts, run ``code`` and return its log lines."""
    command = [sys.executable, "-c", START + code]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.usefixtures("processes")
def test_a_record_reads_the_same_with_and_without_structlog():
    without, with_it = lines(f"{RECORD}import structlog{RECORD}")

    for record in (without, with_it):
        written = datetime.fromisoformat(record.pop("timestamp"))
        assert abs((datetime.now(UTC) - written).total_seconds()) < 60
        record["exception"] = [
            part for part in record["exception"].splitlines() if " line " not in part
        ]
    assert without == with_it
    assert list(without) == list(with_it)
    assert "hunter2" not in str(without)
    assert (without["event"][:9], without["level"], without["run_id"]) == ("sent 3 to", "error", 7)


@pytest.mark.usefixtures("processes")
def test_what_a_job_logs_by_structlog_arrives_however_late_it_is_imported():
    code = "def job():\n    import structlog\n    structlog.get_logger('acme').info('sent', mails=3)\njob()\n"
    (line,) = lines(code)
    assert (line["event"], line["mails"], line["level"]) == ("sent", 3, "info")


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", ["structlog.stdlib", "structlog.no_such_module"])
def test_an_import_that_fails_fails_as_it_would(name):
    code = f"try:\n    import {name}\nexcept ModuleNotFoundError as error:\n    log.info(error.name)\nelse:\n    log.info('fine')\n"
    (line,) = lines(code)
    assert line["event"] == (name if "no_such" in name else "fine")
