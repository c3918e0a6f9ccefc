"""Load the old server's history from the file that the import wrote."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.features.legacy.history_import import load_history

DANA = Actor(ActorKind.CLI, "dana")
START = datetime(2026, 6, 1, 2, tzinfo=UTC)


def _write(path, count, *, step=timedelta()):
    with path.open("w", encoding="utf-8") as stream:
        for number in range(count):
            run = {
                "JobName": "Tick",
                "JobType": "Recurring",
                "StartedAt": (START + number * step).isoformat(),
                "Success": True,
                "LegacyId": str(number),
            }
            stream.write(json.dumps(run) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("step", [timedelta(), timedelta(minutes=1)])
def test_loading_again_adds_only_what_is_missing(database, tmp_path, step):
    first, second = (
        load_history(database.url, _write(tmp_path / "history.jsonl", count, step=step), by=DANA)
        for count in (2500, 5000)
    )

    assert (first.added, first.present) == (2500, 0)
    assert (second.added, second.present) == (2500, 2500)
    assert database.one("SELECT COUNT(*) FROM c_LoggedJob WHERE TriggeredBy = 'Legacy'") == 5000
    assert database.one("SELECT SUM(Count) FROM c_JobStat") == 5000


@pytest.fixture
def work():
    """Count SQLite's work in thousands of virtual machine instructions."""
    steps = Counter()

    def count(connection, _record):
        connection.set_progress_handler(lambda: steps.update(["done"]), 1000)

    event.listen(sa.Engine, "connect", count)
    yield steps
    event.remove(sa.Engine, "connect", count)


@pytest.mark.slow
def test_the_work_grows_with_the_rows_even_if_all_share_one_start(database, tmp_path, work):
    load_history(database.url, _write(tmp_path / "few.jsonl", 4000), by=DANA)
    few = work["done"]
    database.change("DELETE FROM c_LoggedJob")
    work.clear()
    load_history(database.url, _write(tmp_path / "many.jsonl", 16000), by=DANA)

    assert few > 0
    assert work["done"] < 6 * few
