"""Shared web state of an app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request

from ..features.accounts import users
from ..features.accounts.oidc import OpenIDClient
from ..features.accounts.providers import IdentityProvider, PasswordChecks
from ..features.accounts.throttle import AttemptLimiter, LoginGuard, Seldom
from ..features.accounts.users import LoginLinks
from ..features.batches.hub import BatchHub
from ..features.timeline.history import DayCounts
from ..scheduler import Scheduler
from .hubs import ChangeFeed, RunHub, StreamLimits
from .metrics import Metrics
from .problems import Problem

NOT_STARTED = "the lifespan of the scheduler was not entered, as under a server that has none; start targcc worker beside it"
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
        links: This process's login links.
        guard: Limiter for sign-in attempts.
        codes: Limiter for second-factor attempts; only a client that knows the password can cause a wait.
        openid: OpenID client, if people sign in with OpenID.
        answers: Limiter, by address, for answers in the provider's name: each answer costs a request to the provider.
        tried: Set after the first attempt to start the scheduler.
        trouble: Reason why the scheduler has not started; empty if started or not needed.
        checks: Password comparison, a few at a time.
        held_back: Filter that keeps repeated entries about the same address within a minute out of the audit.
        day_counts: Run counts on past days, for the heat map.
        streams: Limits for open event streams.
        runs: Hub for single runs: serves streams and waiting requests.
        batches: Hub for batches and flows: serves streams.
        changes: Feed with all changes: serves streams.
    """

    scheduler: Scheduler
    metrics: Metrics
    providers: tuple[IdentityProvider, ...]
    prefix: str
    host_login: bool = False
    login_url: str = ""
    links: LoginLinks = field(default_factory=lambda: users.LOGIN_LINKS)
    guard: LoginGuard = field(default_factory=LoginGuard)
    codes: AttemptLimiter = field(default_factory=lambda: AttemptLimiter(free=5))
    openid: OpenIDClient | None = None
    answers: AttemptLimiter = field(default_factory=lambda: AttemptLimiter(free=10))
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = NOT_STARTED
    checks: PasswordChecks = field(default_factory=PasswordChecks)
    held_back: Seldom = field(default_factory=Seldom)
    day_counts: DayCounts = field(default_factory=DayCounts)
    streams: StreamLimits = field(default_factory=StreamLimits)
    runs: RunHub = field(init=False)
    batches: BatchHub = field(init=False)
    changes: ChangeFeed = field(init=False)

    def __post_init__(self) -> None:
        self.runs = RunHub(self.scheduler.read)
        self.batches = BatchHub(self.scheduler.read)
        self.changes = ChangeFeed(self.scheduler.read, self.scheduler.clock)


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

    Without the app's lifespan, as in a test that skips the lifespan, return the scheduler of the newest router.
    """
    web = request.scope.get(SCOPE_KEY) or getattr(request.app.state, "targcc", None)
    if isinstance(web, Web):
        return web.scheduler
    if _last is None:
        raise NOT_RUNNING
    return _last().scheduler
