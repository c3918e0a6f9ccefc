"""What is promised of runs that expire: they begin in time, or are cancelled and never begin."""

from __future__ import annotations

from collections.abc import Iterator

from storms.checker.evidence import Complaint, Evidence, Run

_EXPIRED = "expired: "
_READ_ONCE = 0.01
"""Seconds: a node takes a run and looks at its expiry by one instant, of which the table has the milliseconds."""


def nothing_begins_after_its_expiry(evidence: Evidence) -> Iterator[Complaint]:
    """A run that expires is first taken by a node before that, and is performed then."""
    for run in _that_expire(evidence):
        begun = evidence.executions_by_run.get(run.id, [])
        taken = [line.wall for line in run.life if line.state == "running"]
        assert run.expires is not None
        late = (taken[0] - run.expires).total_seconds() if taken else 0.0
        if late > _READ_ONCE:
            text = f"{run.job} was taken {late:.2f} s after its expiry"
            yield Complaint("expiry", text, run.id)
        if not begun or len(taken) > 1 or evidence.clock_was_set():
            continue  # who had it first was lost: it has begun, and does not expire
        late = begun[0].start - evidence.mono(run.expires)
        late -= evidence.hindered(begun[0].node, evidence.mono(run.expires), begun[0].start)
        if late > evidence.limits.margin:
            text = f"{run.job} began {late:.2f} s after its expiry"
            yield Complaint("expiry", text, run.id)


def what_expires_is_cancelled(evidence: Evidence) -> Iterator[Complaint]:
    """A run that expires ends well, or is cancelled with that reason, not before its time, and is not performed."""
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
