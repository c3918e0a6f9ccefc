"""Test jobs and the code that enqueues them: no server, no database of ours, no waiting.

:func:`run_job` runs one attempt of a job. Under a test runner schedulers are off, and what is enqueued is recorded: :func:`recorded` shows it,
with :func:`inline` it runs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ParamSpec, overload

from pydantic_core import to_json

from .core.errors import ProjectError
from .core.loop_thread import call_plain
from .core.states import RunState
from .core.stored_values import MOST_BYTES, Here
from .feature_contract import check_feature as check_feature  # noqa: PLC0414 - a public name
from .kernel.jobs.chains import ParentRun, Parents
from .kernel.jobs.context import JobContext, JobResult, StopReason
from .kernel.jobs.declaration import Declaration, declare
from .kernel.jobs.definition import FailedRun, JobDefinition
from .kernel.jobs.files import Content, File
from .project import Project, current
from .schedules.zones import parse_zone

if TYPE_CHECKING:
    from .fake import Recorded
    from .kernel.jobs.hooks import AroundHook
    from .scheduler import Scheduler
    from .typed_calls import ContextClass, ContextFunction, PlainClass, PlainFunction

P = ParamSpec("P")


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to.

    Args:
        result: What the job returned, as a result. An exception is none: it comes through.
        steps: The results of finished steps by name, as JSON holds them; a second attempt takes them as ``steps=``.
        progress: The last ``(done, total)``; ``None`` when the job did not say.
        log: The lines it logged, such as ``Loaded rows=12``.
        files: What it attached, by name.
    """

    result: JobResult
    steps: dict[str, Any]
    progress: tuple[float, float | None] | None
    log: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


@overload
async def run_job(
    job: object,
    /,
    *,
    scheduled_for: datetime | None,
    attempt: int = ...,
    steps: Mapping[str, Any] | None = ...,
    cancelled: bool = ...,
    hooks: Sequence[AroundHook] = ...,
    parents: Sequence[ParentRun] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(
    job: object,
    /,
    *,
    attempt: int,
    scheduled_for: datetime | None = ...,
    steps: Mapping[str, Any] | None = ...,
    cancelled: bool = ...,
    hooks: Sequence[AroundHook] = ...,
    parents: Sequence[ParentRun] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(
    job: object,
    /,
    *,
    steps: Mapping[str, Any] | None,
    scheduled_for: datetime | None = ...,
    attempt: int = ...,
    cancelled: bool = ...,
    hooks: Sequence[AroundHook] = ...,
    parents: Sequence[ParentRun] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(
    job: object,
    /,
    *,
    cancelled: bool,
    scheduled_for: datetime | None = ...,
    attempt: int = ...,
    steps: Mapping[str, Any] | None = ...,
    hooks: Sequence[AroundHook] = ...,
    parents: Sequence[ParentRun] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(
    job: object,
    /,
    *,
    hooks: Sequence[AroundHook],
    scheduled_for: datetime | None = ...,
    attempt: int = ...,
    steps: Mapping[str, Any] | None = ...,
    cancelled: bool = ...,
    parents: Sequence[ParentRun] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(
    job: object,
    /,
    *,
    parents: Sequence[ParentRun],
    scheduled_for: datetime | None = ...,
    attempt: int = ...,
    steps: Mapping[str, Any] | None = ...,
    cancelled: bool = ...,
    hooks: Sequence[AroundHook] = ...,
    **arguments: Any,
) -> Outcome: ...


@overload
async def run_job(job: PlainFunction[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...


@overload
async def run_job(job: ContextFunction[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...


@overload
async def run_job(job: PlainClass[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...


@overload
async def run_job(job: ContextClass[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...


@overload
async def run_job(job: type[PlainClass[P]], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...


@overload
async def run_job(job: type[ContextClass[P]], /, *args: P.args, **kwargs: P.kwargs) -> Outcome: ...
async def run_job(  # type: ignore[misc]  # PEP 612: a signature cannot have options beside P.kwargs
    job: Any,
    /,
    *positional: Any,
    scheduled_for: datetime | None = None,
    attempt: int = 1,
    steps: Mapping[str, Any] | None = None,
    cancelled: bool = False,
    hooks: Sequence[AroundHook] = (),
    parents: Sequence[ParentRun] = (),
    **arguments: Any,
) -> Outcome:
    """Run one attempt of a job.

    Args:
        job: An instance that was given its services, a class that asks for none, or a function.
        scheduled_for: Its slot; aware. Default: now.
        attempt: Which attempt it is.
        steps: The results of steps that an earlier attempt finished.
        cancelled: Whether it is told to stop before it begins.
        hooks: What runs around it, the outermost first. Default: none of the project's.
        parents: The runs that it waited for.
        *positional: Arguments of ``execute`` by position, such as an argument with the name of a parameter of this function.
        **arguments: Arguments of ``execute`` by name, without the context; checked as when a run is created. Type checkers check the arguments
            of a call without options.

    Raises:
        ArgumentsError: the arguments do not fit the job.
    """
    target: Any = job() if inspect.isclass(job) else job
    definition = _definition(target)
    recorder = _Recorder(steps or {})
    moment = scheduled_for or datetime.now(UTC)
    ctx = JobContext(
        definition,
        run_id=1,
        attempt=attempt,
        scheduled_for=moment.astimezone(parse_zone(definition.timezone)),
        triggered_by="System",
        recorder=recorder,
        parents=Parents(parents),
    )
    if cancelled:
        ctx.tell_to_stop(StopReason.CANCELLED, "cancelled by the test")
    given = definition.signature.by_name(positional, arguments)
    text, contents = definition.signature.take(given, MOST_BYTES)
    result = await _attempt(definition, target, ctx, text, contents, hooks=hooks)
    return Outcome(result, recorder.results(), recorder.last, recorder.lines, recorder.files)


@contextmanager
def recorded() -> Iterator[Callable[..., list[Recorded]]]:
    """Record what is enqueued in a block, such as that of a test.

    Say ``with recorded() as enqueued:`` and then ``enqueued(MailUserJob)``. The function gives the runs of a job, and without one all of them, oldest first. A run that was enqueued with ``session=`` is gone
    once the application rolls back. In a ``TestCase`` of unittest or Django: ``self.enqueued = self.enterContext(recorded())``.
    """
    from .fake import RECORDING

    def enqueued(job: Any = None) -> list[Recorded]:
        return [run for run in RECORDING.kept() if job is None or run.job == _name_of(job)]

    RECORDING.runs.clear()
    try:
        yield enqueued
    finally:
        RECORDING.runs.clear()


@contextmanager
def inline() -> Iterator[Scheduler]:
    """Run jobs where they are enqueued in a block, such as that of a test: ``enqueue`` returns when the job has ended, and raises what it raises.

    With ``session=`` the job runs after the commit, which raises what the job raises; after a roll-back it does not run. That holds for every
    scheduler that is off, such as the one in the routes of an app. A run that is due later is recorded only.
    """
    from .fake import RECORDING
    from .scheduler import Scheduler
    from .settings import Settings

    scheduler = Scheduler(Settings(mode="off"))
    RECORDING.clear()
    RECORDING.perform = lambda job, arguments, run: run_inline(job, arguments, run, scheduler)
    try:
        yield scheduler
    finally:
        RECORDING.clear()


def _name_of(job: Any) -> str:
    """A job's key, by its class, its function or its name."""
    mark = getattr(job, "__job__", None)
    if isinstance(mark, Declaration):
        return mark.name
    return str(job).removesuffix("Job")


def next_attempt(
    job: Any,
    /,
    error: BaseException,
    *,
    failures: int = 1,
    scheduled_for: datetime | None = None,
    **arguments: Any,
) -> timedelta | datetime:
    """Return when a job that failed is tried again, without the jitter of the default back-off.

    Args:
        job: An instance, a class or a function; nothing of it is called but its back-off rule.
        error: What the job raised.
        failures: How many attempts have failed, this one included.
        scheduled_for: Its slot; aware. Default: now.
        arguments: What the rule sees of the run's arguments; not checked.

    Returns:
        The wait; or the instant, in UTC, where the job's rule returns a ``datetime``.

    Raises:
        JobError: the rule returns what is no wait. What the rule raises comes through.
    """
    from .kernel.worker.outcome import backoff, decided_wait

    definition = _definition(job)
    moment = scheduled_for or datetime.now(UTC)
    run = FailedRun(
        job_name=definition.name,
        run_id=1,
        attempt=failures,
        failures=failures,
        scheduled_for=moment.astimezone(parse_zone(definition.timezone)),
        arguments=arguments,
    )
    wait = decided_wait(definition, run, error)
    return backoff(definition, failures, 1) if wait is None else wait


async def run_inline(
    definition: JobDefinition, arguments_json: str | None, run: Recorded, scheduler: Scheduler
) -> RunState:
    """Run a job that was enqueued at once, with the services of the project; how it ended. An exception of the job comes through."""
    from .kernel.worker.runner import services_for
    from .services.container import project_services

    container = project_services()
    async with AsyncExitStack() as stack:
        scope = None
        if container is not None:
            stack.push_async_callback(container.close)
            scope = await stack.enter_async_context(container())
        target: Any = definition.target
        if inspect.isclass(target):
            offers: dict[type, Any] = {type(scheduler): scheduler}
            target = target(**await services_for(target, scope, offers))
        ctx = JobContext(
            definition,
            run_id=run.run_id,
            attempt=1,
            scheduled_for=run.due_at.astimezone(parse_zone(definition.timezone)),
            triggered_by=run.by,
            recorder=_Recorder({}),
            parents=Parents(run.parents),
        )
        run.result = result = await _attempt(
            *(definition, target, ctx, arguments_json, run.contents),
            hooks=scheduler.hooks.around,
        )
    return RunState.SUCCEEDED if result.ok else RunState.FAILED


async def _attempt(
    definition: JobDefinition,
    target: Any,
    ctx: JobContext,
    arguments_json: str | None,
    contents: Sequence[Content],
    *,
    hooks: Sequence[AroundHook],
) -> JobResult:
    with TemporaryDirectory(prefix="targcc-run-") as folder:
        here = Here({content.sha256: _written(content, Path(folder)) for content in contents})
        given = definition.signature.load(arguments_json, here)
        return await _call(definition, target, ctx, given, hooks=hooks)


def _written(content: Content, folder: Path) -> Path:
    """A file as the job finds it."""
    path = folder / content.sha256 / content.file.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.file.read_bytes())
    return path


async def _call(
    definition: JobDefinition,
    target: Any,
    ctx: JobContext,
    given: dict[str, Any],
    *,
    hooks: Sequence[AroundHook],
) -> JobResult:
    function: Any = getattr(target, "execute", target)
    ctx.take(dict(given))
    if (context := definition.signature.context) is not None:
        given[context] = ctx

    async def perform() -> JobResult:
        if inspect.iscoroutinefunction(function):
            returned = await function(**given)
        else:
            returned = await call_plain(function, **given)
            returned = await returned if inspect.isawaitable(returned) else returned
        return JobResult.of(returned)

    if not hooks:
        return await perform()
    from .kernel.worker.runner import run_middleware

    return await run_middleware(hooks, ctx, perform)


def _definition(target: Any) -> JobDefinition:
    declaration = getattr(target, "__job__", None)
    if not isinstance(declaration, Declaration):
        declaration = declare(target if inspect.isroutine(target) else type(target))
    try:
        project = current()
    except ProjectError:  # the tests of a library of jobs, which belongs to no project
        project = Project(name="tests", package="tests")
    return declaration.complete(project)


class _Recorder:
    """A :class:`~.jobs.run_log.Recorder` in memory."""

    def __init__(self, steps: Mapping[str, Any]) -> None:
        self._steps = {name: to_json(result).decode() for name, result in steps.items()}
        self.last: tuple[float, float | None] | None = None
        self.lines: list[str] = []
        self.files: dict[str, bytes] = {}

    def results(self) -> dict[str, Any]:
        """The results of finished steps."""
        return {name: json.loads(result) for name, result in self._steps.items()}

    def write(self, level: str, message: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Keep a log line."""
        self.lines.append(message)

    def progress(self, done: float, total: float | None) -> None:
        """Keep how far the run is."""
        self.last = (done, total)

    def find_step(self, name: str) -> Future[str | None]:
        """The result of a step that finished, as JSON."""
        future: Future[str | None] = Future()
        future.set_result(self._steps.get(name))
        return future

    def keep_step(
        self, name: str, result_json: str, duration_ms: int  # noqa: ARG002 - as above
    ) -> Future[None]:
        """Keep the result of a step."""
        self._steps[name] = result_json
        kept: Future[None] = Future()
        kept.set_result(None)
        return kept

    def attach(self, file: File) -> Future[None]:
        """Keep a file."""
        self.files[file.name] = file.read_bytes()
        kept: Future[None] = Future()
        kept.set_result(None)
        return kept
