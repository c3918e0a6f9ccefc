"""What follows an alert: that it is well again, or that nobody has done anything about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ..core import humanize
from ..jobs.definition import JobDefinition
from .message import Notice, NoticeKind, one_line, pages_of

_NODE = "node"


def recovered(
    row: Any, at: datetime, definitions: Mapping[str, JobDefinition], page: str, zone: ZoneInfo
) -> Notice:
    """That something is well again.

    Args:
        row: The row of ``c_JobAlertThread``.
        at: Since when.
        definitions: The jobs, for their names.
        page: The dashboard.
        zone: In which times are.
    """
    name = _name(row, definitions)
    span = _span(row.FirstAt, at, zone)
    if row.Kind == _NODE:
        title = f"Server {name} is up again, {span}"
    elif row.Kind == "late":
        title = f"{name} is on time again, {span}"
    else:
        title = f"{name} works again after {humanize.count(row.Number, 'failure')}, {span}"
    return _notice(
        row,
        "recovered",
        title,
        at,
        page=page,
        zone=zone,
        key=f"recovered-{row.FirstAt.timestamp():.0f}",
    )


def escalated(row: Any, now: datetime, page: str, zone: ZoneInfo) -> Notice:
    """That nobody has done anything about it."""
    title = f"Nobody has taken this up: {row.Title}"
    return _notice(
        row,
        "escalation",
        title,
        now,
        page=page,
        zone=zone,
        key=f"step-{row.EscalatesFrom.timestamp():.0f}-{row.Step + 1}",
    )


def _notice(
    row: Any, kind: NoticeKind, title: str, at: datetime, *, page: str, zone: ZoneInfo, key: str
) -> Notice:
    facts = [("Job", row.JobName)] if row.Kind != _NODE else []
    facts += [
        ("Alert", row.Title),
        ("First", humanize.full(row.FirstAt, zone)),
        ("Last", humanize.full(row.LastAt, zone)),
        ("Times", f"{row.Number}"),
    ]
    links = pages_of(
        page,
        job=row.JobName if row.Kind != _NODE else None,
        run_id=row.LastRunId,
        cause=row.Thread if row.Kind == "failure" else None,
    )
    return Notice(
        kind=kind,
        job=row.JobName,
        run_id=row.LastRunId,
        title=one_line(title),
        facts=tuple(facts),
        message="" if kind == "recovered" else "It is not acknowledged, nor assigned to anybody.",
        details="",
        url=links[0][1],
        links=links,
        thread=row.Thread,
        key=f"{row.Thread}-{key}",
        at=at,
    )


def _name(row: Any, definitions: Mapping[str, JobDefinition]) -> str:
    if row.Kind == _NODE:
        return str(row.About)
    job = definitions.get(row.JobName)
    return job.display_name if job is not None else str(row.JobName)


def _span(first: datetime, last: datetime, zone: ZoneInfo) -> str:
    begin, end = first.astimezone(zone), last.astimezone(zone)
    if begin.date() == end.date():
        return f"{begin:%H:%M}-{end:%H:%M}"
    return f"{begin.day} {begin:%b %H:%M} - {end.day} {end:%b %H:%M}"
