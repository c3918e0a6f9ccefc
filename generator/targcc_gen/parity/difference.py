"""A difference between the old runner and the new schedule, and the moments that make one up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from targcc_scheduler.schedules.dst import ClockChange

from targcc_gen.sources.model import ImportedJob

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the old and the new schedule part.

    Attributes:
        job: The job.
        kind: ``next run``, ``spring``, ``autumn``, ``month end``, ``hung runner``, ``day and weekday``, ``seconds`` or ``calendar``.
        at: The first moment of this kind.
        old: What the old runner does then, in words.
        new: What the new scheduler does.
        count: How many moments of this kind there are within the period that is compared, as far as they were counted.
    """

    job: ImportedJob
    kind: str
    at: datetime
    old: str
    new: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Apart:
    """A moment at which only one of the two runs; ``ran``: the old runner."""

    at: datetime
    ran: bool


def apart(olds: Iterable[datetime], news: Iterable[datetime]) -> list[Apart]:
    """The moments at which only one of the two runs, in order."""
    old, new = set(olds), set(news)
    return [Apart(moment, moment in old) for moment in sorted(old ^ new)]


def by_kind(
    found: Iterable[Apart],
    kind_of: Callable[[Apart], str],
    words: Callable[[str, Apart, int], tuple[str, str]],
    job: ImportedJob,
) -> list[Difference]:
    """One difference of each kind, with its first moment as the witness.

    Args:
        found: The moments, in order.
        kind_of: The kind of a moment.
        words: What old and new do, of a kind, its first moment and the number of its moments.
        job: The job.
    """
    kinds: dict[str, list[Apart]] = {}
    for one in found:
        kinds.setdefault(kind_of(one), []).append(one)
    return [
        Difference(job, kind, moments[0].at, *words(kind, moments[0], len(moments)), len(moments))
        for kind, moments in kinds.items()
    ]


def season(night: ClockChange) -> str:
    """Whether clocks are put forward or back."""
    return "spring" if night.size > timedelta(0) else "autumn"


def night_of(nights: Sequence[ClockChange], moment: datetime) -> ClockChange | None:
    """The clock change within a day of a moment."""
    return next((night for night in nights if abs(moment - night.at) <= DAY), None)


def change_at(nights: Sequence[ClockChange], moment: datetime) -> ClockChange | None:
    """The clock change that touches a moment: it is the end of a gap, or in a time that comes twice."""
    return next(
        (n for n in nights if n.at - abs(n.size) <= moment < n.at + abs(n.size)),
        None,
    )
