"""Metrics of open failures, late jobs and late queues."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel.jobs.definition import JobDefinition
from . import inbox, sla


async def figures(
    connection: AsyncConnection, jobs: list[JobDefinition], now: datetime
) -> list[Metric]:
    """Return the metrics for open failures, late jobs and late queues."""
    open_runs = GaugeMetricFamily(
        "targcc_open_failures", "Failed and missed runs that nobody has dealt with.", labels=["job"]
    )
    counts: Counter[str] = Counter()
    for group in await inbox.groups(connection, now):
        counts[group.job] += group.open
    for job in jobs:
        counts[job.name] += 0
    for name, number in counts.items():
        open_runs.add_metric([name], number)
    behind = GaugeMetricFamily(
        "targcc_late",
        "1 for each job whose slot or expectation is late, and each queue whose runs wait too long.",
        labels=["subject", "kind"],
    )
    for late in await sla.late(connection, jobs, now):
        behind.add_metric([late.subject, late.kind], 1)
    return [open_runs, behind]
