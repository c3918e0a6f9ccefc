"""Types of the calls that create runs: type checkers compare a call's arguments with the signature of the job's ``execute``.

A signature cannot have a job's keywords (``P.kwargs``) beside keywords of its own (PEP 612). So there are two forms: ``enqueue(Job, day=7)``
without options, and ``job(Job, queue="bulk").enqueue(day=7)``, where one call takes the options and the next call the arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from .core.actor import SYSTEM, Actor
from .core.errors import ArgumentsError
from .core.states import On
from .hosting import Connection
from .kernel.engine.submit import Parents, after_of
from .kernel.jobs.context import JobContext, JobResult
from .kernel.jobs.definition import JobDefinition
from .kernel.runs.values import Options, Otherwise, Quorum, RunId

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# Options of a call.


class AddOptions(TypedDict, total=False):
    """Options of a run in a batch."""

    queue: str | None
    priority: int | None


class CallOptions(AddOptions, total=False):
    """Options of a run, as :meth:`~.enqueueing.Creating.enqueue` and :meth:`~.enqueueing.Creating.schedule` describe them."""

    session: Connection | None
    connection: Connection | None
    by: Actor
    expires_in: timedelta | str | None
    idempotency_key: str | None
    after: Parents | None
    on: On
    quorum: Quorum
    otherwise: Otherwise
    delay: timedelta | str | None
    at: datetime | None


def options_of(given: CallOptions) -> Options:
    """Return the options as the builder of runs takes them, without the due time.

    Raises:
        ValueError: An option has a value that is not allowed.
    """
    waits = after_of(
        given.get("after"),
        given.get("on", "success"),
        given.get("quorum", "all"),
        given.get("otherwise", "discard"),
    )
    return Options(
        waits,
        given.get("queue"),
        given.get("priority"),
        given.get("expires_in"),
        given.get("idempotency_key"),
    )


_DEFAULTS = dict.fromkeys(CallOptions.__annotations__) | {
    "by": SYSTEM,
    "on": "success",
    "quorum": "all",
    "otherwise": "discard",
}


@dataclass(frozen=True, slots=True)
class PlainCall:
    """The arguments of a call that takes the job's arguments beside options of its own.

    Args:
        arguments: The arguments by name.
        positional: The arguments by position.
        options: The call's options; other names are ignored.
    """

    arguments: Mapping[str, Any]
    positional: Sequence[Any]
    options: Mapping[str, Any]

    def sets(self, definition: JobDefinition) -> list[Mapping[str, Any]]:
        """Return the arguments by name, as the single item of a list.

        Raises:
            ArgumentsError: An option has the name of a parameter of the job, so that the caller may mean either; or too many arguments
                are given by position.
        """
        model = definition.signature.model
        if model is not None and not _DEFAULTS.keys().isdisjoint(model.model_fields):
            self._refuse_shared_names(definition, model.model_fields)
        if self.positional:
            return [definition.signature.by_name(self.positional, self.arguments)]
        return [self.arguments]

    def _refuse_shared_names(self, definition: JobDefinition, fields: Iterable[str]) -> None:
        for name in _DEFAULTS.keys() & set(fields):
            default = _DEFAULTS[name]
            if self.options.get(name, default) != default:
                raise ArgumentsError(
                    f"{name} is an argument of {definition.name} and an option of the call: write job({definition.name}).enqueue({name}=...)"
                    f" for the argument, job({definition.name}, {name}=...).enqueue(...) for the option"
                )


# Jobs, by the parameters of their function.

if TYPE_CHECKING:

    class ContextClass(Protocol[P]):
        """A class whose ``execute`` takes the context first."""

        def execute(self, ctx: JobContext, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            """Run the job."""

    class PlainClass(Protocol[P]):
        """A class whose ``execute`` takes no context."""

        def execute(self, *args: P.args, **kwargs: P.kwargs) -> Any:
            """Run the job."""

    Returned = JobResult | str | None
    """What a function returns. The type excludes classes, which are callables that return an instance."""

    class Callback(Protocol):
        """A class whose ``execute`` needs no arguments besides the context."""

        def execute(self, ctx: JobContext, /) -> Any:
            """Run the job."""

    class PlainCallback(Protocol):
        """A class whose ``execute`` needs no arguments."""

        def execute(self) -> Any:
            """Run the job."""

    CallbackRef = (
        type[Callback | PlainCallback]
        | str
        | JobDefinition
        | Callable[[JobContext], Returned | Awaitable[Returned]]
        | Callable[[], Returned | Awaitable[Returned]]
    )
    """A job that runs after a batch: without arguments."""
    PlainFunction = Callable[P, Returned | Awaitable[Returned]]
    ContextFunction = Callable[Concatenate[JobContext, P], Returned | Awaitable[Returned]]

    class EnqueueCall(Protocol[R_co]):
        """Signatures of ``enqueue``: arguments without options are checked against ``execute``; beside options the arguments are unchecked."""

        @overload
        def __call__(
            self,
            job: str | JobDefinition,
            /,
            *,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            session: Connection | None,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            connection: Connection | None,
            session: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            by: Actor,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            queue: str | None,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            priority: int | None,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            expires_in: timedelta | str | None,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            idempotency_key: str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            idempotency_key: str | None,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            after: Parents | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            after: Parents | None,
            session: Connection | None = ...,
            connection: Connection | None = ...,
            by: Actor = ...,
            queue: str | None = ...,
            priority: int | None = ...,
            expires_in: timedelta | str | None = ...,
            idempotency_key: str | None = ...,
            on: On = ...,
            quorum: Quorum = ...,
            otherwise: Otherwise = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(self, job: PlainFunction[P], /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

        @overload
        def __call__(
            self, job: ContextFunction[P], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

        @overload
        def __call__(
            self, job: type[PlainClass[P]], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

        @overload
        def __call__(
            self, job: type[ContextClass[P]], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

    class AddCall(Protocol[R_co]):
        """Signatures of ``enqueue`` of a batch; see :class:`EnqueueCall`."""

        @overload
        def __call__(
            self,
            job: str | JobDefinition,
            /,
            *,
            queue: str | None = ...,
            priority: int | None = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            queue: str | None,
            priority: int | None = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(
            self,
            job: Callable[..., Any],
            /,
            *,
            priority: int | None,
            queue: str | None = ...,
            **arguments: Any,
        ) -> R_co: ...

        @overload
        def __call__(self, job: PlainFunction[P], /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

        @overload
        def __call__(
            self, job: ContextFunction[P], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

        @overload
        def __call__(
            self, job: type[PlainClass[P]], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

        @overload
        def __call__(
            self, job: type[ContextClass[P]], /, *args: P.args, **kwargs: P.kwargs
        ) -> R_co: ...

    class EnqueueMethod(Generic[R_co]):
        """The method ``enqueue``, as type checkers see it."""

        def __get__(self, instance: object, owner: type | None = None) -> EnqueueCall[R_co]: ...

    class AddMethod(Generic[R_co]):
        """The method ``enqueue`` of a batch, as type checkers see it."""

        def __get__(self, instance: object, owner: type | None = None) -> AddCall[R_co]: ...


def checked_enqueue(method: Callable[..., R]) -> EnqueueMethod[R]:
    """Declare the types of :class:`EnqueueCall` for a method. Returns the method unchanged."""
    return cast("EnqueueMethod[R]", method)


def checked_add(method: Callable[..., R]) -> AddMethod[R]:
    """Declare the types of :class:`AddCall` for a method. Returns the method unchanged."""
    return cast("AddMethod[R]", method)


# Flows: targcc.yaml declares the arguments, so a function states them for type checkers.


@dataclass(frozen=True, slots=True)
class FlowCall:
    """A flow with the arguments to start it with; see :func:`flow`.

    Args:
        name: The flow's name in targcc.yaml.
        arguments: The arguments by name; missing arguments get their defaults.
    """

    name: str
    arguments: Mapping[str, Any]


def flow(name: str) -> Callable[[Callable[P, object]], Callable[P, FlowCall]]:
    """Declare the arguments of a flow by a function's parameters, so that type checkers check the calls that start the flow.

    The rendered module ``flows`` declares each flow of targcc.yaml: ``start_flow(month_end(month="2026-11"))``.

    Args:
        name: The flow's name in targcc.yaml.
    """

    def declared(function: Callable[P, object]) -> Callable[P, FlowCall]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> FlowCall:
            return FlowCall(name, signature.bind(*args, **kwargs).arguments)

        return call

    return declared


def flow_and_arguments(
    flow: str | FlowCall, arguments: Mapping[str, Any] | None
) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the arguments of a flow to start.

    Raises:
        ArgumentsError: the arguments are given twice.
    """
    if isinstance(flow, str):
        return flow, arguments or {}
    if arguments is not None:
        raise ArgumentsError(f"the call of the flow {flow.name} has the arguments already")
    return flow.name, flow.arguments


# The second form: options first, arguments in a call of their own.


class BoundJob(Generic[P, R]):
    """A job with options for its runs; ``job(SyncTenantJob, queue="bulk")`` returns one.

    Args:
        find: Return the job's definition.
        create: Create a run with these arguments.
    """

    def __init__(
        self, find: Callable[[], JobDefinition], create: Callable[[Mapping[str, Any]], R]
    ) -> None:
        self._find = find
        self._create = create

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Create a run with these arguments of ``execute``; with the option ``delay`` or ``at``, a run that starts later.

        Returns and raises as the plain ``enqueue``.
        """
        return self._create(self.arguments(*args, **kwargs))

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Return arguments of ``execute`` by name, such as for ``enqueue_many`` and ``trigger``. Type checkers check the call."""
        if not args:  # the creation of the run finds the job, once the database is open
            return dict(kwargs)
        return self._find().signature.by_name(args, kwargs)


class TriggeredJob(BoundJob[P, Coroutine[Any, Any, RunId]]):
    """A job with options for its runs, which a person may also trigger.

    Args:
        find: Return the job's definition.
        create: Create a run with these arguments.
        trigger: Trigger a run with these arguments.
    """

    def __init__(
        self,
        find: Callable[[], JobDefinition],
        create: Callable[[Mapping[str, Any]], Coroutine[Any, Any, RunId]],
        trigger: Callable[[Mapping[str, Any]], Coroutine[Any, Any, RunId]],
    ) -> None:
        super().__init__(find, create)
        self._trigger = trigger

    def trigger(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, RunId]:
        """Create a run that the person in the option ``by`` requested. See :meth:`~.enqueueing.Creating.trigger`."""
        return self._trigger(self.arguments(*args, **kwargs))
