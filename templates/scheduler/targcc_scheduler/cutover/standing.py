"""How a cut-over stands: each job's two sides beside each other, what is wrong, and the first runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..queries import runs as runs_rows
from ..queries.models import Run
from ..storage import pauses
from ..storage.owners import rows
from ..storage.owners.values import Owner, Ownership, Step
from ..storage.tables import job_run
from .old.server import OldRow

WATCHED = timedelta(days=1)
"""How long a job that has come here stays on the watch list."""
_LATE = timedelta(minutes=2)

Side = Literal["old", "new", "neither", "both", "unknown"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One job.

    Args:
        owned: Who runs it.
        side: Where it runs, by what both databases say; ``unknown`` where the old one was not asked.
        alarm: What is wrong and what to do; empty when nothing is.
        old_next: When the old server runs it next.
    """

    owned: Ownership
    side: Side
    alarm: str
    old_next: datetime | None


@dataclass(frozen=True, slots=True)
class Watched:
    """A job in its first day here.

    Args:
        owned: Since when it is here.
        runs: Its runs since then, newest first, at most 50.
        alarm: What is wrong; empty when nothing is.
    """

    owned: Ownership
    runs: tuple[Run, ...]
    alarm: str


async def standings(
    connection: AsyncConnection, old: Mapping[str, OldRow] | None
) -> list[Standing]:
    """Every job that the old server has or had.

    Args:
        connection: Reads.
        old: The old server's rows by ID; ``None`` when it was not asked.
    """
    return [_standing(one, old) for one in (await rows.load(connection)).values()]


def _standing(one: Ownership, old: Mapping[str, OldRow] | None) -> Standing:
    row = old.get(str(one.old_key)) if old is not None else None
    alarm = f"off on both sides: repeat {one.step.command}" if one.step is not None else ""
    if old is None:
        return Standing(one, "neither" if one.step else "unknown", alarm, None)
    active = row is not None and row.active
    here = one.owner is Owner.NEW
    side: Side = "both" if active and here else "old" if active else "new" if here else "neither"
    if one.step is Step.RETURNING and active:
        alarm = "it is on at the old server, and only that is not noted: repeat targcc cutover back"
    elif one.step is Step.TAKING and active:
        alarm = "it was begun and nothing has changed yet: repeat targcc cutover start"
    elif not alarm:
        alarm = _wrong(one, row, side)
    return Standing(one, side, alarm, row.next_run if row is not None and active else None)


def _wrong(one: Ownership, row: OldRow | None, side: Side) -> str:
    key = one.old_key or "?"
    if one.old_key is None:
        return ""
    if side == "both":
        return (
            f"LIVE ON BOTH SIDES: row {key} is active again (a run-now on an old screen does that): "
            "switch it off there, or targcc owner set it to old"
        )
    if side != "neither":
        return ""
    if row is None:
        return (
            f"the old server has no row {key}, and it does not run here: targcc owner set it to new"
        )
    return f"runs nowhere: row {key} was switched off there, and its owner here is {one.owner}"


async def watch_list(connection: AsyncConnection, now: datetime) -> list[Watched]:
    """The jobs that have come here within a day, those that need a look first."""
    owned = [
        one
        for one in (await rows.load(connection)).values()
        if one.owner is Owner.NEW and one.old_key is not None and one.since > now - WATCHED
    ]
    names = [one.job for one in owned]
    recent = await runs_rows.recent_runs(connection, names, 50)
    failures: dict[str, list[Run]] = {name: [] for name in names}
    for state in (RunState.FAILED, RunState.MISSED):
        newest = await runs_rows.recent_runs(connection, names, 1, job_run.c.State == state)
        for name, runs in newest.items():
            failures[name] += runs
    paused = await pauses.paused_jobs(connection, now)
    watched = [
        _watched(one, recent[one.job], failures[one.job], now, is_paused=one.job in paused)
        for one in owned
    ]
    return sorted(watched, key=lambda item: (not item.alarm, item.owned.next_slot or now))


def _watched(
    one: Ownership,
    recent: tuple[Run, ...],
    failures: Sequence[Run],
    now: datetime,
    *,
    is_paused: bool,
) -> Watched:
    runs = tuple(run for run in recent if run.created_at >= one.since)
    bad = sorted((run for run in failures if run.created_at >= one.since), key=lambda run: -run.id)
    alarm = ""
    if bad:
        alarm = f"run {bad[0].id} {bad[0].state}"
    elif is_paused:
        alarm = "paused here, and off there: its slots pass"
    elif one.next_slot is not None and one.next_slot + _LATE < now and not runs:
        alarm = "its first slot has passed and nothing has run"
    return Watched(one, runs, alarm)
