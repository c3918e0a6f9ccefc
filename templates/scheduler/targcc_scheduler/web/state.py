"""Shared web state of an app."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fastapi import Request

from ..core.identity import IdentityProvider
from ..core.languages import marked
from ..scheduler import Scheduler
from .hubs import ChangeFeed, RunHub, StreamLimits
from .metrics import Metrics
from .problems import Problem
from .server_workers import Turn

if TYPE_CHECKING:
    from ..blocking_client import Client

T = TypeVar("T")
NOT_STARTED = "the lifespan of the scheduler was not entered, as under a server that has none; start targcc worker beside it"
NOBODY_SIGNS_IN = marked(
    "the feature accounts is not installed, and the application does not identify people: pass identify= to mount()"
)
SCOPE_KEY = "targcc.web"
"""Key in a request's scope under which an outer app shares its :class:`Web` with inner apps."""
_last: Callable[[], Web] | None = None


def remember(web: Callable[[], Web]) -> None:
    """Store a getter of the shared :class:`Web`, for requests to an app without its own."""
    global _last  # noqa: PLW0603 - the one place where a process keeps it
    _last = web


@dataclass(slots=True)
class Web:
    """Web state shared within an app; stored as ``app.state.targcc``.

    Args:
        scheduler: The app's scheduler.
        metrics: Metrics for Prometheus.
        providers: Identity providers, in calling order.
        prefix: Path prefix, such as ``/jobs``.
        host_login: True if the host app identifies users, so that the scheduler has no login page.
        login_url: The host app's login page, if ``host_login`` is true and the host has such a page.
        tried: Set after the first attempt to start the scheduler.
        trouble: Reason why the scheduler has not started; empty if started or not needed.
        turn: Lock that decides which worker of a server runs the jobs; ``None`` in a process that serves alone.
        streams: Limits for open event streams.
        runs: Hub for single runs: serves streams and waiting requests.
        changes: Feed with all changes: serves streams.
    """

    scheduler: Scheduler
    metrics: Metrics
    providers: tuple[IdentityProvider, ...]
    prefix: str
    host_login: bool = False
    login_url: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = NOT_STARTED
    turn: Turn | None = None
    streams: StreamLimits = field(default_factory=StreamLimits)
    runs: RunHub = field(init=False)
    changes: ChangeFeed = field(init=False)
    _shared: dict[Callable[[Web], Any], Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = RunHub(self.scheduler.read)
        self.changes = ChangeFeed(self.scheduler.read, self.scheduler.clock)

    def shared(self, make: Callable[[Web], T]) -> T:
        """Return the object of a feature that requests share; the first call builds the object with ``make``."""
        if make not in self._shared:
            self._shared[make] = make(self)
        value: T = self._shared[make]
        return value


def shared_state(app: Any) -> Any:
    """Return the object whose attribute ``targcc`` is the app's :class:`Web`: ``app.state``, or ``targcc_state`` of an app that wraps its host.

    Returns:
        ``None`` for an app without either.
    """
    return getattr(app, "targcc_state" if hasattr(app, "targcc_state") else "state", None)


NOT_RUNNING = Problem(503, "Not running", "the scheduler of this app is not running")


def get_web(request: Request) -> Web:
    """Return the shared state of the request's app.

    Raises:
        Problem: the app is stopping.
    """
    web = getattr(request.app.state, "targcc", None)
    if not isinstance(web, Web):
        raise NOT_RUNNING
    return web


def get_scheduler(request: Request) -> Scheduler:
    """Return the scheduler of the app that serves the request. In custom routes, write ``Depends(get_scheduler)``.

    A route that is a plain function cannot await, and FastAPI calls the route in a thread. There the dependency is the blocking client, as
    from :func:`get_client`: ``def sign_up(jobs: Annotated[Client, Depends(get_scheduler)])``. A dependency of the route that is async keeps
    the scheduler for all of the request.

    Without the app's lifespan, as in a test that skips the lifespan, return the scheduler of the newest router.
    """
    scheduler = _scheduler_of(request)
    if _is_for_plain_code(request):
        return cast("Scheduler", _client_of(scheduler))  # the route annotates Client
    return scheduler


def get_client(request: Request) -> Client:
    """Return the blocking client of the app that serves the request, for routes and dependencies that are plain functions."""
    return _client_of(_scheduler_of(request))


def _scheduler_of(request: Request) -> Scheduler:
    app = request.scope.get("app")
    web = request.scope.get(SCOPE_KEY) or getattr(getattr(app, "state", None), "targcc", None)
    if isinstance(web, Web):
        return web.scheduler
    if _last is None:
        raise NOT_RUNNING
    return _last().scheduler


def _client_of(scheduler: Scheduler) -> Client:
    from ..blocking_client import Client

    return Client(scheduler)


def _is_for_plain_code(request: Request) -> bool:
    """Return whether the route is a plain function, and no async function of the request receives the scheduler."""
    endpoint = request.scope.get("endpoint")
    if not inspect.isroutine(endpoint) or _is_async(endpoint):
        return False
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is not None and _takes_scheduler(dependant):
        return not _async_takes_scheduler(dependant)
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # called by the route itself, in its thread
        return True
    return False


def _takes_scheduler(dependant: Any) -> bool:
    return any(
        inner.call is get_scheduler or _takes_scheduler(inner) for inner in dependant.dependencies
    )


def _async_takes_scheduler(dependant: Any) -> bool:
    takes = any(inner.call is get_scheduler for inner in dependant.dependencies)
    return (takes and _is_async(dependant.call)) or any(
        map(_async_takes_scheduler, dependant.dependencies)
    )


def _is_async(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
