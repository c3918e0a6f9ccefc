"""Hourly alert limit when many nodes alert at once."""

import asyncio
from collections import Counter

from targcc_scheduler import Alerts, Settings
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.features.alerts.delivery import AlertSender
from targcc_scheduler.kernel.alert_events import AlertEvent
from targcc_scheduler.kernel.jobs.declaration import define


def report():
    """A job's work."""


async def test_nodes_that_alert_at_once_share_one_limit(cluster, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    settings = Settings(_env_file=None, database_url=cluster.url)  # no mail server listens
    definition = define(report, alerts=Alerts(email=("ops@example.com",), max_per_hour=2))
    engines = [make_engine(cluster.url) for _ in range(3)]
    senders = [AlertSender(engine, settings, SystemClock()) for engine in engines]
    event = AlertEvent("failure", definition, run_id=None, message="no")
    await asyncio.gather(*(sender(event) for sender in senders for _ in range(3)))
    for engine in engines:
        await engine.dispose()
    audited = Counter(action for (action,) in cluster.rows("SELECT Action FROM c_JobAudit"))
    assert audited == {"alert": 2, "alert-held-back": 7, "alert-failed": 2}
