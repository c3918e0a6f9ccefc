"""Forged evidence of pools, pauses, ageing and turns: sound, and with a single broken guarantee in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storms.checker import Evidence
from storms.checker.evidence import Acknowledged, Execution, Fault, Logged, Pause, Run
from storms.forged import SERVER, A, B, at, life
from storms.forged_ties import change, left


def _ran(run: int, job: str, ready: float, taken: float, took: float = 0.5) -> Any:
    """Return the evidence of a run that was ready and claimed at these instants, and then executed."""
    token, start, last = f"t-{run}", taken + 0.1, taken + 0.1 + took
    changes = ((ready, "enqueued"), (taken, "running"), (last + 0.1, "succeeded"))
    row = Run(run, job, "succeeded", at(ready), completed=at(last + 0.1), life=life(*changes))
    execution = Execution(run, 1, job, "node1", start, last, "ok", token)
    return (
        row,
        execution,
        Logged(run, 1, success=True, message=token),
        Acknowledged(run, job, token, ready),
    )


def _paused(queue: str, start: float, end: float) -> Pause:
    return Pause(queue, start, end, start - 0.1, end + 0.1)


def _turns(*turns: tuple[float, float, float]) -> Evidence:
    """Return runs of a job that runs in turn: slot, claim and duration of each."""
    base = left(*(_ran(100 + i, "Turns", *turn) for i, turn in enumerate(turns)))
    slots = tuple(replace(run, slot=run.created) for run in base.runs)
    executions = tuple(
        replace(item, token="", slot=run.slot)
        for item, run in zip(base.executions, slots, strict=True)
    )
    return replace(base, runs=slots, executions=executions, acknowledged=())


def _limited(*runs: tuple[float, float, float]) -> Evidence:
    """Return runs of a job with a limit: request for capacity, start of capacity, and duration of each."""
    base = left(*(_ran(1 + i, "Limited", *run) for i, run in enumerate(runs)))
    changed = [
        replace(run, life=(replace(run.life[0], state="awaiting"), replace(run.life[1], state="enqueued"), *run.life[1:]))
        for run in base.runs
    ]  # fmt: skip
    return replace(base, runs=tuple(changed))


_POOL = left(
    _ran(1, "Bulk", 2, 2.1, 3),
    _ran(2, "Urgent", 2, 2.2, 3),
    _ran(3, "Bulk", 2, 5.6),
    _ran(4, "Urgent", 6, 6.1),
    pauses=(_paused("bulk", 2.5, 5.5),),
    strict=True,
)
"""Two concurrent runs of the pool, and a paused queue."""
_HELD = left(
    _ran(1, "Urgent", 2, 30),
    _ran(2, "Bulk", 3, 20),
    pauses=(_paused("urgent", 1.5, 29.5),),
    strict=True,
)
"""The higher queue is paused, so the lower queue goes first."""
_AGED = left(
    _ran(1, "Patient", 2, 20),
    _ran(2, "Eager", 9, 19),
    _ran(3, "Eager", 3, 4),
)
"""A priority of four goes before a run that came seven seconds earlier, because two seconds are a point."""
_IN_TURN = _turns((3, 3.1, 20), (6, 23.5, 2), (9, 26, 0.2))
_ROOM = _limited((2, 2.1, 30), (2, 2.1, 30), (3, 32.4, 1))
_RESCUED = replace(
    _turns((3, 12, 27), (6, 40, 0.5)),
    nodes=(replace(A, ended=7, struck=7, by="kill"), B),
)
_LOST = f"attempt 2; its worker {SERVER} was lost"
_RESCUED = replace(
    _RESCUED,
    executions=(
        replace(_RESCUED.executions[0], node="node2"),
        replace(_RESCUED.executions[1], start=6.5, end=None, outcome=""),
        replace(_RESCUED.executions[1], node="node2", attempt=2),
    ),
    runs=(
        _RESCUED.runs[0],
        replace(
            _RESCUED.runs[1],
            attempt=2,
            life=life((6, "enqueued"), (6.3, "running"), (11, "enqueued", _LOST), (40, "running"), (40.7, "succeeded")),
        ),
    ),
    logged=(_RESCUED.logged[0], Logged(101, 1, success=False, message=_LOST), replace(_RESCUED.logged[1], attempt=2)),
)  # fmt: skip
"""The run of a killed node continues when an earlier run has ended."""
_GONE = Logged(1, 1, success=False, message="the job's process was ended by SIGKILL")
_RETRIED = left(_ran(1, "Patient", 2, 40))
_RETRIED = replace(
    change(
        _RETRIED,
        1,
        attempt=2,
        life=life((2, "enqueued"), (2.1, "running"), (2.6, "retrying"), (2.8, "enqueued"), (40, "running"), (40.7, "succeeded")),
    ),
    nodes=(replace(A, ended=3, struck=3, by="kill"), B),
    faults=(Fault("worker", ("node1",), 2.5, 2.5, 77),),
    executions=(
        Execution(1, 1, "Patient", "node1", 2.2, token="t-1", pid=77),
        replace(_RETRIED.executions[0], node="node2", attempt=2),
    ),
    logged=(_GONE, replace(_RETRIED.logged[0], attempt=2)),
)  # fmt: skip
"""A run whose process was killed waits again, as its node wrote before the node was killed itself."""
SOUND = [
    _RETRIED,
    _RESCUED,
    _POOL,
    _HELD,
    replace(_HELD, strict=False, pauses=()),
    _AGED,
    _IN_TURN,
    _ROOM,
]

CASES = {
    "a pool has more workers than it has": ("pool", left(*(_ran(run, "Bulk", 2, 2.1) for run in (1, 2, 3)))),
    "queues of a pool have workers each": ("pool", left(*(_ran(run, job, 2, 2.1) for run, job in enumerate(["Bulk", "Urgent"] * 2, 1)))),
    "a run of a paused queue is taken": ("paused", replace(_POOL, pauses=(_paused("bulk", 2.5, 9),))),
    "a run of a paused queue begins late": ("paused", replace(_POOL, pauses=(_paused("urgent", -5, 7),))),
    "a lower queue goes before a higher one": ("order", replace(_HELD, pauses=())),
    "who has more points waits": ("order", left(_ran(1, "Patient", 2, 60), _ran(2, "Eager", 30, 31))),
    "waiting counts for more than it does": ("order", left(_ran(1, "Eager", 8, 60), _ran(2, "Patient", 12, 40))),
    "a turn comes late after a rescue": (
        "rescue",
        change(_RESCUED, 100, life=life((3, "enqueued"), (12, "running"), (20, "succeeded"))),
    ),
    "a run that was not retried comes late": (
        "rescue",
        change(_RETRIED, 1, life=life((2, "enqueued"), (2.1, "running"), (11, "enqueued", _LOST), (40, "running"), (40.7, "succeeded"))),
    ),
    "room is left empty": ("turns", _limited((2, 2.1, 1), (3, 40, 1))),
    "a turn is not taken": ("turns", _turns((3, 3.1, 1), (6, 40, 1))),
    "who waits for its turn is passed over": ("turns", _turns((3, 3.1, 9), (6, 40, 1), (9, 13, 8), (12, 22, 8), (15, 31, 8))),
}  # fmt: skip
