"""Forged evidence: sound, and with a single broken guarantee in each case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from storms.checker import Evidence, Limits
from storms.checker.evidence import (
    Acknowledged,
    Change,
    Execution,
    Fault,
    Logged,
    Node,
    Run,
    StepNote,
)

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
SERVER = "host:101:machine:random"
A, B = (
    Node("node1", 101, started=0, ready=1, ended=60, by="term"),
    Node("node2", 102, started=0, ready=1, ended=60, by="term"),
)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def life(*changes: tuple[float, str] | tuple[float, str, str]) -> tuple[Change, ...]:
    return tuple(Change(at(change[0]), *change[1:]) for change in changes)


def a_run(**changes: Any) -> Run:
    """Return a run of Token that succeeded between the seconds 10 and 11."""
    whole = Run(
        1,
        "Token",
        "succeeded",
        created=at(10),
        completed=at(11),
        life=life((10, "enqueued"), (10.1, "running"), (11, "succeeded")),
    )
    return replace(whole, **changes)


def an_execution(**changes: Any) -> Execution:
    whole = Execution(1, 1, "Token", "node1", 10.2, 10.9, "ok", "t-1")
    return replace(whole, **changes)


def slot_runs(job: str, *seconds: float, first: int = 100) -> tuple[Run, ...]:
    """Return succeeded runs of a recurring job."""
    return tuple(
        Run(
            first + index,
            job,
            "succeeded",
            created=at(second),
            slot=at(second),
            completed=at(second + 0.5),
            life=life((second, "enqueued"), (second + 0.1, "running"), (second + 0.5, "succeeded")),
        )
        for index, second in enumerate(seconds)
    )


def performed(runs: tuple[Run, ...]) -> dict[str, Any]:
    """Return executions and history rows of the succeeded runs."""
    return {
        "executions": tuple(
            Execution(run.id, 1, run.job, "node1", _s(run) + 0.1, _s(run) + 0.4, "ok", "", run.slot)
            for run in runs
            if run.state == "succeeded"
        ),
        "logged": tuple(
            Logged(run.id, 1, success=True) for run in runs if run.state == "succeeded"
        ),
    }


def _s(run: Run) -> float:
    assert run.slot is not None
    return (run.slot - NOON).total_seconds()


def evidence(**changes: Any) -> Evidence:
    """Return a storm of twelve seconds in which one run was requested and executed."""
    whole = Evidence(
        Limits(heartbeat=0.5, lost_after=6, margin=10),
        began=0,
        began_wall=NOON,
        calm=11,
        quiet=12,
        acknowledged=(Acknowledged(1, "Token", "t-1", 10),),
        nodes=(A, B),
        faults=(),
        executions=(an_execution(),),
        runs=(a_run(),),
        logged=(Logged(1, 1, success=True, message="t-1"),),
    )
    return replace(whole, **changes)


def slots(runs: tuple[Run, ...], **changes: Any) -> Evidence:
    """Return a storm with runs of a recurring job."""
    defaults: dict[str, Any] = {"acknowledged": (), "runs": runs, **performed(runs)}
    return evidence(**{**defaults, **changes})


KILLED = replace(A, ended=10.5, by="kill")
AGAIN = an_execution(attempt=2, node="node2", start=12, end=12.5)
LOST = a_run(
    attempt=2,
    completed=at(13),
    life=life(
        (10, "enqueued"),
        (10.1, "running"),
        (11, "enqueued", f"its worker {SERVER} was lost"),
        (11.9, "running"),
        (13, "succeeded"),
    ),
)
TWO_ROWS = (
    Logged(1, 1, success=False, message=f"its worker {SERVER} was lost"),
    Logged(1, 2, success=True, message="t-1"),
)
RESCUED = evidence(
    nodes=(KILLED, B),
    faults=(Fault("kill", ("node1",), 10.5, 10.5),),
    executions=(an_execution(end=None, outcome=""), AGAIN),
    runs=(LOST,),
    logged=TWO_ROWS,
)
"""A run whose first worker was killed, and which another node executed."""
FROZEN = replace(
    RESCUED,
    nodes=(A, B),
    faults=(Fault("stop", ("node1",), 10.3, 20),),
    executions=(an_execution(end=20.1, outcome="interrupted"), replace(AGAIN, start=17, end=17.5)),
    runs=(
        replace(
            LOST,
            life=life(
                (10, "enqueued"),
                (10.1, "running"),
                (16.5, "enqueued", f"its worker {SERVER} was lost"),
                (16.9, "running"),
                (18, "succeeded"),
            ),
        ),
    ),
)
TICKS = slot_runs("Tick", *range(2, 12))
UNHEARD = replace(
    RESCUED,
    nodes=(replace(A, ended=10.95), B),
    faults=(Fault("term", ("node1",), 10.8, 10.8), Fault("disk", (), 10.3, 10.99)),
    executions=(an_execution(end=10.9), AGAIN),
)
"""A run whose end could not be written: its node was told to stop while the disk was full."""
STALE = replace(
    RESCUED,
    nodes=(KILLED, B, replace(B, name="node3", pid=103)),
    faults=(*RESCUED.faults, Fault("stop", ("node2",), 10.7, 16)),
    executions=(
        an_execution(end=None, outcome=""),
        replace(AGAIN, start=16.1, end=16.6),
    ),
    runs=(
        replace(
            LOST,
            completed=at(17),
            life=life(
                (10, "enqueued"),
                (10.1, "running"),
                (15, "enqueued", f"its worker {SERVER} was lost"),
                (10.6, "running", f"on host:{B.pid}:machine:random"),
                (17, "succeeded"),
            ),
        ),
    ),
)
"""A run claimed by a node that had read its clock before it was stopped."""
SEEN_LATE = replace(RESCUED, nodes=(replace(KILLED, ended=12.4, struck=10.5), B))
"""A node seen to be gone only after another node had its run."""
FROZEN_LONG = replace(
    FROZEN,
    nodes=(A, replace(B, ended=60)),
    faults=(Fault("stop", ("node1",), 10.3, 40),),
    executions=(
        an_execution(end=40.1, outcome="interrupted"),
        replace(AGAIN, start=32, end=32.5),
    ),
    runs=(
        replace(
            LOST,
            completed=at(33),
            life=life(
                (10, "enqueued"),
                (10.1, "running"),
                (31.5, "enqueued", f"its worker {SERVER} was lost"),
                (31.9, "running"),
                (33, "succeeded"),
            ),
        ),
    ),
)
"""A run of a frozen node that continues twenty-two seconds later."""


def short_lived(until: float) -> tuple[Node, ...]:
    """Return nodes that are killed in turn, each within three seconds, and one permanent node."""
    starts = [second / 10 for second in range(10, round(until * 10), 25)]
    return (
        A,
        *(
            Node(f"short{index}", 1000 + index, start, start, start + 2.9, "kill")
            for index, start in enumerate(starts)
        ),
        replace(B, started=until, ready=until, ended=60),
    )


UNWATCHED = replace(FROZEN_LONG, nodes=short_lived(until=25))
"""No node lived long enough to observe the silence."""
SOUND = [evidence(), RESCUED, SEEN_LATE, FROZEN, UNWATCHED, UNHEARD, STALE, slots(TICKS)]

CASES = {
    "a run that was acknowledged is not there": ("acknowledged", evidence(runs=(), executions=(), logged=())),
    "it never ends": (
        "acknowledged",
        evidence(runs=(a_run(state="enqueued", completed=None, life=life((10, "enqueued"))),), logged=(), executions=()),
    ),
    "it ends as it should not": (
        "acknowledged",
        evidence(
            runs=(a_run(state="failed", life=life((10, "enqueued"), (10, "running"), (11, "failed"))),),
            logged=(Logged(1, 1, success=False),),
            executions=(an_execution(outcome="failed"),),
        ),
    ),
    "it says three lost workers and lost none": (
        "acknowledged",
        evidence(runs=(a_run(state="failed", message="three workers were lost while it ran", life=life((10, "enqueued"), (10, "failed"))),)),
    ),
    "it is another job": ("acknowledged", evidence(runs=(a_run(job="Plain"),))),
    "another run performs it": ("tokens", evidence(executions=(an_execution(), an_execution(run=2)))),
    "it is performed twice, and nobody was killed": ("doubled", replace(RESCUED, nodes=(A, B), faults=())),
    "it is performed again by a node that was stopped for a moment": (
        "doubled",
        replace(FROZEN, faults=(Fault("stop", ("node1",), 10.3, 11.3),)),
    ),
    "it is performed again for another node's fault": (
        "doubled",
        replace(FROZEN, faults=(Fault("stop", ("node2",), 10.3, 20),)),
    ),
    "it is performed again after the database was away": (
        "doubled",
        replace(FROZEN, faults=(Fault("database", (), 10.3, 20),)),
    ),
    "it is retried though it is not to be": (
        "doubled",
        evidence(executions=(an_execution(outcome="failed"), replace(AGAIN, start=11))),
    ),
    "it is handed over although it had ended well": (
        "doubled",
        evidence(
            nodes=(replace(A, ended=11), B),
            faults=(Fault("term", ("node1",), 10.95, 10.95),),
            executions=(an_execution(), AGAIN),
        ),
    ),
    "it is done again after a disk was full that was free when its node stopped": (
        "doubled",
        replace(
            UNHEARD, faults=(Fault("term", ("node1",), 10.8, 10.8), Fault("disk", (), 10.3, 10.7))
        ),
    ),
    "it goes on after it has succeeded": (
        "doubled",
        replace(RESCUED, logged=(Logged(1, 1, success=True, message="t-1"), Logged(1, 2, success=False, message="its worker x was lost"))),
    ),
    "two executions overlap": ("overlap", evidence(executions=(an_execution(), an_execution(attempt=2, node="node2", start=10.5)))),
    "a job goes on though its node is gone": ("outlived", replace(RESCUED, executions=(an_execution(end=15), AGAIN))),
    "a healthy node is declared lost": ("lost", replace(RESCUED, nodes=(replace(KILLED, ended=30), B))),
    "a node that never was is declared lost": ("lost", replace(RESCUED, nodes=(B,))),
    "the rescue takes too long": (
        "rescue",
        replace(RESCUED, executions=(an_execution(end=None, outcome=""), replace(AGAIN, start=27.5, end=28))),
    ),
    "a frozen node's run goes on too late": ("rescue", FROZEN_LONG),
    "it goes on long after somebody had watched the frozen node": (
        "rescue",
        replace(FROZEN_LONG, nodes=short_lived(until=14)),
    ),
    "a kept step is done again": (
        "steps",
        evidence(
            steps=frozenset({(1, "one")}),
            step_notes=(StepNote("kept", 1, 1, "one", "node1", 10.4), StepNote("step", 1, 2, "one", "node2", 12)),
        ),
    ),
    "a step came back that is not in the table": (
        "steps",
        evidence(step_notes=(StepNote("kept", 1, 1, "one", "node1", 10.4),)),
    ),
    "a slot is twice": ("slots", slots((*TICKS, *slot_runs("Tick", 5, first=200)))),
    "a slot is not there": ("slots", slots(tuple(run for run in TICKS if _s(run) != 5))),
    "two runs perform one slot": (
        "slots",
        slots(TICKS, executions=(*performed(TICKS)["executions"], Execution(7, 1, "Tick", "node2", 5, 5.1, "ok", "", at(5)))),
    ),
    "a slot succeeds that nobody performed": ("slots", slots(TICKS, executions=performed(TICKS)["executions"][1:])),
    "a slot waits for ever": (
        "slots",
        slots((replace(TICKS[0], state="enqueued", completed=None, life=life((2, "enqueued"))), *TICKS[1:]), quiet=50),
    ),
    "the slots end before the nodes": ("slots", slots(TICKS, quiet=40)),
    "the slots begin long after the nodes": ("slots", slots(slot_runs("Tick", *range(30, 40)), quiet=40)),
    "a slot is performed before its time": (
        "slots",
        slots(TICKS, executions=tuple(replace(item, start=item.start - 5) for item in performed(TICKS)["executions"])),
    ),
    "a slot of the future is there": ("slots", slots((*TICKS, *slot_runs("Minute", 3600, first=200)))),
    "a slot is missed though nodes were up": (
        "slots",
        slots((replace(TICKS[0], state="missed", created=at(20), completed=at(20), life=life((20, "missed"))), *TICKS[1:])),
    ),
    "a slot is missed and performed": (
        "slots",
        slots((replace(TICKS[0], state="missed", life=life((2, "missed"))), *TICKS[1:]), executions=performed(TICKS)["executions"]),
    ),
    "a slot of a job that may overlap is skipped": (
        "slots",
        slots((replace(TICKS[0], state="skipped", life=life((2, "skipped"))), *TICKS[1:])),
    ),
    "a slot is skipped for a run that was over": (
        "slots",
        slots(
            (
                *slot_runs("Busy", 2, 4),
                Run(9, "Busy", "skipped", at(6), at(6), completed=at(6), blocked_by=100, life=life((6, "skipped"))),
            )
        ),
    ),
    "an old schedule comes back": (
        "schedule",
        slots(slot_runs("Shifting", 9, 12, 15), nodes=(A, replace(B, release=2, ready=-2)), releases={2: 0.0}),
    ),
    "a final state is left": (
        "states",
        evidence(runs=(a_run(life=life((10, "enqueued"), (10, "running"), (10, "succeeded"), (11, "running"), (11, "succeeded"))),)),
    ),
    "time goes backwards": ("states", evidence(runs=(a_run(life=life((10, "enqueued"), (7, "running"), (11, "succeeded"))),))),
    "a stop is too short to explain an old instant": ("states", replace(STALE, faults=(*RESCUED.faults, Fault("stop", ("node2",), 10.7, 12)))),
    "the state is not the last one": ("states", evidence(runs=(a_run(life=life((10, "enqueued"), (10, "running"))),))),
    "a life begins in the middle": ("states", evidence(runs=(a_run(life=life((10, "running"), (11, "succeeded"))),))),
    "it has ended and has no end": ("states", evidence(runs=(a_run(completed=None),))),
    "it is running, owned by nobody": (
        "owner",
        evidence(runs=(a_run(state="running", completed=None, server="gone", life=life((10, "enqueued"), (10, "running"))),)),
    ),
    "a node stays registered": ("owner", evidence(servers=frozenset({SERVER}))),
    "an end has no row": ("history", evidence(logged=())),
    "an attempt has two rows": ("history", evidence(logged=(Logged(1, 1, success=True, message="t-1"), Logged(1, 1, success=False)))),
    "a success is only in the table": ("history", evidence(executions=(an_execution(outcome="failed"),))),
    "a failure is only in the table": ("history", evidence(logged=(Logged(1, 1, success=False),))),
    "a row belongs to no run": ("history", evidence(logged=(Logged(1, 1, success=True, message="t-1"), Logged(2, 1, success=True)))),
    "three run at once where two may": (
        "limit",
        evidence(executions=tuple(an_execution(run=number, job="Limited") for number in (1, 2, 3))),
    ),
    "a node ends by itself": ("nodes", evidence(nodes=(A, replace(B, by="itself")))),
}  # fmt: skip
