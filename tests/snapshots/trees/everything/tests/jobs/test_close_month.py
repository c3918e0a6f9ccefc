from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from golden_jobs.jobs.close_month import PROCEDURE, CloseMonthJob
from golden_jobs.scheduler import procedure_call, run_job
from golden_jobs.services import Database, ProcedureResult


class Recorder(Database):
    """A database that records calls and returns ``rows``."""

    calls: list[tuple[str, dict[str, Any]]]
    rows: list[dict[str, Any]]

    async def call(self, procedure: str, **arguments: Any) -> ProcedureResult:
        self.calls.append((procedure, arguments))
        return ProcedureResult(sets=(self.rows,), affected=5)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(f"sqlite:///{tmp_path / 'test.db'}")
    recorder.calls = []
    recorder.rows = [{"Remarks": "42 orders"}, {"Remarks": "0 errors"}]
    yield recorder
    recorder.close()


async def test_calls_the_procedure(recorder: Recorder) -> None:
    outcome = await run_job(CloseMonthJob(recorder), month=date(2026, 1, 1))

    assert outcome.result.ok
    assert outcome.result.message == "42 orders"
    ((name, arguments),) = recorder.calls
    assert name == PROCEDURE
    statement = procedure_call("mssql", name, arguments)
    assert statement.startswith(procedure_call("mssql", PROCEDURE, {}))


async def test_fails_on_a_database_without_procedures(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")

    outcome = await run_job(CloseMonthJob(database), month=date(2026, 1, 1))
    database.close()

    assert not outcome.result.ok
    assert "APP_DATABASE_URL" in outcome.result.message


class BrokenDatabase(Database):
    """A database whose procedures fail."""

    async def call(self, procedure: str, **_arguments: Any) -> ProcedureResult:
        raise RuntimeError(f"no permission to execute {procedure}")


async def test_an_error_of_the_procedure_fails_the_run(tmp_path: Path) -> None:
    database = BrokenDatabase(f"sqlite:///{tmp_path / 'test.db'}")

    with pytest.raises(RuntimeError, match="no permission"):
        await run_job(CloseMonthJob(database), month=date(2026, 1, 1))
    database.close()


async def test_shows_bytes_as_hexadecimal(recorder: Recorder) -> None:
    recorder.rows = [{"Id": 1, "Version": b"\x00\x00\xff\xd8"}]

    outcome = await run_job(CloseMonthJob(recorder), month=date(2026, 1, 1))

    assert outcome.result.metadata["first_row"] == {"Id": 1, "Version": "0000ffd8"}


async def test_a_procedure_without_rows_is_a_success(recorder: Recorder) -> None:
    recorder.rows = []

    for _ in range(2):
        outcome = await run_job(CloseMonthJob(recorder), month=date(2026, 1, 1))

        assert outcome.result.metadata["first_row"] is None
        assert "0 rows returned, 5 changed" in outcome.result.message
    assert len(recorder.calls) == 2
