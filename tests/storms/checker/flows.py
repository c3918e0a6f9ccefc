"""Guarantees of flows: each exists once and ends, each step runs once and after its predecessors, and the fan-in gets every result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from storms.checker.continuations import earliest_end
from storms.checker.evidence import FINAL, Complaint, Evidence, Run
from storms.checker.runs import may_have_failed
from storms.checker.tied import Flow

NAME = "Fan"
_AFTER = {
    "split": (),
    "part": ("split",),
    "join": ("part",),
    "many": ("split",),
    "few": ("split",),
    "once": ("split",),
    "latest": ("split",),
    "room": ("split",),
    "sorry": ("part", "join"),
    "last": ("many", "few", "sorry"),
}
"""Steps of the storm's flow and their predecessors, repeated here on purpose."""
_KEYED = ("once", "latest", "room")
"""Steps whose jobs have unique keys or a limit."""
_MANY = 3
"""Number of parts from which the step ``many`` runs."""
_BAD = {"failed", "cancelled"}


def flows_are_there_once(evidence: Evidence) -> Iterator[Complaint]:
    """A started flow exists, and a run of the flow's job starts one flow, however often the run executes."""
    token_by_flow = {flow.id: flow.token for flow in evidence.flows}
    for request in evidence.asked_flows:
        if token_by_flow.get(request.id) != request.token:
            yield Complaint("flow", f"flow {request.id} of {request.token} is not there")
    count = Counter(token_by_flow.values())
    for token, number in count.items():
        if number > 1:
            yield Complaint("flow", f"{token} has begun {number} flows")
    for request in evidence.acknowledged:
        run = evidence.run_by_id.get(request.run)
        has_ended = run is not None and run.job == NAME and run.state == "succeeded"
        if has_ended and not count[request.token]:
            yield Complaint("flow", f"{request.token} has begun no flow", request.run)


def flows_end_as_their_steps(evidence: Evidence) -> Iterator[Complaint]:
    """Each step of a flow has the required runs and their state; the flow ends as its steps.

    The step's condition and its predecessors decide which runs are required.
    """
    by_flow = _runs_by_step(evidence)
    for flow in evidence.flows:
        runs = by_flow[flow.id]
        wanted = _expected(flow, runs)
        for step, (state, number) in wanted.items():
            here = len(runs.get(step, []))
            if here != number:
                yield Complaint("flow", f"flow {flow.id}: {step} has {here} runs, not {number}")
            if flow.steps.get(step) != state:
                text = f"flow {flow.id}: {step} is {flow.steps.get(step)}, not {state}"
                yield Complaint("flow", text)
        failed = sum(state in _BAD for state, _ in wanted.values())
        ends = "failed" if failed else "succeeded"
        if (flow.state, flow.pending, flow.failed) != (ends, 0, failed):
            text = f"{flow.state}, {flow.pending} pending, {flow.failed} failed; not {ends}, 0, {failed}"
            yield Complaint("flow", f"flow {flow.id} is {text}")


def steps_end_as_they_should(evidence: Evidence) -> Iterator[Complaint]:
    """The run of a step succeeds, except for the refused part."""
    for flow, step, runs in _steps(evidence):
        for number, run in enumerate(runs, 1):
            wanted = "failed" if step == "part" and number == flow.bad else "succeeded"
            if run.state != wanted and not may_have_failed(evidence, run):
                text = f"{step} of flow {flow.id} is {run.state}, not {wanted}: {run.message}"
                yield Complaint("flow", text, run.id)


def steps_begin_after_those_before(evidence: Evidence) -> Iterator[Complaint]:
    """A step begins only after the last run of its predecessors has ended."""
    by_flow = _runs_by_step(evidence)
    for flow, step, runs in _steps(evidence):
        before = [run for name in _AFTER[step] for run in by_flow[flow.id].get(name, [])]
        ended = max((earliest_end(evidence, run) for run in before), default=0.0)
        for run in runs:
            begun = evidence.executions_by_run.get(run.id, [])
            if begun and begun[0].start < ended:
                early = ended - begun[0].start
                text = (
                    f"{step} of flow {flow.id} began {early:.2f} s before those before it were over"
                )
                yield Complaint("flow", text, run.id)


def the_fan_in_sees_all(evidence: Evidence) -> Iterator[Complaint]:
    """The step after a fan-out gets the results of all runs, in order."""
    for flow, step, runs in _steps(evidence):
        if step != "join":
            continue
        wanted = tuple(10 * number for number in range(1, flow.count + 1))
        for item in (
            execution for run in runs for execution in evidence.executions_by_run.get(run.id, [])
        ):
            if item.seen != wanted:
                text = f"join of flow {flow.id} has seen {item.seen}, not {wanted}"
                yield Complaint("flow", text, item.run)


def _expected(flow: Flow, runs: Mapping[str, list[Run]]) -> dict[str, tuple[str, int]]:
    """Return state and number of runs of each step, computed from the runs of its predecessors."""
    expected: dict[str, tuple[str, int]] = {"split": (_outcome(runs.get("split", [])), 1)}
    splits = expected["split"][0] == "succeeded"
    is_many = flow.count >= _MANY
    numbers = {"part": flow.count, "many": int(is_many), "few": int(not is_many)}
    for step, number in (numbers | dict.fromkeys(_KEYED, 1)).items():
        nothing = "succeeded" if step == "part" else "skipped"
        ends = _outcome(runs.get(step, [])) if number else nothing
        expected[step] = (ends, number) if splits else ("cancelled", 0)
    parts = expected["part"][0] == "succeeded"
    expected["join"] = (_outcome(runs.get("join", [])), 1) if parts else ("cancelled", 0)
    bad = {expected["part"][0], expected["join"][0]} & _BAD
    expected["sorry"] = (_outcome(runs.get("sorry", [])), 1) if bad else ("skipped", 0)
    expected["last"] = (_outcome(runs.get("last", [])), 1)
    return expected


def _outcome(runs: list[Run]) -> str:
    states = {run.state for run in runs}
    if not runs or states - FINAL:
        return "running"
    return next((state for state in ("failed", "cancelled") if state in states), "succeeded")


def _steps(evidence: Evidence) -> Iterator[tuple[Flow, str, list[Run]]]:
    """Yield each step of each flow that has runs."""
    by_flow = _runs_by_step(evidence)
    for flow in evidence.flows:
        for step, runs in by_flow[flow.id].items():
            yield flow, step, runs


def _runs_by_step(evidence: Evidence) -> dict[int, dict[str, list[Run]]]:
    """Map each flow to its runs by step, in order of creation."""
    runs: dict[int, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(evidence.runs, key=lambda run: run.id):
        if run.batch is not None and run.step is not None:
            runs[run.batch][run.step].append(run)
    return runs
