"""Following a run from a terminal: its lines as they are written, until it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from ....core import humanize
from ....core.errors import UnknownRun
from ....queries import runs
from ....queries.following.runs import lines_after
from ....queries.models import LogLine, Run
from ....scheduler import Scheduler
from ...group import CliError

_LINES = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


async def until_over(
    scheduler: Scheduler,
    run_id: int,
    patience: timedelta | None,
    say: Callable[[LogLine], None] | None,
    *,
    once: bool = False,
) -> Run:
    """Wait until a run is over; the run then.

    Args:
        scheduler: Whose run.
        run_id: The run.
        patience: How long to wait; ``None`` is for ever.
        say: Gets each line of the log once, in order.
        once: Wait for nothing: it ends with the lines that are there.

    Raises:
        UnknownRun: there is none with this id.
        CliError: the time is up.
    """
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    after, pause = 0, _FIRST_PAUSE
    while True:
        found, lines = await scheduler.read(partial(_look, run_id=run_id, after=after))
        for line in lines:
            after = line.id
            if say is not None:
                say(line)
        if len(lines) == _LINES:
            continue
        if found.final or once:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise CliError(f"run {run_id} is still {humanize.STATE_WORDS[found.state]}; it goes on")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def _look(db: AsyncConnection, run_id: int, after: int) -> tuple[Run, tuple[LogLine, ...]]:
    found = await runs.get_run(db, run_id)  # before its lines: of one that is over, all are there
    if found is None:
        raise UnknownRun(f"there is no run {run_id}")
    return found, await lines_after(db, run_id, after, _LINES)
