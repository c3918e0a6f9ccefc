"""Load the old server's run history into ``c_LoggedJob``, from the file that ``targcc-gen import-legacy`` wrote.

The file contains one JSON object a line. A file whose name ends in ``.gz`` is gzipped. Loading the same file again, or an
overlapping export, adds only missing runs.
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

from ...core.actor import Actor
from ...core.errors import HistoryError
from ...db.dialects.base import WRITES
from ...db.engines import sync_engine
from ...kernel.audit import audit_plainly
from ...kernel.runs.settle import (
    Key,
    imported_ending,
    imported_row,
    imported_since,
    insert_imported,
)
from ...kernel.runs.values import HISTORY_SHARD, Ending
from ...kernel.statistics import add_plainly

_BATCH = 1000
_MANY = 50
"""Number of runs of one job with the same start from which their ids are cached. A job that runs once a second has one run a start."""
_INT_MAX = 2**31 - 1

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Counts of a load: added runs, runs already present, and the start of the oldest run in the file."""

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
    """Insert the runs of a file into ``c_LoggedJob`` in one transaction, and record the import in ``c_JobAudit``.

    Args:
        url: Database URL; the tables must exist.
        path: Path of the file.
        by: Actor for the audit.
        progress: Called with the number of bytes read so far.

    Raises:
        HistoryError: a line is not a run.
        OSError: the file cannot be read.
    """
    added = present = 0
    oldest: datetime | None = None
    endings: list[Ending] = []
    with (
        path.open("rb") as raw,
        sync_engine(url) as engine,
        engine.connect().execution_options(**WRITES) as connection,
        connection.begin(),
    ):
        records, runs = _records(raw, path), _Present(connection)
        while batch := list(islice(records, _BATCH)):
            new = runs.missing(batch)
            insert_imported(connection, new)
            endings += map(imported_ending, new)
            added, present = added + len(new), present + len(batch) - len(new)
            first = min(record["StartedAt"] for record in batch)
            oldest = min(oldest or first, first)
            if progress:
                progress(raw.tell())
        if added:
            add_plainly(connection, endings, HISTORY_SHARD)
            detail = f"{added} runs from {path.name}"
            audit_plainly(connection, by, "import-history", datetime.now(UTC), detail=detail)
    return Loaded(added, present, oldest)


def _records(raw: BinaryIO, path: Path) -> Iterator[Record]:
    packed = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
    for number, line in enumerate(packed, start=1):
        try:
            yield _record(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise HistoryError(f"{path}:{number}: not a run: {error}") from None


def _record(line: dict[str, Any]) -> Record:
    """Convert a line of the file into a row of ``c_LoggedJob``."""
    completed = line.get("CompletedAt")
    duration = line.get("DurationMs")
    metadata = {"legacy_id": line["LegacyId"]} if line.get("LegacyId") else None
    return imported_row(
        job_name=str(line["JobName"]),
        job_type=str(line["JobType"]),
        started_at=_instant(line["StartedAt"]),
        completed_at=_instant(completed) if completed else None,
        duration_ms=None if duration is None else max(0, min(int(duration), _INT_MAX)),
        success=bool(line["Success"]),
        result_message=line.get("ResultMessage"),
        error_message=line.get("ErrorMessage"),
        server=line.get("ServerName"),
        metadata_json=json.dumps(metadata) if metadata else None,
        now=datetime.now(UTC),
    )


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


class _Present:
    """Find runs that the table already contains; equal runs have the same job, start and old id.

    If at least 50 runs share a job and a start, their ids are cached, so that later batches do not read them again.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._shared: dict[Key, set[str | None]] = {}

    def missing(self, batch: list[Record]) -> list[Record]:
        """Return the runs of a batch that the table does not contain."""
        starts = {(record["JobName"], record["StartedAt"]) for record in batch}
        imported = imported_since(self._connection, starts - self._shared.keys())
        known = imported | self._shared
        new = []
        for record in batch:
            ids = known[record["JobName"], record["StartedAt"]]
            if record["MetadataJson"] not in ids:
                ids.add(record["MetadataJson"])
                new.append(record)
        self._shared |= {start: ids for start, ids in imported.items() if len(ids) >= _MANY}
        return new
