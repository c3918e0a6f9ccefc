"""Steps of an Agent job that branch, as the steps of a flow: the same steps run on every way through the job, or there is no flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, pairwise

from targcc_scheduler.features.flows.graph import On, StepState, verdict

_MOST_PATHS = 500
_MOST_STEPS = 40
_FEW = 12
_WIDEST = 4
"""The largest set of earlier steps that a step of a flow is tried after, beside the steps that lead to it; after ``_FEW`` steps only single ones."""
_CONDITIONS: tuple[On, ...] = ("success", "failure", "finish")


class NoFlowError(Exception):
    """The steps make no flow; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where a step goes: the next step's number, None to end the job.

    Attributes:
        success: After a success.
        failure: After a failure.
    """

    success: int | None
    failure: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a step in a flow: the steps that it waits for, and how these must end."""

    after: tuple[int, ...] = ()
    on: On = "success"


Path = tuple[tuple[int, bool], ...]
"""A way through the job: the steps that run, each with its success."""


def flow_of(ways: Mapping[int, Ways], first: int) -> dict[int, Place]:
    """Return the place of each step that can run, in order.

    Every way through the job is tried: on each, the flow runs the same steps, one after the other.

    Args:
        ways: The ways of each step, by number.
        first: The first step.

    Raises:
        NoFlowError: The steps go in a circle, to a step that does not exist, or branch as no flow does.
    """
    if len(ways) > _MOST_STEPS:
        raise NoFlowError(f"it has more than {_MOST_STEPS} steps")
    order = _in_order(ways, first)
    paths = list(islice(_paths(ways, first), _MOST_PATHS + 1))
    if len(paths) > _MOST_PATHS:
        raise NoFlowError(f"there are more than {_MOST_PATHS} ways through its steps")
    places = _Search(order, paths).places()
    if places is None:
        raise NoFlowError("no flow runs the same steps on every way through them")
    return places


def _in_order(ways: Mapping[int, Ways], first: int) -> list[int]:
    """Return the steps that can run, each after the steps that lead to it."""
    done: list[int] = []

    def visit(step: int, way: tuple[int, ...]) -> None:
        if step not in ways:
            raise NoFlowError(f"step {way[-1]} goes to step {step}, which does not exist" if way else f"it begins at step {step}, which does not exist")  # fmt: skip
        if step in way:
            raise NoFlowError(f"step {way[-1]} goes back to step {step}")
        if step not in done:
            for following in (ways[step].failure, ways[step].success):
                if following is not None:
                    visit(following, (*way, step))
            done.append(step)

    visit(first, ())
    return done[::-1]


def _paths(ways: Mapping[int, Ways], step: int | None, done: Path = ()) -> Iterator[Path]:
    if step is None:
        yield done
        return
    for good, following in ((True, ways[step].success), (False, ways[step].failure)):
        yield from _paths(ways, following, (*done, (step, good)))


class _Search:
    """Search the places of steps, in order, that agree with every path."""

    def __init__(self, order: Sequence[int], paths: Sequence[Path]) -> None:
        self._order = order
        self._runs = [dict(path) for path in paths]
        self._leading: dict[int, set[int]] = {step: set() for step in order}
        for path in paths:
            for (before, _), (step, _) in pairwise(path):
                self._leading[step].add(before)
        self._states: list[dict[int, StepState]] = [{} for _ in paths]
        self._places: dict[int, Place] = {}

    def places(self) -> dict[int, Place] | None:
        """Return the places of all steps; None if there are none."""
        if len(self._places) == len(self._order):
            return dict(self._places)
        step = self._order[len(self._places)]
        for place in self._candidates(step):
            if self._try(step, place):
                if (found := self.places()) is not None:
                    return found
                del self._places[step]
        return None

    def _candidates(self, step: int) -> Iterator[Place]:
        if not self._places:
            yield Place()
            return
        earlier = list(self._places)
        leading = tuple(each for each in earlier if each in self._leading[step])
        widest = _WIDEST if len(earlier) <= _FEW else 1
        sets = [leading, tuple(earlier)]
        for size in range(1, widest + 1):
            sets += combinations(earlier, size)
        for after in dict.fromkeys(sets):
            if self._leading[step] <= self._before(after):
                for on in _CONDITIONS:
                    yield Place(after, on)

    def _before(self, after: Sequence[int]) -> set[int]:
        """Return all steps that are over when the steps ``after`` are."""
        steps: set[int] = set(after)
        for each in after:
            steps |= self._before(self._places[each].after)
        return steps

    def _try(self, step: int, place: Place) -> bool:
        """Take a place for a step, if the flow starts the step on exactly the paths that run it."""
        states = []
        for runs, known in zip(self._runs, self._states, strict=True):
            state = verdict(place.on, {str(each): known[each] for each in place.after}).state
            if (state is StepState.RUNNING) is not (step in runs):
                return False
            if state is StepState.RUNNING:
                state = StepState.SUCCEEDED if runs[step] else StepState.FAILED
            states.append(state)
        for known, state in zip(self._states, states, strict=True):
            known[step] = state
        self._places[step] = place
        return True
