"""A project's alert policy: default recipients, quiet hours, escalation, digest, on-call rota.

Sources are ``alerts:`` and ``oncall:`` of targcc.yaml, or the same mappings in :class:`~...project.Project`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from ...core.errors import ProjectError
from ...kernel.jobs.definition import AlertKind
from ...project import Project
from ...schedules.words import parse_duration
from ...schedules.zones import parse_zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
URGENT: frozenset[str] = frozenset({"failure", "unknown", "late", "node"})
"""Default alert kinds that ignore quiet hours and escalate."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Target:
    """One recipient.

    Args:
        channel: Channel name.
        address: A mail address, a webhook's URL, or the target of an own channel. With ``from_code``, a reference to a secret is allowed.
        from_code: Whether the address may refer to secrets.
    """

    channel: str
    address: str = field(repr=False)
    from_code: bool = True


@dataclass(frozen=True, slots=True)
class Recipients:
    """Recipients of an alert, optionally including the person on call."""

    targets: tuple[Target, ...] = ()
    oncall: bool = False

    @classmethod
    def of(cls, declared: Mapping[str, Any]) -> Recipients:
        """Parse a mapping with the keys ``email``, ``slack``, ``teams``, ``webhook``, ``other`` and ``oncall``."""
        named = [("slack", declared.get("slack")), ("teams", declared.get("teams"))]
        named += [("webhook", declared.get("webhook")), *dict(declared.get("other") or {}).items()]
        mails = [Target("mail", email) for email in declared.get("email") or ()]
        others = [Target(channel, address) for channel, address in named if address]
        return cls((*mails, *others), oncall=bool(declared.get("oncall")))


NOBODY = Recipients()


@dataclass(frozen=True, slots=True)
class Hours:
    """A weekly time range in local time. If ``end`` is at or before ``start``, the range ends on the next day.

    Args:
        start: Start time.
        end: End time.
        days: Weekdays of the start; Monday is 0.
        zone: Time zone.
    """

    start: time
    end: time
    days: frozenset[int]
    zone: ZoneInfo

    @classmethod
    def of(cls, declared: Mapping[str, Any], zone: str) -> Hours:
        """Parse a mapping with the keys ``start``, ``end``, ``days`` and ``timezone``.

        Args:
            declared: The mapping. Defaults are every day and the whole day.
            zone: Time zone if the mapping names none.

        Raises:
            ProjectError: a weekday or a time cannot be read.
        """
        days = declared.get("days") or DAYS
        if unknown := [day for day in days if day not in DAYS]:
            raise ProjectError(f"alerts: no day of the week {unknown[0]!r}: {', '.join(DAYS)}")
        return cls(
            _time(declared.get("start", "00:00")),
            _time(declared.get("end", "00:00")),
            frozenset(DAYS.index(day) for day in days),
            parse_zone(declared.get("timezone") or zone),
        )

    def end_after(self, now: datetime) -> datetime | None:
        """Return the end of the range that contains ``now``, or ``None``."""
        today = now.astimezone(self.zone).date()
        for day in (today, today - _DAY):
            if day.weekday() in self.days:
                start, end = self._instant(day, self.start), self._end(day)
                if start <= now < end:
                    return end
        return None

    def starts(self, first: date) -> Iterable[datetime]:
        """Yield the start times of eight days, from ``first`` on."""
        for number in range(8):
            day = first + number * _DAY
            if day.weekday() in self.days:
                yield self._instant(day, self.start)

    def _end(self, day: date) -> datetime:
        return self._instant(day + _DAY if self.end <= self.start else day, self.end)

    def _instant(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet hours. Without channels and addresses, the hours apply to all recipients."""

    hours: Hours
    channels: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def is_for(self, target: Target) -> bool:
        """Return whether the quiet hours apply to a recipient."""
        if not (self.channels or self.addresses):
            return True
        return target.channel in self.channels or target.address in self.addresses


@dataclass(frozen=True, slots=True)
class Digest:
    """When the digest is sent, and its recipients."""

    hours: Hours
    to: Recipients

    def slot_before(self, now: datetime) -> datetime:
        """Return the latest due time at or before ``now``."""
        first = now.astimezone(self.hours.zone).date() - 7 * _DAY
        return max(slot for slot in self.hours.starts(first) if slot <= now)

    def slot_after(self, now: datetime) -> datetime:
        """Return the first due time after ``now``."""
        today = now.astimezone(self.hours.zone).date()
        return min(slot for slot in self.hours.starts(today) if slot > now)


@dataclass(frozen=True, slots=True)
class Step:
    """An escalation step: notify the recipients after this time without a response."""

    after: timedelta
    to: Recipients


@dataclass(frozen=True, slots=True)
class Rota:
    """On-call rota. The first shift that contains the current time decides."""

    shifts: tuple[tuple[Hours, str], ...] = ()
    people: Mapping[str, Recipients] = field(default_factory=dict)

    def on_call(self, now: datetime) -> str | None:
        """Return the name of the person on call, or ``None``."""
        return next((who for hours, who in self.shifts if hours.end_after(now) is not None), None)


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """A project's alert policy.

    Args:
        general: Default recipients, for jobs without recipients.
        recovered: Whether to send recovery notices.
        urgent: Alert kinds that ignore quiet hours and escalate.
        quiet: Quiet hours; alerts of kinds that are not urgent wait until the end.
        digest: Digest times and recipients; ``None`` for no digest.
        escalation: Escalation steps, earliest first.
        rota: On-call rota.
        channels: Own channels: maps the name in rules to ``module:name``.
        zone: Time zone for times in messages.
    """

    general: Recipients = NOBODY
    recovered: bool = True
    urgent: frozenset[str] = URGENT
    quiet: tuple[Quiet, ...] = ()
    digest: Digest | None = None
    escalation: tuple[Step, ...] = ()
    rota: Rota = field(default_factory=Rota)
    channels: Mapping[str, str] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: parse_zone("UTC"))

    @classmethod
    def of(cls, project: Project) -> AlertPolicy:
        """Parse a project's policy.

        Raises:
            ProjectError: the policy is invalid.
        """
        options = project.alerts
        zone = options.get("timezone") or project.timezone
        urgent = frozenset(options.get("urgent", URGENT))
        if unknown := urgent - {*get_args(AlertKind), "recovered"}:
            raise ProjectError(f"alerts: there is no kind {min(unknown)!r} that is urgent")
        digest = options.get("digest")
        steps = [
            Step(parse_duration(entry["after"]), Recipients.of(entry))
            for entry in options.get("escalation", ())
        ]
        return cls(
            general=Recipients.of(options),
            recovered=options.get("recovered", True),
            urgent=urgent,
            quiet=tuple(_quiet(entry, zone) for entry in options.get("quiet", ())),
            digest=digest and Digest(_daily(digest, zone), Recipients.of(digest)),
            escalation=tuple(sorted(steps, key=lambda step: step.after)),
            rota=_rota(project.oncall, project.timezone),
            channels=dict(options.get("channels", {})),
            zone=parse_zone(zone),
        )

    @property
    def everybody(self) -> tuple[Target, ...]:
        """Return all recipients in the policy: defaults, digest, escalation, rota."""
        digest = [self.digest.to] if self.digest is not None else []
        every = [self.general, *digest, *(step.to for step in self.escalation)]
        return tuple(
            target
            for recipients in (*every, *self.rota.people.values())
            for target in recipients.targets
        )

    def resolve(self, to: Recipients, now: datetime) -> tuple[Target, ...]:
        """Return the targets without duplicates. With ``to.oncall``, add the targets of the person on call at ``now``."""
        who = self.rota.on_call(now) if to.oncall else None
        called = self.rota.people[who].targets if who is not None else ()
        return tuple(dict.fromkeys((*to.targets, *called)))

    def quiet_until(self, target: Target, now: datetime) -> datetime | None:
        """Return the end of a recipient's current quiet hours, or ``None`` outside quiet hours."""
        ends = [quiet.hours.end_after(now) for quiet in self.quiet if quiet.is_for(target)]
        return max((end for end in ends if end is not None), default=None)


def _quiet(declared: Mapping[str, Any], zone: str) -> Quiet:
    channels = frozenset(
        {"email": "mail"}.get(channel, channel) for channel in declared.get("channels", ())
    )
    return Quiet(Hours.of(declared, zone), channels, frozenset(declared.get("email", ())))


def _daily(declared: Mapping[str, Any], zone: str) -> Hours:
    return Hours.of({**declared, "start": declared["at"]}, zone)


def _rota(declared: Mapping[str, Any], zone: str) -> Rota:
    people = {name: Recipients.of(entry) for name, entry in declared.get("people", {}).items()}
    shifts: Sequence[Mapping[str, Any]] = declared.get("rota", ())
    if unknown := [entry["who"] for entry in shifts if entry["who"] not in people]:
        raise ProjectError(f"oncall: {unknown[0]!r} is in the rota, and not among its people")
    zone = declared.get("timezone") or zone
    return Rota(tuple((Hours.of(entry, zone), entry["who"]) for entry in shifts), people)


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ProjectError(f'alerts: {text!r} is no time of the day such as "07:30"') from None
