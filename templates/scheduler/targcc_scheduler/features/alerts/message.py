"""Alert events, and the message that a channel renders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from ...core.masking import mask
from ...core.text import clean, visible
from ...kernel.jobs.definition import AlertKind, JobDefinition, stand_in
from ...schedules.words import format_duration
from ..triage.error_groups import fingerprint_of, missed
from .policy import Target

# The events that alerts are about.


@dataclass(frozen=True)
class AlertEvent:
    """Something happened to a job that somebody may want to know.

    Args:
        kind: What happened.
        definition: The job.
        run_id: The run; ``None`` when there is none.
        message: One line: the result, or the last line of the error.
        details: The traceback, if there is one.
        attempt: The attempt that ended the run.
        scheduled_for: The slot.
        duration_ms: How long the last attempt took.
        server: The node it ran on.
        about: The expectation that is broken, or the node that was lost: what is well again one day.
    """

    kind: AlertKind
    definition: JobDefinition
    run_id: int | None
    message: str
    details: str = ""
    attempt: int = 1
    scheduled_for: datetime | None = None
    duration_ms: int | None = None
    server: str = ""
    about: str = ""


def node_event(message: str, *, server: str, details: str = "", about: str = "") -> AlertEvent:
    """Something is wrong with a node, not with a job: whoever hears of jobs that name nobody, or a row for ``Scheduler`` in ``c_JobAlert``.

    Args:
        message: One line.
        server: The node's machine.
        details: A stack, if there is one.
        about: The node that was lost, if it is about that.
    """
    event = AlertEvent("node", _SCHEDULER, None, message, details=details, server=server)
    return replace(event, about=about)


def thread_of(event: AlertEvent, kind: AlertKind) -> str:
    """What keeps alerts about the same together: the failure as the inbox groups them, or the job and what it is about."""
    name = event.definition.name
    if kind == "failure":
        return fingerprint_of(name, event.message, event.details).key
    if kind == "missed":
        return missed(name).key
    said = f"{kind}\0{name}\0{event.about}"
    return f"{kind}-{blake2b(said.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


_SCHEDULER = replace(
    stand_in("Scheduler", ""), display_name="The scheduler", target=node_event, module=__name__
)
"""Stands in for the job in alerts that are about none."""


# What an alert says, before a channel gives it its own form.

NoticeKind = AlertKind | Literal["recovered", "escalation", "digest", "held", "test"]
LONGEST_DETAILS = 2_500  # Slack refuses a block of more than 3,000 characters
LONGEST_MESSAGE = 1_000
_LONGEST_TITLE = 150
_VERBS: dict[AlertKind, str] = {
    "failure": "failed",
    "success": "succeeded",
    "slow": "was slow",
    "missed": "was missed",
    "unknown": "is known to no node",
    "late": "is late",
    "node": "needs attention",
}
_IN_THE_INBOX = {"failure", "missed"}


@dataclass(frozen=True)
class Section:
    """A part of a longer message, such as a digest.

    Args:
        title: Its heading.
        lines: Its lines, each a text and the page that tells more; an empty address for none.
    """

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Notice:
    """What an alert says.

    Args:
        kind: What is told.
        job: The job's name.
        run_id: The run; ``None`` when there is none.
        title: One line.
        facts: Names and values, in the order to show them.
        message: One line: the result, or the last line of the error.
        details: The end of the traceback, at most ``LONGEST_DETAILS`` characters.
        url: The page that tells more.
        links: The pages to open, each with what its button says.
        sections: The parts of a digest, or of several alerts in one message.
        thread: Alerts about the same have the same; a mail program shows them together.
        key: Another for each alert, and the same each time that one is sent again.
        at: When it was made.
    """

    kind: NoticeKind
    job: str
    run_id: int | None
    title: str
    facts: tuple[tuple[str, str], ...]
    message: str
    details: str
    url: str
    links: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()
    thread: str = ""
    key: str = field(default_factory=lambda: uuid4().hex)
    at: datetime | None = None

    @classmethod
    def about(
        cls,
        event: AlertEvent,
        kind: AlertKind,
        page: str,
        *,
        held_back: int,
        slower_than_ms: int | None,
        thread: str = "",
        at: datetime | None = None,
    ) -> Notice:
        """The alert about an event.

        Args:
            event: What happened.
            kind: What is told about it.
            page: The dashboard, without a slash at the end.
            held_back: How many alerts about this job were not sent since the last one.
            slower_than_ms: The limit that it exceeded, in an alert about a slow run.
            thread: What keeps alerts about the same together.
            at: The instant it is.
        """
        facts = [("Job", event.definition.name)]
        if event.run_id is not None:
            facts.append(("Run", f"{event.run_id}, attempt {event.attempt}"))
        if event.scheduled_for is not None:
            facts.append(("Scheduled for", event.scheduled_for.isoformat(" ", "seconds")))
        if event.duration_ms is not None:
            facts.append(("Took", _duration(event.duration_ms)))
        if slower_than_ms is not None:
            facts.append(("Expected", f"at most {_duration(slower_than_ms)}"))
        if event.server:
            facts.append(("Server", event.server))
        if held_back:
            facts.append(("Not sent", f"{held_back} alerts before this one (limit per hour)"))
        links = pages_of(
            page,
            job=event.definition.name if kind != "node" else None,
            run_id=event.run_id,
            cause=thread if kind in _IN_THE_INBOX else None,
        )
        return cls(
            kind=kind,
            job=event.definition.name,
            run_id=event.run_id,
            title=one_line(f"{event.definition.display_name} {_VERBS[kind]}"),
            facts=tuple(facts),
            message=clean(mask(event.message)),
            details=ending(clean(mask(event.details)), LONGEST_DETAILS),
            url=f"{page}/runs/{event.run_id}" if event.run_id is not None else page,
            links=links,
            thread=thread,
            at=at,
        )

    def to_json(self) -> str:
        """As a row keeps it."""
        said = asdict(self) | {"at": self.at.isoformat() if self.at else None}
        return json.dumps(said, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Notice:
        """What :meth:`to_json` has kept."""
        said: dict[str, Any] = json.loads(text)
        for name in ("facts", "links"):
            said[name] = tuple((a, b) for a, b in said[name])
        said["sections"] = tuple(
            Section(one["title"], tuple((a, b) for a, b in one["lines"]))
            for one in said["sections"]
        )
        said["at"] = datetime.fromisoformat(said["at"]) if said["at"] else None
        return cls(**said)


def together(notices: Sequence[Notice], page: str, key: str) -> Notice:
    """Several alerts in one message: those that quiet hours have held, for one recipient."""
    lines = tuple(
        (f"{one.at:%H:%M} UTC {one.title}: {one.message}" if one.at else one.title, one.url)
        for one in notices
    )
    return replace(
        notices[0],
        kind="held",
        run_id=None,
        title=f"{len(notices)} alerts from the quiet hours",
        facts=(),
        message="They were not urgent, so they waited until now.",
        details="",
        url=page,
        links=(("Open the dashboard", page),),
        sections=(Section("Alerts", lines),),
        thread="quiet-hours",
        key=key,
        at=notices[-1].at,
    )


def pages_of(
    page: str, *, job: str | None = None, run_id: int | None = None, cause: str | None = None
) -> tuple[tuple[str, str], ...]:
    """The pages about a run, a failure and a job, each with what its button says; without any of them the dashboard."""
    links = []
    if run_id is not None:
        links.append(("Open the run", f"{page}/runs/{run_id}"))
    if cause:
        links.append(("Open in the inbox", f"{page}/inbox/{quote(cause, safe='')}"))
    if job is not None:
        links.append(("Open the job", f"{page}/jobs/{quote(job, safe='')}"))
    return tuple(links) or (("Open the dashboard", page),)


def _duration(milliseconds: int) -> str:
    return format_duration(timedelta(milliseconds=milliseconds))


def one_line(text: str) -> str:
    """A text on one line, each run of white space a blank, what a terminal or a mail program would obey shown instead, and not too long."""
    return shortened(visible(" ".join(text.split())), _LONGEST_TITLE)


def shortened(text: str, longest: int) -> str:
    """The beginning of a text, with a mark where it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def ending(text: str, longest: int) -> str:
    """The end of a text, with a mark where it was cut."""
    return text if len(text) <= longest else f"…{text[len(text) - longest + 1 :]}"


# Recipients as rows keep them, and as one message reaches several.


def as_json(targets: Iterable[Target]) -> str:
    """Who was told, as :func:`from_json` reads it."""
    return json.dumps([[one.channel, one.address, one.from_code] for one in targets])


def from_json(text: str) -> tuple[Target, ...]:
    """Who was told."""
    return tuple(Target(*one) for one in json.loads(text))


def grouped(targets: Iterable[Target]) -> tuple[Target, ...]:
    """The recipients, with all addresses of one mail in one of them."""
    mails: dict[bool, list[str]] = {}
    others = []
    for target in targets:
        if target.channel == "mail":
            mails.setdefault(target.from_code, []).append(target.address)
        else:
            others.append(target)
    joined = [
        Target("mail", ", ".join(dict.fromkeys(every)), from_code)
        for from_code, every in mails.items()
    ]
    return (*joined, *others)
