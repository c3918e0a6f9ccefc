"""Guarantees of dependents: they run once their parents ended as required, and are otherwise discarded with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from storms.checker.evidence import FINAL, FOREVER, SKEW, Complaint, Evidence, Run
from storms.checker.runs import may_have_failed
from storms.checker.tied import Link

_WANTED = {"success": {"succeeded"}, "failure": {"failed"}, "finish": FINAL}
_AT_END = {"succeeded": {"ok"}, "failed": {"failed"}}


def children_wait_for_what_was_asked(evidence: Evidence) -> Iterator[Complaint]:
    """The links of an acknowledged run equal the application's request, and the table has the parents' outcomes."""
    for request in evidence.asked_children:
        links = evidence.links_by_child.get(request.run, [])
        waits_for = {(link.parent, link.condition, link.quorum) for link in links}
        if waits_for != {(parent, request.on, request.quorum) for parent in request.parents}:
            text = f"it waits for {sorted(waits_for)}, not {request.on} of {request.quorum} of {request.parents}"
            yield Complaint("continuation", text, request.run)
    for link in evidence.links:
        parent = evidence.run_by_id.get(link.parent)
        if link.kind == "run" and parent is not None:
            over = parent.state if parent.state in FINAL else None
            if link.outcome != over:
                text = f"run {link.parent} is {parent.state}, its link says {link.outcome}"
                yield Complaint("continuation", text, link.child)


def children_go_as_their_parents_end(evidence: Evidence) -> Iterator[Complaint]:
    """A dependent runs if its parents ended as required, is discarded if not, and waits while a deciding parent is unfinished."""
    for child, links in evidence.links_by_child.items():
        if any(link.kind != "run" for link in links):
            continue
        run, begun = evidence.run_by_id.get(child), evidence.executions_by_run.get(child, [])
        if run is None:
            yield Complaint("continuation", "it waits for others and is not there", child)
            continue
        what = _expected(evidence, links)
        how = f"{run.job} is {run.state}, its parents {_said(evidence, links)}"
        if what == "goes":
            has_gone = run.state in {"succeeded", "failed"} or run.state not in FINAL
            if run.state == "awaiting" or not has_gone:
                yield Complaint("continuation", f"did not go: {how}", child)
            elif run.state in FINAL and not (begun or may_have_failed(evidence, run)):
                yield Complaint("continuation", f"was never performed: {how}", child)
        elif begun:
            yield Complaint("continuation", f"was performed: {how}", child)
        elif what == "waits" and run.state != "awaiting":
            yield Complaint("continuation", f"does not wait: {how}", child)
        elif what == "discarded" and not _is_discarded(evidence, run, links):
            text = f"is not discarded with the reason: {how}: {run.message}"
            yield Complaint("continuation", text, child)


def children_start_after_their_parents(evidence: Evidence) -> Iterator[Complaint]:
    """A dependent begins only after its deciding parents have ended, by the record and by the table."""
    for child, links in evidence.links_by_child.items():
        begun = evidence.executions_by_run.get(child, [])
        parents = [
            run
            for link in links
            if link.kind == "run" and (run := evidence.run_by_id.get(link.parent)) is not None
            if run.state in _WANTED[link.condition]
        ]
        if not begun or not parents:
            continue
        ends = [earliest_end(evidence, run) for run in parents]
        may_go = min(ends) if links[0].quorum == "any" else max(ends)
        if begun[0].start < may_go:
            text = f"{begun[0].job} began {may_go - begun[0].start:.2f} s before its parents {_said(evidence, links)}"
            yield Complaint("continuation", text, child)


def earliest_end(evidence: Evidence, run: Run) -> float:
    """Return the earliest instant at which a run may have ended.

    The last attempt had ended by then, and a clock was read to record this.
    """
    outcomes = _AT_END.get(run.state, set())
    ends = [
        item.end
        for item in evidence.executions_by_run.get(run.id, [])
        if item.end is not None and item.attempt == run.attempt and item.outcome in outcomes
    ]
    recorded_end = -FOREVER
    if run.completed is not None and not evidence.clock_was_set():
        recorded_end = evidence.mono(run.completed) - SKEW.total_seconds()
    return max(min(ends, default=-FOREVER), recorded_end)


def _expected(evidence: Evidence, links: Sequence[Link]) -> str:
    """Return the expected outcome of a run with these links from its parents' states; the outcomes stored in the links are ignored."""
    states = [(_state(evidence, link), _WANTED[link.condition]) for link in links]
    met = sum(state in wanted for state, wanted in states)
    unmet = sum(state in FINAL and state not in wanted for state, wanted in states)
    if links[0].quorum == "any":
        return "goes" if met else "discarded" if unmet == len(links) else "waits"
    return "discarded" if unmet else "goes" if met == len(links) else "waits"


def _is_discarded(evidence: Evidence, run: Run, links: Sequence[Link]) -> bool:
    unmet = [link for link in links if _state(evidence, link) not in _WANTED[link.condition]]
    reasons = run.message.replace(";", " ").split()
    named = any(str(link.parent) in reasons for link in unmet)
    return run.state == "cancelled" and run.message.startswith("discarded: ") and named


def _state(evidence: Evidence, link: Link) -> str:
    parent = evidence.run_by_id.get(link.parent)
    return "not there" if parent is None else parent.state


def _said(evidence: Evidence, links: Sequence[Link]) -> str:
    parents = [f"{link.parent} {_state(evidence, link)}" for link in links]
    return f"({', '.join(parents)}; {links[0].quorum} to end in {links[0].condition})"
