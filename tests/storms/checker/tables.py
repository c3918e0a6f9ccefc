"""Guarantees of the tables: states go only forward, the history equals the record, and nothing is left behind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from storms.checker.causes import crash_of, is_unwritten, silenced
from storms.checker.evidence import FINAL, SKEW, Change, Complaint, Evidence, Execution, Logged, Run
from storms.policies import POLICIES

_NEXT = {
    "scheduled": {"awaiting", "enqueued", "running", "cancelled", "failed"},
    "awaiting": {"enqueued", "scheduled", "cancelled", "failed"},
    "enqueued": {"awaiting", "running", "cancelled", "failed"},
    "running": {"succeeded", "failed", "retrying", "cancelled", "enqueued"},
    "retrying": {"awaiting", "enqueued", "running", "cancelled", "failed"},
}
"""Allowed transitions by the scheduler's guide, repeated here on purpose."""
_CLAIMED = re.compile(r"on [^:]+:(\d+):.*")
_FIRST = {"awaiting", "scheduled", "enqueued", "skipped", "missed"}


def states_go_forward(evidence: Evidence) -> Iterator[Complaint]:
    """Each run has only allowed transitions with increasing times, and its state is the last one."""
    for run in evidence.runs:
        states = [change.state for change in run.life]
        if not states or states[0] not in _FIRST:
            yield Complaint(
                "states", f"its life begins {' '.join(states[:1]) or 'nowhere'}", run.id
            )
            continue
        for before, after in pairwise(run.life):
            if after.state not in _NEXT.get(before.state, set()):
                yield Complaint("states", f"from {before.state} to {after.state}", run.id)
            back = after.wall < before.wall - SKEW and not evidence.clock_was_set()
            if back and not _was_stopped_meanwhile(evidence, before, after):
                yield Complaint("states", f"{after.state} is older than {before.state}", run.id)
        if states[-1] != run.state:
            yield Complaint("states", f"it is {run.state}, its life ends {states[-1]}", run.id)
        if (run.completed is not None) != (run.state in FINAL):
            yield Complaint("states", f"{run.state} with CompletedAt {run.completed}", run.id)


def _was_stopped_meanwhile(evidence: Evidence, before: Change, after: Change) -> bool:
    """Return whether the writer of a change was stopped between reading the clock and writing, which a process cannot notice."""
    claimed = _CLAIMED.fullmatch(after.note)
    if claimed is None:
        return False
    start, end, skew = evidence.mono(after.wall), evidence.mono(before.wall), SKEW.total_seconds()
    return any(
        evidence.silent(node.name, start - skew, end + skew) > end - start - skew
        for node in evidence.nodes
        if node.pid == int(claimed[1])
    )


def nothing_runs_without_a_node(evidence: Evidence) -> Iterator[Complaint]:
    """After the end no run is running, and no node is registered."""
    for run in evidence.runs:
        if run.state == "running":
            owner = "a node that is there" if run.server in evidence.servers else "nobody"
            yield Complaint("owner", f"{run.job} is running, owned by {owner}", run.id)
    for server in sorted(evidence.servers):
        yield Complaint("owner", f"{server} is still registered")


def history_is_the_record(evidence: Evidence) -> Iterator[Complaint]:
    """Each recorded end of an attempt has its history row with the same outcome, and each row has its execution."""
    for run in evidence.runs:
        rows = evidence.logged_by_run.get(run.id, [])
        items = evidence.executions_by_run.get(run.id, [])
        for attempt, count in Counter(row.attempt for row in rows).items():
            if count > 1:
                yield Complaint("history", f"attempt {attempt} has {count} rows", run.id)
        yield from _rows_have_executions(evidence, run, items)
        yield from _ends_have_rows(evidence, run, items)
        successes = sum(row.success for row in rows)
        if successes != (run.state == "succeeded"):
            yield Complaint("history", f"{run.state} with {successes} rows of success", run.id)
    known = evidence.run_by_id.keys() | evidence.deletable
    for row in evidence.logged:
        if row.run not in known:
            yield Complaint("history", "a row of a run that is not there", row.run)


def rows_tell_what_was_performed(evidence: Evidence) -> Iterator[Complaint]:
    """A history row has the run's own job, the time of its execution, and the token that the job returned."""
    for row in evidence.logged:
        run = evidence.run_by_id.get(row.run)
        if run is None and row.run in evidence.deletable:
            continue
        if run is None or row.job not in {"", run.job}:
            other = "no run" if run is None else run.job
            yield Complaint(
                "history", f"attempt {row.attempt} is of {row.job}, not {other}", row.run
            )
        items = [
            item
            for item in evidence.executions_by_run.get(row.run, [])
            if item.attempt == row.attempt
        ]
        for item in items if row.success else ():
            if not row.message.startswith(item.token):
                text = f"attempt {row.attempt} returned {row.message}, not {item.token}"
                yield Complaint("history", text, row.run)
        if items and not row.lost and not any(_within(evidence, item, row) for item in items):
            text = f"attempt {row.attempt} was not performed from {row.started} to {row.completed}"
            yield Complaint("history", text, row.run)


def executions_have_their_run(evidence: Evidence) -> Iterator[Complaint]:
    """Each execution has its run in the table, with the same job and slot, and at least as many attempts."""
    for item in evidence.executions:
        run = evidence.run_by_id.get(item.run)
        if run is None and item.run in evidence.deletable:
            continue
        if run is None:
            yield Complaint("history", f"{item.job} was performed and is not there", item.run)
        elif run.job != item.job:
            yield Complaint("history", f"{item.job} was performed, it is {run.job}", item.run)
        elif item.slot is not None and run.slot != item.slot:
            text = f"{item.job} was performed for {item.slot}, its slot is {run.slot}"
            yield Complaint("slots", text, item.run)
        elif item.attempt > run.attempt and run.state in FINAL:
            text = f"attempt {item.attempt} was performed, the table knows of {run.attempt}"
            yield Complaint("states", text, item.run)


def _within(evidence: Evidence, item: Execution, row: Logged) -> bool:
    """Return whether an execution lies within the times of its row."""
    if row.started is None or row.completed is None or evidence.clock_was_set():
        return True
    slack = SKEW.total_seconds()
    begun = evidence.mono(row.started) - slack <= item.start
    return begun and (item.end is None or item.end <= evidence.mono(row.completed) + slack)


def nodes_live_until_told(evidence: Evidence) -> Iterator[Complaint]:
    """No node ends by itself unless it could not reach its database."""
    for node in evidence.nodes:
        since = node.ended - evidence.limits.lost_after - evidence.limits.margin
        away = evidence.cut_off(node.name, since, node.ended)
        if node.by == "itself" and not away:
            yield Complaint("nodes", f"{node.name} ended by itself")


def _rows_have_executions(
    evidence: Evidence, run: Run, items: list[Execution]
) -> Iterator[Complaint]:
    for row in evidence.logged_by_run.get(run.id, []):
        executions = [item for item in items if item.attempt == row.attempt]
        if not POLICIES[run.job].writes:
            continue
        if row.success and not any(item.outcome == "ok" for item in executions):
            yield Complaint("history", f"attempt {row.attempt} succeeded only in the table", run.id)
        failed = any(
            item.outcome in {"failed", "interrupted"} or crash_of(evidence, item) is not None
            for item in executions
        )
        if not (row.success or row.lost or failed or _crashed_unbegun(evidence, row)):
            text = f"attempt {row.attempt} failed only in the table: {row.message}"
            yield Complaint("history", text, run.id)


def _crashed_unbegun(evidence: Evidence, row: Logged) -> bool:
    """Return whether a worker process was killed after it got an attempt and before it began."""
    if row.started is None or row.completed is None or evidence.clock_was_set():
        return False
    slack = SKEW.total_seconds()
    first, last = evidence.mono(row.started) - slack, evidence.mono(row.completed) + slack
    faults = [fault for fault in evidence.faults if fault.kind == "worker"]
    return "process" in row.message and any(first <= fault.start <= last for fault in faults)


def _ends_have_rows(evidence: Evidence, run: Run, items: list[Execution]) -> Iterator[Complaint]:
    """Yield recorded ends without a history row; excused when the node was gone or silent before the write."""
    rows = {row.attempt: row for row in evidence.logged_by_run.get(run.id, [])}
    for item in items:
        row = rows.get(item.attempt)
        if crash_of(evidence, item) is not None and (row is None or not row.success):
            if row is None and not _excused(evidence, item):
                text = f"attempt {item.attempt} on {item.node} lost its process and has no row"
                yield Complaint("history", text, run.id)
            continue
        if item.outcome not in {"ok", "failed"}:
            continue
        if row is not None and row.success == (item.outcome == "ok"):
            continue
        if row is not None and not row.lost:
            text = f"attempt {item.attempt} is {item.outcome} in the record, not in the table: {row.message}"
            yield Complaint("history", text, run.id)
        elif not _excused(evidence, item):
            text = f"attempt {item.attempt} on {item.node} ended {item.outcome} and has no row"
            yield Complaint("history", text, run.id)


def _excused(evidence: Evidence, item: Execution) -> bool:
    """Return whether a fault may have kept the end of an execution from being written."""
    node = evidence.node_by_name.get(item.node)
    if node is None:
        return False
    crash = crash_of(evidence, item)
    end = item.end if item.end is not None else crash.start if crash is not None else item.start
    ended = replace(item, end=end)
    if node.by == "kill" and node.ended >= end and is_unwritten(evidence, ended, node.gone):
        return True
    if evidence.stopped_unheard(node, end) and is_unwritten(evidence, ended, node.told):
        return True
    return silenced(evidence, ended, node.ended)
