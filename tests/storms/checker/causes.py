"""Why a run may be performed again: what the storm did to its node, its worker process or its database, and when."""

from __future__ import annotations

from storms.checker.evidence import FOREVER, Evidence, Execution, Fault, Node
from storms.policies import POLICIES

_HANDED_OVER = 1.0
"""Seconds in which what a worker process says has reached its node."""
_BEGINS = 0.5
"""A fault is written down before it is inflicted; a job may begin in between."""
_WAKES = 0.5
"""Seconds after a long silence in which a node notices that it was declared lost."""
_EARLY = 2.0
"""A node that was told to stop may still begin what it had claimed."""


def has_cause(evidence: Evidence, before: Execution, after: Execution) -> bool:
    """Whether a run may be performed once more after an execution: a failure that is retried, or a fault that kept its end from being written."""
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
    """How many attempts of a run had failed by themselves or with their worker process, this one included."""
    return item.attempt - losses(evidence, item.run, item.start)


def losses(evidence: Evidence, run: int, until: float) -> int:
    """How many workers a run had cost by then; all that it ever cost when the clocks that say so were set."""
    row = evidence.run_by_id.get(run)
    lost = [change for change in (row.life if row else ()) if change.lost]
    if evidence.clock_was_set():
        return len(lost)
    return sum(evidence.mono(change.wall) <= until for change in lost)


def crash_of(evidence: Evidence, item: Execution) -> Fault | None:
    """The fault that killed the worker process of an execution before its node knew of an end."""
    last = FOREVER if item.end is None else item.end + _HANDED_OVER
    for fault in evidence.faults:
        mine = fault.kind == "worker" and fault.pid == item.pid and fault.hits(item.node)
        if mine and item.start - _BEGINS <= fault.start <= last:
            return fault
    return None


def is_unwritten(evidence: Evidence, item: Execution, gone: float) -> bool:
    """Whether the end of an execution may not have been written yet when its node went."""
    if item.end is None or item.end >= gone:
        return True
    waits = evidence.limits.margin + evidence.hindered(item.node, item.end, gone)
    return gone - item.end <= waits


def silenced(evidence: Evidence, item: Execution, until: float) -> bool:
    """Whether the node of an execution was silent for so long, before the end was written, that it may have been taken for lost."""
    for fault in evidence.faults:
        if fault.kind not in {"stop", "cut"} or not fault.hits(item.node):
            continue
        if fault.within(item.start, until) >= evidence.limits.silence and is_unwritten(
            evidence, item, fault.start
        ):
            return True
    return False


def has_just_woken(evidence: Evidence, item: Execution) -> bool:
    """Whether a node began what it had claimed before it was silent for long, and has not yet heard that others have it."""
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
    """Whether its node was killed, or told to stop, before it had ended, or before that could be written."""
    if node.by == "kill" and before.start <= node.ended and node.gone <= after.start:
        killed = is_unwritten(evidence, before, node.gone)
    else:
        killed = False
    return killed or _stopped(evidence, before, after, node)


def _stopped(evidence: Evidence, before: Execution, after: Execution, node: Node) -> bool:
    told = [
        fault.start
        for fault in evidence.faults
        if fault.kind == "term"
        and fault.hits(node.name)
        and before.start - _EARLY <= fault.start <= after.start
    ]
    if not told and node.ended > after.start:
        return False
    if not is_unwritten(evidence, before, min([*told, node.ended])):
        return False
    unheard = before.end is not None and evidence.stopped_unheard(node, before.end)
    return before.outcome != "ok" or (unheard and node.ended <= after.start)
