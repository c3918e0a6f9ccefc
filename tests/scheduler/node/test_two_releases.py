"""A deploy never destroys work: nodes of two releases, in separate processes, on one database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger
from projects import PATH
from rt_tools import NodeProcess, until
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.db.tables import job_schedule, logged_job

OLD = """
from targcc_scheduler import JobContext, job

@job("* * * * * *", name="Tick", misfire="run_all", overlap="allow")
async def tick(ctx: JobContext) -> str:
    return "old"

@job("* * * * * *", name="Same", misfire="run_all", overlap="allow")
async def same(ctx: JobContext) -> str:
    return "old"

@job("* * * * * *", name="Gone", misfire="run_all", overlap="allow")
async def gone(ctx: JobContext) -> str:
    return "old"

@job(name="Grown")
async def grown(ctx: JobContext, number: int) -> str:
    return "old"

@job(name="Shrunk")
async def shrunk(ctx: JobContext, number: int) -> str:
    return "old"
"""
NEW = """
from targcc_scheduler import JobContext, job

@job("*/2 * * * * *", name="Tick", misfire="run_all", overlap="allow")
async def tick(ctx: JobContext) -> str:
    return "new"

@job("* * * * * *", name="Same", misfire="run_all", overlap="allow")
async def same(ctx: JobContext) -> str:
    return "new"

@job("* * * * * *", name="Fresh", misfire="run_all", overlap="allow")
async def fresh(ctx: JobContext) -> str:
    return "new"

@job(name="Grown")
async def grown(ctx: JobContext, number: int, note: str) -> str:
    return "new"

@job(name="Shrunk")
async def shrunk(ctx: JobContext) -> str:
    return "new"
"""
EVERY, OTHER = "* * * * * * Europe/Berlin", "*/2 * * * * * Europe/Berlin"
_MANY = 6


class Deployment:
    """Nodes of two releases on one database, with a client for each release."""

    def __init__(self, url: str, folder: Path) -> None:
        self.ledger = Ledger(url)
        self.nodes: list[NodeProcess] = []
        self._url = url
        self._folder = folder

    def package(self, release: str) -> str:
        """Return the jobs package of a release. Both releases have the same jobs in packages with different names."""
        return f"jobs_of_{release}_{self._folder.name}"

    async def start(self, release: str) -> NodeProcess:
        """Start a node of a release."""
        node = NodeProcess(
            self._url,
            self._folder / "notes",
            schedule=True,
            JOBS_PACKAGE=self.package(release),
            PYTHONPATH=os.pathsep.join((PATH, str(self._folder))),
            TARGCC_RELEASE=release,
            TARGCC_LOST_AFTER_SECONDS=5,
            TARGCC_HEARTBEAT_SECONDS=0.3,
        )
        self.nodes.append(node)
        return await node.started()

    def schedule(self, job: str) -> str:
        """Return the effective schedule of a job."""
        query = sa.select(job_schedule.c.ScheduleText).where(job_schedule.c.JobName == job)
        return str(self.ledger.rows(query)[0].ScheduleText)

    def slots(self, job: str, since: datetime | None = None) -> list[datetime]:
        """Return the slots of a job that have a run, oldest first."""
        slots = sorted(row.ScheduledFor for row in self.ledger.runs(job) if row.ScheduledFor)
        return [slot for slot in slots if since is None or slot > since]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; on timeout, fail with the nodes' logs."""
        try:
            await until(condition, 30)
        except AssertionError:
            logs = "\n".join(f"--- {node.said()[-2500:]}" for node in self.nodes)
            pytest.fail(f"{what} did not come to pass\n{logs}\n{self.ledger.states()}")


@pytest.fixture
def deployment(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """Two releases without a running node."""
    made = Deployment(migrated_url, tmp_path)
    for release, source in (("old", OLD), ("new", NEW)):
        package = tmp_path / made.package(release)
        package.mkdir()
        (package / "__init__.py").write_text("", encoding="utf-8")
        (package / "jobs.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    for node in made.nodes:
        if node.process.poll() is None:
            node.kill()


@pytest.fixture
async def clients(deployment: Deployment, migrated_url: str) -> AsyncIterator[dict[str, Scheduler]]:
    """A client for each release that only creates runs, like a web process."""
    settings = Settings(_env_file=None, database_url=migrated_url, migrate_on_start=False)
    made = {
        release: Scheduler(settings, jobs_package=deployment.package(release))
        for release in ("old", "new")
    }
    for client in made.values():
        await client.start(work=False, schedule=False)
    yield made
    for client in made.values():
        await client.stop()


@pytest.mark.parametrize(
    "migrated_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.soak)], indirect=True
)
async def test_two_releases_together_lose_nothing_and_the_newer_schedule_holds(
    deployment: Deployment, clients: dict[str, Scheduler]
) -> None:
    first = await deployment.start("old")
    await deployment.until(lambda: len(deployment.slots("Tick")) > 1, "the old schedule")
    newer = await deployment.start("new")
    await deployment.until(lambda: deployment.schedule("Tick") == OTHER, "the new schedule")
    begun = datetime.now(UTC)
    late = await deployment.start("old")  # a replica that restarts late

    made = [
        run_id
        for number in range(_MANY)
        for run_id in (
            await clients["old"].enqueue("Grown", number=number),
            await clients["new"].enqueue("Grown", number=number, note="n"),
            await clients["old"].enqueue("Shrunk", number=number),
            await clients["new"].enqueue("Shrunk"),
            await clients["old"].enqueue("Gone"),
            await clients["new"].enqueue("Fresh"),
        )
    ]
    rows = deployment.ledger.run
    await deployment.until(
        lambda: all(rows(made_id).CompletedAt for made_id in made), "all that was asked for"
    )
    waits = [rows(made_id).StartedAt - rows(made_id).DueAt for made_id in made]
    assert sorted(waits)[len(waits) * 9 // 10] < timedelta(
        seconds=2
    )  # the remaining tenth allows for a busy machine
    assert [rows(made_id).Message for made_id in made] == [
        "old",
        "new",
        "old",
        "new",
        "old",
        "new",
    ] * _MANY
    assert {rows(made_id).Attempt for made_id in made} == {1}

    await deployment.until(
        lambda: len(deployment.slots("Tick", begun)) > 2, "slots by the new schedule"
    )
    await deployment.until(lambda: len(deployment.slots("Fresh")) > 2, "slots of the new job")
    assert deployment.schedule("Tick") == OTHER
    assert _steps(deployment.slots("Tick", begun)) == {2}
    for job in ("Same", "Gone", "Fresh"):
        assert _steps(deployment.slots(job)) == {1}

    assert [await first.terminate(), await late.terminate()] == [0, 0]
    assert await newer.terminate() == 0
    back = await deployment.start("old")  # no node runs the new release any more: a rollback
    await deployment.until(lambda: deployment.schedule("Tick") == EVERY, "the old schedule again")
    await deployment.until(
        lambda: not _waiting(deployment, "Gone"), "what waited for the old release"
    )
    assert await back.terminate() == 0
    states = deployment.ledger.states()
    assert states.keys() <= {
        "succeeded",
        "enqueued",
    }, states  # runs of the new job wait for its release
    assert all(row.Success for row in deployment.ledger.rows(sa.select(logged_job.c.Success)))
    deployment.ledger.assert_sound()


def _waiting(deployment: Deployment, job: str) -> list[object]:
    return [row for row in deployment.ledger.runs(job) if row.CompletedAt is None]


def _steps(slots: list[datetime]) -> set[int]:
    return {round((later - earlier).total_seconds()) for earlier, later in pairwise(slots)}
