"""What is promised of jobs of which only so many runs are performed at once: their room is used, and who waits is not passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storms.checker.evidence import FOREVER, SKEW, Complaint, Evidence, Run
from storms.policies import POLICIES

Span = tuple[float, float]
_WAITS = {"queue": {"enqueued"}, "allow": {"awaiting"}}
_HAS_ROOM = {"queue": {"running"}, "allow": {"enqueued", "running"}}
"""The states in which runs wait for room, and in which they have it: of jobs that wait for their turn, and of those with a limit, by ``overlap``."""
SUSPECT_AFTER = 2
"""A run that has cost so many workers may have to wait for others of its kind, whatever their jobs."""
_MOST_PASSED = 1
"""Runs of a job may change places by one."""


@dataclass(frozen=True)
class Stay:
    """A run was in a state from one instant to another, and had lost so many workers by then."""

    run: Run
    state: str
    start: float
    end: float
    lost: int


def room_is_used(evidence: Evidence) -> Iterator[Complaint]:
    """While runs of a job wait that go on in the end, its room is not left empty for longer than a node takes to find out that another one is lost."""
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
    """Where runs wait for their turn, at most one of those that came later goes before one that waits."""
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
                whose = ", ".join(f"run {one.run.id}" for one in later)
                text = f"{job} waited {stay.end - stay.start:.1f} s for its turn, and {len(later)} that came later began ({whose})"
                yield Complaint("turns", text, stay.run.id)


def others_had_its_room(evidence: Evidence, job: str, run: int) -> list[Span]:
    """When as many other runs of a job as may be at once were under way, so that one that waited could not go on."""
    most = POLICIES[job].at_once
    if most is None or evidence.clock_was_set():
        return []
    return _full(evidence, job, most, but=run)


def _full(evidence: Evidence, job: str, most: int, but: int | None = None) -> list[Span]:
    """When so many runs of a job had room, one left out."""
    has_room = _HAS_ROOM[POLICIES[job].overlap]
    stays = stays_of(evidence, job)
    return _when([stay for stay in stays if stay.state in has_room and stay.run.id != but], most)


def _limited(evidence: Evidence) -> dict[str, int]:
    """The jobs with a limit, unless the clocks that date what became of their runs were set."""
    if evidence.clock_was_set():
        return {}
    return {name: policy.at_once for name, policy in POLICIES.items() if policy.at_once is not None}


def _may_go(stay: Stay) -> bool:
    waits = _WAITS[POLICIES[stay.run.job].overlap]
    return stay.state in waits and stay.lost < SUSPECT_AFTER


def stays_of(evidence: Evidence, job: str) -> list[Stay]:
    """The lives of a job's runs, state by state."""
    found = []
    for run in evidence.runs_by_job[job]:
        lost, ends = 0, [evidence.mono(change.wall) for change in run.life[1:]]
        for change, end in zip(run.life, [*ends, FOREVER], strict=True):
            lost += change.lost is not None
            found.append(Stay(run, change.state, evidence.mono(change.wall), end, lost))
    return found


def _when(stays: list[Stay], count: int) -> list[Span]:
    """When there were so many or more of some stays at once."""
    found: list[Span] = []
    there, since = 0, 0.0
    changes = [(stay.start, 1) for stay in stays] + [(stay.end, -1) for stay in stays]
    for at, change in sorted(changes):
        before, there = there, there + change
        if before < count <= there:
            since = at
        elif there < count <= before and at > since:
            found.append((since, at))
    return found


def _gaps(spans: list[Span], start: float, end: float) -> Iterator[Span]:
    """What of an interval lies in none of the spans, which are in order."""
    reached = start
    for begin, stop in spans:
        if begin > reached and reached < end:
            yield reached, min(begin, end)
        reached = max(reached, stop)
    if reached < end:
        yield reached, end
