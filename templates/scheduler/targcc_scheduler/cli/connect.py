"""Connect commands to the API: at the chosen server, else in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from .profiles import server

if TYPE_CHECKING:
    from .transport import Api


def path(*parts: object) -> str:
    """Join parts to a path below ``api/``; a part may hold any character."""
    return "/".join(["api", *(quote(str(part), safe="") for part in parts)])


@contextlib.asynccontextmanager
async def connect(*, work_on: str | None = None) -> AsyncIterator[Api]:
    """Open the API for a command.

    Args:
        work_on: Queue that this process runs jobs from meanwhile; ignored with a server.
    """
    profile = server()
    if profile is None:
        from .local_transport import in_this_process

        async with in_this_process(work_on=work_on) as api:
            yield api
    else:
        from .remote_transport import at_server

        async with at_server(profile) as api:
            yield api
