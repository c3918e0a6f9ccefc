"""The codes that are built into TARGCC 4's TaskManager: some drop out, some are work that needs a new home. Upper and lower case differ."""

from __future__ import annotations

from dataclasses import dataclass

DROPPED = {
    "ScanJobs": "the new scheduler looks for due jobs by itself, and alerts on missed slots replace its mails",
    "MoveAudits": "there is no audit table to move",
    "ImAlive": "/health/live and the nodes' heartbeats say it",
}
"""Codes with nothing left to do, and why."""

PROCEDURE_PREFIX = "mntm_"
"""A code that begins with this, in any case, is a stored procedure of exactly that name, called without arguments."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a built-in code did for the database, which stops with TaskManager.

    Attributes:
        procedure: The stored procedure that did it, where there is one.
        note: What the owner has to know.
    """

    procedure: str | None
    note: str


WORK = {
    "BackupDB": Work(
        "c__BackupDatabase",
        "built into TaskManager, which called c__BackupDatabase and stopped it after 120 s; here nothing stops it unless timeout: says so",
    ),
    "ReorganizeIndexes": Work(
        "c__ReorganizeIndexes",
        "built into TaskManager, which called c__ReorganizeIndexes and stopped it after 120 s; here nothing stops it unless timeout: says"
        " so",
    ),
    "DeleteOldLogs": Work(
        "c__CleanLogs",
        "built into TaskManager: c__CleanLogs was one part of it, and files of old logs on its machine were another; that part needs a new"
        " home",
    ),
    "UnlockUsers": Work(
        None,
        "built into TaskManager, with no procedure of its own: it stops with TaskManager, so write it in the job's file or name a procedure"
        " with --procedure-map",
    ),
}
"""Codes that are real work."""


def dropped(code: str) -> str | None:
    """Why a code needs no job; None if it does. ``ImAlive`` is found in any case, as the runner looks it up in the table."""
    return DROPPED["ImAlive"] if code.lower() == "imalive" else DROPPED.get(code)


def near_miss(code: str) -> str | None:
    """The built-in code that a code differs from by case only; TaskManager did not take it for that one."""
    known = {name.lower(): name for name in (*DROPPED, *WORK)}
    name = known.get(code.lower())
    return name if name != code else None
