"""What a person does about failures: each is one transaction, with its row of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from ..core.actor import Actor
from ..core.errors import BulkError
from ..operations import Call
from ..storage.audit import audit
from ..storage.failures import concerns, groups

_LONGEST_NOTE = 1000


async def acknowledge(
    call: Call,
    cause: str,
    by: Actor,
    *,
    note: str | None = None,
    until: datetime | None = None,
    run_ids: Sequence[int] | None = None,
) -> int:
    """Say that somebody has seen the failures of a cause; how many runs that were.

    Without ``until`` those of now are done, and the next one opens it again. With it nothing of this cause is open until then, and what
    nobody has dealt with is open again after it.

    Raises:
        UnknownFailure: there is no such cause.
        BulkError: ``until`` has passed.
    """
    if until is None:
        how = f"acknowledged: {note}" if note else "acknowledged"
        number = await groups.handle(
            call.connection, cause, str(by), how, now=call.now, run_ids=run_ids
        )
    else:
        if until <= call.now:
            raise BulkError(f"until {until.isoformat(timespec='minutes')} is in the past")
        number = 0
        await groups.change(
            call.connection,
            cause,
            SnoozedBy=str(by),
            SnoozedUntil=until,
            Note=note[:_LONGEST_NOTE] if note else None,
        )
    ends = f"until {until.isoformat(timespec='seconds')}" if until else f"{number} runs"
    await _note(call, by, "acknowledge", cause, ends, note, _one(run_ids))
    return number


async def discard(
    call: Call, cause: str, by: Actor, *, run_ids: Sequence[int] | None = None
) -> int:
    """Say that the failures of a cause need nothing; how many runs that were.

    Raises:
        UnknownFailure: there is no such cause.
    """
    number = await groups.handle(
        call.connection, cause, str(by), "discarded", now=call.now, run_ids=run_ids
    )
    await _note(call, by, "discard", cause, f"{number} runs", None, _one(run_ids))
    return number


async def mute(call: Call, cause: str, by: Actor, *, note: str | None = None) -> None:
    """Let failures of a cause need nobody, those to come too.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await groups.change(
        call.connection,
        cause,
        MutedBy=str(by),
        MutedAt=call.now,
        Note=note[:_LONGEST_NOTE] if note else None,
    )
    await _note(call, by, "mute", cause, note)


async def reopen(call: Call, cause: str, by: Actor) -> None:
    """End a mute, or an acknowledgement until a date.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await groups.change(
        call.connection, cause, MutedBy=None, MutedAt=None, SnoozedBy=None, SnoozedUntil=None
    )
    await _note(call, by, "reopen", cause)


async def assign(call: Call, cause: str, by: Actor, name: str | None) -> None:
    """Say who looks after a failure; ``None``: nobody.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await groups.change(call.connection, cause, Assignee=name[:100] if name else None)
    await _note(call, by, "assign", cause, f"to {name}" if name else "to nobody")


async def link(call: Call, cause: str, by: Actor, ticket: str | None) -> None:
    """Link a failure to a ticket: an http(s) address, or the ticket's name; ``None``: to none.

    Raises:
        UnknownFailure: there is no such cause.
        BulkError: the address is none that a page may link to.
    """
    if ticket and ":" in ticket and urlsplit(ticket).scheme not in {"http", "https"}:
        raise BulkError(f"{ticket!r} is no http address, nor the name of a ticket")
    await groups.change(call.connection, cause, Ticket=ticket[:500] if ticket else None)
    await _note(call, by, "link", cause, ticket or "to no ticket")


async def seen(call: Call, subject: str, kind: str, by: Actor) -> bool:
    """Take something off the list that a person has looked at, such as a node that was lost; whether it was there."""
    gone = await concerns.remove(call.connection, subject, kind)
    if gone:
        await audit(call.connection, by, "seen", call.now, detail=f"{kind}: {subject}")
    return gone


async def _note(call: Call, by: Actor, action: str, cause: str, *details: str | int | None) -> None:
    row = await groups.require(call.connection, cause)
    run_id = next((one for one in details if isinstance(one, int)), None)
    said = [f"failure {cause}", *(one for one in details if isinstance(one, str) and one)]
    await audit(
        call.connection,
        by,
        action,
        call.now,
        job_name=row.JobName,
        run_id=run_id,
        detail="; ".join(said),
    )


def _one(run_ids: Sequence[int] | None) -> int | None:
    return run_ids[0] if run_ids is not None and len(run_ids) == 1 else None
