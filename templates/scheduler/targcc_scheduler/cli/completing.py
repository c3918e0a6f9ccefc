"""Complete names in the shell. A lookup that fails or times out completes nothing and prints nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

import click

from . import profiles
from .connect import path
from .profiles import Profile, server

_SECONDS = 2.0
"""Seconds that a server may take to answer."""
_Names = Callable[[click.Context, click.Parameter, str], list[str]]


def profile_names(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete names of profiles."""
    return _fitting(lambda: [profiles.LOCAL, *profiles.load().named], begun)


def _completes(key: str, here: Callable[[], Iterable[str]], *, only: str | None = None) -> _Names:
    """Build a completion of names.

    Args:
        key: Path of the API that lists the names at a server.
        here: Without a server, returns the names in this process, without a database query.
        only: Field that must be true for a row of the API to count.
    """

    def complete(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        def names() -> Iterable[str]:
            with ctx.scope(cleanup=False):
                profile = server()
            return here() if profile is None else asyncio.run(_asked(profile, key, only))

        return _fitting(names, begun)

    return complete


def _fitting(names: Callable[[], Iterable[str]], begun: str) -> list[str]:
    logging.disable()
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            candidates = list(names())
    except Exception:  # noqa: BLE001 - in the middle of somebody's typing nothing may be said
        return []
    finally:
        logging.disable(logging.NOTSET)
    return [name for name in candidates if name.casefold().startswith(begun.casefold())]


async def _asked(profile: Profile, key: str, only: str | None) -> list[str]:
    from .remote_transport import at_server

    async with at_server(profile, seconds=_SECONDS) as api:
        rows: list[dict[str, Any]] = await api.rows(path(key))
    return [str(row["name"]) for row in rows if only is None or row.get(only)]


def _jobs() -> Iterable[str]:
    from ..scheduler import Scheduler
    from .common import settings

    return Scheduler(settings()).definitions


def _queues() -> Iterable[str]:
    from ..kernel.queries.system import queue_names
    from ..scheduler import Scheduler
    from .common import settings

    return queue_names(Scheduler(settings()).definitions.values())


def _flows() -> Iterable[str]:
    from ..project import current

    return current().flows


job_names = _completes("jobs", _jobs)
"""Complete names of jobs, in the code or at the server."""
queue_names = _completes("queues", _queues)
"""Complete names of queues."""
flow_names = _completes("jobs", _flows, only="flow")
"""Complete names of flows: of targcc.yaml, or at the server."""
server_names = _completes("servers", list)
"""Complete names of nodes; only with a server."""
