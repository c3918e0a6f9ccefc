"""Programs outside are told of runs: signed, again after failures, at least once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hook_rig import Sink, is_signed
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.errors import UnknownWebhook, WebhookError
from targcc_scheduler.node.chores import rounds, webhooks
from targcc_scheduler.oncall import webhooks as managed
from targcc_scheduler.storage.tables import job_audit, job_delivery, job_webhook
from targcc_scheduler.storage.webhooks import outbox, rows

DANA = Actor("dana")


@pytest.fixture
def sinks() -> Iterator[list[Sink]]:
    made: list[Sink] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
async def alerts() -> list[Any]:
    return []


@pytest.fixture
async def working(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alerts: list[Any]
) -> AsyncIterator[Scheduler]:
    """A scheduler that works, looks all the time, and tries again at once."""
    async for one in begun(settings, monkeypatch, alerts):
        yield one


async def begun(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alerts: list[Any]
) -> AsyncIterator[Scheduler]:
    monkeypatch.setattr(rounds, "_TEXT_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "WAITS", (timedelta(),) * 3)

    async def notify(event: Any) -> None:
        alerts.append(event)

    scheduler = Scheduler(settings, notify=notify)
    await scheduler.start(schedule=False)
    yield scheduler
    await scheduler.stop()


async def until_ended(scheduler: Scheduler, hook: int, count: int) -> list[outbox.Delivery]:
    """The messages to a webhook, once so many are delivered or given up."""
    async with asyncio.timeout(60):
        while True:
            found = await scheduler.read(lambda db: outbox.deliveries(db, hook, 50))
            if len(found) >= count and all(one.ended_at for one in found):
                return found
            await asyncio.sleep(0.02)


async def told_of_runs(scheduler: Scheduler, sinks: list[Sink], alerts: list[Any]) -> None:
    good, bad, moved = Sink(), Sink(500), Sink(301, 503, 204)
    sinks += [good, bad, moved]
    every = await managed.create(scheduler, good.url, [], [], DANA)
    failing = await managed.create(scheduler, bad.url, ["failed"], ["sync*"], DANA)
    again = await managed.create(scheduler, moved.url, ["succeeded"], ["DailyReport"], DANA)
    other = await managed.create(scheduler, bad.url, ["missed"], [], DANA)
    ran = await scheduler.enqueue("DailyReport")
    broke = await scheduler.enqueue("SyncStock")
    cancelled = await scheduler.schedule("DailyReport", delay="1h")
    for run_id in (ran, broke):
        await scheduler.wait(run_id, 60)
    await scheduler.cancel(cancelled, by=DANA)

    delivered = await until_ended(scheduler, every.id, 3)
    assert {one.status for one in delivered} == {"delivered"}
    by_run = {body["data"]["run_id"]: body for _, body in good.got}
    assert {run: body["type"] for run, body in by_run.items()} == {
        ran: "run.succeeded",
        broke: "run.failed",
        cancelled: "run.cancelled",
    }
    said = by_run[broke]["data"]
    assert said["message"].startswith("WarehouseError") or "503" in said["message"]
    assert said["url"].endswith(f"/jobs/runs/{broke}")
    assert "arguments" not in said
    for (headers, _), body in zip(good.got, good.raw, strict=True):
        assert is_signed(every.secret, headers, body)
        assert not is_signed(failing.secret, headers, body)

    [given_up] = await until_ended(scheduler, failing.id, 1)
    assert (given_up.status, given_up.attempts, given_up.answer) == ("failed", 4, "answered 500")
    assert len(bad.got) == 4  # and nothing about what was missed
    assert len({headers["webhook-id"] for headers, _ in bad.got}) == 1

    [third] = await until_ended(scheduler, again.id, 1)
    assert (third.status, third.attempts) == ("delivered", 3)  # a redirect is no success
    assert await scheduler.read(lambda db: outbox.deliveries(db, other.id, 50)) == []

    # Nothing has arrived for long: the next that is given up turns it off, and people hear of it.
    long_ago = scheduler.clock.now() - timedelta(days=4)
    await scheduler.change(
        lambda db: db.execute(
            sa.update(job_webhook)
            .where(job_webhook.c.Id == failing.id)
            .values(FailingSince=long_ago)
        )
    )
    await managed.redeliver(scheduler, failing.id, given_up.id, DANA)
    async with asyncio.timeout(60):
        while not [one for one in alerts if one.kind == "node" and "was turned off" in one.message]:
            await asyncio.sleep(0.02)
    hook = await scheduler.read(lambda db: rows.find(db, failing.id))
    assert hook is not None
    assert "answered 500" in managed.state_of(hook, scheduler.clock.now())
    with pytest.raises(WebhookError, match="is off"):
        await managed.test(scheduler, failing.id, DANA)
    bad.answers = [200]
    await managed.enable(scheduler, failing.id, DANA)
    await managed.redeliver(scheduler, failing.id, given_up.id, DANA)
    [at_last] = await until_ended(scheduler, failing.id, 1)
    assert (at_last.status, at_last.message_id) == ("delivered", given_up.message_id)
    await managed.test(scheduler, failing.id, DANA)
    await until_ended(scheduler, failing.id, 2)
    assert bad.got[-1][1]["type"] == "run.test"

    # A run that is taken note of again is told of once.
    note = "INSERT INTO c_JobTextDue (RunId) VALUES (:run)"
    await scheduler.change(lambda db: db.execute(sa.text(note), {"run": ran}))
    async with asyncio.timeout(60):
        while await scheduler.read(
            lambda db: db.scalar(sa.text("SELECT count(*) FROM c_JobTextDue"))
        ):
            await asyncio.sleep(0.02)
    assert len(await until_ended(scheduler, every.id, 3)) == 3
    stored = await scheduler.read(
        lambda db: db.execute(sa.select(job_audit.c.Action, job_audit.c.Detail))
    )
    told = [(row.Action, row.Detail) for row in stored if "webhook" in row.Action]
    assert [action for action, _ in told].count("create webhook") == 4
    assert "s3cret" not in str(told)


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


async def test_what_was_sent_by_a_node_that_died_before_it_said_so_is_sent_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sinks: list[Sink], alerts: list[Any]
):
    """The node ends while the answer has not come: its word on the message is never written."""
    monkeypatch.setattr(webhooks, "TAKEN_FOR", timedelta(seconds=2))
    slow = Sink(200)
    slow.hold = asyncio_safe = __import__("threading").Event()
    sinks.append(slow)
    async for first in begun(settings, monkeypatch, alerts):
        hook = await managed.create(first, slow.url, [], [], DANA)
        await managed.test(first, hook.id, DANA)
        async with asyncio.timeout(60):
            while not slow.got:
                await asyncio.sleep(0.02)
    asyncio_safe.set()
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
            await managed.create(working, url, [], [], DANA)
    with pytest.raises(WebhookError, match="no event 'broken'"):
        await managed.create(working, "https://a.example/", ["broken"], [], DANA)
    with pytest.raises(UnknownWebhook):
        await managed.disable(working, 7, DANA)


async def test_old_messages_go_and_those_that_wait_stay(working: Scheduler):
    hook = await managed.create(working, "http://127.0.0.1:9/", [], [], DANA)
    now = working.clock.now()
    ids = [await managed.test(working, hook.id, DANA) for _ in range(2)]
    await managed.disable(working, hook.id, DANA)
    old = {"CreatedAt": now - outbox.KEPT_FOR - timedelta(days=1)}
    await working.change(lambda db: db.execute(sa.update(job_delivery).values(old)))
    waits = sa.update(job_delivery).where(job_delivery.c.Id == ids[1])
    await working.change(lambda db: db.execute(waits.values(DueAt=now + timedelta(hours=1))))
    await working.prune()
    left = await working.read(lambda db: outbox.deliveries(db, hook.id, 50))
    assert [one.id for one in left] == ids[1:]
