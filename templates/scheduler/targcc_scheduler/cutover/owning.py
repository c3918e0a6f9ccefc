"""Who runs a job: what an operator may say about it, and the jobs that an import brought. Each is one transaction with its row of the audit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.actor import SYSTEM, Actor
from ..core.errors import CutoverError, RunStateError
from ..operations import Call
from ..storage import pauses
from ..storage.audit import audit
from ..storage.owners import rows
from ..storage.owners.values import Owner, Ownership

FILE = Path("legacy") / "cutover.json"
"""What ``targcc-gen import-legacy --paused`` writes."""

_RELEASED = 200
"""Runs that are offered again at once when their job comes here; the engine's sweep finds the others."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A job of the old server.

    Args:
        job: Its name here.
        old_key: The ID of its row.
        runner: The old server's process that runs it.
    """

    job: str
    old_key: str
    runner: str


def read_file(path: Path) -> list[Moving]:
    """The jobs that an import brought and that the old server runs.

    Raises:
        CutoverError: it is no such file.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jobs = [
            Moving(str(one["name"]), str(one["id"]), str(one.get("runner") or ""))
            for one in content["jobs"]
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


async def register(call: Call, jobs: Sequence[Moving], owner: Owner, by: Actor) -> list[str]:
    """Say of jobs that were imported paused that the old server runs them; which of them are new.

    The pause they were created with ends by that: their owner keeps them from running. A job that has an owner keeps it.
    """
    await rows.lock_first(call.connection)
    known = await rows.load(call.connection)
    new = [one for one in jobs if one.job not in known]
    for one in new:
        columns = {"OldKey": one.old_key, "Runner": one.runner or None, "Reason": "imported"}
        await rows.put(call.connection, one.job, owner, by, call.now, **columns)
        await _end_first_pause(call, one.job)
        detail = f"{owner}: imported, row {one.old_key}"
        await audit(call.connection, by, "owner", call.now, job_name=one.job, detail=detail)
    return [one.job for one in new]


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
    """Say who runs a job. Nothing is done at the old server. With its first owner the pause that it was created with ends.

    Args:
        call: The transaction.
        job: The job's name.
        owner: Who.
        by: Who says so.
        reason: Why.
        old_is_off: That nothing runs the job there any more: what it takes to run it here.
        old_key: The ID of its row there, if that is new.
        runner: The process there, if that is new.

    Raises:
        RunStateError: the job is about to change sides, or it may still be run there.
    """
    await rows.lock_first(call.connection)
    before = await rows.lock(call.connection, job)
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
    await rows.put(call.connection, job, owner, by, call.now, **columns)
    if owner is Owner.NEW and was is not Owner.NEW:
        await resume_here(call, job)
    if owner is not Owner.NEW and before is None:
        await _end_first_pause(call, job)
    detail = f"{was} -> {owner}" + (f"; {reason}" if reason else "")
    await audit(call.connection, by, "owner", call.now, job_name=job, detail=detail)
    return (await rows.load(call.connection, [job]))[job]


async def _end_first_pause(call: Call, job: str) -> None:
    """From now on its owner says where a job runs; a pause that a person has made stays."""
    await pauses.end_first_pause(call.connection, job, str(SYSTEM), call.now)


async def resume_here(call: Call, job: str) -> None:
    """Offer the runs that waited for the job to come here."""
    await call.engine.release(call.connection, job_name=job, count=_RELEASED)
