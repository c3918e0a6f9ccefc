"""The state of the web side of an app."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from ..scheduler import Scheduler
from ..security import login_links
from ..security.login_links import LoginLinks
from ..security.providers.base import IdentityProvider
from ..security.throttle import LoginGuard
from .metrics import Metrics
from .problems import Problem


@dataclass(slots=True)
class Web:
    """What the web side of one app shares; kept as ``app.state.targcc``.

    Args:
        scheduler: The scheduler.
        metrics: The figures for Prometheus.
        providers: Say who sends a request, in the order in which they are asked.
        links: The login links of this process.
        guard: Limits attempts to sign in.
    """

    scheduler: Scheduler
    metrics: Metrics
    providers: tuple[IdentityProvider, ...]
    links: LoginLinks = field(default_factory=lambda: login_links.LOGIN_LINKS)
    guard: LoginGuard = field(default_factory=LoginGuard)


def get_web(request: Request) -> Web:
    """What the web side shares.

    Raises:
        Problem: the app was started without its lifespan, or is stopping.
    """
    web = getattr(request.app.state, "targcc", None)
    if not isinstance(web, Web):
        raise Problem(503, "Not running", "the scheduler of this app is not running")
    return web


def get_scheduler(request: Request) -> Scheduler:
    """The scheduler of the app that serves the request: for routes of your own, ``Depends(get_scheduler)``."""
    return get_web(request).scheduler
