"""Reasons why a job or run does not run: values, and texts that the answers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.languages import gettext, ngettext
from ...core.states import RunState
from ...db import locks
from ...kernel.job_owner import Ownership
from ...kernel.jobs.definition import JobDefinition
from ...kernel.pauses import Window
from ...kernel.queries.models import Pause, Run, Server

_MAINTENANCE = "maintenance: "
"""Message prefix of a slot that was skipped in a maintenance window."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Reason why a job or run does not run.

    Args:
        kind: Kind of the reason, for programs: ``queue-paused``, ``busy``, ``next-slot``, …
        text: The reason, as a sentence.
        runs: Run ids that the reason names.
    """

    kind: str
    text: str
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to "why does the job or run not run?".

    Args:
        subject: The job's name, or ``run 17``.
        reasons: The reasons, the decisive reason first.
    """

    subject: str
    reasons: tuple[Reason, ...]

    @property
    def short(self) -> str:
        """Return the text of the first reason."""
        return self.reasons[0].text if self.reasons else gettext("Nothing blocks the run.")


@dataclass(frozen=True, slots=True)
class Look:
    """Context in which an answer is built."""

    connection: AsyncConnection
    definitions: Mapping[str, JobDefinition]
    now: datetime
    zone: ZoneInfo
    lost_after: float

    def at(self, instant: datetime) -> str:
        """Format an instant for people, in the reader's zone."""
        shown = humanize.clock(instant, self.now, self.zone)
        return f"{shown} ({humanize.relative(instant, self.now)})"

    def paused(self, pause: Pause) -> str:
        """Describe a pause: author, start, reason and end."""
        text = gettext(
            "by %(name)s since %(when)s", name=humanize.who(pause.by), when=self.at(pause.at)
        )
        if pause.reason:
            text = gettext("%(said)s, reason: %(reason)s", said=text, reason=pause.reason)
        if pause.until:
            return gettext("%(said)s; until %(when)s", said=text, when=self.at(pause.until))
        return gettext("%(said)s, no end date", said=text)


def in_maintenance(look: Look, window: Window) -> Reason:
    """Return the reason that a maintenance window keeps runs from starting."""
    queues = humanize.listed(list(window.queues))
    text = gettext(
        "Maintenance of %(which)s until %(when)s, planned by %(name)s: %(reason)s. Waiting runs start then.",
        which=gettext("queue %(name)s", name=queues) if queues else gettext("all queues"),
        when=look.at(window.ends_at),
        name=humanize.who(window.by),
        reason=window.reason,
    )
    return Reason("maintenance", text)


def elsewhere(look: Look, owned: Ownership) -> Reason:
    """Return the reason that the old server runs the job."""
    text = gettext(
        "The old server runs the job (owner: %(owner)s), set by %(name)s %(when)s",
        owner=str(owned.owner),
        name=owned.by,
        when=look.at(owned.since),
    )
    text += gettext(": %(reason)s.", reason=owned.reason) if owned.reason else "."
    return Reason("old-server", text)


def is_alive(look: Look, server: Server) -> bool:
    """Return whether a server's last heartbeat is recent enough."""
    return (look.now - server.heartbeat_at).total_seconds() <= look.lost_after


def no_server() -> Reason:
    """Return the reason that no server is up."""
    text = gettext("No server is up. Start one with targcc worker.")
    return Reason("no-server", text)


def is_able(server: Server) -> bool:
    """Return whether a server begins runs: neither stopping nor stuck."""
    return server.takes_runs and server.stuck_since is None


def no_able_server(look: Look, servers: Sequence[Server], queue: str | None = None) -> list[Reason]:
    """Explain why no server begins runs: no server is up, no server takes the queue, or all such servers stop or are stuck.

    Args:
        look: The context.
        servers: The servers that are up.
        queue: The queue; ``None``: any queue, for servers that create runs.
    """
    if not servers:
        return [no_server()]
    fitting = [server for server in servers if queue is None or queue in server.queues]
    if not fitting:
        names = humanize.listed([server.name for server in servers])
        text = gettext(
            "No server serves the queue %(queue)s (up: %(servers)s).",
            queue=queue,
            servers=names,
        )
        return [Reason("no-worker", text)]
    if any(map(is_able, fitting)):
        return []
    blocked = [server for server in fitting if server.stuck_since is not None]
    if queue is not None and not blocked:
        text = gettext("The servers of the queue %(queue)s are stopping or drained.", queue=queue)
        return [Reason("draining", text)]
    return [reason for server in blocked for reason in stuck(look, server)]


def stuck(look: Look, server: Server) -> list[Reason]:
    """Name the place in which a server is stuck."""
    since = look.at(server.stuck_since or look.now)
    place = (server.stuck_in or "").partition("\n")[0]
    text = gettext(
        "Server %(name)s has been stuck since %(when)s and starts no runs.",
        name=server.name,
        when=since,
    )
    if place:
        text = gettext(
            "Server %(name)s has been stuck in %(place)s since %(when)s and starts no runs.",
            name=server.name,
            place=place,
            when=since,
        )
    return [Reason("stuck-server", text)]


async def locked(look: Look) -> list[Reason]:
    """Name the database locks that block the scheduler, and their holders."""
    return [_locked(look, lock) for lock in await locks.held(look.connection)]


def _locked(look: Look, lock: locks.Lock) -> Reason:
    text = gettext(
        "The database is locked: %(holder)s holds a lock on %(on)s", holder=lock.holder, on=lock.on
    )
    if lock.since is not None:
        text += gettext(" since %(when)s", when=look.at(lock.since))
    if lock.waiting:
        text += ngettext(
            "; %(num)s session waits for it", "; %(num)s sessions wait for it", lock.waiting
        )
    return Reason("database-lock", f"{text}.")


def of_final(look: Look, run: Run, job: JobDefinition | None) -> list[Reason]:
    """Explain a final run's outcome."""
    ended = look.at(run.happened_at)
    handled = ""
    if run.handling:
        done, name = humanize.sentence(run.handling), humanize.who(run.handled_by or "")
        handled = f" {gettext('%(done)s by %(name)s.', done=done, name=name)}"
    match run.state:
        case RunState.SKIPPED:
            if run.blocked_by is None and (run.message or "").startswith(_MAINTENANCE):
                return [
                    Reason("maintenance", gettext("The run was skipped: %(why)s.", why=run.message))
                ]
            policy = job.overlap if job is not None else "skip"
            blocked = (run.blocked_by,) if run.blocked_by else ()
            busy = (
                gettext("run %(id)s", id=run.blocked_by) if run.blocked_by else gettext("the job")
            )
            text = gettext(
                "The run was skipped: %(busy)s was still running (overlap: %(policy)s).",
                busy=busy,
                policy=policy,
            )
            return [Reason("overlap", text, blocked)]
        case RunState.MISSED:
            text = gettext("The run was missed: no server could start it at its slot.")
            if job is not None:
                text = gettext(
                    "The run was missed: no server could start it at its slot (misfire: %(rule)s).",
                    rule=job.misfire,
                )
            return [Reason("missed", text + handled)]
        case RunState.FAILED:
            message = humanize.last_line(run.message or "") or gettext("no reason given")
            failed = gettext("The run failed %(when)s: %(said)s.", when=ended, said=message)
            return [Reason("failed", failed + handled)]
        case RunState.CANCELLED:
            message = run.message or humanize.STATE_WORDS[RunState.CANCELLED]
            over = gettext("The run ended: %(said)s, %(when)s.", said=message, when=ended)
            return [Reason("cancelled", over)]
        case _:
            return [Reason("succeeded", gettext("The run succeeded %(when)s.", when=ended))]
