"""Causes for a second execution of a run: faults of its node, its worker process or its database, with their times."""

from __future__ import annotations

from storms.checker.evidence import FOREVER, Evidence, Execution, Fault, Node
from storms.policies import POLICIES

_HANDED_OVER = 1.0
"""Seconds within which a message of a worker process reaches its node."""
_BEGINS = 0.5
"""Seconds between the record of a fault and the fault itself; a job may begin in between."""
_WAKES = 0.5
"""Seconds after a long silence within which a node notices that it was declared lost."""
_EARLY = 2.0
"""Seconds after a stop signal within which a node may still begin a claimed run."""


def has_cause(evidence: Evidence, before: Execution, after: Execution) -> bool:
    """Return whether a run may execute again: after a retried failure, or after a fault that kept its end from being written."""
    crash = crash_of(evidence, before)
    node = evidence.node_by_name.get(before.node)
    return (
        _is_retried(evidence, before, after)
        or (crash is not None and crash.start <= after.start)
        or (node is not None and _went(evidence, before, after, node))
        or silenced(evidence, before, after.start)
        or (after.attempt < before.attempt and has_just_woken(evidence, after))
    )


def own_failures(evidence: Evidence, item: Execution) -> int:
    """Return how many attempts of a run had failed by themselves or with their worker process, including this attempt."""
    return item.attempt - losses(evidence, item.run, item.start)


def losses(evidence: Evidence, run: int, until: float) -> int:
    """Return how many workers a run had lost by an instant; all its losses when clocks were set, because their times are unreliable."""
    row = evidence.run_by_id.get(run)
    lost = [change for change in (row.life if row else ()) if change.lost]
    if evidence.clock_was_set():
        return len(lost)
    return sum(evidence.mono(change.wall) <= until for change in lost)


def crash_of(evidence: Evidence, item: Execution) -> Fault | None:
    """Return the fault that killed the worker process of an execution before the node knew its end."""
    last = FOREVER if item.end is None else item.end + _HANDED_OVER
    for fault in evidence.faults:
        hits_process = fault.kind == "worker" and fault.pid == item.pid and fault.hits(item.node)
        if hits_process and item.start - _BEGINS <= fault.start <= last:
            return fault
    return None


def is_unwritten(evidence: Evidence, item: Execution, gone: float) -> bool:
    """Return whether the end of an execution may have been unwritten when its node disappeared."""
    if item.end is None or item.end >= gone:
        return True
    waits = evidence.limits.margin + evidence.hindered(item.node, item.end, gone)
    return gone - item.end <= waits


def silenced(evidence: Evidence, item: Execution, until: float) -> bool:
    """Return whether a node was silent for so long before the end was written that it may have been declared lost."""
    for fault in evidence.faults:
        if fault.kind not in {"stop", "cut"} or not fault.hits(item.node):
            continue
        if fault.within(item.start, until) >= evidence.limits.silence and is_unwritten(
            evidence, item, fault.start
        ):
            return True
    return False


def has_just_woken(evidence: Evidence, item: Execution) -> bool:
    """Return whether a node began a run claimed before its long silence, without knowing yet that another node has the run."""
    return any(
        fault.kind in {"stop", "cut"}
        and fault.hits(item.node)
        and fault.end - fault.start >= evidence.limits.silence
        and fault.start <= item.start <= fault.end + _WAKES
        for fault in evidence.faults
    )


def _is_retried(evidence: Evidence, before: Execution, after: Execution) -> bool:
    failed = before.outcome == "failed" and after.attempt > before.attempt
    return failed and own_failures(evidence, before) <= POLICIES[before.job].retries


def _went(evidence: Evidence, before: Execution, after: Execution, node: Node) -> bool:
    """Return whether the node was killed or told to stop before the execution had ended, or before the end could be written."""
    if node.by == "kill" and before.start <= node.ended and node.gone <= after.start:
        killed = is_unwritten(evidence, before, node.gone)
    else:
        killed = False
    return killed or _stopped(evidence, before, after, node)


def _stopped(evidence: Evidence, before: Execution, after: Execution, node: Node) -> bool:
    terminations = [
        fault.start
        for fault in evidence.faults
        if fault.kind == "term"
        and fault.hits(node.name)
        and before.start - _EARLY <= fault.start <= after.start
    ]
    if not terminations and node.ended > after.start:
        return False
    if not is_unwritten(evidence, before, min([*terminations, node.ended])):
        return False
    unheard = before.end is not None and evidence.stopped_unheard(node, before.end)
    return before.outcome != "ok" or (unheard and node.ended <= after.start)
