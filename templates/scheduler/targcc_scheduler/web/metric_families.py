"""Families of metrics for Prometheus.

Attempts of all nodes are counted from c_LoggedJob. Each scrape reads the rows added since the previous scrape, so its cost does not grow with the
history. Counters begin at zero when the process starts, as Prometheus expects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import prometheus_client as prometheus
import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import ACTIVE
from ..core.version import __version__
from ..db.dialects import known
from ..db.tables import job_run, logged_job
from ..kernel import job_owner as owners
from ..kernel.feature import Metrics as FeatureMetrics
from ..kernel.feature import load
from ..kernel.queries import limits, system
from ..kernel.queries.models import Queue, Server
from ..kernel.queries.statistics import last_success
from ..project import current
from ..scheduler import Scheduler

_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, float("inf"))
_MOST_ACTIVE = 1_000_000
"""Most active runs counted per state: a larger count would take longer than a scrape may."""
_SETTLING = timedelta(seconds=5)
"""Age from which a row counts as committed. PostgreSQL assigns ids at insert and shows rows at commit."""


class Families:
    """Collect an app's metrics.

    Args:
        scheduler: The app's scheduler.
        counted_from: Id of the newest attempt that does not count.
    """

    def __init__(self, scheduler: Scheduler, counted_from: int) -> None:
        self._scheduler = scheduler
        self._registry = prometheus.CollectorRegistry()
        self._attempts = prometheus.Counter(
            "targcc_attempts", "Finished attempts.", ["job", "outcome"], registry=self._registry
        )
        self._durations = prometheus.Histogram(
            "targcc_attempt_duration_seconds",
            "How long attempts took.",
            ["job"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._last_success = prometheus.Gauge(
            "targcc_job_last_success_timestamp_seconds",
            "When an attempt of the job last succeeded.",
            ["job"],
            registry=self._registry,
        )
        self._seen = counted_from

    async def start(self) -> None:
        """Read the last success of each job."""
        await self._scheduler.read(self._read_successes)

    async def text(self) -> str:
        """Return the metrics in Prometheus' text format."""
        now = self._scheduler.clock.now()
        families = await self._scheduler.read(lambda db: self._collect(db, now))
        snapshot = prometheus.CollectorRegistry()
        snapshot.register(_Fixed(families))
        counted = prometheus.generate_latest(self._registry) + prometheus.generate_latest(snapshot)
        return counted.decode()

    async def _read_successes(self, connection: AsyncConnection) -> None:
        for job in list(self._scheduler.definitions):
            self._succeeded(job, await last_success(connection, job))

    async def _collect(self, connection: AsyncConnection, now: datetime) -> list[Metric]:
        await self._count_new(connection, now)
        names = system.queue_names(self._scheduler.definitions.values())
        lost_after = self._scheduler.settings.lost_after_seconds
        queues = await system.queues(connection, names, now, lost_after=lost_after)
        jobs = list(self._scheduler.definitions.values())
        return [
            await _active_runs(connection),
            *_queue_figures(queues, now),
            *_server_figures(await system.read_servers(connection), now),
            _single(
                "targcc_cutover_unfinished",
                "Jobs on neither side, as a change from or to the old server is not finished.",
                len(await owners.unfinished(connection, now)),
            ),
            _single("targcc_jobs", "Jobs in the code.", len(self._scheduler.definitions)),
            _single(
                "targcc_broken_job_files",
                "Job files that cannot be used.",
                len(self._scheduler.broken),
            ),
            *_limit_figures(await limits.by_job(connection)),
            *[family for of in load(FeatureMetrics) for family in await of(connection, jobs, now)],
            _info(),
        ]

    async def _count_new(self, connection: AsyncConnection, now: datetime) -> None:
        c = logged_job.c
        committed = known.of(connection).committed_before(c.CreatedAt, now - _SETTLING)
        statement = (
            sa.select(c.ID, c.JobName, c.Success, c.DurationMs, c.CompletedAt)
            .where(self._seen < c.ID, committed)
            .order_by(c.ID)
        )
        for row in await connection.execute(statement):
            self._seen = row.ID
            outcome = "succeeded" if row.Success else "failed"
            self._attempts.labels(row.JobName, outcome).inc()
            if row.DurationMs is not None:
                self._durations.labels(row.JobName).observe(row.DurationMs / 1000)
            if row.Success:
                self._succeeded(row.JobName, row.CompletedAt)

    def _succeeded(self, job: str, at: datetime | None) -> None:
        if at is not None:
            self._last_success.labels(job).set(at.timestamp())


class _Fixed:
    """Collector of metric families that were read before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _single(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _info() -> Metric:
    family = GaugeMetricFamily("targcc_info", "What runs here.", labels=["project", "generator"])
    family.add_metric([current().name, __version__], 1)
    return family


async def _active_runs(connection: AsyncConnection) -> Metric:
    family = GaugeMetricFamily(
        "targcc_runs", "Runs that are not over, by state.", labels=["job", "state"]
    )
    c = job_run.c
    parts = [  # a query per state uses the index on states
        sa.select(c.JobName, c.State)
        .where(c.State == state)
        .order_by(c.Id.desc())
        .limit(_MOST_ACTIVE)
        .subquery()
        for state in sorted(ACTIVE)
    ]
    every = sa.union_all(*map(sa.select, parts)).subquery().c
    statement = sa.select(every.JobName, every.State, sa.func.count())
    counts = await connection.execute(statement.group_by(every.JobName, every.State))
    for job, state, count in counts:
        family.add_metric([job, state], count)
    return family


def _queue_figures(queues: tuple[Queue, ...], now: datetime) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "targcc_queue_depth", "Runs that wait for a worker.", labels=["queue"]
    )
    oldest = GaugeMetricFamily(
        "targcc_queue_oldest_seconds", "How long the oldest of them has waited.", labels=["queue"]
    )
    paused = GaugeMetricFamily(
        "targcc_queue_paused", "1 while nobody takes from it.", labels=["queue"]
    )
    for queue in queues:
        waits = (now - queue.oldest_due).total_seconds() if queue.oldest_due is not None else 0
        depth.add_metric([queue.name], queue.waiting)
        oldest.add_metric([queue.name], max(waits, 0))
        paused.add_metric([queue.name], queue.pause is not None)
    yield from (depth, oldest, paused)


def _limit_figures(limits_in_use: Mapping[str, limits.LimitUse]) -> Iterator[Metric]:
    """Return the limit metrics by job, not by key: a project may have a key per customer."""
    running = GaugeMetricFamily(
        "targcc_limit_running",
        "Runs of limits by key that are running, or keep room until a worker comes.",
        labels=["job"],
    )
    waiting = GaugeMetricFamily(
        "targcc_limit_waiting", "Runs that wait for room under their limit.", labels=["job"]
    )
    for job, standing in sorted(limits_in_use.items()):
        running.add_metric([job], standing.running)
        waiting.add_metric([job], standing.waiting)
    yield from (running, waiting)


def _server_figures(servers: tuple[Server, ...], now: datetime) -> Iterator[Metric]:
    yield _single("targcc_servers", "Nodes that are up.", len(servers))
    yield _single(
        "targcc_workers",
        "Runs that they can do at a time.",
        sum(server.workers for server in servers),
    )
    ages = [(now - server.heartbeat_at).total_seconds() for server in servers]
    yield _single(
        "targcc_oldest_heartbeat_seconds", "The silence of the most silent node.", max([0.0, *ages])
    )
