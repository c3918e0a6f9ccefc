"""The plan of a cut-over: what has to be true before it, and its order, one runner of the old server after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ..core.errors import CutoverError
from ..core.version import __version__
from ..jobs.definition import JobDefinition
from ..queries import system
from ..scheduler import Scheduler
from ..storage import slots
from ..storage.owners import rows
from ..storage.owners.values import Owner, Ownership
from .old.server import OldRow, OldServer
from .owning import Moving

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be true; ``look``: that a person has to decide about."""

    verdict: Literal["ok", "look", "stop"]
    said: str


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job that is to come here.

    Args:
        owned: Who runs it.
        old_next: When the old server runs it next.
        new_next: When it would run here next, from that time on.
    """

    owned: Ownership
    old_next: datetime | None
    new_next: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be true, and the jobs by runner in the order in which they come."""

    checks: tuple[Check, ...]
    runners: Mapping[str, tuple[JobPlan, ...]]

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return all(check.verdict != "stop" for check in self.checks)


async def make_plan(
    scheduler: Scheduler, old: OldServer | None, imported: Sequence[Moving]
) -> Plan:
    """Look at both sides; nothing is changed.

    Args:
        scheduler: This side.
        old: The other side, where it can be reached.
        imported: The jobs that the import brought.
    """
    owned = await scheduler.read(rows.load)
    there, checks = await _old_side(old)
    checks += [*await _this_side(scheduler, owned, imported)]
    checks += _rows(owned, there)
    moving = [one for one in owned.values() if one.owner is not Owner.NEW]
    plans = [_job_plan(scheduler, one, there) for one in moving]
    checks += _next_runs(plans)
    return Plan(tuple(checks), by_runner(plans))


def by_runner(plans: Iterable[JobPlan]) -> dict[str, tuple[JobPlan, ...]]:
    """The jobs by the old server's runner, in the order of their names."""
    found: dict[str, list[JobPlan]] = {}
    for one in sorted(plans, key=lambda plan: (plan.owned.runner or "", plan.owned.job)):
        found.setdefault(one.owned.runner or "", []).append(one)
    return {runner: tuple(jobs) for runner, jobs in found.items()}


async def _old_side(old: OldServer | None) -> tuple[dict[str, OldRow], list[Check]]:
    if old is None:
        text = "TARGCC_CUTOVER_URL is not set: the scripts of --script have to be run there by hand"
        return {}, [Check("look", text)]
    try:
        there = await asyncio.to_thread(old.rows)
    except CutoverError as error:
        return {}, [Check("stop", str(error))]
    active = sum(row.active for row in there.values())
    word = old.shape.word
    checks = [Check("ok", f"the old table ({word}) has {len(there)} rows, {active} of them active")]
    if old.not_logged:
        text = f"runs from here will not be in its c_LoggedJob after a way back: {old.not_logged}"
        checks.append(Check("look", text))
    return there, checks


async def _this_side(
    scheduler: Scheduler, owned: Mapping[str, Ownership], imported: Sequence[Moving]
) -> list[Check]:
    checks = []
    servers = await scheduler.read(system.servers)
    if not servers:
        checks.append(Check("stop", "no server is up here: targcc serve, or targcc worker"))
    elif others := sorted({one.version for one in servers} - {__version__}):
        text = f"servers of version {', '.join(others)} are up: only {__version__} is known to obey owners"
        checks.append(Check("stop", text))
    else:
        checks.append(Check("ok", f"{len(servers)} of this scheduler's servers are up"))
    if not owned:
        checks.append(
            Check("stop", "no job has an owner: targcc owner import says which the old server runs")
        )
    if missing := [one.job for one in imported if one.job not in owned]:
        checks.append(
            Check("stop", f"imported and without an owner: {_names(missing)}: targcc owner import")
        )
    if gone := [job for job in owned if job not in scheduler.definitions]:
        checks.append(Check("stop", f"not among the jobs here: {_names(gone)}"))
    schedules = await scheduler.read(slots.load)
    fresh = [
        job
        for job in owned
        if (definition := scheduler.definitions.get(job)) is not None
        and definition.schedule is not None
        and job not in schedules
    ]
    if fresh:
        checks.append(Check("stop", f"no server has seen the schedule of {_names(fresh)} yet"))
    if paused := [
        job for job in owned if job in schedules and schedules[job].is_paused(scheduler.clock.now())
    ]:
        checks.append(
            Check(
                "look", f"paused here, and so they will not run after the switch: {_names(paused)}"
            )
        )
    return checks


def _rows(owned: Mapping[str, Ownership], there: Mapping[str, OldRow]) -> list[Check]:
    checks: list[Check] = []
    if not there:
        return checks
    without = [one.job for one in owned.values() if one.old_key is None]
    if without:
        checks.append(Check("stop", f"the row in the old table is not known: {_names(without)}"))
    keys = {one.old_key: one for one in owned.values()}
    if staying := sorted(row.name for key, row in there.items() if row.active and key not in keys):
        checks.append(Check("look", f"active there, and staying there: {_names(staying)}"))
    off = [
        one.job
        for key, one in keys.items()
        if key and one.owner is not Owner.NEW and not (key in there and there[key].active)
    ]
    if off:
        checks.append(Check("stop", f"not active there, and not run here either: {_names(off)}"))
    if busy := sorted(
        one.job for key, one in keys.items() if key and key in there and there[key].running
    ):
        checks.append(
            Check("look", f"running there right now, so not yet to be taken: {_names(busy)}")
        )
    return checks


def _job_plan(scheduler: Scheduler, one: Ownership, there: Mapping[str, OldRow]) -> JobPlan:
    row = there.get(str(one.old_key))
    old_next = row.next_run if row is not None and row.active else None
    definition = scheduler.definitions.get(one.job)
    return JobPlan(one, old_next, _new_next(definition, old_next or scheduler.clock.now()))


def _new_next(definition: JobDefinition | None, at: datetime) -> datetime | None:
    if definition is None or definition.schedule is None:
        return None
    if definition.schedule.previous(at, definition.timezone) is None:
        return at
    return definition.schedule.next(at - _INSTANT, definition.timezone)


def _next_runs(plans: Sequence[JobPlan]) -> list[Check]:
    other = [
        plan.owned.job
        for plan in plans
        if plan.old_next is not None
        and plan.new_next is not None
        and abs(plan.new_next - plan.old_next) > timedelta(seconds=1)
    ]
    if other:
        return [Check("look", f"the next run here is another than there: {_names(other)}")]
    return [Check("ok", "the next runs of both sides agree")] if plans else []


def _names(names: Sequence[str], most: int = 10) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
