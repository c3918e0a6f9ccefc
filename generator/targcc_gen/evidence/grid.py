"""Starts against the times that a schedule names, by the old server's wall clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from targcc_scheduler.schedules.cron import CronSchedule

from targcc_gen.spec import JobSpec

Slots = Callable[[datetime, datetime], Iterator[datetime]]
"""The times that a schedule names from one moment up to, and not including, another; wall clock."""

Waited = Callable[[datetime], bool]
"""Whether a start came right after another run of its queue had ended."""

EARLY = timedelta(minutes=1)
_LATEST = timedelta(minutes=15)
_LONGEST_WAIT = timedelta(hours=6)
_MOST = 20_000
_WINDOW = 400


@dataclass(frozen=True, slots=True)
class Match:
    """How starts lie on a schedule.

    Attributes:
        starts: How many starts were looked at.
        explained: How many came at a time that the schedule names, or soon after.
        slots: How many times it names between the first and the last start.
        covered: How many of these had a start.
        strays: The starts that came at no such time.
    """

    starts: int
    explained: int
    slots: int
    covered: int
    strays: tuple[datetime, ...]

    @property
    def score(self) -> float:
        """From 0 to 1: the share of starts explained, times the share of named times that had a start."""
        if not self.starts or not self.slots:
            return 0.0
        return self.explained / self.starts * self.covered / self.slots


def cron_slots(*texts: CronSchedule) -> Slots:
    """The times of cron expressions; of several, those of each."""

    def between(low: datetime, high: datetime) -> Iterator[datetime]:
        found: set[datetime] = set()
        for schedule in texts:
            moments = schedule.between(low.replace(tzinfo=UTC), high.replace(tzinfo=UTC), UTC)
            for count, moment in enumerate(moments):
                if count >= _MOST:
                    break
                found.add(moment.replace(tzinfo=None))
        return iter(sorted(found))

    return between


def slots_of(spec: JobSpec) -> Slots | None:
    """The times that a job's schedule names; None if it names none, or follows its own runs."""
    if spec.cron is not None:
        return cron_slots(CronSchedule.parse(spec.cron))
    if spec.every is not None and spec.anchor is not None and spec.after is None:
        return _interval_slots(spec.anchor.replace(tzinfo=None), spec.every)
    return None


def _interval_slots(anchor: datetime, every: timedelta) -> Slots:
    def between(low: datetime, high: datetime) -> Iterator[datetime]:
        moment = anchor + every * -((anchor - low) // every)
        for _ in range(_MOST):
            if moment >= high:
                return
            if moment >= low:
                yield moment
            moment += every

    return between


def window(starts: Sequence[datetime]) -> list[datetime]:
    """The latest starts, in order: what counts is what the server did last."""
    return sorted(starts)[-_WINDOW:]


def match(starts: Sequence[datetime], slots: Slots, waited: Waited | None = None) -> Match:
    """Lay starts, in order, on a schedule.

    Args:
        starts: When it started.
        slots: What the schedule names.
        waited: Whether a start came late because another run was in its way.
    """
    if not starts:
        return Match(0, 0, 0, 0, ())
    named = list(
        slots(
            starts[0] - (_LONGEST_WAIT if waited else _LATEST),
            starts[-1] + EARLY + timedelta(seconds=1),
        )
    )
    late = tolerance(named)
    hit: set[datetime] = set()
    strays = []
    for start in starts:
        index = bisect_right(named, start + EARLY) - 1
        on_time = index >= 0 and start - named[index] <= late
        in_queue = index >= 0 and named[index] not in hit and waited is not None and waited(start)
        if on_time or in_queue:
            hit.add(named[index])
        else:
            strays.append(start)
    expected = [one for one in named if one >= starts[0] - late or one in hit]
    if expected and expected[0] not in hit and expected[0] < starts[0]:
        expected = expected[1:]
    return Match(len(starts), len(starts) - len(strays), len(expected), len(hit), tuple(strays))


def tolerance(named: Sequence[datetime]) -> timedelta:
    """How late a start may be and still belong to its time: a quarter of an hour, or half the shortest gap."""
    gaps = [later - earlier for earlier, later in pairwise(named)]
    return min([_LATEST, *(gap / 2 for gap in gaps[:_WINDOW])])


def missed(slots: Slots, after: datetime, until: datetime) -> int:
    """How many named times passed after a moment; at most some thousand are counted."""
    return sum(1 for _ in slots(after + EARLY, until))
