import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from targcc_scheduler import Settings
from targcc_scheduler.db.tables import job_server
from web_fixtures import Site, running


async def test_a_fresh_app_is_live_and_ready(busy_site: Site):
    stranger = await busy_site.stranger()
    assert (await stranger.get("/health/live")).json() == {"status": "live"}
    ready = await stranger.get("/health/ready")
    assert ready.status_code == 200
    checks = {"database": "ok", "migrations": "ok", "clock": "ok", "node": "ok"}
    assert ready.json()["checks"] == checks


async def test_an_app_whose_heart_has_stopped_is_not_ready(busy_site: Site):
    stranger = await busy_site.stranger()
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    # The node registers again as soon as its row is missing, so each pass may have a row to remove.
    names = (f"another-{number}" for number in itertools.count())

    async def status() -> dict[str, str]:
        present = job_server.c.Id.not_like("another-%")
        taken = job_server.update().where(present).values(Id=next(names), HeartbeatAt=long_ago)
        await busy_site.change(lambda db: db.execute(taken))
        answer = await stranger.get("/health/ready")
        checks: dict[str, str] = answer.json()["checks"]
        return checks if answer.status_code == 503 else {}

    async with asyncio.timeout(30):
        while (health := await status()) == {}:  # the missing row makes the node beat again
            pass
    assert health["node"] == "failed"
    assert health["database"] == "ok"


async def test_an_app_with_old_tables_is_not_ready(site: Site):
    await site.change(
        lambda db: db.exec_driver_sql("UPDATE c_AlembicVersion SET version_num = '0'")
    )
    answer = await (await site.stranger()).get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "migrations": "failed"}


@pytest.mark.sqlite
async def test_an_app_whose_database_is_gone_is_not_ready_and_tells_nothing(site: Site):
    stranger = await site.stranger()
    for file in Path.cwd().glob("jobs.db*"):
        file.write_bytes(b"this is no database" * 1_000)
    answer = await stranger.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "failed"
    assert "sqlite" not in answer.text


def sample(text: str, line: str) -> float:
    """Return the value of a sample."""
    match = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    assert match is not None, f"{line} is not in\n{text}"
    return float(match[1])


async def test_metrics_need_a_token_and_count_what_happens(site: Site):
    assert (await (await site.stranger()).get("/metrics")).status_code == 401
    client = await site.program("viewer")
    await site.add_run("SyncStock", "enqueued")
    await site.add_run("SyncStock", "retrying")
    await site.add_attempt("DailyReport", 1, DurationMs=700)
    await site.add_attempt("DailyReport", 2, Success=False, DurationMs=40)
    text = (await client.get("/metrics")).text
    assert sample(text, 'targcc_attempts_total{job="DailyReport",outcome="succeeded"}') == 1
    assert sample(text, 'targcc_attempts_total{job="DailyReport",outcome="failed"}') == 1
    assert sample(text, 'targcc_attempt_duration_seconds_sum{job="DailyReport"}') == 0.74
    assert sample(text, 'targcc_attempt_duration_seconds_bucket{job="DailyReport",le="0.05"}') == 1
    assert sample(text, 'targcc_runs{job="SyncStock",state="retrying"}') == 1
    assert sample(text, 'targcc_queue_depth{queue="default"}') == 1
    assert sample(text, 'targcc_queue_oldest_seconds{queue="default"}') > 500
    assert sample(text, "targcc_jobs") == 4
    assert sample(text, "targcc_broken_job_files") == 1
    assert sample(text, "targcc_servers") == 0
    await site.add_attempt("DailyReport", 3)
    text = (await client.get("/metrics")).text
    assert sample(text, 'targcc_attempts_total{job="DailyReport",outcome="succeeded"}') == 2


async def test_the_last_success_is_known_from_before_the_process_started(settings: Settings):
    async with running(settings, work=False) as first:
        await first.add_attempt("DailyReport", None)
    async with running(settings, work=False) as second:
        text = (await (await second.program("viewer")).get("/metrics")).text
    name = 'targcc_job_last_success_timestamp_seconds{job="DailyReport"}'
    age = datetime.now(UTC).timestamp() - sample(text, name)
    assert age == pytest.approx(480, abs=60)
    assert "targcc_attempts_total{" not in text
