"""What is promised of runs that are unique by a key: one at a time has it, whoever is told of another's may rely on that, and it is free afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations

from storms.checker.causes import has_just_woken
from storms.checker.evidence import FOREVER, SKEW, Complaint, Evidence, Execution
from storms.checker.runs import counts_until
from storms.checker.tied import AskedKey

UNTIL_OVER, UNTIL_BEGUN = "Single", "Pending"
"""The jobs whose runs have their keys until they are over, and until they begin."""
_AWAY = frozenset({"database", "disk"})


def keys_are_performed_one_at_a_time(evidence: Evidence) -> Iterator[Complaint]:
    """Nothing of a run is performed between the first and the last that is performed of another with its key."""
    for key, runs in _performed(evidence, UNTIL_OVER).items():
        for one, other in permutations(runs.values(), 2):
            for item in other:
                if one[0].start <= item.start and _goes_on(evidence, one, item):
                    text = f"{UNTIL_OVER} {key} began on {item.node}, and run {one[0].run} with that key was not over"
                    yield Complaint("unique", text, item.run)


def _goes_on(evidence: Evidence, one: list[Execution], other: Execution) -> bool:
    """Whether a run had begun and was not over when another one's execution began; what is performed by a node that was taken for lost counts no more."""
    return any(
        (other.start < mine.start and not has_just_woken(evidence, mine))
        or (
            mine.start <= other.start < counts_until(evidence, mine)
            and evidence.silent(mine.node, mine.start, other.start) < evidence.limits.silence
        )
        for mine in one
    )


def keys_have_one_run(evidence: Evidence) -> Iterator[Complaint]:
    """A run is made by one call, and none is made while one that was made before has the key."""
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
    """An instant before which the run that a call had made surely has its key."""
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
    """When a run was first taken by a node, as the table has it."""
    run = evidence.run_by_id.get(run_id)
    if run is None or evidence.clock_was_set():
        return -FOREVER
    instants = [evidence.mono(line.wall) for line in run.life if line.state == "running"]
    return min(instants, default=-FOREVER)


def runs_stand_for_others_while_they_may(evidence: Evidence) -> Iterator[Complaint]:
    """Who is told of a run that was there is told of one with that key, which was in its way: it had not begun, or was not over for long."""
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
    """For how long a run had been over when it was made to stand for another; the time is not counted in which that could not be written."""
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
    """A run that waits gets what was asked for last, and does not perform what was asked for before that.

    A node that has just woken may perform what it had claimed: meanwhile the run waited again, and was given something else.
    """
    calls: dict[int, list[AskedKey]] = defaultdict(list)
    for call in evidence.asked_keys:
        if call.job == UNTIL_BEGUN:
            calls[call.run].append(call)
    by_token = {call.token: call for call in evidence.asked_keys}
    for item in evidence.executions:
        mine = by_token.get(item.token)
        later = [
            call.token
            for call in calls.get(item.run, [])
            if mine is not None and mine.at < call.asked
        ]
        if later and not has_just_woken(evidence, item):
            text = f"{item.token} was performed, {', '.join(later)} came after that"
            yield Complaint("unique", text, item.run)


def nothing_is_left_of_what_was_rolled_back(evidence: Evidence) -> Iterator[Complaint]:
    """What was asked for in a transaction that was rolled back is neither performed nor there."""
    for item in evidence.executions:
        if item.token in evidence.rolled_back:
            text = f"{item.token} was performed, which was rolled back"
            yield Complaint("rolled back", text, item.run)
    for flow in evidence.flows:
        if flow.token in evidence.rolled_back:
            yield Complaint("rolled back", f"flow {flow.id} is there, which was rolled back")


def refusals_have_causes(evidence: Evidence) -> Iterator[Complaint]:
    """A call ends with an error only when the database was away, or its disk was full, or just before."""
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
    """What was performed of a job, by key and run, in the order in which it began."""
    found: dict[str, dict[int, list[Execution]]] = defaultdict(dict)
    for run, items in evidence.executions_by_run.items():
        if items[0].job == job:
            found[items[0].key][run] = items
    return found
