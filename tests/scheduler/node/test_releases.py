"""Releases: their names, the release that decides about schedules, and the choice by people."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, schedulers
from rt_tools import until
from targcc_scheduler import Scheduler, Settings, operations
from targcc_scheduler.core.errors import UnknownRelease
from targcc_scheduler.db.tables import job_schedule
from targcc_scheduler.kernel.node import releases as node_releases
from targcc_scheduler.kernel.queries.system import releases
from targcc_scheduler.kernel.releases import NodeState, Release

SOURCE = """
from targcc_scheduler import JobContext, job

@job("{cron}", name="Report")
async def report(ctx: JobContext) -> None:
    ...
"""
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
NIGHTLY, MORNING = "0 2 * * *", "0 7 * * *"


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeScheduler]:
    """Return a function that makes schedulers."""
    async with schedulers(migrated_url, "") as make:
        yield make


@pytest.fixture
def start(make: MakeScheduler, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that starts a node of a release whose job has a schedule."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Scheduler] = []

    async def begin(release: str, cron: str, more: str = "", **settings: Any) -> Scheduler:
        package = f"release_{tmp_path.name}_{len(made)}"
        (tmp_path / f"{package}.py").write_text(SOURCE.format(cron=cron) + more, encoding="utf-8")
        values = {**QUICK, "release": release, **settings}
        made.append(
            make(
                jobs_package=package,
                settings=Settings(_env_file=None, database_url=migrated_url, **values),
            )
        )
        await made[-1].start()
        return made[-1]

    return begin


@pytest.fixture
def schedule(migrated_url: str):
    """Return a function that reads the effective schedule without its zone; empty before a node has written a schedule."""
    ledger = Ledger(migrated_url)

    def read() -> str:
        rows = ledger.rows(sa.select(job_schedule.c.ScheduleText))
        return str(rows[0].ScheduleText).rpartition(" ")[0] if rows else ""

    return read


async def test_a_person_chooses_whose_schedules_hold(start, schedule):
    old, new = await start("41", NIGHTLY), await start("42", MORNING)
    await until(lambda: schedule() == MORNING)
    assert await new.operate(operations.use_release, None, "41", DANA) == "41"
    await until(lambda: schedule() == NIGHTLY)
    releases_by_name = {release.name: release for release in await old.read(releases)}
    assert (releases_by_name["41"].decides, releases_by_name["41"].chosen_by) == (
        True,
        "Manual (dana)",
    )
    assert releases_by_name["42"].differences == (
        f"Report runs by {MORNING} Europe/Berlin, not {NIGHTLY} Europe/Berlin",
    )
    await new.operate(operations.use_release, None, None, DANA)
    await until(lambda: schedule() == MORNING)
    with pytest.raises(UnknownRelease, match="several releases begin with '4': 42, 41"):
        await new.operate(operations.use_release, None, "4", DANA)


@pytest.mark.slow
async def test_an_old_node_that_starts_late_or_again_writes_nothing_back(start, schedule):
    first = await start("41", NIGHTLY)
    new = await start("42", MORNING)
    await until(lambda: schedule() == MORNING)
    await first.stop()
    for _ in range(2):
        again = await start("41", NIGHTLY)
        again.node.slots.wake()
        await again.call(again.node.releases.look())
        await again.call(again.node.slots.tick())
        assert schedule() == MORNING
    assert next(release.name for release in await new.read(releases) if release.decides) == "42"


async def test_the_old_release_deployed_again_decides_once_the_newer_one_is_gone(start, schedule):
    old = await start("41", NIGHTLY)
    new = await start("42", MORNING)
    await until(lambda: schedule() == MORNING)
    await old.stop()
    await new.stop()
    await start("41", NIGHTLY)
    await until(lambda: schedule() == NIGHTLY)


async def test_an_old_node_that_is_left_alone_decides_after_the_time_that_is_set(start, schedule):
    await start("41", NIGHTLY, release_absent_after=0.6)
    new = await start("42", MORNING)
    await until(lambda: schedule() == MORNING)
    gone = time.monotonic()
    await new.stop()
    await until(lambda: schedule() == NIGHTLY)
    assert time.monotonic() - gone > 0.3


async def test_releases_of_one_name_whose_jobs_differ_are_told_apart(start, schedule):
    first, second = await start("latest", NIGHTLY), await start("latest", MORNING)
    assert first.node.releases.release == "latest"
    assert re.fullmatch(r"latest\+[0-9a-f]{8}", second.node.releases.release)
    await until(lambda: schedule() == MORNING)


async def test_a_release_without_a_name_is_called_by_its_version_and_jobs(start):
    first, same, other = [await start("", cron) for cron in (NIGHTLY, NIGHTLY, MORNING)]
    names = [scheduler.node.releases.release for scheduler in (first, same, other)]
    assert names[0] == names[1] != names[2]
    assert all(re.fullmatch(r"0\+[0-9a-f]{8}", name) for name in names)


def beats(*nodes: tuple[str, str, int]) -> list[NodeState]:
    return [
        NodeState(id_, NOW + timedelta(seconds=at), release, "f", None)
        for id_, release, at in nodes
    ]


class TestLeader:
    """Decide when the leading release counts as gone, as a node of release 1 sees it."""

    known = (Release("2", "f", NOW), Release("1", "f", NOW - timedelta(days=1)))

    def gone(self, leader: Any, *nodes: tuple[str, str, int], after: float = 600) -> bool:
        return bool(leader.is_gone(self.known[0], "1", self.known, beats(*nodes), after))

    def test_one_whose_nodes_were_up_since_this_node_started_is_not(self):
        leader = node_releases._Leader(self.known)
        assert not self.gone(leader, ("a", "2", 0), ("me", "1", 0))
        assert not self.gone(leader, ("a", "2", 2), ("me", "1", 2))
        assert not self.gone(leader, ("me", "1", 4))

    def test_one_whose_last_node_had_died_before_this_one_started_is(self):
        leader = node_releases._Leader(self.known)
        assert not self.gone(leader, ("dead", "2", 0), ("me", "1", 0))
        assert not self.gone(leader, ("dead", "2", 0), ("me", "1", 2))
        assert self.gone(leader, ("me", "1", 4))

    def test_one_that_came_and_went_unseen_since_this_node_started_is_not(self):
        leader = node_releases._Leader(self.known[1:])
        assert not self.gone(leader, ("me", "1", 0))

    def test_one_that_is_absent_for_long_is_to_the_newest_that_is_up(self):
        leader = node_releases._Leader(self.known)
        assert not self.gone(leader, ("a", "2", 0), ("me", "1", 0))
        assert not self.gone(leader, ("a", "2", 1), ("me", "1", 0))
        assert self.gone(leader, ("me", "1", 9), after=0)
        assert not self.gone(leader, ("x", "3", 0), after=0)
