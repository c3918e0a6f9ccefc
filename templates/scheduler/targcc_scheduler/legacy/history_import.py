"""The old server's run history, as ``targcc-gen import-legacy`` wrote it, put into ``c_LoggedJob``.

The file has one JSON object a line, gzipped if its name ends in ``.gz``. Loading it again, or another export that overlaps
with it, adds only what is missing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from ..core.actor import Actor
from ..core.errors import HistoryError
from ..storage.engines import WRITES, sync_engine
from ..storage.tables import job_audit, logged_job

TRIGGERED_BY = "Legacy"
"""What ``c_LoggedJob.TriggeredBy`` says of a run of the old server."""

_BATCH = 1000
_MANY = 50
"""Runs of one job with one start; a job that runs once a second has one."""
_INT_MAX = 2**31 - 1

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to: runs that were added, runs that were there, and the oldest of all."""

    added: int
    present: int
    oldest: datetime | None


def load_history(
    url: str | sa.URL,
    path: Path,
    *,
    by: Actor,
    progress: Callable[[int], None] | None = None,
) -> Loaded:
    """Put the runs of a file into ``c_LoggedJob``, all or none, and say so in ``c_JobAudit``.

    Args:
        url: The database; its tables must be there.
        path: The file.
        by: Who loads it.
        progress: Called with how many bytes of the file have been read.

    Raises:
        HistoryError: A line is no run.
        OSError: The file cannot be read.
    """
    added = present = 0
    oldest: datetime | None = None
    with (
        path.open("rb") as raw,
        sync_engine(url) as engine,
        engine.connect().execution_options(**WRITES) as connection,
        connection.begin(),
    ):
        records, runs = _records(raw, path), _Present(connection)
        while batch := list(islice(records, _BATCH)):
            new = runs.missing(batch)
            if new:
                connection.execute(sa.insert(logged_job), new)
            added, present = added + len(new), present + len(batch) - len(new)
            first = min(record["StartedAt"] for record in batch)
            oldest = min(oldest or first, first)
            if progress:
                progress(raw.tell())
        if added:
            connection.execute(sa.insert(job_audit), _audit(by, f"{added} runs from {path.name}"))
    return Loaded(added, present, oldest)


def _audit(by: Actor, detail: str) -> Record:
    now = datetime.now(UTC)
    return {"At": now, "Actor": str(by), "Action": "import-history", "Detail": detail}


def _records(raw: BinaryIO, path: Path) -> Iterator[Record]:
    packed = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
    for number, line in enumerate(packed, start=1):
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


class _Present:
    """Which runs the table has already; the same run has the same job, start and old id.

    What is known of a start that very many runs share is kept, so that those are read once and not with each batch.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._shared: dict[tuple[str, datetime], set[str | None]] = {}

    def missing(self, batch: list[Record]) -> list[Record]:
        """The runs of a batch that are to be added."""
        starts = {(record["JobName"], record["StartedAt"]) for record in batch}
        found = self._read(starts - self._shared.keys())
        known = found | self._shared
        new = []
        for record in batch:
            ids = known[record["JobName"], record["StartedAt"]]
            if record["MetadataJson"] not in ids:
                ids.add(record["MetadataJson"])
                new.append(record)
        self._shared |= {start: ids for start, ids in found.items() if len(ids) >= _MANY}
        return new

    def _read(
        self, starts: set[tuple[str, datetime]]
    ) -> dict[tuple[str, datetime], set[str | None]]:
        ids: dict[tuple[str, datetime], set[str | None]] = {start: set() for start in starts}
        columns = logged_job.c
        query = sa.select(columns.JobName, columns.StartedAt, columns.MetadataJson).where(
            sa.tuple_(columns.JobName, columns.StartedAt).in_(starts),
            columns.TriggeredBy == TRIGGERED_BY,
        )
        for row in self._connection.execute(query) if starts else ():
            ids[row.JobName, row.StartedAt].add(row.MetadataJson)
        return ids
