"""Guarantees of unique keys: one run has a key at a time, a caller may rely on an existing run, and the key is free afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations

from storms.checker.causes import has_just_woken
from storms.checker.evidence import FOREVER, SKEW, Complaint, Evidence, Execution
from storms.checker.runs import counts_until
from storms.checker.tied import AskedKey

UNTIL_OVER, UNTIL_BEGUN = "Single", "Pending"
"""Jobs whose runs hold their keys until they have ended, and until they begin."""
_AWAY = frozenset({"database", "disk"})


def keys_are_performed_one_at_a_time(evidence: Evidence) -> Iterator[Complaint]:
    """No run executes between the first and the last execution of another run with the same key."""
    for key, runs in _performed(evidence, UNTIL_OVER).items():
        for executions, other_executions in permutations(runs.values(), 2):
            for item in other_executions:
                if executions[0].start <= item.start and _goes_on(evidence, executions, item):
                    text = f"{UNTIL_OVER} {key} began on {item.node}, and run {executions[0].run} with that key was not over"
                    yield Complaint("unique", text, item.run)


def _goes_on(evidence: Evidence, one: list[Execution], other: Execution) -> bool:
    """Return whether a run had begun and not ended when another run's execution began; executions on a node declared lost do not count."""
    return any(
        (other.start < execution.start and not has_just_woken(evidence, execution))
        or (
            execution.start <= other.start < counts_until(evidence, execution)
            and evidence.silent(execution.node, execution.start, other.start)
            < evidence.limits.silence
        )
        for execution in one
    )


def keys_have_one_run(evidence: Evidence) -> Iterator[Complaint]:
    """A call creates at most one run, and none while an earlier run holds the key."""
    made: dict[tuple[str, str], list[AskedKey]] = defaultdict(list)
    for call in evidence.asked_keys:
        if not call.existing:
            made[call.job, call.key].append(call)
    for (job, key), calls in made.items():
        for before, after in permutations(calls, 2):
            if before.run == after.run and before.token < after.token:
                yield Complaint("unique", f"two calls for {job} {key} have made it", after.run)
            elif before.at < after.asked and after.at < _freed(evidence, before):
                text = f"{job} {key} was made, and run {before.run} had that key"
                yield Complaint("unique", text, after.run)


def _freed(evidence: Evidence, call: AskedKey) -> float:
    """Return an instant before which the run that a call created certainly holds its key."""
    if call.job == UNTIL_BEGUN:
        return _begun(evidence, call.run) - SKEW.total_seconds()
    return max(
        (
            item.start
            for item in evidence.executions_by_run.get(call.run, [])
            if not has_just_woken(evidence, item)
        ),
        default=-FOREVER,
    )


def _begun(evidence: Evidence, run_id: int) -> float:
    """Return when a node first claimed a run, by the table."""
    run = evidence.run_by_id.get(run_id)
    if run is None or evidence.clock_was_set():
        return -FOREVER
    instants = [evidence.mono(line.wall) for line in run.life if line.state == "running"]
    return min(instants, default=-FOREVER)


def runs_stand_for_others_while_they_may(evidence: Evidence) -> Iterator[Complaint]:
    """A call that returns an existing run returns a run with the same key that had not begun, or had not ended for long."""
    keys = {item.run: item.key for item in evidence.executions}
    for call in evidence.asked_keys:
        if keys.get(call.run, call.key) != call.key:
            text = f"{call.job} {call.key} was asked for, it has the key {keys[call.run]}"
            yield Complaint("unique", text, call.run)
        if not call.existing:
            continue
        items = evidence.executions_by_run.get(call.run, [])
        if call.job == UNTIL_BEGUN and items and items[0].start < call.asked:
            late = call.asked - items[0].start
            text = (
                f"it stands for {call.token}, which was asked for {late:.2f} s after it had begun"
            )
            yield Complaint("unique", text, call.run)
        late = _over_for(evidence, call) if call.job == UNTIL_OVER else 0
        if late > evidence.limits.margin:
            text = f"it stands for {call.token}, which was asked for {late:.2f} s after it was over"
            yield Complaint("unique", text, call.run)


def _over_for(evidence: Evidence, call: AskedKey) -> float:
    """Return for how long a run had ended when a call returned it; time in which the end could not be written is not counted."""
    run, items = evidence.run_by_id.get(call.run), evidence.executions_by_run.get(call.run, [])
    if run is None or run.completed is None:
        return 0
    ends = [item.end for item in items if item.end is not None]
    if not evidence.clock_was_set():
        ends.append(evidence.mono(run.completed))
    over = max(ends, default=call.asked)
    node = items[-1].node if items else ""
    hindered = evidence.hindered(node, over, call.asked)
    return call.asked - over - max(hindered, evidence.nobody_could(over, call.asked))


def the_latest_is_performed(evidence: Evidence) -> Iterator[Complaint]:
    """A waiting run gets the arguments of the latest call, and does not execute earlier arguments.

    A node that has just woken may execute the arguments it had claimed, while the run waited again and got new arguments.
    """
    calls: dict[int, list[AskedKey]] = defaultdict(list)
    for call in evidence.asked_keys:
        if call.job == UNTIL_BEGUN:
            calls[call.run].append(call)
    by_token = {call.token: call for call in evidence.asked_keys}
    for item in evidence.executions:
        own_call = by_token.get(item.token)
        later = [
            call.token
            for call in calls.get(item.run, [])
            if own_call is not None and own_call.at < call.asked
        ]
        if later and not has_just_woken(evidence, item):
            text = f"{item.token} was performed, {', '.join(later)} came after that"
            yield Complaint("unique", text, item.run)


def nothing_is_left_of_what_was_rolled_back(evidence: Evidence) -> Iterator[Complaint]:
    """Calls in a rolled-back transaction leave no execution and no row."""
    for item in evidence.executions:
        if item.token in evidence.rolled_back:
            text = f"{item.token} was performed, which was rolled back"
            yield Complaint("rolled back", text, item.run)
    for flow in evidence.flows:
        if flow.token in evidence.rolled_back:
            yield Complaint("rolled back", f"flow {flow.id} is there, which was rolled back")


def refusals_have_causes(evidence: Evidence) -> Iterator[Complaint]:
    """A call fails only while the database was down or its disk full, or just after."""
    for call in evidence.refused:
        since = call.asked - evidence.limits.margin
        away = [
            fault
            for fault in evidence.faults
            if fault.kind in _AWAY and fault.start <= call.at and fault.end >= since
        ]
        if not away:
            yield Complaint("refused", f"{call.job} was refused: {call.error}")


def _performed(evidence: Evidence, job: str) -> dict[str, dict[int, list[Execution]]]:
    """Map each key to the executions of a job by run, in start order."""
    executions: dict[str, dict[int, list[Execution]]] = defaultdict(dict)
    for run, items in evidence.executions_by_run.items():
        if items[0].job == job:
            executions[items[0].key][run] = items
    return executions
