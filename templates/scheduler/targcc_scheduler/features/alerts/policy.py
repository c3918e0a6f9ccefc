"""What a project says about its alerts as a whole: who hears of jobs that name nobody, quiet hours, escalation, the digest, who is on call.

It is the ``alerts:`` and ``oncall:`` of targcc.yaml, or the same as plain mappings in :class:`~..project.Project`.
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
"""What goes through quiet hours and is escalated, where nothing else is said."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Target:
    """One recipient.

    Args:
        channel: The way to it.
        address: A mail address, a webhook's URL, or what an own channel takes; it may be a reference if it is ``from_code``.
        from_code: Whether the address may refer to secrets.
    """

    channel: str
    address: str = field(repr=False)
    from_code: bool = True


@dataclass(frozen=True, slots=True)
class Recipients:
    """Some recipients, and perhaps whoever is on call."""

    targets: tuple[Target, ...] = ()
    oncall: bool = False

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Recipients:
        """Those that a mapping with ``email``, ``slack``, ``teams``, ``webhook``, ``other`` and ``oncall`` names."""
        named = [("slack", said.get("slack")), ("teams", said.get("teams"))]
        named += [("webhook", said.get("webhook")), *dict(said.get("other") or {}).items()]
        mails = [Target("mail", one) for one in said.get("email") or ()]
        others = [Target(channel, address) for channel, address in named if address]
        return cls((*mails, *others), oncall=bool(said.get("oncall")))


NOBODY = Recipients()


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of some days of the week, by the clock of a zone; those that end at or before their start end on the next day.

    Args:
        start: When they begin.
        end: When they end.
        days: The days they begin on, Monday is 0.
        zone: Whose clock counts.
    """

    start: time
    end: time
    days: frozenset[int]
    zone: ZoneInfo

    @classmethod
    def of(cls, said: Mapping[str, Any], zone: str) -> Hours:
        """Those that a mapping with ``start``, ``end``, ``days`` and ``timezone`` says; what it does not say is every day, all day."""
        days = said.get("days") or DAYS
        if unknown := [day for day in days if day not in DAYS]:
            raise ProjectError(f"alerts: no day of the week {unknown[0]!r}: {', '.join(DAYS)}")
        return cls(
            _time(said.get("start", "00:00")),
            _time(said.get("end", "00:00")),
            frozenset(DAYS.index(day) for day in days),
            parse_zone(said.get("timezone") or zone),
        )

    def end_after(self, now: datetime) -> datetime | None:
        """When they end; ``None``: now is outside of them."""
        today = now.astimezone(self.zone).date()
        for day in (today, today - _DAY):
            if day.weekday() in self.days:
                start, end = self._instant(day, self.start), self._end(day)
                if start <= now < end:
                    return end
        return None

    def starts(self, first: date) -> Iterable[datetime]:
        """When they begin, on the days from a date on."""
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
    """Quiet hours; those that name no channel and no address are everybody's."""

    hours: Hours
    channels: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def is_for(self, target: Target) -> bool:
        """Whether they are a recipient's."""
        if not (self.channels or self.addresses):
            return True
        return target.channel in self.channels or target.address in self.addresses


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest: when, and to whom."""

    hours: Hours
    to: Recipients

    def slot_before(self, now: datetime) -> datetime:
        """The last time it was due."""
        first = now.astimezone(self.hours.zone).date() - 7 * _DAY
        return max(slot for slot in self.hours.starts(first) if slot <= now)

    def slot_after(self, now: datetime) -> datetime:
        """The next time it is due."""
        today = now.astimezone(self.hours.zone).date()
        return min(slot for slot in self.hours.starts(today) if slot > now)


@dataclass(frozen=True, slots=True)
class Step:
    """Who is told when nobody has done anything about an alert for so long."""

    after: timedelta
    to: Recipients


@dataclass(frozen=True, slots=True)
class Rota:
    """Who is on call: the first shift that holds decides."""

    shifts: tuple[tuple[Hours, str], ...] = ()
    people: Mapping[str, Recipients] = field(default_factory=dict)

    def on_call(self, now: datetime) -> str | None:
        """The name of who is on call; ``None``: nobody."""
        return next((who for hours, who in self.shifts if hours.end_after(now) is not None), None)


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """See this module.

    Args:
        general: Who hears of jobs that name nobody.
        recovered: Whether people are told that something is well again.
        urgent: The kinds of alerts that go through quiet hours, and are escalated.
        quiet: When other alerts wait.
        digest: When a digest goes out, and to whom.
        escalation: Who is told next.
        rota: Who is on call.
        channels: Own channels: ``module:name`` by the name that rules call them.
        zone: In which times of messages are.
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
        """What a project says.

        Raises:
            ProjectError: it says something that cannot be.
        """
        said = project.alerts
        zone = said.get("timezone") or project.timezone
        urgent = frozenset(said.get("urgent", URGENT))
        if unknown := urgent - {*get_args(AlertKind), "recovered"}:
            raise ProjectError(f"alerts: there is no kind {min(unknown)!r} that is urgent")
        digest = said.get("digest")
        steps = [
            Step(parse_duration(one["after"]), Recipients.of(one))
            for one in said.get("escalation", ())
        ]
        return cls(
            general=Recipients.of(said),
            recovered=said.get("recovered", True),
            urgent=urgent,
            quiet=tuple(_quiet(one, zone) for one in said.get("quiet", ())),
            digest=digest and Digest(_daily(digest, zone), Recipients.of(digest)),
            escalation=tuple(sorted(steps, key=lambda step: step.after)),
            rota=_rota(project.oncall, project.timezone),
            channels=dict(said.get("channels", {})),
            zone=parse_zone(zone),
        )

    @property
    def everybody(self) -> tuple[Target, ...]:
        """Every recipient that it names."""
        digest = [self.digest.to] if self.digest is not None else []
        every = [self.general, *digest, *(step.to for step in self.escalation)]
        return tuple(
            target for one in (*every, *self.rota.people.values()) for target in one.targets
        )

    def resolve(self, to: Recipients, now: datetime) -> tuple[Target, ...]:
        """Each recipient once, with whoever is on call now."""
        who = self.rota.on_call(now) if to.oncall else None
        called = self.rota.people[who].targets if who is not None else ()
        return tuple(dict.fromkeys((*to.targets, *called)))

    def quiet_until(self, target: Target, now: datetime) -> datetime | None:
        """When the quiet hours of a recipient end; ``None``: it has none now."""
        ends = [one.hours.end_after(now) for one in self.quiet if one.is_for(target)]
        return max((end for end in ends if end is not None), default=None)


def _quiet(said: Mapping[str, Any], zone: str) -> Quiet:
    channels = frozenset({"email": "mail"}.get(one, one) for one in said.get("channels", ()))
    return Quiet(Hours.of(said, zone), channels, frozenset(said.get("email", ())))


def _daily(said: Mapping[str, Any], zone: str) -> Hours:
    return Hours.of({**said, "start": said["at"]}, zone)


def _rota(said: Mapping[str, Any], zone: str) -> Rota:
    people = {name: Recipients.of(one) for name, one in said.get("people", {}).items()}
    shifts: Sequence[Mapping[str, Any]] = said.get("rota", ())
    if unknown := [one["who"] for one in shifts if one["who"] not in people]:
        raise ProjectError(f"oncall: {unknown[0]!r} is in the rota, and not among its people")
    zone = said.get("timezone") or zone
    return Rota(tuple((Hours.of(one, zone), one["who"]) for one in shifts), people)


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ProjectError(f'alerts: {text!r} is no time of the day such as "07:30"') from None
