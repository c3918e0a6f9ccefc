"""A scheduler that is off: what is enqueued is recorded, nothing runs and nothing connects. For the tests of an application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from .. import operations
from ..core.errors import SchedulerOff, UnknownRun
from ..core.states import FINAL, RunState
from ..hosting import Connection, Host
from ..jobs.definition import JobDefinition
from ..jobs.files.content import Content
from ..jobs.following.parents import ParentRun
from ..jobs.result import JobResult
from ..operations import Call
from ..settings import Settings
from ..storage.runs.values import After, NewRun, RunId
from ..storage.ties import following
from ..storage.ties.links import RUN
from .batches import operate as batches

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Recorded:
    """A run that was asked for.

    Args:
        run_id: What ``enqueue`` returned.
        job: The job's name.
        arguments: As they would be stored.
        due_at: When it would be due.
        by: Who asked.
        state: ``enqueued`` or ``scheduled``; where jobs run inline, how it ended.
        contents: What its arguments refer to.
        parents: Where jobs run inline, the runs that it waited for.
        result: Where jobs run inline, what its job returned.
    """

    run_id: int
    job: str
    arguments: dict[str, Any]
    queue: str
    priority: int
    due_at: datetime
    by: str
    state: RunState
    contents: Sequence[Content] = ()
    parents: Sequence[ParentRun] = ()
    result: JobResult | None = None

    @property
    def as_parent(self) -> ParentRun:
        """What a run sees of this one."""
        said = self.result
        message, metadata = (said.message, said.metadata) if said is not None else (None, {})
        return ParentRun(self.job, self.run_id, str(self.state), message, metadata)


Perform = Callable[[JobDefinition, str | None, Recorded], Awaitable[RunState]]


@dataclass
class Recording:
    """All that was enqueued in this process, whichever scheduler was asked.

    Attributes:
        perform: Runs a job at once; without it none runs.
        joining: For jobs that follow several others the last run of each that has come so far.
    """

    runs: list[Recorded] = field(default_factory=list)
    joining: dict[str, dict[str, int]] = field(default_factory=dict)
    perform: Perform | None = None

    def add(self, run: NewRun) -> Recorded:
        """Record a run."""
        made = Recorded(
            run_id=len(self.runs) + 1,
            job=run.job_name,
            arguments=json.loads(run.arguments_json or "{}"),
            queue=run.queue,
            priority=run.priority,
            due_at=run.due_at,
            by=run.triggered_by,
            state=run.state,
            contents=run.contents,
        )
        self.runs.append(made)
        return made

    def find(self, run_id: int) -> Recorded:
        """A run by its id.

        Raises:
            UnknownRun: there is none.
        """
        if not 1 <= run_id <= len(self.runs):
            raise UnknownRun(f"no run {run_id} was enqueued in this test")
        return self.runs[run_id - 1]

    def parents_of(self, after: After | None) -> list[ParentRun]:
        """The runs that one waits for."""
        parents = after.parents if after is not None else ()
        return [self.find(one).as_parent for kind, one in sorted(parents) if kind == RUN]

    def join(self, child: str, after: After, job: str, run_id: int) -> After | None:
        """What a run of ``child`` waits for, a job that follows others, of which ``job`` has had this run; ``None``: runs of the others are to come."""
        if len(after.jobs) == 1:
            return After(((RUN, run_id),))
        came = self.joining.setdefault(child, {})
        came[job] = run_id
        if came.keys() < set(after.jobs):
            return None
        del self.joining[child]
        return After(tuple((RUN, one) for one in came.values()))

    def clear(self) -> None:
        """Forget everything."""
        self.runs.clear()
        self.joining.clear()
        self.perform = None


RECORDING = Recording()


def _waits(run: NewRun) -> NewRun:
    """A run as those that it waits for have ended so far."""
    if run.after is None:
        return run
    states = {
        (kind, parent_id): _outcome(parent_id) if kind == RUN else None
        for kind, parent_id in run.after.parents
    }
    found = following.prepared(run, states)
    return (
        replace(found, state=RunState.CANCELLED)
        if following.is_discarded(run.after, states)
        else found
    )


def _outcome(run_id: int) -> str | None:
    state = RECORDING.find(run_id).state
    return str(state) if state in FINAL else None


def _followers(run: NewRun, run_id: int) -> list[NewRun]:
    """The runs of the jobs that follow a run's job, which is over."""
    found = []
    for child in run.then:
        after = child.after and RECORDING.join(child.job_name, child.after, run.job_name, run_id)
        if after is not None:
            found.append(replace(child, after=after))
    return found


class RecordingHost(Host):
    """A host that opens nothing; what needs a database says that the scheduler is off."""

    def __init__(self, settings: Settings, *args: Any, **options: Any) -> None:
        super().__init__(settings.model_copy(update={"legacy_url": ""}), *args, **options)
        self._off = settings.why_off
        self._batches = 0

    async def start(self, **_: Any) -> None:
        """Nothing starts."""

    async def stop(self) -> None:
        """Nothing was started."""

    async def now(self) -> datetime:
        """By this machine's clock."""
        return self.clock.now()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """There is no database to open."""
        coroutine.close()
        self._refuse()

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """There is no database to ask."""
        del query
        self._refuse()

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """There is no database to change."""
        del work
        self._refuse()

    async def wait(
        self, run_id: int, timeout: float | None  # noqa: ASYNC109 - as asyncio has it
    ) -> RunState:
        """The state of a recorded run."""
        state = RECORDING.find(run_id).state
        if state not in FINAL:
            raise TimeoutError(
                f"run {run_id} is still {state} after {timeout or 0:g} s: {self._off}"
            )
        return state

    def open_now(self) -> None:
        """There is nothing to open."""

    def call_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in a thread of its own."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, coroutine).result()

    def finish_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """A job that runs inline may wait for something."""
        return self.call_now(coroutine)

    async def operate(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        theirs: Connection | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Record runs, at once and without ``theirs``; whatever else is asked is content."""
        del theirs, kwargs
        given = cast("Sequence[Any]", args)
        result: Any = None
        if operation in {operations.create_run, operations.trigger}:
            [result] = await self._create(given[:1])
        elif operation is operations.create_runs:
            result = await self._create(given[0])
        elif operation is batches.create:
            result = await self._create_batch(given[0])
        elif operation is operations.cancel:
            result = RECORDING.find(given[0]).state = RunState.CANCELLED
        elif operation is operations.retry:
            result = given[0]
        return cast("T", result)

    operate_within = operate

    async def _create(self, runs: Sequence[NewRun]) -> list[RunId]:
        ids = []
        for run in runs:
            made = RECORDING.add(_waits(run))
            ids.append(RunId(made.run_id))
            if RECORDING.perform is not None and made.state == RunState.ENQUEUED:
                made.parents = RECORDING.parents_of(run.after)
                made.state = RunState.FAILED  # unless it comes back
                definition = self.registry.definitions[run.job_name]
                made.state = await RECORDING.perform(definition, run.arguments_json, made)
                await self._create(_followers(run, made.run_id))
        return ids

    async def _create_batch(self, planned: batches.Planned) -> int:
        """Record what is in a batch, then its callbacks; where jobs run inline, those that are to come run."""
        self._batches += 1
        planned.batch_id = self._batches
        for one in planned.inner:
            await self._create_batch(one)
        ids = await self._create(planned.runs)
        states = {RECORDING.find(run_id).state for run_id in ids}
        ended, succeeded = RECORDING.perform is not None, states <= {RunState.SUCCEEDED}
        calls = [(planned.on_success, ended and succeeded), (planned.on_finish, ended)]
        for callback, comes in calls:
            if callback is not None:
                state = RunState.ENQUEUED if comes else RunState.AWAITING
                await self._create([replace(callback, state=state)])
        return planned.batch_id

    def _refuse(self) -> NoReturn:
        raise SchedulerOff(self._off)
