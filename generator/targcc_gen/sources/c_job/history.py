"""``c_LoggedJob``: what the old server wrote about past runs. Counted as it is read, and kept on disk, since it may be millions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row, Unknown
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.model import LeftOut, Past

_GOOD = {"success", "warning", "ok", "succeeded", "completed", "1", "true", "yes"}
_BAD = {"failure", "failed", "missed", "error", "0", "false", "no"}
_RUNNING = {"inprocess", "running"}
_DOUBTFUL = "with a date that can be read in several ways (--dates says how)"
_UNREADABLE = "with a date that cannot be read"
_NO_WORD = {"", "ud"}
"""What the old server writes for a status that it does not know."""
_MILLISECOND, _SECOND = timedelta(milliseconds=1), timedelta(seconds=1)


class History:
    """Takes rows of ``c_LoggedJob`` one by one.

    Args:
        spool: Where to keep them until the jobs' new names are known; None: only count.
    """

    def __init__(self, spool: Path | None = None) -> None:
        self.rows = 0
        self.left_out: dict[str, LeftOut] = {}
        self.past: dict[str, Past] = {}
        self.unmeasured = LeftOut()
        """Rows that were kept, and whose length cannot be read."""
        self._spool = spool
        self._stream: IO[str] | None = None

    def add(self, row: Row) -> None:
        """Count a row and keep it."""
        self.rows += 1
        try:
            started = cells.moment(row, *tables.STARTED)
        except cells.UnreadableCellError as unreadable:
            self._leave_out(_DOUBTFUL if unreadable.is_ambiguous else _UNREADABLE, row)
            return
        if started is None:
            self._leave_out("without a date", row)
            return
        link = link_of(row)
        try:
            success = _success(row)
        except cells.UnreadableCellError:
            self._leave_out("with a status that cannot be read", row)
            return
        if success is None:
            self._leave_out("of runs that had not ended", row)
            return
        length = self._length(row, started)
        past = self.past.setdefault(link, Past())
        past.runs += 1
        past.failures += not success
        past.weekdays[started.weekday()] += 1
        past.longest = max(past.longest, length or timedelta(0))
        past.last = max(past.last or started, started)
        error = "" if success else cells.text(row, *tables.ERROR, *tables.MESSAGE) or ""
        by = cells.text(row, "activatinguser") or ""
        seconds = None if length is None else round(length.total_seconds())
        past.log.add(started, seconds, failed=not success, by=by, error=error)
        if self._spool is not None:
            self._write(row, link, started, length, success=success)

    @property
    def is_empty(self) -> bool:
        """Whether no row tells of a past run."""
        return not self.past

    def _leave_out(self, why: str, row: Row) -> None:
        self.left_out.setdefault(why, LeftOut()).add(row.place)

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

    def _length(self, row: Row, started: datetime) -> timedelta | None:
        """How long a run took; ``None`` where that is not known, which is counted if the row says something."""
        try:
            return _length(row, started)
        except (cells.UnreadableCellError, OverflowError):
            self.unmeasured.add(row.place)
            return None

    def _write(
        self, row: Row, link: str, started: datetime, length: timedelta | None, *, success: bool
    ) -> None:
        if self._stream is None:
            assert self._spool is not None
            self._stream = self._spool.open("w", encoding="utf-8")
        record = _record(row, started, length, success=success)
        self._stream.write(json.dumps([link, record], ensure_ascii=True) + "\n")


def link_of(row: Row) -> str:
    """Which job a row of the history belongs to: by id, else by name."""
    job_id = cells.key(row, *tables.JOB_ID)
    if job_id is not None:
        return f"id:{job_id}"
    return f"name:{(cells.text(row, *tables.JOB_NAME) or '').lower()}"


def _old_name(link: str) -> str:
    """A run of a job that is not in the export stays readable under a name that says so."""
    kind, _, value = link.partition(":")
    return (f"c_Job {value}" if kind == "id" else value or "c_Job ?")[:100]


def _success(row: Row) -> bool | None:
    """Whether the run succeeded; None while it was running, which is no history yet.

    Raises:
        UnreadableCellError: Its status is no word of the old server, and it has no error.
    """
    failed = cells.text(row, *tables.ERROR) is not None
    status = cells.cell(row, *tables.SUCCESS)
    word = (cells.key(row, *tables.SUCCESS) or "").lower()
    if isinstance(status, bytes):
        return any(status)
    if word in _RUNNING:
        return None
    if word in _GOOD:
        return True
    if word in _BAD:
        return False
    if not failed and (isinstance(status, Unknown) or word not in _NO_WORD):
        raise cells.UnreadableCellError("status", f'is "{word}", which is no status')
    failures = cells.readable(cells.integer, row, "failurecount")
    return not failed and not (failures and not cells.readable(cells.integer, row, "successcount"))


def _length(row: Row, started: datetime) -> timedelta | None:
    """How long a run took; ``None`` where the row does not say.

    Raises:
        UnreadableCellError: It says something that cannot be read.
    """
    length = cells.duration(row, _MILLISECOND, *tables.MILLISECONDS)
    if length is None:
        length = cells.duration(row, _SECOND, *tables.SECONDS)
    if length is None:
        completed = cells.moment(row, *tables.COMPLETED)
        length = None if completed is None else completed - started
    return length


def _record(
    row: Row, started: datetime, length: timedelta | None, *, success: bool
) -> dict[str, Any]:
    message = cells.text(row, *tables.MESSAGE)
    return {
        "LegacyId": cells.key(row, "id"),
        "StartedAt": started.isoformat(),
        "DurationMs": None if length is None else round(length / _MILLISECOND),
        "Success": success,
        "ResultMessage": message if success else None,
        "ErrorMessage": None if success else cells.text(row, *tables.ERROR) or message or "failed",
        "ServerName": cells.text(row, *tables.SERVER),
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
