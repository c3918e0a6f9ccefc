"""What answers to "why?" are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.states import RunState
from ...jobs.definition import JobDefinition
from ...storage.maintenance.rows import Window
from ...storage.owners.values import Ownership
from ..models import Pause, Run, Server

_MAINTENANCE = "maintenance: "
"""How the note of a slot begins that was skipped in a window."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Args:
        kind: What it is, for programs: ``queue-paused``, ``busy``, ``next-slot``, …
        text: In a sentence.
        runs: The runs that it is about.
    """

    kind: str
    text: str
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to "why?".

    Args:
        subject: The job's name, or ``run 17``.
        reasons: The one that decides first.
    """

    subject: str
    reasons: tuple[Reason, ...]

    @property
    def short(self) -> str:
        """The first reason."""
        return self.reasons[0].text if self.reasons else "Nothing is in its way."


@dataclass(frozen=True, slots=True)
class Look:
    """What is known while an answer is made."""

    connection: AsyncConnection
    definitions: Mapping[str, JobDefinition]
    now: datetime
    zone: ZoneInfo
    lost_after: float

    def at(self, instant: datetime) -> str:
        """An instant for people, in the project's zone."""
        shown = humanize.clock(instant, self.now, self.zone)
        return f"{shown} ({humanize.relative(instant, self.now)})"

    def paused(self, pause: Pause) -> str:
        """Who paused something, since when, why and until when."""
        said = f"by {humanize.who(pause.by)} since {self.at(pause.at)}"
        if pause.reason:
            said += f" because: {pause.reason}"
        return said + (f"; until {self.at(pause.until)}" if pause.until else ", with no end")


def in_maintenance(look: Look, window: Window) -> Reason:
    """That no run starts in a window."""
    which = f"queue {humanize.listed(list(window.queues))}" if window.queues else "all queues"
    text = (
        f"Maintenance of {which} until {look.at(window.ends_at)}: planned by {humanize.who(window.by)}"
        f" because: {window.reason}. What waits starts then."
    )
    return Reason("maintenance", text)


def elsewhere(look: Look, owned: Ownership) -> Reason:
    """That the old server runs it."""
    said = f": {owned.reason}" if owned.reason else ""
    text = f"The old server runs it (owner {owned.owner}), set by {owned.by} {look.at(owned.since)}{said}."
    return Reason("old-server", text)


def is_alive(look: Look, server: Server) -> bool:
    """Whether a server has said something lately."""
    return (look.now - server.heartbeat_at).total_seconds() <= look.lost_after


def of_final(look: Look, run: Run, job: JobDefinition | None) -> list[Reason]:
    """What became of a run that is over."""
    ended = look.at(run.happened_at)
    handled = (
        f" {humanize.sentence(run.handling)} by {humanize.who(run.handled_by or '')}."
        if run.handling
        else ""
    )
    match run.state:
        case RunState.SKIPPED:
            if run.blocked_by is None and (run.message or "").startswith(_MAINTENANCE):
                return [Reason("maintenance", f"It was skipped: {run.message}.")]
            policy = job.overlap if job is not None else "skip"
            blocked = (run.blocked_by,) if run.blocked_by else ()
            busy = f"run {run.blocked_by}" if run.blocked_by else "the job"
            text = f"It was skipped, since {busy} was still going on and overlap is {policy}."
            return [Reason("overlap", text, blocked)]
        case RunState.MISSED:
            rule = f" (misfire is {job.misfire})" if job is not None else ""
            text = f"It was missed: its slot passed while nobody could start it{rule}."
            return [Reason("missed", text + handled)]
        case RunState.FAILED:
            said = humanize.last_line(run.message or "") or "no reason was given"
            return [Reason("failed", f"It failed {ended}: {said}.{handled}")]
        case RunState.CANCELLED:
            return [Reason("cancelled", f"It is over: {run.message or 'cancelled'}, {ended}.")]
        case _:
            return [Reason("succeeded", f"It succeeded {ended}.")]
