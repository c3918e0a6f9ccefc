"""Forged evidence of dependents and batches: sound, and with a single broken guarantee in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storms.checker import Evidence
from storms.checker.evidence import Acknowledged, Execution, Logged, Run
from storms.checker.tied import AskedBatch, AskedChild, Batch, Link
from storms.forged import a_run, an_execution, at, evidence, life

_ENDS = {"succeeded": "ok", "failed": "failed"}


def ran(run: int, job: str, start: float, state: str = "succeeded") -> Any:
    """Return the evidence of a run that executes for half a second: row, execution, history row, acknowledgement."""
    last = start + 0.5
    token = "" if job in {"Gathered", "Finished", "Settled"} else f"t-{run}"
    changes = ((start - 0.2, "enqueued"), (start - 0.1, "running"), (last + 0.1, state))
    row = Run(run, job, state, at(start - 0.2), completed=at(last + 0.1), life=life(*changes))
    return (
        row,
        Execution(run, 1, job, "node1", start, last, _ENDS[state], token),
        Logged(run, 1, success=state == "succeeded", message=token),
        Acknowledged(run, job, token, start - 0.2),
    )


def left(*performed: Any, **changes: Any) -> Evidence:
    """Return the evidence of a storm with these runs."""
    runs, executions, logged, requests = zip(*performed, strict=True)
    acknowledged = tuple(item for item in requests if item.token)
    whole = {"runs": runs, "executions": executions, "logged": logged, "acknowledged": acknowledged}
    return evidence(**whole | changes)


def change(found: Evidence, run: int, **changes: Any) -> Evidence:
    """Return the evidence with a changed row of a run."""
    return replace(
        found, runs=tuple(replace(r, **changes) if r.id == run else r for r in found.runs)
    )


def without(found: Evidence, run: int) -> Evidence:
    """Return the evidence without the executions of a run."""
    return replace(
        found,
        executions=tuple(item for item in found.executions if item.run != run),
        logged=tuple(item for item in found.logged if item.run != run),
    )


def awaits(found: Evidence, run: int) -> Evidence:
    waiting = {"state": "awaiting", "completed": None, "life": life((5, "awaiting"))}
    return change(without(found, run), run, **waiting)


_BEGINS = 5.0
_GOES = left(
    ran(1, "Token", 3),
    ran(2, "Refusing", 2, "failed"),
    ran(3, "Follower", _BEGINS),
    asked_children=(AskedChild(3, (1, 2), "success", "any"),),
    links=(
        Link(3, "run", 1, "success", "any", "succeeded"),
        Link(3, "run", 2, "success", "any", "failed"),
    ),
)
"""A run waits for the success of either of two parents; one parent fails."""
_ALL = replace(
    _GOES,
    asked_children=(AskedChild(3, (1, 2), "success", "all"),),
    links=tuple(replace(link, quorum="all") for link in _GOES.links),
)
_DISCARDED = change(
    without(_ALL, 3),
    3,
    state="cancelled",
    message="discarded: run 2 failed",
    life=life((3, "awaiting"), (5.6, "cancelled")),
)
"""A run waits for the success of both parents, and is discarded."""
_EARLY = replace(
    _ALL,
    asked_children=(AskedChild(3, (1, 2), "finish", "all"),),
    links=tuple(replace(link, condition="finish", quorum="all") for link in _GOES.links),
)
"""A run waits for any end of both parents."""
_WELL = left(
    *(ran(run, "Token", run) for run in (1, 2, 3)),
    ran(4, "Gathered", 5),
    ran(5, "Finished", 5),
    asked_batches=(AskedBatch(7, ("t-1", "t-2", "t-3")),),
    links=(
        Link(4, "batch", 7, "success", "all", "succeeded"),
        Link(5, "batch", 7, "finish", "all", "succeeded"),
    ),
    batches=(Batch(7, "succeeded", 3, 0, 0, (1, 2, 3)),),
)
"""A batch whose runs all succeed."""
_PARTLY = awaits(
    replace(
        left(
            ran(1, "Token", 1),
            ran(2, "Refusing", 2, "failed"),
            ran(3, "Token", 3),
            ran(4, "Gathered", 5),
            ran(5, "Finished", 5),
        ),
        asked_batches=_WELL.asked_batches,
        links=_WELL.links,
        batches=(Batch(7, "failed", 3, 0, 1, (1, 2, 3)),),
    ),
    4,
)
"""A batch with a failed run."""


def _with_batch(found: Evidence, **changes: Any) -> Evidence:
    return replace(found, batches=(replace(found.batches[0], **changes),))


def begun(found: Evidence, run: int, start: float) -> Evidence:
    """Return the evidence with another start of a run."""
    moved = tuple(
        replace(item, start=start) if item.run == run else item for item in found.executions
    )
    return replace(found, executions=moved)


SOUND = [
    _GOES,
    _DISCARDED,
    _EARLY,
    _WELL,
    _PARTLY,
    # one of two parents is unfinished: a third was requested and not acknowledged
    awaits(
        replace(
            _EARLY,
            runs=(*_EARLY.runs, a_run(id=4, state="enqueued", completed=None, life=life((9, "enqueued")))),
            acknowledged=_EARLY.acknowledged[:2],
            asked_children=(),
            links=(*_EARLY.links, Link(3, "run", 4, "finish")),
        ),
        3,
    ),
]  # fmt: skip
CASES = {
    "a child is performed though a parent failed": ("continuation", _ALL),
    "a child is performed before the second parent has ended": ("continuation", begun(_EARLY, 3, 3.2)),
    "a child is performed before the parent that it waits for": ("continuation", begun(_GOES, 3, 2.8)),
    "a child awaits parents that are over": ("continuation", awaits(_EARLY, 3)),
    "a child awaits a parent that is over otherwise": ("continuation", awaits(_ALL, 3)),
    "a child is cancelled though it may go": (
        "continuation",
        change(without(_GOES, 3), 3, state="cancelled", message="discarded: run 2 failed"),
    ),
    "a child succeeds and was never performed": ("continuation", without(_GOES, 3)),
    "a child is discarded without a reason": ("continuation", change(_DISCARDED, 3, message="")),
    "a child is discarded for a parent that is well": (
        "continuation",
        change(_DISCARDED, 3, message="discarded: run 1 succeeded"),
    ),
    "a child is discarded while a parent goes on": (
        "continuation",
        change(replace(_DISCARDED, asked_children=(), links=(Link(3, "run", 1, "success"),)), 1, state="enqueued", completed=None),
    ),
    "a link is lost": ("continuation", replace(_GOES, links=_GOES.links[:1])),
    "a link asks for another end": (
        "continuation",
        replace(_EARLY, asked_children=(AskedChild(3, (1, 2), "success", "all"),)),
    ),
    "a link has not heard of the end": (
        "continuation",
        replace(_GOES, links=(replace(_GOES.links[0], outcome=None), _GOES.links[1])),
    ),
    "a child is not there": ("continuation", replace(_GOES, runs=_GOES.runs[:2])),
    "a batch is not there": ("batch", replace(_WELL, batches=())),
    "a batch has lost a run": ("batch", _with_batch(_WELL, members=(1, 2))),
    "a batch was created in part": ("batch", _with_batch(_WELL, members=(1, 2), total=2)),
    "a batch has a run that nobody asked for": (
        "batch",
        replace(_WELL, asked_batches=(replace(_WELL.asked_batches[0], tokens=("t-1", "t-2", "u")),)),
    ),
    "a batch counts one too many as pending": ("batch", _with_batch(_WELL, pending=1)),
    "a batch has counted a run twice": ("batch", _with_batch(_WELL, pending=-1)),
    "a batch has not counted a failure": ("batch", _with_batch(_PARTLY, failed=0)),
    "a batch goes on for ever": ("batch", _with_batch(_WELL, state="running")),
    "a batch succeeded with a failure": ("batch", _with_batch(_PARTLY, state="succeeded")),
    "the end of a batch is followed by nothing": ("batch", awaits(_PARTLY, 5)),
    "the success of a batch is followed by nothing": ("batch", awaits(_WELL, 4)),
    "a batch is finished before its last run": ("batch", begun(_WELL, 5, 3.3)),
    "a batch is gathered before its last run": ("batch", begun(_WELL, 4, 3.3)),
    "a batch with a failure is gathered": (
        "batch",
        replace(_WELL, runs=_PARTLY.runs[:3] + _WELL.runs[3:], batches=_PARTLY.batches),
    ),
    "a batch is finished by two runs": ("batch", replace(_WELL, links=(*_WELL.links, replace(_WELL.links[1], child=3)))),
    "a batch has lost its callback": ("batch", replace(_WELL, links=_WELL.links[:1])),
    "a callback is not there": ("batch", replace(_WELL, runs=_WELL.runs[:4])),
    "a callback belongs to no batch": ("batch", evidence(runs=(a_run(job="Finished"),), executions=(an_execution(job="Finished"),))),
}  # fmt: skip
