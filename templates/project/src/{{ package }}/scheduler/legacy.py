# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The old server's run history, as ``targcc-gen import-legacy`` wrote it, put into ``c_LoggedJob``.

The file has one JSON object a line, gzipped if its name ends in ``.gz``. Loading it again, or another export that overlaps
with it, adds only what is missing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from .database import WRITES, migrate, sync_engine
from .settings import Settings
from .tables import logged_job

TRIGGERED_BY = "Legacy"
"""What ``c_LoggedJob.TriggeredBy`` says of a run of the old server."""

_BATCH = 1000
_INT_MAX = 2**31 - 1

Record = dict[str, Any]


class HistoryError(ValueError):
    """A line of the file is no run."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to: runs that were added, runs that were there, and the oldest of all."""

    added: int
    present: int
    oldest: datetime | None


def load_history(
    url: str | sa.URL, path: Path, *, progress: Callable[[int], None] | None = None
) -> Loaded:
    """Put the runs of a file into ``c_LoggedJob``, all or none.

    Args:
        url: The database; its tables must be there.
        path: The file.
        progress: Called with the number of runs done since the last call.

    Raises:
        HistoryError: A line is no run.
        OSError: The file cannot be read.
    """
    added = present = 0
    oldest: datetime | None = None
    with (
        sync_engine(url) as engine,
        engine.connect().execution_options(**WRITES) as connection,
        connection.begin(),
    ):
        records = _records(path)
        while batch := list(islice(records, _BATCH)):
            new = _missing(connection, batch)
            if new:
                connection.execute(sa.insert(logged_job), new)
            added, present = added + len(new), present + len(batch) - len(new)
            first = min(record["StartedAt"] for record in batch)
            oldest = min(oldest or first, first)
            if progress:
                progress(len(batch))
    return Loaded(added, present, oldest)


def _records(path: Path) -> Iterator[Record]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield _record(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise HistoryError(f"{path}:{number}: not a run: {error}") from None


def _record(line: dict[str, Any]) -> Record:
    """A row of ``c_LoggedJob``."""
    completed = line.get("CompletedAt")
    duration = line.get("DurationMs")
    metadata = {"legacy_id": line["LegacyId"]} if line.get("LegacyId") else None
    return {
        "JobName": str(line["JobName"])[:100],
        "JobType": str(line["JobType"])[:50],
        "StartedAt": _instant(line["StartedAt"]),
        "CompletedAt": _instant(completed) if completed else None,
        "DurationMs": None if duration is None else max(0, min(int(duration), _INT_MAX)),
        "Success": bool(line["Success"]),
        "ResultMessage": line.get("ResultMessage"),
        "ErrorMessage": line.get("ErrorMessage"),
        "ServerName": (line.get("ServerName") or "")[:100] or None,
        "TriggeredBy": TRIGGERED_BY,
        "CreatedAt": datetime.now(UTC),
        "Attempt": 1,
        "MetadataJson": json.dumps(metadata) if metadata else None,
    }


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _missing(connection: sa.Connection, batch: list[Record]) -> list[Record]:
    """The runs of a batch that are not in the table yet; the same run has the same job, start and old id."""
    starts = [record["StartedAt"] for record in batch]
    columns = logged_job.c
    known = connection.execute(
        sa.select(columns.JobName, columns.StartedAt, columns.MetadataJson).where(
            columns.JobName.in_({record["JobName"] for record in batch}),
            columns.StartedAt.between(min(starts), max(starts)),
            columns.TriggeredBy == TRIGGERED_BY,
        )
    )
    present = {(row.JobName, row.StartedAt, row.MetadataJson) for row in known}
    new = []
    for record in batch:
        identity = (record["JobName"], record["StartedAt"], record["MetadataJson"])
        if identity not in present:
            present.add(identity)
            new.append(record)
    return new


@click.command("import-history")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_history(file: Path) -> None:
    """Put the old server's run history into c_LoggedJob.

    FILE is what `targcc-gen import-legacy` wrote, data/legacy_history.jsonl.gz. It can be loaded again: only what is missing is
    added.
    """
    settings = Settings()
    migrate(settings.database_url, directory=settings.migrations_dir)
    try:
        loaded = load_history(settings.database_url, file)
    except (HistoryError, OSError, EOFError) as error:
        raise click.ClickException(f"{error}. Nothing was loaded.") from None
    click.echo(f"{loaded.added:,} runs added, {loaded.present:,} were there already")
    limit = datetime.now(UTC) - timedelta(days=settings.history_days)
    if loaded.oldest is not None and loaded.oldest < limit:
        click.echo(
            f"Runs older than {settings.history_days} days will be removed, but for the last {settings.history_keep} of each job:"
            f" set TARGCC_HISTORY_DAYS to keep more (the oldest is of {loaded.oldest:%Y-%m-%d})."
        )


if __name__ == "__main__":
    import_history()
