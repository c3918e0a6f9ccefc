"""Guarantees of a run: it ends, executes again only with a cause, never overlaps itself, and is rescued in time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from storms.checker.causes import crash_of, has_cause, has_just_woken, losses
from storms.checker.evidence import (
    FINAL,
    FOREVER,
    SKEW,
    Complaint,
    Evidence,
    Execution,
    Fault,
    Node,
    Run,
)
from storms.checker.turns import others_had_its_room
from storms.policies import HANDLED, POLICIES

MOST_LOST = 3
"""Lost workers that fail a run."""
_POISON = "three workers were lost"
_READ_LATE = 1.0
"""Seconds between an event and its recorded time."""
_OUTLIVED = 2.0
"""Seconds within which a process notices the end of its node."""
MOST_CRASHES = 4
"""Lost worker processes that fail a run: each may be an attempt, and a run is retried three times."""


def acknowledged_runs_end(evidence: Evidence) -> Iterator[Complaint]:
    """Every acknowledged run exists and has ended in the state of its job's policy."""
    for item in evidence.acknowledged:
        run = evidence.run_by_id.get(item.run)
        if run is None:
            yield Complaint("acknowledged", f"{item.job} {item.token} is not there", item.run)
        elif run.state not in FINAL:
            yield Complaint("acknowledged", f"{item.job} is still {run.state}", run.id)
        elif run.job != item.job:
            yield Complaint("acknowledged", f"{item.job} was asked for, it is {run.job}", run.id)
        elif run.state == "cancelled" and run.id in evidence.links_by_child:
            continue  # discarded: judged by the continuations
        elif run.state == "cancelled" and run.expires is not None:
            continue  # judged by the expiry
        elif run.state != POLICIES[run.job].ends and not may_have_failed(evidence, run):
            text = f"{run.job} is {run.state}, not {POLICIES[run.job].ends}: {run.message}"
            yield Complaint("acknowledged", text, run.id)


def tokens_are_performed_by_their_runs(evidence: Evidence) -> Iterator[Complaint]:
    """No run executes the token of another run, whether or not the application got the run's id. ``people`` judges runs that people retry."""
    run_by_token = {item.token: item.run for item in evidence.acknowledged}
    for item in sorted(evidence.executions, key=lambda item: item.start):
        if item.job == HANDLED:
            continue
        if item.token and run_by_token.setdefault(item.token, item.run) != item.run:
            text = f"{item.token} was asked of run {run_by_token[item.token]}"
            yield Complaint("tokens", text, item.run)


def executions_have_causes(evidence: Evidence) -> Iterator[Complaint]:
    """A run executes again only after a retried failure, or after its worker was lost or told to stop."""
    for run, items in evidence.executions_by_run.items():
        for before, after in pairwise(items):
            if not has_cause(evidence, before, after):
                how = before.outcome or "unfinished"
                text = (
                    f"{before.job}: attempt {before.attempt} on {before.node} ({how}) and attempt {after.attempt} on"
                    f" {after.node} {after.start - before.start:.2f} s later, without a cause"
                )
                yield Complaint("doubled", text, run)


def nothing_follows_a_success(evidence: Evidence) -> Iterator[Complaint]:
    """After a success in the history a run executes no more, except on a node that was away meanwhile."""
    for run, rows in evidence.logged_by_run.items():
        done = [row.attempt for row in rows if row.success]
        items = evidence.executions_by_run.get(run, [])
        well = [item for item in items if item.attempt in done and item.outcome == "ok"]
        ends = [item.end for item in well if item.end is not None]
        for item in items:
            later = ends and item.start > min(ends)
            if done and (item.attempt > min(done) or later):
                if later and (
                    _was_away(evidence, item.node, min(ends), item.start)
                    or has_just_woken(evidence, item)
                ):
                    continue
                text = (
                    f"attempt {item.attempt} on {item.node}, though attempt {min(done)} succeeded"
                )
                yield Complaint("doubled", text, run)


def executions_do_not_overlap(evidence: Evidence) -> Iterator[Complaint]:
    """Two executions of a run never overlap, unless the first node was silent long enough to be declared lost."""
    for run, items in evidence.executions_by_run.items():
        for before, after in pairwise(items):
            end = counts_until(evidence, before)
            silent = evidence.silent(before.node, before.start, after.start)
            if after.start < end and silent < evidence.limits.silence:
                text = f"on {before.node} until {end:.2f}, on {after.node} since {after.start:.2f}"
                yield Complaint("overlap", text, run)


def limits_are_kept(evidence: Evidence) -> Iterator[Complaint]:
    """Concurrent executions of a job never exceed its limit; executions on nodes declared lost do not count."""
    for job, policy in POLICIES.items():
        if policy.at_once is None:
            continue
        items = [
            (item, counts_until(evidence, item)) for item in evidence.executions if item.job == job
        ]
        for item, _ in items:
            running = {
                other.run
                for other, end in items
                if other.start <= item.start < end
                and evidence.silent(other.node, other.start, item.start) < evidence.limits.silence
            }
            if len(running) > policy.at_once:
                text = f"{job}: {len(running)} at once, not {policy.at_once}: {sorted(running)}"
                yield Complaint("limit", text, item.run)


def counts_until(evidence: Evidence, item: Execution) -> float:
    """Return until when an execution takes capacity: its own end, or the end of its node or worker process."""
    crash = crash_of(evidence, item)
    return min(
        FOREVER if item.end is None else item.end,
        evidence.gone(item.node),
        FOREVER if crash is None else crash.start,
    )


def nothing_outlives_its_node(evidence: Evidence) -> Iterator[Complaint]:
    """Child processes of a node, such as worker processes, end with the node."""
    for item in evidence.executions:
        last = item.start if item.end is None else item.end
        node = evidence.node_by_name.get(item.node)
        after = last - (node.ended if node is not None else last)
        if after > _OUTLIVED:
            text = f"{item.job} was performed {after:.1f} s after {item.node} had gone"
            yield Complaint("outlived", text, item.run)


def losses_have_causes(evidence: Evidence) -> Iterator[Complaint]:
    """A node is declared lost only after it was killed, had ended, or was silent long enough."""
    for run in evidence.runs:
        for change in run.life:
            if change.lost is None:
                continue
            at = evidence.mono(change.wall)
            pid = _pid(change.lost)
            known = [node for node in evidence.nodes if node.pid == pid]
            if any(_may_be_lost(evidence, node.name, node.gone, at) for node in known):
                continue
            names = ", ".join(node.name for node in known) or f"process {pid}"
            yield Complaint("lost", f"{names} was healthy: {change.note}", run.id)


def rescues_are_in_time(evidence: Evidence) -> Iterator[Complaint]:
    """The run of a killed node continues elsewhere within ``lost_after`` plus the margin, or when its job's limit allows."""
    allowed = evidence.limits.lost_after + evidence.limits.margin
    for run, items in evidence.executions_by_run.items():
        for before, after in pairwise(items):
            node = evidence.node_by_name.get(before.node)
            if node is None or node.by != "kill" or before.end is not None:
                continue
            if _was_retried(evidence, before, node):
                continue
            if losses(evidence, run, after.start) >= MOST_LOST - 1:
                continue  # a suspected poison run: it waits until no other such run is on a node
            waited = after.start - node.ended
            if waited <= allowed:
                continue
            others = others_had_its_room(evidence, before.job, run)
            paused = evidence.paused(POLICIES[before.job].queue)
            idle = evidence.nobody_could(node.ended, after.start, [*others, *paused])
            if waited - idle > allowed and node.ended > before.start:
                text = f"{before.job} went on {waited:.1f} s after {before.node} was killed, {idle:.1f} of them without a node or its turn"
                yield Complaint("rescue", text, run)


def _was_retried(evidence: Evidence, before: Execution, node: Node) -> bool:
    """Return whether a worker process ended the attempt and the node had written this before the node was killed."""
    crash, run = crash_of(evidence, before), evidence.run_by_id.get(before.run)
    if crash is None or run is None or evidence.clock_was_set():
        return False
    first, last = crash.start - SKEW.total_seconds(), node.ended
    retries = [evidence.mono(item.wall) for item in run.life if item.state == "retrying"]
    return any(first <= at <= last for at in retries)


def runs_of_silent_nodes_go_on(evidence: Evidence) -> Iterator[Complaint]:
    """The run of a frozen or disconnected node continues elsewhere meanwhile, within the same time of a node that could watch."""
    allowed = evidence.limits.lost_after + evidence.limits.margin
    for fault in evidence.faults:
        if fault.kind not in {"stop", "cut"} or fault.end - fault.start <= allowed:
            continue
        latest = fault.start + allowed
        latest += evidence.nobody_could(fault.start, fault.end)
        watched = evidence.watched(fault.nodes[0], fault.start)
        latest = max(latest, watched + evidence.limits.margin)
        for run, items in evidence.executions_by_run.items():
            if latest < fault.end and _waits(evidence, fault, items, latest):
                text = f"{items[0].job} did not go on within {latest - fault.start:.1f} s of silence of {fault.nodes[0]}"
                yield Complaint("rescue", text, run)


def _waits(evidence: Evidence, fault: Fault, items: list[Execution], latest: float) -> bool:
    """Return whether a run was executing when a fault began and no node has taken it over."""
    held = [
        item
        for item in items
        if fault.hits(item.node)
        and item.start < fault.start
        and (item.end is None or item.end > latest)
        and crash_of(evidence, item) is None
    ]
    queue = POLICIES[items[0].job].queue
    if any(start < latest and fault.start < end for start, end in evidence.paused(queue)):
        return False
    if not held or losses(evidence, held[0].run, latest) >= MOST_LOST - 1:
        return False
    return not any(fault.start <= item.start <= latest for item in items)


def kept_steps_are_not_repeated(evidence: Evidence) -> Iterator[Complaint]:
    """A step with a stored result is never executed again, except on a node that was silent meanwhile."""
    kept: dict[tuple[int, str], float] = {}
    for note in sorted(evidence.step_notes, key=lambda note: note.at):
        key = (note.run, note.step)
        if note.event == "kept":
            kept.setdefault(key, note.at)
            if key not in evidence.steps:
                yield Complaint(
                    "steps", f"{note.step} came back, but is not in the table", note.run
                )
        elif key in kept and not _was_away(evidence, note.node, kept[key], note.at):
            text = f"{note.step} on {note.node}, {note.at - kept[key]:.2f} s after it was kept"
            yield Complaint("steps", text, note.run)


def _was_away(evidence: Evidence, node: str, kept: float, done: float) -> bool:
    """Return whether a node was silent for long and woke after another node had stored the step's result."""
    return any(
        fault.kind in {"stop", "cut"}
        and fault.hits(node)
        and fault.start <= done
        and fault.end >= kept
        and fault.end - fault.start >= evidence.limits.silence
        for fault in evidence.faults
    )


def may_have_failed(evidence: Evidence, run: Run) -> bool:
    """Return whether a run failed for a documented reason: three lost workers, or as many lost worker processes as attempts."""
    lost = sum(change.lost is not None for change in run.life)
    items = evidence.executions_by_run.get(run.id, [])
    crashes = sum(crash_of(evidence, item) is not None for item in items)
    poison = _POISON in run.message and lost >= MOST_LOST - 1
    return run.state == "failed" and (poison or crashes >= MOST_CRASHES)


def _may_be_lost(evidence: Evidence, node: str, ended: float, at: float) -> bool:
    if evidence.clock_was_set():
        return ended < FOREVER or evidence.silent(node, 0, FOREVER) >= evidence.limits.silence
    if ended <= at + _READ_LATE:
        return True
    return any(
        fault.kind in {"stop", "cut"}
        and fault.hits(node)
        and fault.within(0, at + _READ_LATE) >= evidence.limits.silence
        and at - fault.end <= evidence.limits.margin + evidence.nobody_could(fault.end, at)
        for fault in evidence.faults
    )


def _pid(server: str) -> int:
    """Return the process id in ``host:process:machine:random``."""
    parts = server.split(":")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else -1
