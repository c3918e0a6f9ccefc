"""The one way in which commands reach the API: of a server that was chosen, else in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from .profiles import server

if TYPE_CHECKING:
    from .transport import Api


def path(*parts: object) -> str:
    """The address of something below ``/api``; a part may hold any character."""
    return "/".join(["api", *(quote(str(part), safe="") for part in parts)])


@contextlib.asynccontextmanager
async def connect(*, work_on: str | None = None) -> AsyncIterator[Api]:
    """The API for one command.

    Args:
        work_on: Without a server: a queue that this process takes runs from meanwhile.
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
