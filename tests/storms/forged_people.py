"""Forged evidence of what people do: sound, and with a single broken guarantee in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storms.checker import Evidence
from storms.checker.evidence import Execution, Logged, Run
from storms.checker.tied import Act, Batch, Flow, Link, Told
from storms.forged import at, life
from storms.forged_ties import change, left, ran


def _waited(run: int, start: float) -> tuple[Any, ...]:
    """Return the evidence of a run of ``Prompt`` that waited for three seconds."""
    row, execution, logged, request = ran(run, "Prompt", start)
    waits = life((start - 3, "enqueued"), (start - 0.1, "running"), (start + 0.6, "succeeded"))
    return replace(row, created=at(start - 3), life=waits), execution, logged, request


def _act(kind: str, target: int | None, *made: int, asked: float = 3.0, **more: Any) -> Act:
    return Act(kind, target, asked, **{"at": asked + 0.1, "done": True, "made": made, **more})


_CANCELLED = Run(
    2, "Handled", "cancelled", at(2), completed=at(3), life=life((2, "enqueued"), (3, "cancelled"))
)
_WHOLE = left(
    ran(1, "Handled", 2),
    ran(3, "Handled", 2, "failed"),
    ran(4, "Handled", 6, "failed"),
    ran(5, "Settled", 7.5),
    ran(10, "Handled", 4),
    _waited(11, 8),
    acknowledged=(),
    acts=(
        _act("batch", None, 7, asked=1),
        _act("start", None, 6, asked=1, token="t-6"),
        _act("cancel", 2, state="cancelled", batch=7),
        _act("retry", 3, 4, batch=8),
        _act("delete", 6, asked=5, batch=0),
        _act("flow", None, 9),
        Act("cancel", 1, 4, at=4.1, refused=True),
    ),
    people_batches=(
        Batch(7, "failed", 3, 0, 2, (1, 2)),
        Batch(8, "failed", 1, 0, 1, (4,), parent=7),
    ),
    chains=(Flow(9, "succeeded", 0, 0, "t", 0, 0, {"first": "succeeded"}),),
    links=(Link(5, "batch", 7, "finish"),),
    told=(Told("late", "Prompt", "one", 7),),
)
_STEP = change(_WHOLE, 10, batch=9, step="first")
_DELETED = Execution(6, 1, "Handled", "node1", 2, 2.5, "ok", "t-6")
_SOUND = replace(
    _STEP,
    runs=(*_STEP.runs, _CANCELLED),
    executions=tuple(
        replace(item, token="t-3") if item.run == 4 else item
        for item in (*_STEP.executions, _DELETED)
    ),
    logged=(*_STEP.logged, Logged(6, 1, success=True, message="t-6")),
)
"""A batch with an inner batch, a cancelled run, a failed run that was retried and failed again, a deleted run, a flow, and a run that
waited longer than it should.
"""


def _batch(number: int, **changes: Any) -> Evidence:
    batches = (replace(b, **changes) if b.id == number else b for b in _SOUND.people_batches)
    return replace(_SOUND, people_batches=tuple(batches))


def _begun(run: int, start: float, token: str) -> Evidence:
    late = Execution(run, 2, "Handled", "node1", start, start + 0.1, "failed", token)
    return replace(_SOUND, executions=(*_SOUND.executions, late))


def _flow(**changes: Any) -> Evidence:
    return replace(_SOUND, chains=(replace(_SOUND.chains[0], **changes),))


def _plus(*acts: Act) -> Evidence:
    return replace(_SOUND, acts=(*_SOUND.acts, *acts))


_SAME_KEY = _act("start", None, 10, asked=1, token="t-6")
_THIRD = Execution(10, 1, "Handled", "node1", 4, 4.5, "ok", "t-1")
SOUND = (
    _SOUND,
    _plus(_act("start", None, 6, asked=1, token="t-6")),
    replace(_batch(7, total=4), acts=(*_SOUND.acts, _act("delete", 77, batch=7))),
    replace(_batch(7, state="cancelled"), acts=(*_SOUND.acts, _act("cancel batch", 7))),
)
CASES: dict[str, tuple[str, Evidence]] = {
    "a run that a person started is gone": ("people", _plus(_act("start", None, 77))),
    "a run that a person started goes on": (
        "people",
        change(_plus(_act("start", None, 10)), 10, state="running", completed=None),
    ),
    "a batch that a person created is gone": ("people", _plus(_act("batch", None, 77))),
    "a flow that a person started is gone": ("people", _plus(_act("flow", None, 77))),
    "a deleted run is there": ("people", _plus(_act("delete", 1, batch=7))),
    "a deleted run begins": ("people", _begun(6, 8, "t-6")),
    "a cancelled run begins": ("people", _begun(2, 8, "t-2")),
    "a cancelled run succeeds": ("people", change(_SOUND, 2, state="succeeded")),
    "two requests with one key made two runs": ("people", _plus(_SAME_KEY)),
    "two runs perform the work of one that nobody retried": (
        "people",
        replace(_SOUND, executions=(*(i for i in _SOUND.executions if i.run != 10), _THIRD)),
    ),
    "a batch counts a member that it has not": ("people", _batch(7, total=4)),
    "a batch counts a pending run": ("people", _batch(7, pending=1)),
    "a batch counts a failure too few": ("people", _batch(8, failed=0, state="succeeded")),
    "a batch is over as it should not be": ("people", _batch(7, state="succeeded")),
    "a batch is cancelled by nobody": ("people", _batch(7, state="cancelled")),
    "a callback is there twice": (
        "people",
        replace(_SOUND, links=(*_SOUND.links, Link(10, "batch", 7, "finish"))),
    ),
    "a callback is cancelled": ("people", change(_SOUND, 5, state="cancelled")),
    "a flow ends otherwise than its steps": ("people", _flow(state="failed")),
    "a step ends otherwise than its run": (
        "people",
        _flow(steps={"first": "failed"}, failed=1, state="failed"),
    ),
    "an expectation that is broken once is told twice": (
        "told",
        replace(_SOUND, told=(*_SOUND.told, Told("late", "Prompt", "two", 7.5))),
    ),
    "an expectation that holds is told": (
        "told",
        replace(_SOUND, told=(*_SOUND.told, Told("late", "Prompt", "two", 1))),
    ),
}
