"""Webhooks notify other programs of runs: signed, retried after failures, delivered at least once."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hook_rig import Sink, is_signed
from live_rig import eventually
from projects import PATH
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core import humanize
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.errors import UnknownWebhook, WebhookError
from targcc_scheduler.db.tables import job_audit, job_delivery, job_webhook
from targcc_scheduler.features.events import actions as event_actions
from targcc_scheduler.features.events import loops as event_loops
from targcc_scheduler.features.events import model as event_model
from targcc_scheduler.kernel.node import maintenance

DANA = Actor("dana")


@pytest.fixture
def sinks() -> Iterator[list[Sink]]:
    made: list[Sink] = []
    yield made
    for sink in made:
        sink.close()


@pytest.fixture
async def alerts() -> list[Any]:
    return []


@pytest.fixture
async def working(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alerts: list[Any]
) -> AsyncIterator[Scheduler]:
    """A working scheduler that polls constantly and retries at once."""
    async for scheduler in begun(settings, monkeypatch, alerts):
        yield scheduler


async def begun(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alerts: list[Any]
) -> AsyncIterator[Scheduler]:
    monkeypatch.setattr(maintenance, "_TEXT_SECONDS", 0.05)
    monkeypatch.setattr(event_loops, "WAITS", (timedelta(),) * 3)

    async def notify(event: Any) -> None:
        alerts.append(event)

    scheduler = Scheduler(settings, notify=notify)
    await scheduler.start(schedule=False)
    yield scheduler
    await scheduler.stop()


async def until_ended(scheduler: Scheduler, hook: int, count: int) -> list[event_model.Delivery]:
    """Return the deliveries to a webhook once ``count`` of them are delivered or given up."""
    async with asyncio.timeout(60):
        while True:
            deliveries = await scheduler.read(lambda db: event_model.deliveries(db, hook, 50))
            if len(deliveries) >= count and all(delivery.ended_at for delivery in deliveries):
                return deliveries
            await asyncio.sleep(0.02)


async def told_of_runs(scheduler: Scheduler, sinks: list[Sink], alerts: list[Any]) -> None:
    good, bad, moved = Sink(), Sink(500), Sink(301, 503, 204)
    sinks += [good, bad, moved]
    every = await event_actions.create(scheduler, good.url, [], [], DANA)
    failing = await event_actions.create(scheduler, bad.url, ["failed"], ["sync*"], DANA)
    again = await event_actions.create(scheduler, moved.url, ["succeeded"], ["DailyReport"], DANA)
    other = await event_actions.create(scheduler, bad.url, ["missed"], [], DANA)
    ran = await scheduler.enqueue("DailyReport")
    broke = await scheduler.enqueue("SyncStock")
    cancelled = await scheduler.schedule("DailyReport", delay="1h")
    for run_id in (ran, broke):
        await scheduler.wait(run_id, 60)
    await scheduler.cancel(cancelled, by=DANA)

    delivered = await until_ended(scheduler, every.id, 3)
    assert {delivery.status for delivery in delivered} == {"delivered"}
    by_run = {body["data"]["run_id"]: body for _, body in good.got}
    assert {run: body["type"] for run, body in by_run.items()} == {
        ran: "run.succeeded",
        broke: "run.failed",
        cancelled: "run.cancelled",
    }
    data = by_run[broke]["data"]
    assert data["message"].startswith("WarehouseError") or "503" in data["message"]
    assert data["url"].endswith(f"/jobs/runs/{broke}")
    assert "arguments" not in data
    for (headers, _), body in zip(good.got, good.raw, strict=True):
        assert is_signed(every.secret, headers, body)
        assert not is_signed(failing.secret, headers, body)

    [given_up] = await until_ended(scheduler, failing.id, 1)
    assert (given_up.status, given_up.attempts, given_up.answer) == ("failed", 4, "answered 500")
    assert len(bad.got) == 4  # no message about events missed while the webhook was off
    assert len({headers["webhook-id"] for headers, _ in bad.got}) == 1

    [third] = await until_ended(scheduler, again.id, 1)
    assert (third.status, third.attempts) == ("delivered", 3)  # a redirect counts as a failure
    assert await scheduler.read(lambda db: event_model.deliveries(db, other.id, 50)) == []

    await turned_off_and_on(scheduler, bad, failing.id, given_up, alerts)
    # A run that is noted again is reported once.
    note = "INSERT INTO c_JobTextDue (RunId) VALUES (:run)"
    await scheduler.change(lambda db: db.execute(sa.text(note), {"run": ran}))
    due = sa.text("SELECT count(*) = 0 FROM c_JobTextDue")
    await eventually(lambda: scheduler.read(lambda db: db.scalar(due)))
    assert len(await until_ended(scheduler, every.id, 3)) == 3
    stored = await scheduler.read(
        lambda db: db.execute(sa.select(job_audit.c.Action, job_audit.c.Detail))
    )
    audit_rows = [(row.Action, row.Detail) for row in stored if "webhook" in row.Action]
    assert [action for action, _ in audit_rows].count("create webhook") == 4
    assert "s3cret" not in str(audit_rows)


async def turned_off_and_on(
    scheduler: Scheduler,
    bad: Sink,
    hook_id: int,
    given_up: event_model.Delivery,
    alerts: list[Any],
) -> None:
    # No delivery has succeeded for days: the next failure turns the webhook off and sends an alert.
    long_ago = scheduler.clock.now() - timedelta(days=4)
    await scheduler.change(
        lambda db: db.execute(
            sa.update(job_webhook).where(job_webhook.c.Id == hook_id).values(FailingSince=long_ago)
        )
    )
    await event_actions.redeliver(scheduler, hook_id, given_up.id, DANA)
    await eventually(lambda: any("was turned off" in alert.message for alert in alerts))
    hook = await scheduler.read(lambda db: event_model.find(db, hook_id))
    assert hook is not None
    assert "answered 500" in humanize.webhook_state(
        hook.disabled_by, hook.failing_since, scheduler.clock.now()
    )
    with pytest.raises(WebhookError, match="is off"):
        await event_actions.test(scheduler, hook_id, DANA)
    bad.answers = [200]
    await event_actions.enable(scheduler, hook_id, DANA)
    await event_actions.redeliver(scheduler, hook_id, given_up.id, DANA)
    [at_last] = await until_ended(scheduler, hook_id, 1)
    assert (at_last.status, at_last.message_id) == ("delivered", given_up.message_id)
    await event_actions.test(scheduler, hook_id, DANA)
    await until_ended(scheduler, hook_id, 2)
    assert bad.got[-1][1]["type"] == "run.test"


@pytest.mark.slow
async def test_runs_are_told_of(working: Scheduler, sinks: list[Sink], alerts: list[Any]):
    await told_of_runs(working, sinks, alerts)


async def test_runs_are_told_of_over_postgresql(
    migrated_postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    sinks: list[Sink],
    alerts: list[Any],
):
    settings = Settings(database_url=migrated_postgresql_url, heartbeat_seconds=0.2)
    async for scheduler in begun(settings, monkeypatch, alerts):
        await told_of_runs(scheduler, sinks, alerts)


@pytest.mark.slow
async def test_what_was_sent_by_a_node_that_ended_before_it_said_so_is_sent_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sinks: list[Sink], alerts: list[Any]
):
    """The node ends before the response arrives, so the delivery is never recorded."""
    monkeypatch.setattr(event_loops, "TAKEN_FOR", timedelta(seconds=2))
    slow = Sink(200)
    slow.hold = threading.Event()
    sinks.append(slow)
    async for first in begun(settings, monkeypatch, alerts):
        hook = await event_actions.create(first, slow.url, [], [], DANA)
        await event_actions.test(first, hook.id, DANA)
        await eventually(lambda: slow.got)
    slow.hold.set()
    async for second in begun(settings, monkeypatch, alerts):
        [sent] = await until_ended(second, hook.id, 1)
    assert (sent.status, sent.attempts) == ("delivered", 2)
    assert [headers["webhook-id"] for headers, _ in slow.got] == [sent.message_id] * 2


async def test_a_webhook_is_refused_that_cannot_be(working: Scheduler):
    for url in (
        "ftp://a.example/",
        "https://",
        "http://a b/",
        "//a.example",
        "http://a:99999/",
        "http://[",
        "x",
    ):
        with pytest.raises(WebhookError):
            await event_actions.create(working, url, [], [], DANA)
    with pytest.raises(WebhookError, match="no event 'broken'"):
        await event_actions.create(working, "https://a.example/", ["broken"], [], DANA)
    with pytest.raises(UnknownWebhook):
        await event_actions.disable(working, 7, DANA)


async def test_old_messages_go_and_those_that_wait_stay(working: Scheduler):
    hook = await event_actions.create(working, "http://127.0.0.1:9/", [], [], DANA)
    now = working.clock.now()
    ids = [await event_actions.test(working, hook.id, DANA) for _ in range(2)]
    await event_actions.disable(working, hook.id, DANA)
    old = {"CreatedAt": now - event_model.KEPT_FOR - timedelta(days=1)}
    await working.change(lambda db: db.execute(sa.update(job_delivery).values(old)))
    waits = sa.update(job_delivery).where(job_delivery.c.Id == ids[1])
    await working.change(lambda db: db.execute(waits.values(DueAt=now + timedelta(hours=1))))
    await working.prune()
    left = await working.read(lambda db: event_model.deliveries(db, hook.id, 50))
    assert [message.id for message in left] == ids[1:]


@pytest.mark.soak
async def test_what_was_sent_by_a_node_that_was_killed_before_it_said_so_is_sent_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sinks: list[Sink], alerts: list[Any]
):
    slow = Sink(200)
    slow.hold = threading.Event()
    sinks.append(slow)
    idle = Scheduler(settings)
    await idle.start(work=False, schedule=False)
    hook = await event_actions.create(idle, slow.url, [], [], DANA)
    await event_actions.test(idle, hook.id, DANA)
    env = {**os.environ, "PYTHONPATH": PATH, "TARGCC_DATABASE_URL": settings.database_url}
    words = [sys.executable, "-m", "web_jobs", "worker"]
    node = await asyncio.to_thread(subprocess.Popen, words, env=env)
    await eventually(lambda: slow.got)
    node.kill()
    await asyncio.to_thread(node.wait)
    slow.hold.set()
    [left] = await idle.read(lambda db: event_model.deliveries(db, hook.id, 9))
    assert (left.status, left.attempts) == ("waiting", 1)
    # The minute for which the message was claimed has passed.
    now = idle.clock.now()
    await idle.change(lambda db: db.execute(sa.update(job_delivery).values(DueAt=now)))
    await idle.stop()
    async for second in begun(settings, monkeypatch, alerts):
        [sent] = await until_ended(second, hook.id, 1)
    assert (sent.status, sent.attempts) == ("delivered", 2)
    assert [headers["webhook-id"] for headers, _ in slow.got] == [sent.message_id] * 2


async def test_a_process_that_calls_no_webhooks_holds_and_names_each_message(
    settings, monkeypatch, alerts, sinks, caplog
):
    sink = Sink()
    sinks.append(sink)
    silent = settings.model_copy(update={"send_webhooks": False})
    async for scheduler in begun(silent, monkeypatch, alerts):
        hook = await event_actions.create(scheduler, sink.url, [], [], DANA)
        run_id = await scheduler.enqueue("DailyReport")
        [held] = await until_ended(scheduler, hook.id, 1)
        assert (held.status, held.answer) == ("failed", event_loops.HELD)
        [shown] = await scheduler.read(event_model.webhooks)
        assert shown.failing_since is None
    assert sink.got == []
    assert f"not called about run {run_id}" in caplog.text
    assert "s3cret" not in caplog.text

    async for scheduler in begun(settings, monkeypatch, alerts):
        await event_actions.redeliver(scheduler, hook.id, held.id, DANA)
        [sent] = await until_ended(scheduler, hook.id, 1)
        assert sent.status == "delivered"
