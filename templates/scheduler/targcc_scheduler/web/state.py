"""The state of the web side of an app."""

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
"""Where an outer app leaves what is shared for the apps within it."""
_last: Callable[[], Web] | None = None


def remember(web: Callable[[], Web]) -> None:
    """Keep how to come to what is shared, for requests to an app that has not got it."""
    global _last  # noqa: PLW0603 - the one place where a process keeps it
    _last = web


@dataclass(slots=True)
class Web:
    """What the web side of one app shares; kept as ``app.state.targcc``.

    Args:
        scheduler: The scheduler.
        metrics: The figures for Prometheus.
        providers: Say who sends a request, in the order in which they are asked.
        prefix: Where the pages are, such as ``/jobs``.
        host_login: The host says who asks, so nobody signs in here.
        login_url: Where people sign in to the host, if it says so.
        links: The login links of this process.
        guard: Limits attempts to sign in.
        codes: Limits attempts at a second factor; only who knows the password can make one wait.
        openid: The OpenID provider at which people sign in, if there is one.
        answers: Limits answers in the provider's name, by address: each costs a request to the provider.
        tried: The scheduler was started once, or tried to.
        trouble: Why it is not started; empty when it is, or need not be.
        checks: Compares passwords.
        held_back: Says about which addresses the audit need not be told again.
        day_counts: What ended on days that are over, for the heat map.
        streams: Limits the open streams of events.
        runs: Tells those streams, and requests that wait, of runs.
        batches: Tells those streams of batches and flows.
        changes: Tells those streams of all that changes.
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
    """What the web side shares.

    Raises:
        Problem: the app is stopping.
    """
    web = getattr(request.app.state, "targcc", None)
    if not isinstance(web, Web):
        raise NOT_RUNNING
    return web


def get_scheduler(request: Request) -> Scheduler:
    """The scheduler of the app that serves the request: for routes of your own, ``Depends(get_scheduler)``.

    Without the app's lifespan, as in a test that does not enter it, it is that of the router that was made last.
    """
    web = request.scope.get(SCOPE_KEY) or getattr(request.app.state, "targcc", None)
    if isinstance(web, Web):
        return web.scheduler
    if _last is None:
        raise NOT_RUNNING
    return _last().scheduler
