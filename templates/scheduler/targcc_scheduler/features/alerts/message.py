"""The message that a channel renders."""

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
from ...kernel.alert_events import AlertEvent
from ...kernel.error_groups import fingerprint_of, missed
from ...kernel.jobs.definition import AlertKind
from ...schedules.words import format_duration
from .policy import Target


def thread_of(event: AlertEvent, kind: AlertKind) -> str:
    """Return the key that groups alerts about the same problem.

    Failures and missed slots use the inbox's fingerprint. Other kinds use a hash over kind, job and ``about``.
    """
    name = event.definition.name
    if kind == "failure":
        return fingerprint_of(name, event.message, event.details).key
    if kind == "missed":
        return missed(name).key
    text = f"{kind}\0{name}\0{event.about}"
    return f"{kind}-{blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


# Notices: the content of alerts, independent of the channel.

NoticeKind = AlertKind | Literal["recovered", "escalation", "digest", "held", "test"]
LONGEST_DETAILS = 2_500  # Slack refuses a block of more than 3,000 characters
LONGEST_MESSAGE = 1_000
_LONGEST_TITLE = 150
_VERBS: dict[AlertKind, str] = {
    "failure": "failed",
    "success": "succeeded",
    "slow": "was slow",
    "missed": "was missed",
    "unknown": "cannot run on any server",
    "late": "is late",
    "node": "needs attention",
}
_IN_THE_INBOX = {"failure", "missed"}


@dataclass(frozen=True)
class Section:
    """A section of a longer message, such as a digest.

    Args:
        title: Heading.
        lines: Pairs (text, page address); the address is empty for no page.
    """

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Notice:
    """Content of an alert, independent of the channel.

    Args:
        kind: Notice kind.
        job: The job's name.
        run_id: The run; ``None`` when the notice is about no run.
        title: One line.
        facts: Names and values, in display order.
        message: One line: the result, or the last line of the error.
        details: The end of the traceback, at most ``LONGEST_DETAILS`` characters.
        url: Main page for details.
        links: Pairs (button label, page address).
        sections: Sections, in a digest or in a message with several alerts.
        thread: Key that groups notices about the same problem. A mail program shows mails with the same key as a conversation.
        key: Unique key. A repeated delivery keeps the key.
        at: Creation time.
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
        """Build the notice of an event.

        Args:
            event: The event.
            kind: Notice kind.
            page: Dashboard address, without a slash at the end.
            held_back: Count of alerts about this job suppressed since the last sent alert.
            slower_than_ms: The exceeded limit in milliseconds, in an alert about a slow run.
            thread: Key that groups notices about the same problem.
            at: The current time.
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
        """Return the notice as JSON, for the outbox."""
        values = asdict(self) | {"at": self.at.isoformat() if self.at else None}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Notice:
        """Parse the result of :meth:`to_json`."""
        values: dict[str, Any] = json.loads(text)
        for name in ("facts", "links"):
            values[name] = tuple((a, b) for a, b in values[name])
        values["sections"] = tuple(
            Section(section["title"], tuple((a, b) for a, b in section["lines"]))
            for section in values["sections"]
        )
        values["at"] = datetime.fromisoformat(values["at"]) if values["at"] else None
        return cls(**values)


def together(notices: Sequence[Notice], page: str, key: str) -> Notice:
    """Merge the notices that quiet hours held for one recipient into one notice."""
    lines = tuple(
        (
            (
                f"{notice.at:%H:%M} UTC {notice.title}: {notice.message}"
                if notice.at
                else notice.title
            ),
            notice.url,
        )
        for notice in notices
    )
    return replace(
        notices[0],
        kind="held",
        run_id=None,
        title=f"{len(notices)} alerts from the quiet hours",
        facts=(),
        message="These alerts were not urgent and waited for the end of the quiet hours.",
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
    """Return pairs (label, address) for the pages of a run, a failure and a job. Without any of the three, return the dashboard."""
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
    """Return a text as a single line, cut to 150 characters. White space collapses to a blank; control characters are made visible."""
    return shortened(visible(" ".join(text.split())), _LONGEST_TITLE)


def shortened(text: str, longest: int) -> str:
    """Keep the first ``longest`` characters of a text. A cut text ends with an ellipsis, which counts."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def ending(text: str, longest: int) -> str:
    """Keep the last ``longest`` characters of a text. A cut text starts with an ellipsis, which counts."""
    return text if len(text) <= longest else f"…{text[len(text) - longest + 1 :]}"


# Recipients as JSON, and grouped for one message.


def as_json(targets: Iterable[Target]) -> str:
    """Return recipients as JSON for :func:`from_json`."""
    return json.dumps([[target.channel, target.address, target.from_code] for target in targets])


def from_json(text: str) -> tuple[Target, ...]:
    """Parse the recipients that :func:`as_json` wrote."""
    return tuple(Target(*parts) for parts in json.loads(text))


def grouped(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Join mail recipients into one target with comma-separated addresses; keep other targets.

    Addresses from the code and addresses from rows stay apart: only addresses from the code may refer to secrets.
    """
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
