"""Check the steps of a flow, and compute their states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from ...core.text import closest
from .language import Expression, FlowError, Template, texts_in

# Parse and check the steps of a flow in targcc.yaml. The generator reports the problems; the scheduler reads the steps.

On = Literal["success", "failure", "finish"]
MOST_STEPS = 100
STEP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")
TAKEN = frozenset({"flow", "item", "and", "or", "not", "in", "True", "False", "None"})
"""Names with another meaning in expressions; no step may have such a name."""
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Step:
    """A step of a flow.

    Args:
        name: The step's name in the flow.
        job: The job to run.
        after: The earlier steps to wait for.
        on: The required outcome of the earlier steps.
        when: A condition; if false, the step is skipped.
        for_each: A list; the step creates a run for each item.
        arguments: Arguments of the job's runs; texts are templates.
    """

    name: str
    job: str
    after: tuple[str, ...] = ()
    on: On = "success"
    when: Expression | None = None
    for_each: Expression | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asks(self) -> frozenset[str]:
        """Return the names that the step's expressions read: steps, ``flow``, ``item``."""
        names = {
            name.name
            for expression in (self.when, self.for_each)
            if expression
            for name in expression.names
        }
        for _, text in texts_in(self.arguments):
            names.update(name.name for name in Template(text).names)
        return frozenset(names)


@dataclass(frozen=True)
class Problem:
    """A problem in the steps of a flow.

    Args:
        path: Path to the wrong value, relative to the mapping of the steps.
        message: The problem.
        hint: How to fix the problem.
        column: Start of the wrong part in the text, in characters from 0.
        length: Length of the wrong part, in characters.
        at_key: The key is wrong, not its value.
    """

    path: Path
    message: str
    hint: str = ""
    column: int | None = None
    length: int = 1
    at_key: bool = False


def steps_of(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Step]:
    """Parse the steps of a flow and return them in topological order.

    Raises:
        FlowError: a step is invalid.
    """
    for problem in problems(declared):
        raise FlowError(
            f"{'.'.join(map(str, problem.path))}: {problem.message}", problem.column, problem.length
        )
    return {name: _step(name, declared[name]) for name in in_order(declared)}


def in_order(declared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the step names in topological order, otherwise as written. The steps must have no cycle."""
    order: list[str] = []

    def put(name: str) -> None:
        if name not in order:
            for before in _after(declared[name]):
                put(before)
            order.append(name)

    for name in declared:
        put(name)
    return order


def _step(name: str, declared: Mapping[str, Any]) -> Step:
    when, for_each = declared.get("when"), declared.get("for_each")
    return Step(
        name=name,
        job=declared["job"],
        after=tuple(_after(declared)),
        on=declared.get("on") or "success",
        when=Expression(when) if when else None,
        for_each=Expression(for_each) if for_each else None,
        arguments=declared.get("arguments") or {},
    )


def problems(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems in the steps of a flow. Skip values of a wrong type."""
    if not declared:
        yield Problem((), "a flow has a step")
    if len(declared) > MOST_STEPS:
        yield Problem((), f"a flow has at most {MOST_STEPS} steps")
    steps = {str(name): step for name, step in declared.items() if isinstance(step, Mapping)}
    for name, step in steps.items():
        if not STEP_NAME.fullmatch(name) or name in TAKEN:
            hint = "letters, digits and _, at most 50, a letter first; not flow or item"
            yield Problem((name,), f"{name!r} is no name of a step", hint, at_key=True)
        for place, before in enumerate(_after(step)):
            if before not in declared:
                hint = _meant(before, list(declared))
                path = (name, "after") if isinstance(step["after"], str) else (name, "after", place)
                yield Problem(path, f'no step "{before}"', hint)
        if step.get("on") in {"failure", "finish"} and not _after(step):
            yield Problem((name, "on"), "on has no use without after", at_key=True)
    cycle = find_cycle({name: _after(step) for name, step in steps.items()})
    if cycle:
        way = " → ".join(cycle)
        yield Problem((cycle[0], "after"), f"{cycle[0]} waits for itself: {way}", at_key=True)
        return
    for name, step in steps.items():
        yield from _texts(name, step, _before(name, steps))


def _meant(name: str, known: Sequence[str]) -> str:
    near = closest(name, known)
    return f"did you mean {near}?" if near else f"the steps are {', '.join(known)}"


def find_cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a cycle of steps, with its first step repeated at the end. Return an empty list if there is no cycle."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done or name not in after:
            return []
        for before in after[name]:
            if cycle := visit(before, [*way, name]):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in after if (cycle := visit(name, []))), [])


def _before(name: str, steps: Mapping[str, Any]) -> set[str]:
    """Return all steps that are over when this step begins: the transitive ``after``."""
    ancestors: set[str] = set()
    left = list(_after(steps[name]))
    while left:
        ancestor = left.pop()
        if ancestor in steps and ancestor not in ancestors:
            ancestors.add(ancestor)
            left += _after(steps[ancestor])
    return ancestors


def _texts(name: str, step: Mapping[str, Any], before: set[str]) -> Iterator[Problem]:
    known = {"flow", *before}
    for key in ("when", "for_each"):
        if isinstance(step.get(key), str):
            yield from _text((name, key), step[key], Expression, known)
    if step.get("for_each"):
        known = known | {"item"}
    for path, text in texts_in(step.get("arguments")):
        yield from _text((name, "arguments", *path), text, Template, known)


def _text(
    path: Path, text: str, kind: type[Expression | Template], known: set[str]
) -> Iterator[Problem]:
    try:
        names = list(kind(text).names)
    except FlowError as error:
        yield Problem(path, str(error), "", error.column, error.length)
        return
    for name in names:
        if name.name not in known:
            hint = f"it may ask {', '.join(sorted(known))}: flow, and the steps that it is after"
            message = f"{name.name} is not known here"
            yield Problem(path, message, hint, name.column, len(name.name))


def _after(step: Mapping[str, Any]) -> list[str]:
    after = step.get("after") or ()
    return [after] if isinstance(after, str) else [name for name in after if isinstance(name, str)]


# Step states and transitions. Pure functions, no SQL.


class StepState(StrEnum):
    """The state of a step. A flow has the same states, without ``waiting`` and ``skipped``."""

    WAITING = "waiting"  # for the steps in its ``after``
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = (
        "cancelled"  # a run or the flow was cancelled, or an earlier step failed or was cancelled
    )
    SKIPPED = (
        "skipped"  # ``when`` was false, or the earlier steps ended otherwise than ``on`` requires
    )


OVER = frozenset(StepState) - {StepState.WAITING, StepState.RUNNING}
_BAD = (StepState.FAILED, StepState.CANCELLED)


class Verdict(NamedTuple):
    """Decision on a step with its reason; ``running`` means to create the step's runs."""

    state: StepState
    why: str = ""


def verdict(on: On, before: Mapping[str, StepState]) -> Verdict:
    """Decide on a step after its earlier steps are over.

    Args:
        on: The required outcome of the earlier steps.
        before: States of the earlier steps by name.
    """
    bad = next(((name, state) for name, state in before.items() if state in _BAD), None)
    if on == "success":
        if bad is not None:
            return Verdict(StepState.CANCELLED, f"step {bad[0]} {_was(bad[1])}")
        if before and all(state == StepState.SKIPPED for state in before.values()):
            return Verdict(StepState.SKIPPED, f"skipped with step {next(iter(before))}")
    if on == "failure" and bad is None:
        return Verdict(StepState.SKIPPED, "no step before it failed")
    return Verdict(StepState.RUNNING)


def _was(state: StepState) -> str:
    return "failed" if state == StepState.FAILED else "was cancelled"


def outcome(states: Mapping[str, int]) -> StepState:
    """Return a step's outcome from the number of runs in each run state."""
    if states.get("failed"):
        return StepState.FAILED
    return StepState.CANCELLED if states.get("cancelled") else StepState.SUCCEEDED


def flow_state(steps: Iterable[StepState], *, cancelled: bool) -> StepState:
    """Return a flow's state from the states of its steps. ``cancelled``: a user has cancelled the flow."""
    states = list(steps)
    if any(state not in OVER for state in states):
        return StepState.RUNNING
    if cancelled:
        return StepState.CANCELLED
    return StepState.FAILED if any(state in _BAD for state in states) else StepState.SUCCEEDED
