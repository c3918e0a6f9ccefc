"""Run the scheduler inside an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State
from starlette.middleware.gzip import GZipMiddleware

from ..core.identity import IdentityProvider
from ..core.masking import mask
from ..core.outage import Outage, in_short
from ..kernel.feature import Identify, parts
from ..project import current
from ..scheduler import Scheduler
from ..settings import Settings
from .addresses import is_below, path_within, scope_below
from .headers_only import HeadersOnly
from .host_login import HostLogin, ProxyLogin
from .metrics import Metrics
from .server_workers import turn_of
from .state import NOBODY_SIGNS_IN, SCOPE_KEY, Web, remember, shared_state

# One scheduler in one host: a separate app below the prefix, and a start in the background.

log = logging.getLogger("targcc.web.guest")

_PATIENCE = 5.0
"""Seconds that the host's start-up waits for the scheduler. After that, the scheduler's start continues in the background."""
_WORTH_COMPRESSING = 1_000
"""Minimum size of a compressed response, in bytes."""
_TURN = timedelta(seconds=1)
"""Interval at which a worker without jobs tries to take its turn."""
_LAST_WAIT = 10.0
"""Seconds that the host's shutdown waits for a running start of the scheduler."""


class Guest:
    """The scheduler as an ASGI app below one prefix of a host, and the lifespan that starts and stops it.

    Args:
        settings: The settings; include the prefix and the mode.
        scheduler: The scheduler; ``None`` creates a scheduler at the first use.
        providers: Identity providers to ask before the providers for API tokens and passwords.
        login: The login of the host; replaces the login page of the scheduler.
    """

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler | None = None,
        *,
        providers: Sequence[IdentityProvider] = (),
        login: HostLogin | None = None,
    ) -> None:
        self.prefix = settings.dashboard_path
        self._settings = settings
        self._scheduler = scheduler
        self._providers = tuple(providers)
        self._login = login
        self._app: FastAPI | None = None
        self._ended = False
        self._web: Web | None = None
        remember(self.web)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request at or below the prefix; the endpoint of the host's route."""
        if self._app is None:
            self._app = await asyncio.to_thread(self._make_app)  # imports the pages
        self._app.state.targcc = None if self._ended else self.web()
        await self._app(scope_below(scope, self.prefix), receive, send)

    def web(self) -> Web:
        """Return the state that the pages share; created at the first call.

        Without the lifespan, as under a server without lifespan events, the pages show and enqueue runs, but this process runs no jobs.
        """
        if self._web is None:
            running = self._scheduler = self._scheduler or Scheduler(self._settings)
            self._web = Web(
                running,
                Metrics(running),
                (*self._providers, *self._known(running)),
                prefix=self.prefix,
                host_login=self._login is not None,
                login_url=self._login.login_url if self._login is not None else "",
            )
            if not self._web.providers:
                log.warning("nobody can sign in: %s", NOBODY_SIGNS_IN)
        return self._web

    def _known(self, running: Scheduler) -> tuple[IdentityProvider, ...]:
        """Return the identity providers of the host, or of the proxy and the features."""

        def providers(*, programs: bool = False, beside_host: bool = False) -> list[Any]:
            return [
                feature.load(part)(running)
                for feature, part in parts(Identify)
                if (part.programs, part.beside_host) == (programs, beside_host)
            ]

        if self._login is not None:
            self._login.ask_also(*providers(programs=True), *providers(beside_host=True))
            return (self._login,)
        proxy = (ProxyLogin(self._settings),) if self._settings.proxy_user_header else ()
        return (*providers(programs=True), *proxy, *providers())

    @contextlib.asynccontextmanager
    async def lifespan(self, host: Any) -> AsyncIterator[None]:
        """Start the scheduler with the host and stop the scheduler at the end. The host starts and serves even when the scheduler fails.

        Args:
            host: The host app; see :func:`~.state.shared_state`.
        """
        web, state = self.web(), shared_state(host)
        self._ended = False
        if state is not None:
            state.targcc = web
            state.targcc_prefix = self.prefix
        if self._login is not None:
            self._login.host = host
        mode = web.scheduler.settings.effective_mode
        work = mode == "embedded" and getattr(state, "targcc_work", True)
        stopping = asyncio.Event()
        web.turn = turn_of(web.scheduler.settings.database_url) if work else None
        starting = asyncio.create_task(_begin(web, stopping, work=work), name="targcc start")
        await _first_try(web, starting)
        try:
            yield
        finally:
            self._ended = True
            if state is not None:
                state.targcc = None
            stopping.set()
            await asyncio.wait({starting}, timeout=_LAST_WAIT)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if web.turn is not None:
                web.turn.release()  # another worker goes on while this one waits for its running jobs
            await web.scheduler.stop()

    def _make_app(self) -> FastAPI:
        """Build the app below the prefix, separate from the host's dependencies, error handlers and route names."""
        from .route_table import route_table  # a third of the scheduler's memory

        app = FastAPI(title=current().name, docs_url=None, redoc_url=None, openapi_url=None)
        app.state.targcc_prefix = self.prefix
        compress(app)
        app.router.routes += route_table(self.prefix, signs_in=self._login is None).routes
        return app


def compress(app: FastAPI) -> None:
    """Compress the responses of an app for clients that accept gzip, and answer HEAD with the headers of GET."""
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_COMPRESSING, compresslevel=5)
    app.add_middleware(HeadersOnly)  # outside: the headers are those of a compressed response


async def _begin(web: Web, stopping: asyncio.Event, *, work: bool) -> None:
    """Start the scheduler; a worker whose server has another worker with the jobs starts without jobs, and waits for its turn."""
    has_turn = web.turn is None or web.turn.take()
    await _start(web, stopping, work=work and has_turn)
    if web.turn is None or has_turn:
        return
    web.tried.set()
    while not stopping.is_set():
        if web.turn.take():
            log.info("this worker of the server runs the jobs from now on")
            await _start(web, stopping, work=work)
            return
        await _pause(stopping, _TURN)


async def _start(web: Web, stopping: asyncio.Event, *, work: bool) -> None:
    """Start the scheduler; retry until the start succeeds or the host ends."""
    outage, settings = Outage(log, "starting the scheduler"), web.scheduler.settings
    if settings.effective_mode == "off":
        web.trouble = settings.why_off
        log.info(settings.why_off)
        return
    web.trouble = "it is starting"
    while not stopping.is_set():
        try:
            await web.scheduler.start(work=work, schedule=work)
            await web.metrics.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the host goes on
            wait = outage.failed(error)
            web.trouble = mask(in_short(error))
            web.tried.set()
            await _pause(stopping, wait)
        else:
            outage.over()
            web.trouble = ""
            return


async def _first_try(web: Web, starting: asyncio.Task[None]) -> None:
    """Wait for the first attempt to start, for at most ``_PATIENCE`` seconds."""
    tried = asyncio.ensure_future(web.tried.wait())
    await asyncio.wait({tried, starting}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    tried.cancel()


async def _pause(stopping: asyncio.Event, wait: timedelta) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait.total_seconds()):
            await stopping.wait()


# Wrap any ASGI app with the scheduler.


class Outer:
    """An ASGI app around the host: the scheduler answers requests below its prefix, and the host answers all other requests.

    Every other attribute is the host's, to read and to set, and ``isinstance`` sees the host's class: code and test clients that use the host
    work with this app.

    Args:
        app: The host.
        guest: The scheduler.

    Attributes:
        app: The host.
        prefix: The prefix of the scheduler.
        targcc_state: The shared state of the scheduler's pages; also ``state``, if the host has no such attribute.
    """

    __slots__ = ("__weakref__", "_guest", "app", "prefix", "targcc_state")
    # No __dict__: vars() and test tools see the host's.

    def __init__(self, app: Any, guest: Guest) -> None:
        self.app = app
        self.prefix = guest.prefix
        self.targcc_state = State()
        self._guest = guest

    def __getattr__(self, name: str) -> Any:
        if name in Outer.__slots__:  # not set yet
            raise AttributeError(name)
        try:
            return getattr(self.app, name)
        except AttributeError:
            if name == "state":
                return self.targcc_state
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Outer.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self.app, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.app, name)

    def __dir__(self) -> list[str]:
        return sorted({*Outer.__slots__, *dir(self.app)})

    @property  # type: ignore[misc]  # mypy knows __class__ as an attribute
    def __class__(self) -> Any:  # the test client of Litestar asks isinstance(app, Litestar)
        return self.app.__class__

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or handle the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and is_below(path_within(scope), self.prefix):
            guest_scope = dict(scope)
            guest_scope.pop("path_params", None)  # set by a mount around this app
            await self._guest(guest_scope, receive, send)
        else:
            await self.app({**scope, SCOPE_KEY: self._guest.web()}, receive, send)

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        host = _HostLife(self.app, scope)
        reply = await host.begin()
        if reply["type"] == "lifespan.startup.failed":
            await send(reply)
            return
        async with self._guest.lifespan(self):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send(await host.end())


class _HostLife:
    """Run the lifespan of an app; an app without lifespan support is allowed.

    Args:
        app: The app.
        scope: The scope of the server's lifespan; the app may fill the state in the scope.
    """

    def __init__(self, app: Any, scope: Any) -> None:
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._app, self._scope = app, scope
        self._living: asyncio.Task[None] | None = None

    async def begin(self) -> dict[str, Any]:
        """Send ``lifespan.startup`` and return the app's reply."""
        self._living = asyncio.create_task(self._live())
        return await self._ask("startup")

    async def end(self) -> dict[str, Any]:
        """Send ``lifespan.shutdown`` and return the app's reply."""
        reply = await self._ask("shutdown")
        assert self._living is not None
        await self._living
        return reply

    async def _ask(self, what: str) -> dict[str, Any]:
        """Send a lifespan message and return the reply; when the app has returned or failed, return ``complete``."""
        assert self._living is not None
        self._orders.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._living}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return {"type": f"lifespan.{what}.complete"}

    async def _live(self) -> None:
        try:
            await self._app(self._scope, self._orders.get, self._answers.put)
        except Exception as error:  # noqa: BLE001 - to servers, too, such an app has no lifespan
            log.info("the app has no lifespan: %s", error)
