"""What people may rely on: by when a job has finished, how soon its runs start, how often it succeeds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from ..core.errors import JobError
from ..schedules import CronError, parse_duration, parse_zone

_TIME = re.compile(r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")
_AT_LEAST = re.compile(r"(?P<count>[1-9]\d{0,5}) success(?:es)? in (?P<span>\S+)")


@dataclass(frozen=True, slots=True)
class Expectations:
    """What must hold of a job; people are told when it does not.

    Args:
        finish_by: The time of the day, in the job's zone, by which the runs of its last slot before have succeeded.
        start_within: How long after it is due a run may wait.
        successes: At least so many runs succeed ...
        within: ... in so long.
        at_least: The same as it is written.
        ping: An address that is fetched after each run that succeeds, or a reference to it, such as ``${PING_URL}``.
    """

    finish_by: time | None = None
    start_within: timedelta | None = None
    successes: int = 0
    within: timedelta = timedelta()
    at_least: str = ""
    ping: str | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether anything is expected."""
        return bool(self.finish_by or self.start_within or self.successes)


def expectations(
    key: str,
    *,
    must_finish_by: str | None = None,
    must_start_within: str | timedelta | None = None,
    at_least: str | None = None,
    ping: str | None = None,
) -> Expectations:
    """The expectations that a job's options say.

    Raises:
        JobError: one cannot be read.
    """
    successes, within = _at_least(key, at_least) if at_least else (0, timedelta())
    return Expectations(
        finish_by=_time(key, must_finish_by) if must_finish_by else None,
        start_within=_duration(key, "must_start_within", must_start_within),
        successes=successes,
        within=within,
        at_least=" ".join((at_least or "").split()),
        ping=ping,
    )


def deadline_before(finish_by: time, zone: str, now: datetime) -> datetime:
    """The last instant at which the clock of a zone showed a time of the day."""
    local = now.astimezone(parse_zone(zone))
    today = local.replace(
        hour=finish_by.hour, minute=finish_by.minute, second=0, microsecond=0, fold=0
    )
    return today if today <= local else today - timedelta(days=1)


def _time(key: str, text: str) -> time:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise JobError(f'{key}: must_finish_by is a time of the day such as "06:00", not {text!r}')
    return time(int(found["hour"]), int(found["minute"]))


def _at_least(key: str, text: str) -> tuple[int, timedelta]:
    found = _AT_LEAST.fullmatch(" ".join(text.split()))
    span = None if found is None else _duration(key, "at_least", found["span"])
    if found is None or span is None:
        raise JobError(f'{key}: at_least is such as "1 success in 26h", not {text!r}')
    return int(found["count"]), span


def _duration(key: str, option: str, value: str | timedelta | None) -> timedelta | None:
    try:
        found = parse_duration(value) if isinstance(value, str) else value
    except CronError as error:
        raise JobError(f"{key}: {option}: {error}") from None
    if found is not None and found <= timedelta():
        raise JobError(f"{key}: {option} is a duration above 0")
    return found
