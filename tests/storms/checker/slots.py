"""Guarantees of a recurring job: each slot exists once and was run, missed or skipped as the job's policy says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from storms.checker.evidence import FINAL, FOREVER, SKEW, Complaint, Evidence, Run
from storms.checker.runs import may_have_failed
from storms.policies import POLICIES

_EARLIER = re.compile(r"so (?:were|was) (\d+) earlier slots?")
_AHEAD = 1.0
"""Seconds by which a slot may be early, because two clocks are compared."""
_CATCHING_UP = 30.0


def slots_are_there_once(evidence: Evidence) -> Iterator[Complaint]:
    """Slots of a job have no gap and no duplicate from the first to the last."""
    for job, runs in _by_job(evidence).items():
        for before, after in pairwise(runs):
            gap = (_slot(after) - _slot(before)).total_seconds()
            steps = _steps(evidence, job, _slot(before), _slot(after))
            if gap == 0:
                yield Complaint("slots", f"{job} has {_slot(after)} twice", after.id)
            elif (len(steps) == 1 and gap != steps[0] and not _told(after, gap / steps[0] - 1)) or (
                len(steps) > 1 and gap > sum(steps) and not _told(after, gap / max(steps) - 1)
            ):
                yield Complaint(
                    "slots", f"{job} has no slot for {gap:g} s before {_slot(after)}", after.id
                )


def slots_reach_from_begin_to_end(evidence: Evidence) -> Iterator[Complaint]:
    """The first slot comes when the nodes are up, the last slot when they are told to stop."""
    ready = min((node.ready for node in evidence.nodes), default=evidence.quiet)
    by_job = _by_job(evidence)
    for job, policy in POLICIES.items():
        if not policy.every:
            continue
        allowed = max(policy.every) + evidence.limits.margin + _step_back(evidence)
        if evidence.quiet - ready < allowed:
            continue
        runs = by_job.get(job, [])
        first = evidence.mono(_slot(runs[0])) if runs else evidence.quiet
        last = evidence.mono(_slot(runs[-1])) if runs else ready
        if first > ready + allowed:
            yield Complaint("slots", f"{job} begins {first - ready:.1f} s after the first node")
        if last < evidence.quiet - allowed:
            yield Complaint("slots", f"{job} ends {evidence.quiet - last:.1f} s before the nodes")


def slots_are_performed_once(evidence: Evidence) -> Iterator[Complaint]:
    """A slot is executed by its own run alone, and only when due for execution."""
    performed: dict[tuple[str, datetime], set[int]] = defaultdict(set)
    for item in evidence.executions:
        if item.slot is not None:
            performed[item.job, item.slot].add(item.run)
    for (job, slot), runs in performed.items():
        if len(runs) > 1:
            yield Complaint("slots", f"{job} at {slot} was performed by the runs {sorted(runs)}")
    for run in evidence.runs:
        if run.slot is None:
            continue
        done = bool(evidence.executions_by_run.get(run.id))
        if run.state in {"skipped", "missed"} and done:
            yield Complaint("slots", f"{run.job} was {run.state} and yet performed", run.id)
        if run.state == "succeeded" and not done:
            yield Complaint("slots", f"{run.job} succeeded, and nobody performed it", run.id)


def slots_end_as_policy_says(evidence: Evidence) -> Iterator[Complaint]:
    """The run of a slot ends; skipped and missed slots have a reason.

    A slot is skipped only while another run of its job is active, and missed only when no node could create its run.
    """
    for job, runs in _by_job(evidence).items():
        for run in runs:
            if run.state not in FINAL:
                if evidence.mono(_slot(run)) < evidence.quiet - _CATCHING_UP:
                    yield Complaint("slots", f"{job} at {run.slot} is still {run.state}", run.id)
            elif run.state in {"failed", "cancelled"} and not may_have_failed(evidence, run):
                yield Complaint("slots", f"{job} at {run.slot} is {run.state}", run.id)
            elif run.state == "skipped":
                yield from _skipped(evidence, run)
            elif run.state == "missed":
                yield from _missed(evidence, run)


def slots_are_not_early(evidence: Evidence) -> Iterator[Complaint]:
    """No slot is executed, and no slot's run created, before its time by the true clock."""
    if evidence.limits.one_clock and evidence.clock_was_set():
        return  # the only clock was wrong
    for item in evidence.executions:
        if item.slot is not None and item.start < evidence.mono(item.slot) - _AHEAD:
            early = evidence.mono(item.slot) - item.start
            yield Complaint(
                "slots", f"{item.job} at {item.slot} began {early:.1f} s early", item.run
            )
    for run in evidence.runs:
        if run.slot is not None and evidence.mono(run.slot) > evidence.quiet + 60:
            yield Complaint("slots", f"{run.job} has a slot of the future: {run.slot}", run.id)


def new_schedules_stay(evidence: Evidence) -> Iterator[Complaint]:
    """After a release has changed a schedule, no older node writes the old schedule back."""
    for job, runs in _by_job(evidence).items():
        steps = POLICIES[job].every
        if len(steps) == 1 or 2 not in evidence.releases:
            continue
        since, until = _since_second_release(evidence), evidence.back_to_first
        for run in runs:
            if since < evidence.mono(_slot(run)) < until and _slot(run).second % steps[1]:
                yield Complaint("schedule", f"{job} has the old schedule's slot {run.slot}", run.id)


def _skipped(evidence: Evidence, run: Run) -> Iterator[Complaint]:
    blocker = evidence.run_by_id.get(run.blocked_by or -1)
    if POLICIES[run.job].overlap != "skip":
        yield Complaint("slots", f"{run.job} at {run.slot} was skipped, it may overlap", run.id)
    elif blocker is None or blocker.job != run.job:
        yield Complaint("slots", f"{run.job} at {run.slot} was skipped for no run of its", run.id)
    elif not evidence.clock_was_set():
        over = blocker.completed
        if blocker.created > run.created or (over is not None and _was_over(evidence, over, run)):
            text = f"{run.job} at {run.slot} was skipped for run {blocker.id}, which was over"
            yield Complaint("slots", text, run.id)


def _was_over(evidence: Evidence, over: datetime, run: Run) -> bool:
    """Return whether the end of a run was known when a slot was skipped: its time was read before the database could be written."""
    at, slack = evidence.mono(over), SKEW.total_seconds()
    kinds = {"database", "disk", "stop", "cut"}
    held = [
        item.end
        for item in evidence.faults
        if item.kind in kinds and item.start - slack <= at < item.end
    ]
    return max([at, *held]) < evidence.mono(run.created) - slack


def _missed(evidence: Evidence, run: Run) -> Iterator[Complaint]:
    """Yield a complaint if a slot was missed although a node had enough time to create its run."""
    if evidence.clock_was_set():
        return
    slot = evidence.mono(_slot(run))
    soon = slot + evidence.limits.margin
    if evidence.nobody_could(slot, soon) == 0 and soon < evidence.mono(run.created):
        yield Complaint("slots", f"{run.job} at {run.slot} was missed, with nodes up", run.id)


def _steps(evidence: Evidence, job: str, before: datetime, after: datetime) -> tuple[int, ...]:
    """Return the allowed seconds between slots in an interval: those of both schedules while a deploy changes the schedule."""
    steps = POLICIES[job].every
    if len(steps) == 1 or evidence.mono(after) < evidence.releases.get(2, FOREVER):
        return steps[:1]
    if evidence.mono(after) >= evidence.back_to_first:
        return ()
    return steps if evidence.mono(before) < _since_second_release(evidence) else steps[1:]


def _since_second_release(evidence: Evidence) -> float:
    """Return when every node should follow the schedule of release 2."""
    newer = [node.ready for node in evidence.nodes if node.release > 1]
    return min(newer, default=evidence.quiet) + evidence.limits.margin


def _by_job(evidence: Evidence) -> dict[str, list[Run]]:
    """Map recurring jobs to their runs with a slot, in slot order."""
    runs_by_job: dict[str, list[Run]] = defaultdict(list)
    for run in evidence.runs:
        if run.slot is not None and POLICIES[run.job].every:
            runs_by_job[run.job].append(run)
    return {job: sorted(runs, key=_slot) for job, runs in runs_by_job.items()}


def _slot(run: Run) -> datetime:
    assert run.slot is not None
    return run.slot


def _told(run: Run, missing: float) -> bool:
    """Return whether a missed slot reports this number of earlier missed slots."""
    notes = " ".join(change.note for change in run.life)
    match = _EARLIER.search(notes)
    return match is not None and float(match[1]) == missing


def _step_back(evidence: Evidence) -> float:
    """Return how far a wrong clock may have moved the slots, if there is a single clock."""
    wrong = evidence.limits.one_clock and evidence.clock_was_set()
    return timedelta(seconds=20).total_seconds() if wrong else 0
