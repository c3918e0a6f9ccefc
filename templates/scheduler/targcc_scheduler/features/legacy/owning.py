"""Import owners of jobs from a file, or set an owner by hand.

Each operation is one transaction and writes an audit entry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.actor import SYSTEM, Actor
from ...core.errors import CutoverError, RunStateError
from ...core.sign_off import SignOffError, read_decisions
from ...kernel import job_owner as owners
from ...kernel import pauses
from ...kernel.audit import audit
from ...kernel.job_owner import Owner, Ownership
from ...operations import Call
from .old_server import read_output

FILE = Path("legacy") / "cutover.json"
"""File that ``targcc-gen import-legacy --paused`` writes."""

_RELEASED = 200
"""Maximum number of waiting runs that are released at once when their job comes here; the engine's sweep releases the rest."""


@dataclass(frozen=True, slots=True)
class Moving:
    """Job of the old server, as an import listed it.

    Args:
        job: Name of the job in this scheduler.
        old_key: ID of the job's row in the old table.
        runner: Process of the old server that runs the job.
        decisions: Differences that a person has to sign before the switch: id and question.
    """

    job: str
    old_key: str
    runner: str
    decisions: tuple[tuple[str, str], ...] = ()


def read_file(path: Path) -> list[Moving]:
    """Read the imported jobs that the old server runs.

    Raises:
        CutoverError: the file cannot be read or has another format.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jobs = [
            Moving(
                str(entry["name"]),
                str(entry["id"]),
                str(entry.get("runner") or ""),
                tuple(
                    (str(each["id"]), str(each["question"])) for each in entry.get("decisions", ())
                ),
            )
            for entry in content["jobs"]
        ]
    except OSError as error:
        raise CutoverError(
            f"{path} cannot be read ({error.strerror}): targcc-gen import-legacy --paused writes it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CutoverError(
            f"{path} is not what targcc-gen import-legacy --paused writes: {error!r}"
        ) from None
    return jobs


def unsigned(moving: Sequence[Moving], jobs: Sequence[str], signed: Path) -> list[str]:
    """Return a line of text for each difference of the jobs that nobody has signed.

    Args:
        moving: The imported jobs with their decisions.
        jobs: Names of the jobs to switch.
        signed: The signed list, in any encoding and with any separator.

    Raises:
        CutoverError: The list cannot be read.
    """
    try:
        lines = read_decisions(read_output(signed.read_bytes()))
    except OSError as error:
        raise CutoverError(f"{signed} cannot be read: {error.strerror or error}") from None
    except SignOffError as error:
        raise CutoverError(f"{signed} is no list of decisions: {error}") from None
    known = {entry.job: entry for entry in moving}
    texts = [f"{job}: no import lists it in {FILE}" for job in jobs if job not in known]
    for job in jobs:
        for identity, question in known[job].decisions if job in known else ():
            line = lines.get(identity)
            problem = line.problem if line is not None else f"{signed.name} has no such line"
            if problem:
                texts.append(f"{identity} {job}: {problem}. {question}")
    return texts


async def register(call: Call, jobs: Sequence[Moving], owner: Owner, by: Actor) -> list[str]:
    """Set the owner of imported jobs that have no owner yet; return their names.

    Imported jobs were created paused. The pause ends here, since the owner now keeps the jobs from running. A job that has an owner
    keeps that owner.
    """
    await owners.lock_first(call.connection)
    known = await owners.load(call.connection)
    new = [entry for entry in jobs if entry.job not in known]
    for entry in new:
        columns = {"OldKey": entry.old_key, "Runner": entry.runner or None, "Reason": "imported"}
        await owners.put(call.connection, entry.job, owner, by, call.now, **columns)
        await _end_first_pause(call, entry.job)
        detail = f"{owner}: imported, row {entry.old_key}"
        await audit(call.connection, by, "owner", call.now, job_name=entry.job, detail=detail)
    return [entry.job for entry in new]


async def set_owner(
    call: Call,
    job: str,
    owner: Owner,
    by: Actor,
    *,
    reason: str | None = None,
    old_is_off: bool = False,
    old_key: str | None = None,
    runner: str | None = None,
) -> Ownership:
    """Set the owner of a job; the old server's table is not changed.

    The first owner other than ``new`` also ends the pause with which the job was created.

    Args:
        call: The transaction.
        job: Name of the job.
        owner: The new owner.
        by: Actor for the audit.
        reason: Reason for the audit.
        old_is_off: Confirms that the old server no longer runs the job. Required to change the owner to ``new``.
        old_key: New ID of the job's row in the old table; ``None`` keeps the ID.
        runner: New runner of the old server; ``None`` keeps the runner.

    Raises:
        RunStateError: the owner is to become ``new`` while a cut-over of the job is unfinished or the old server may still run the job.
    """
    await owners.lock_first(call.connection)
    before = await owners.lock(call.connection, job)
    if owner is Owner.NEW and before is not None and before.step is not None:
        raise RunStateError(
            f"{job} is about to change sides ({before.step}): targcc cutover status says how to finish that"
        )
    was = before.owner if before is not None else Owner.NEW
    if owner is Owner.NEW and was is not Owner.NEW and not old_is_off:
        raise RunStateError(
            f"{job} would run on both sides while its old row is active: targcc cutover start switches that row off first;"
            " if nothing runs it there any more, say so (--old-is-off)"
        )
    columns: dict[str, Any] = {"Reason": reason[:500] if reason else None, "Step": None}
    columns |= {"OldKey": old_key} if old_key is not None else {}
    columns |= {"Runner": runner} if runner is not None else {}
    await owners.put(call.connection, job, owner, by, call.now, **columns)
    if owner is Owner.NEW and was is not Owner.NEW:
        await resume_here(call, job)
    if owner is not Owner.NEW and before is None:
        await _end_first_pause(call, job)
    detail = f"{was} -> {owner}" + (f"; {reason}" if reason else "")
    await audit(call.connection, by, "owner", call.now, job_name=job, detail=detail)
    return (await owners.load(call.connection, [job]))[job]


async def _end_first_pause(call: Call, job: str) -> None:
    """End the pause with which a job was created; a pause set by a person stays."""
    await pauses.end_first_pause(call.connection, job, str(SYSTEM), call.now)


async def resume_here(call: Call, job: str) -> None:
    """Release runs that waited until the job came to this scheduler."""
    await call.engine.release(call.connection, job_name=job, count=_RELEASED)
