"""Following a run from a terminal: its lines as they are written, until it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ....core import humanize
from ....core.states import FINAL
from ....queries.models import LogLine
from ....web.api.schemas.runs import RunDetailOut
from ...api.reach import path
from ...group import CliError

if TYPE_CHECKING:
    from ...api.client import Api

_LINES = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


async def until_over(
    api: Api,
    run_id: int,
    patience: timedelta | None,
    say: Callable[[LogLine], None] | None,
    *,
    once: bool = False,
) -> RunDetailOut:
    """Wait until a run is over; the run then.

    Args:
        api: Where the run is.
        run_id: The run.
        patience: How long to wait; ``None`` is for ever.
        say: Gets each line of the log once, in order.
        once: Wait for nothing: it ends with the lines that are there.

    Raises:
        CliError: there is none with this id, or the time is up.
    """
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    after, pause = 0, _FIRST_PAUSE
    while True:
        # Before its lines: of one that is over, all are there.
        found = await api.get(path("runs", run_id), RunDetailOut)
        lines = await _lines(api, run_id, after) if say is not None else []
        for line in lines:
            after = line.id
            if say is not None:
                say(line)
        if len(lines) == _LINES:
            continue
        if found.state in FINAL or once:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise CliError(f"run {run_id} is still {humanize.STATE_WORDS[found.state]}; it goes on")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def _lines(api: Api, run_id: int, after: int) -> list[LogLine]:
    return await api.get(path("runs", run_id, "log"), list[LogLine], after=after, limit=_LINES)
