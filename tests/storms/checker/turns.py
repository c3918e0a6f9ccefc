"""Guarantees of jobs with a limit: their capacity is used, and waiting runs are not overtaken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storms.checker.evidence import FOREVER, SKEW, Complaint, Evidence, Run
from storms.policies import POLICIES

Span = tuple[float, float]
_WAITS = {"queue": {"enqueued"}, "allow": {"awaiting"}}
_HAS_ROOM = {"queue": {"running"}, "allow": {"enqueued", "running"}}
"""States of waiting runs, and states that hold capacity, by ``overlap``: ``queue`` for jobs that run in turn, ``allow`` for jobs with a
limit.
"""
SUSPECT_AFTER = 2
"""Lost workers from which a run may have to wait for other suspected runs of any job."""
_MOST_PASSED = 1
"""Number of later runs that may overtake a waiting run."""


@dataclass(frozen=True)
class Stay:
    """Interval of a run in a state, with the number of workers lost by then."""

    run: Run
    state: str
    start: float
    end: float
    lost: int


def room_is_used(evidence: Evidence) -> Iterator[Complaint]:
    """While runs of a job wait and continue later, capacity is never unused for longer than the detection of a lost node takes."""
    allowed = evidence.limits.lost_after + evidence.limits.margin
    for job, most in _limited(evidence).items():
        stays = stays_of(evidence, job)
        waits = _when([stay for stay in stays if _may_go(stay) and stay.end < FOREVER], 1)
        full = _full(evidence, job, most)
        for start, end in waits:
            for idle, until in _gaps(full, start, end):
                if until - idle - evidence.nobody_could(idle, until) > allowed:
                    text = f"runs of {job} waited for {until - idle:.1f} s and there was room"
                    yield Complaint("turns", text)


def nobody_is_passed_over(evidence: Evidence) -> Iterator[Complaint]:
    """With runs in turn, at most one later run overtakes a waiting run."""
    for job in _limited(evidence):
        if POLICIES[job].overlap != "queue":
            continue
        stays = stays_of(evidence, job)
        begun = [stay for stay in stays if stay.state == "running"]
        slack = SKEW.total_seconds()
        for stay in filter(_may_go, stays):
            later = [
                other
                for other in begun
                if stay.start + slack < other.start < stay.end
                and other.run.slot is not None
                and evidence.mono(other.run.slot) > stay.start + slack
            ]
            if len(later) > _MOST_PASSED:
                whose = ", ".join(f"run {overtaker.run.id}" for overtaker in later)
                text = f"{job} waited {stay.end - stay.start:.1f} s for its turn, and {len(later)} that came later began ({whose})"
                yield Complaint("turns", text, stay.run.id)


def others_had_its_room(evidence: Evidence, job: str, run: int) -> list[Span]:
    """Return when the other runs of a job used its whole capacity, so that a waiting run could not start."""
    most = POLICIES[job].at_once
    if most is None or evidence.clock_was_set():
        return []
    return _full(evidence, job, most, but=run)


def _full(evidence: Evidence, job: str, most: int, but: int | None = None) -> list[Span]:
    """Return when a job's capacity was used up, without counting one run."""
    has_room = _HAS_ROOM[POLICIES[job].overlap]
    stays = stays_of(evidence, job)
    return _when([stay for stay in stays if stay.state in has_room and stay.run.id != but], most)


def _limited(evidence: Evidence) -> dict[str, int]:
    """Return the jobs with a limit; none when the clocks that date their runs were set."""
    if evidence.clock_was_set():
        return {}
    return {name: policy.at_once for name, policy in POLICIES.items() if policy.at_once is not None}


def _may_go(stay: Stay) -> bool:
    waits = _WAITS[POLICIES[stay.run.job].overlap]
    return stay.state in waits and stay.lost < SUSPECT_AFTER


def stays_of(evidence: Evidence, job: str) -> list[Stay]:
    """Return the intervals of a job's runs, state by state."""
    stays = []
    for run in evidence.runs_by_job[job]:
        lost, ends = 0, [evidence.mono(change.wall) for change in run.life[1:]]
        for change, end in zip(run.life, [*ends, FOREVER], strict=True):
            lost += change.lost is not None
            stays.append(Stay(run, change.state, evidence.mono(change.wall), end, lost))
    return stays


def _when(stays: list[Stay], count: int) -> list[Span]:
    """Return the spans in which at least ``count`` intervals overlap."""
    spans: list[Span] = []
    overlapping, since = 0, 0.0
    changes = [(stay.start, 1) for stay in stays] + [(stay.end, -1) for stay in stays]
    for at, change in sorted(changes):
        before, overlapping = overlapping, overlapping + change
        if before < count <= overlapping:
            since = at
        elif overlapping < count <= before and at > since:
            spans.append((since, at))
    return spans


def _gaps(spans: list[Span], start: float, end: float) -> Iterator[Span]:
    """Yield the parts of an interval outside all spans; the spans are in order."""
    reached = start
    for begin, stop in spans:
        if begin > reached and reached < end:
            yield reached, min(begin, end)
        reached = max(reached, stop)
    if reached < end:
        yield reached, end
