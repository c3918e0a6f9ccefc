"""Forged evidence of unique runs, flows and expiring runs: sound, and with a single broken guarantee in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storms.checker import Evidence
from storms.checker.evidence import Acknowledged, Execution, Fault
from storms.checker.tied import AskedFlow, AskedKey, Flow, Refused
from storms.forged import a_run, an_execution, at, life
from storms.forged_ties import begun, change, left, ran, without


def _keyed(run: int, job: str, start: float) -> Any:
    """Return the evidence of a run with the key ``a``."""
    row, execution, *rest = ran(run, job, start)
    return row, replace(execution, key="a"), *rest


def _call(run: int, job: str, asked: float, token: str = "", **more: Any) -> AskedKey:
    return AskedKey(run, job, "a", token or f"t-{run}", asked, asked + 0.1, **more)


_SINGLE = left(
    _keyed(1, "Single", 2),
    _keyed(2, "Single", 5),
    asked_keys=(
        _call(1, "Single", 1.6),
        _call(1, "Single", 2.2, "u", existing=True),
        _call(2, "Single", 4.7),
    ),
    rolled_back=frozenset({"gone"}),
)
"""Two runs with one key in turn; the first run is also returned to another call."""
_PENDING = left(
    _keyed(1, "Pending", 2),
    _keyed(2, "Pending", 2.3),
    asked_keys=(
        _call(1, "Pending", 1.5, "old"),
        _call(1, "Pending", 1.7, existing=True),
        _call(2, "Pending", 2.1),
    ),
    faults=(Fault("database", (), 7, 8),),
    refused=(Refused("Pending", "no connection", 7.1, 7.2),),
)
"""Two concurrent runs with one key: the second was created after the first had begun, and has the latest token."""
_COUNT = 2
_KEYED_STEPS = {"once": [7], "latest": [8], "room": [10]}
_STEPS = {"split": [1], "part": [2, 3], "join": [4], "few": [5], "last": [6]} | _KEYED_STEPS
_STATES = dict.fromkeys(_STEPS, "succeeded") | {"many": "skipped", "sorry": "skipped"}
_JOBS = {"split": "Split", "part": "Part", "join": "Join", "once": "Single", "latest": "Pending", "room": "Limited"}  # fmt: skip
_STARTS = dict.fromkeys(_STEPS, 3) | {"split": 2, "join": 4, "last": 5}


def _flow(found: Evidence, **changes: Any) -> Evidence:
    """Return the evidence with a changed row of the flow."""
    return replace(found, flows=(replace(found.flows[0], **changes),))


def _seen(found: Evidence, seen: tuple[int, ...] | None) -> Evidence:
    return replace(
        found,
        executions=tuple(
            replace(item, seen=seen) if item.job == "Join" else item for item in found.executions
        ),
    )


def _of_step(found: Evidence) -> Evidence:
    for step, runs in _STEPS.items():
        for run in runs:
            found = change(found, run, batch=9, step=step)
    return found


_DONE = _of_step(
    _seen(
        left(
            *(
                ran(run, _JOBS.get(step, "Branch"), _STARTS[step])
                for step, runs in _STEPS.items()
                for run in runs
            ),
            asked_flows=(AskedFlow(9, "f"),),
            flows=(Flow(9, "succeeded", 0, 0, "f", _COUNT, 0, _STATES),),
        ),
        (10, 20),
    )
)
"""A flow of two parts."""
_BY_JOB = replace(
    _DONE,
    runs=(*_DONE.runs, replace(a_run(id=20, job="Fan"), batch=9)),
    acknowledged=(*_DONE.acknowledged, Acknowledged(20, "Fan", "f", 1)),
    asked_flows=(),
    logged=(*_DONE.logged, replace(_DONE.logged[0], run=20, message="")),
)
"""The same flow, started by a run of its job."""
_REFUSED = replace(
    _of_step(
        left(
            ran(1, "Split", 2),
            ran(2, "Part", 3),
            ran(3, "Part", 3, "failed"),
            ran(4, "Branch", 4),
            ran(5, "Branch", 3),
            ran(6, "Branch", 5),
            *(ran(run, _JOBS[step], 3) for step, [run] in _KEYED_STEPS.items()),
        )
    ),
    acknowledged=(),
    flows=(
        Flow(9, "failed", 0, 2, "f", _COUNT, 2, _STATES | {"part": "failed", "join": "cancelled", "sorry": "succeeded"}),
    ),
)  # fmt: skip
_REFUSED = change(_REFUSED, 4, step="sorry")
"""A flow whose second part is refused."""
_IN_TIME = change(left(ran(1, "Brief", 3)), 1, expires=at(4))
_EXPIRED = change(
    without(_IN_TIME, 1),
    1,
    state="cancelled",
    completed=at(4.5),
    message="expired: it was to start before noon",
    life=life((2, "enqueued"), (4.5, "cancelled")),
)
SOUND = [_SINGLE, _PENDING, _DONE, _BY_JOB, _REFUSED, _IN_TIME, _EXPIRED]


def _calls(found: Evidence, *calls: AskedKey) -> Evidence:
    return replace(found, asked_keys=calls)


def _performs(found: Evidence, token: str) -> Evidence:
    first = replace(found.executions[0], token=token)
    return replace(found, executions=(first, *found.executions[1:]))


_WOKEN = replace(
    _performs(_PENDING, "old"),
    faults=(*_PENDING.faults, Fault("stop", ("node1",), -4.5, 1.9)),
    logged=(replace(_PENDING.logged[0], message="old"), *_PENDING.logged[1:]),
)
"""A run claimed by a node before a freeze executes the arguments of that claim."""
SOUND.append(_WOKEN)


CASES = {
    "two runs of a key are performed at once": ("unique", begun(_SINGLE, 2, 2.3)),
    "a run of a key is performed between two attempts of another": (
        "unique",
        replace(
            begun(_SINGLE, 2, 5),
            executions=(*_SINGLE.executions, Execution(1, 2, "Single", "node2", 6, 6.5, "ok", "t-1", key="a")),
        ),
    ),
    "a key is taken while a run with it is yet to begin": ("unique", _calls(_SINGLE, _call(1, "Single", 1), _call(2, "Single", 1.5))),
    "two runs of a key wait at once": ("unique", _calls(begun(change(_PENDING, 1, life=life((1, "enqueued"), (9, "running"), (9.5, "succeeded"))), 1, 9), _call(1, "Pending", 1.5), _call(2, "Pending", 2.1))),
    "two calls make one run": ("unique", _calls(_SINGLE, _call(1, "Single", 1.5), _call(1, "Single", 1.6, "u"))),
    "a key is held for ever": ("unique", _calls(_SINGLE, _call(1, "Single", 1.6), _call(1, "Single", 40, "u", existing=True))),
    "a run that has begun stands for another": (
        "unique",
        _calls(_PENDING, *_PENDING.asked_keys, _call(1, "Pending", 2.2, "late", existing=True)),
    ),
    "a run of another key stands for it": ("unique", _calls(_SINGLE, replace(_SINGLE.asked_keys[1], key="b"))),
    "what was asked for last is not performed": ("unique", _performs(_PENDING, "old")),
    "a run stands for another that is not there": (
        "acknowledged",
        replace(_SINGLE, acknowledged=(*_SINGLE.acknowledged, Acknowledged(77, "Single", "u", 2))),
    ),
    "what was rolled back is performed": ("rolled back", _performs(_SINGLE, "gone")),
    "a flow that was rolled back is there": ("rolled back", replace(_DONE, rolled_back=frozenset({"f"}))),
    "a call is refused for no reason": ("refused", replace(_PENDING, faults=())),
    "a flow is not there": ("flow", replace(_DONE, flows=())),
    "a flow is another": ("flow", _flow(_DONE, token="g")),
    "a run starts two flows": ("flow", replace(_BY_JOB, flows=(*_BY_JOB.flows, replace(_BY_JOB.flows[0], id=10)))),
    "a run starts no flow": ("flow", replace(_flow(_BY_JOB, token="g"))),
    "a flow goes on for ever": ("flow", _flow(_DONE, state="running", pending=1)),
    "a flow succeeded with a failure": ("flow", _flow(_REFUSED, state="succeeded")),
    "a step has not heard of its end": ("flow", _flow(_DONE, steps=_STATES | {"last": "running"})),
    "a step is done twice": ("flow", change(_DONE, 5, step="last")),
    "a step is not done": ("flow", change(_DONE, 6, step=None)),
    "both branches are done": ("flow", change(_DONE, 6, step="many")),
    "the other branch is done": ("flow", change(_DONE, 5, step="many")),
    "a step with a unique key is left out": ("flow", change(_DONE, 7, step=None)),
    "a step with a limit begins before the one before it": ("flow", begun(_DONE, 10, 2.2)),
    "a part is left out": ("flow", change(_DONE, 3, batch=None)),
    "a part fails for no reason": ("flow", _flow(_REFUSED, bad=0)),
    "the fan-in goes on after a failure": ("flow", change(_REFUSED, 4, step="join")),
    "a step begins before the one before it": ("flow", begun(_DONE, 2, 2.2)),
    "a fan-in begins before its last part": ("flow", begun(_DONE, 4, 3.2)),
    "a fan-in has not seen all parts": ("flow", _seen(_DONE, (10,))),
    "a fan-in has seen them in another order": ("flow", _seen(_DONE, (20, 10))),
    "a fan-in has seen nothing": ("flow", _seen(_DONE, None)),
    "a run is taken after its expiry": ("expiry", change(_IN_TIME, 1, expires=at(2.5))),
    "a run begins long after its expiry": ("expiry", begun(_IN_TIME, 1, 20)),
    "a run expires and is performed": ("expiry", replace(_EXPIRED, executions=(an_execution(job="Brief"),))),
    "a run that expires is cancelled without a reason": ("expiry", change(_EXPIRED, 1, message="")),
    "a run expires before its time": ("expiry", change(_EXPIRED, 1, completed=at(3.5))),
}  # fmt: skip
