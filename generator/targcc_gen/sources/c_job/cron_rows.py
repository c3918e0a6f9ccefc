"""Rows of the ``cron`` shape: a name, a cron text, a stored procedure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.companions import Recipients, procedure_name
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.model import OldJob
from targcc_gen.sources.schedules import cron_of, own_text


def draft(
    row: Row, recipients: Recipients, *, dialect: str, fallback: tuple[str, ...], has_run: bool
) -> Draft:
    """Convert a row to a draft.

    Args:
        row: A row of ``c_Job``.
        recipients: The recipients of alerts.
        dialect: The cron dialect of the old server.
        fallback: Addresses for jobs without recipients in the export.
        has_run: Whether the history has a run of the row.

    Raises:
        Refused: The row has no name, or no valid cron text.
        UnreadableCellError: A date can be read in several ways.
    """
    name = reader_rows.text(row, "jobname")
    if name is None:
        raise Refused("it has no JobName" + _unknown_reason(row, "jobname"))
    warnings: list[str] = []
    cron = _cron(row, dialect)
    active = _active(row, warnings, has_run=has_run)
    values: dict[str, object] = {"cron": cron}
    values |= _work(row, warnings)
    values |= {"retries": 0, "misfire": {"grace": "none"}}
    if alerts := _alerts(row, name, recipients, fallback, warnings):
        values["alerts"] = alerts
    return Draft(row, name, values, active, _old(row, name), tuple(warnings))


def _unknown_reason(row: Row, column: str) -> str:
    expression = reader_rows.unknowns(row).get(column)
    return f": {expression} is known to the old server only" if expression else ""


def _cron(row: Row, dialect: str) -> str:
    text = reader_rows.text(row, "cronexpression")
    if text is None:
        raise Refused("it has no CronExpression" + _unknown_reason(row, "cronexpression"))
    return own_text(text, cron_of(text, dialect))


def _active(row: Row, warnings: list[str], *, has_run: bool) -> bool:
    if "isactive" not in row.values:
        if row.is_sparse:
            warnings.append(
                "IsActive is in no row of the export, and its format leaves NULL out: it may be NULL in all; created paused"
            )
            return False
        if has_run or _time(row, "lastrun") is not None:
            warnings.append("IsActive is not in the export: taken as active")
            return True
        warnings.append(
            "IsActive is not in the export, and nothing shows that the row ever ran: created paused"
        )
        return False
    active = reader_rows.readable(reader_rows.flag, row, "isactive")
    if active is None:
        warnings.append("IsActive is neither 0 nor 1: created paused")
    return bool(active)


def _work(row: Row, warnings: list[str]) -> dict[str, object]:
    text = reader_rows.text(row, "storedprocname")
    name = procedure_name(text) if text else None
    if name is not None:
        return {"blueprint": "stored-procedure", "procedure": name}
    if text is None:
        warnings.append("it names no stored procedure: its job fails until somebody writes it")
        return {"blueprint": "not-ported"}
    warnings.append(f"\"{text}\" is more than a procedure's name: write the call in the job's file")
    return {"blueprint": "not-ported", "description": f"The old server ran: {text}"}


def _alerts(
    row: Row, name: str, recipients: Recipients, fallback: tuple[str, ...], warnings: list[str]
) -> dict[str, Any] | None:
    addresses = recipients.of(reader_rows.key(row, "id"), name)
    try:
        if not reader_rows.flag(row, "emailonfailure"):
            return None
    except reader_rows.UnreadableCellError as error:
        warnings.append(f"{error}: taken as 1")
    if not addresses and not fallback:
        warnings.append("EmailOnFailure is on, but no recipient is known: give --alert-email")
        return None
    return {"on": ("failure",), "email": addresses or fallback}


def _old(row: Row, name: str) -> OldJob:
    return OldJob(
        name=name,
        id=reader_rows.key(row, "id"),
        schedule_text=reader_rows.text(row, "cronexpression") or "",
        last_run=_time(row, "lastrun"),
        next_run=_time(row, "nextrun"),
        last_result=reader_rows.text(row, "lastresult"),
        failures=reader_rows.readable(reader_rows.integer, row, "failurecount"),
    )


def _time(row: Row, column: str) -> datetime | None:
    """Return a time that the old server wrote; ``None`` if only the old server knew the value.

    Raises:
        UnreadableCellError: The time can be read in several ways.
    """
    try:
        return reader_rows.moment(row, column)
    except reader_rows.UnreadableCellError as error:
        if error.is_ambiguous:
            raise
        return None
