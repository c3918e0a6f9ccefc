"""``c_LoggedJob``: what the old server wrote about past runs. Counted as it is read, and kept on disk, since it may be millions."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job import fields

_GOOD = {"success", "warning", "ok", "succeeded", "completed", "1", "true", "yes"}
_BAD = {"failure", "failed", "missed", "error", "0", "false", "no"}
_RUNNING = {"inprocess", "running"}
_COMPRESSION = 5


@dataclass(slots=True)
class Past:
    """What the history says about one job; ``weekdays`` counts its runs by weekday, Monday first."""

    runs: int = 0
    failures: int = 0
    weekdays: list[int] = field(default_factory=lambda: [0] * 7)
    last: datetime | None = None


class History:
    """Takes rows of ``c_LoggedJob`` one by one.

    Args:
        spool: Where to keep them until the jobs' new names are known; None: only count.
    """

    def __init__(self, spool: Path | None = None) -> None:
        self.rows = 0
        self.undated = 0
        self.running = 0
        self.past: dict[str, Past] = {}
        self._spool = spool
        self._stream: IO[str] | None = None

    def add(self, row: Row) -> None:
        """Count a row and keep it."""
        self.rows += 1
        started = fields.moment(row, *fields.STARTED)
        if started is None:
            self.undated += 1
            return
        link = link_of(row)
        success = _success(row)
        if success is None:
            self.running += 1
            return
        past = self.past.setdefault(link, Past())
        past.runs += 1
        past.failures += not success
        past.weekdays[started.weekday()] += 1
        past.last = max(past.last or started, started)
        if self._spool is not None:
            self._write(row, link, started, success=success)

    def of(self, job_id: str | None, name: str) -> Past | None:
        """The past of a job, by its id or its name."""
        return self.past.get(f"id:{job_id}") or self.past.get(f"name:{name.lower()}")

    def close(self) -> None:
        """Finish the spool; rows can be read back now."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def records(
        self, zone: ZoneInfo, named: Mapping[str, tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """Every kept row as a row of the new ``c_LoggedJob``; instants become UTC.

        Args:
            zone: The old server's zone. In the hour that comes twice in autumn the first pass is meant.
            named: For each link (``id:7`` or ``name:nightly``) the job's stable name and its ``JobType``.
        """
        self.close()
        if self._spool is None or not self._spool.exists():
            return
        with self._spool.open(encoding="utf-8") as stream:
            for line in stream:
                link, record = json.loads(line)
                name, kind = named.get(link) or (_old_name(link), "Recurring")
                yield {"JobName": name, "JobType": kind, **_in_utc(record, zone)}

    def _write(self, row: Row, link: str, started: datetime, *, success: bool) -> None:
        if self._stream is None:
            assert self._spool is not None
            self._stream = self._spool.open("w", encoding="utf-8")
        record = _record(row, started, success=success)
        self._stream.write(json.dumps([link, record], ensure_ascii=True) + "\n")


def link_of(row: Row) -> str:
    """Which job a row of the history belongs to: by id, else by name."""
    job_id = fields.key(row, *fields.JOB_ID)
    if job_id is not None:
        return f"id:{job_id}"
    return f"name:{(fields.text(row, *fields.JOB_NAME) or '').lower()}"


def _old_name(link: str) -> str:
    """A run of a job that is not in the export stays readable under a name that says so."""
    kind, _, value = link.partition(":")
    return (f"c_Job {value}" if kind == "id" else value or "c_Job ?")[:100]


def _success(row: Row) -> bool | None:
    """Whether the run succeeded; None while it was running, which is no history yet."""
    word = (fields.key(row, *fields.SUCCESS) or "").lower()
    if word in _RUNNING:
        return None
    if word in _GOOD:
        return True
    if word in _BAD:
        return False
    return fields.text(row, *fields.ERROR) is None and not (
        fields.integer(row, "failurecount") and not fields.integer(row, "successcount")
    )


def _record(row: Row, started: datetime, *, success: bool) -> dict[str, Any]:
    milliseconds = fields.integer(row, *fields.MILLISECONDS)
    if milliseconds is None and (seconds := fields.integer(row, *fields.SECONDS)) is not None:
        milliseconds = seconds * 1000
    completed = fields.moment(row, *fields.COMPLETED)
    if completed is not None and milliseconds is None:
        milliseconds = round((completed - started).total_seconds() * 1000)
    message = fields.text(row, *fields.MESSAGE)
    return {
        "LegacyId": fields.key(row, "id"),
        "StartedAt": started.isoformat(),
        "DurationMs": milliseconds,
        "Success": success,
        "ResultMessage": message if success else None,
        "ErrorMessage": None if success else fields.text(row, *fields.ERROR) or message or "failed",
        "ServerName": fields.text(row, *fields.SERVER),
    }


def _in_utc(record: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    started = datetime.fromisoformat(record["StartedAt"]).replace(tzinfo=zone).astimezone(UTC)
    milliseconds = record["DurationMs"]
    completed = None if milliseconds is None else started + timedelta(milliseconds=milliseconds)
    return {
        **record,
        "StartedAt": started.isoformat(),
        "CompletedAt": completed.isoformat() if completed else None,
    }


def write_history(
    path: Path, records: Iterator[dict[str, Any]], progress: Callable[[], None] | None = None
) -> Counter[str]:
    """Write records as gzipped JSON lines, whole or not at all; the same records give the same bytes.

    Returns:
        How many rows each job got.
    """
    counts: Counter[str] = Counter()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,
        ):
            for record in records:
                counts[record["JobName"]] += 1
                line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
                stream.write(line.encode())
                if progress:
                    progress()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return counts
