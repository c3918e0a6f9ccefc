"""Guarantees of queues that share workers, of paused queues, and of a queue that counts waiting time."""

from __future__ import annotations

from collections.abc import Iterator

from storms.checker.evidence import SKEW, Complaint, Evidence
from storms.checker.runs import counts_until
from storms.checker.turns import SUSPECT_AFTER, Stay, stays_of
from storms.policies import AGING, AGING_SECONDS, POLICIES, POOL, POOL_WORKERS

_SLACK = SKEW.total_seconds()


def no_more_than_its_workers(evidence: Evidence) -> Iterator[Complaint]:
    """A node executes at most as many concurrent runs of a pool as the pool has workers."""
    items = [
        (item, counts_until(evidence, item))
        for item in evidence.executions
        if POLICIES[item.job].queue in POOL
    ]
    for item, _ in items:
        running = {
            other.run
            for other, end in items
            if other.node == item.node and other.start <= item.start < end
        }
        if len(running) > POOL_WORKERS:
            text = f"{len(running)} at once on {item.node}, not {POOL_WORKERS}: {sorted(running)}"
            yield Complaint("pool", text, item.run)


def nothing_begins_while_paused(evidence: Evidence) -> Iterator[Complaint]:
    """No run of a paused queue is claimed, and runs claimed before have begun soon."""
    for pause in evidence.pauses:
        since = pause.start + evidence.limits.margin
        for item in evidence.executions:
            is_in_queue = POLICIES[item.job].queue == pause.queue
            if is_in_queue and since < item.start < pause.end:
                text = f"{item.job} began {item.start - pause.start:.1f} s after {pause.queue} was paused"
                yield Complaint("paused", text, item.run)
        for stay in _taken(evidence, pause.queue):
            if pause.start + _SLACK < stay.start < pause.end - _SLACK:
                text = f"{stay.run.job} was taken {stay.start - pause.start:.1f} s after {pause.queue} was paused"
                yield Complaint("paused", text, stay.run.id)


def the_lower_waits_for_the_higher(evidence: Evidence) -> Iterator[Complaint]:
    """In strict order, no run of a lower queue is claimed while a run of a higher queue has been ready for longer than the margin."""
    if not evidence.strict:
        return
    for place, lower in enumerate(POOL):
        for higher in POOL[:place]:
            ready = _ready(evidence, higher)
            for taken in _taken(evidence, lower):
                for stay in ready:
                    waited = _waited(evidence, stay, taken.start)
                    if waited > evidence.limits.margin:
                        text = f"{taken.run.job} was taken, and run {stay.run.id} of {higher} had been ready for {waited:.1f} s"
                        yield Complaint("order", text, taken.run.id)


def who_has_more_points_goes_first(evidence: Evidence) -> Iterator[Complaint]:
    """With ageing, no run is claimed while another ready run has been ahead in points for longer than the margin."""
    ready, margin = _ready(evidence, AGING), evidence.limits.margin
    for taken in _taken(evidence, AGING):
        for stay in ready:
            ahead = _since(evidence, taken) - _since(evidence, stay)
            if ahead > margin and _waited(evidence, stay, taken.start) > margin:
                text = f"{taken.run.job} was taken, and run {stay.run.id} was {ahead / AGING_SECONDS:.1f} points ahead"
                yield Complaint("order", text, taken.run.id)


def _since(evidence: Evidence, stay: Stay) -> float:
    """Return the start of the wait that gives a run the same points without a priority; a retry starts a new wait."""
    changes = [(evidence.mono(change.wall), change.state) for change in stay.run.life]
    retried = [at for at, state in changes if state == "retrying" and at <= stay.start]
    since = max(retried, default=evidence.mono(stay.run.created))
    return since - POLICIES[stay.run.job].priority * AGING_SECONDS


def _waited(evidence: Evidence, stay: Stay, until: float) -> float:
    """Return for how long a run had been ready at an instant; 0 if it was not ready then."""
    if not stay.start < until < stay.end - _SLACK:
        return 0
    paused = evidence.paused(POLICIES[stay.run.job].queue)
    return until - stay.start - evidence.nobody_could(stay.start, until, paused)


def _taken(evidence: Evidence, queue: str) -> list[Stay]:
    """Return when nodes claimed the runs of a queue."""
    return [stay for stay in _stays_in(evidence, queue) if stay.state == "running"]


def _ready(evidence: Evidence, queue: str) -> list[Stay]:
    """Return when the runs of a queue were ready."""
    stays = _stays_in(evidence, queue)
    return [stay for stay in stays if stay.state == "enqueued" and stay.lost < SUSPECT_AFTER]


def _stays_in(evidence: Evidence, queue: str) -> list[Stay]:
    if evidence.clock_was_set():  # clocks date the intervals
        return []
    jobs = [job for job, policy in POLICIES.items() if policy.queue == queue]
    return [stay for job in jobs for stay in stays_of(evidence, job)]
