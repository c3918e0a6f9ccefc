"""Guarantees of expiring runs: they begin in time, or are cancelled and never begin."""

from __future__ import annotations

from collections.abc import Iterator

from storms.checker.evidence import Complaint, Evidence, Run

_EXPIRED = "expired: "
_READ_ONCE = 0.01
"""Seconds of tolerance: a node claims a run and checks its expiry at one instant, stored in milliseconds."""


def nothing_begins_after_its_expiry(evidence: Evidence) -> Iterator[Complaint]:
    """The first claim of an expiring run is before its expiry, and the run executes then."""
    for run in _that_expire(evidence):
        begun = evidence.executions_by_run.get(run.id, [])
        taken = [line.wall for line in run.life if line.state == "running"]
        assert run.expires is not None
        late = (taken[0] - run.expires).total_seconds() if taken else 0.0
        if late > _READ_ONCE:
            text = f"{run.job} was taken {late:.2f} s after its expiry"
            yield Complaint("expiry", text, run.id)
        if not begun or len(taken) > 1 or evidence.clock_was_set():
            continue  # its first node was lost: a run that has begun does not expire
        late = begun[0].start - evidence.mono(run.expires)
        late -= evidence.hindered(begun[0].node, evidence.mono(run.expires), begun[0].start)
        if late > evidence.limits.margin:
            text = f"{run.job} began {late:.2f} s after its expiry"
            yield Complaint("expiry", text, run.id)


def what_expires_is_cancelled(evidence: Evidence) -> Iterator[Complaint]:
    """An expiring run ends in its policy's state, or is cancelled for its expiry, not too early, and without an execution."""
    for run in _that_expire(evidence):
        if run.state != "cancelled":
            continue
        how = f"{run.job} is cancelled: {run.message}"
        if not run.message.startswith(_EXPIRED):
            yield Complaint("expiry", f"without that reason, {how}", run.id)
        if run.id in evidence.executions_by_run:
            yield Complaint("expiry", f"was performed, and {how}", run.id)
        if run.completed is not None and run.expires is not None and run.completed < run.expires:
            yield Complaint("expiry", f"before its time, {how}", run.id)


def _that_expire(evidence: Evidence) -> Iterator[Run]:
    return (run for run in evidence.runs if run.expires is not None)
