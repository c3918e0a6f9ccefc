"""A single poll of the database serves every waiter."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from targcc_scheduler import Actor, ActorKind, features
from targcc_scheduler.db import tables
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.overrides import rows as override_rows
from targcc_scheduler.features.triage import bulk
from targcc_scheduler.kernel import feature, poller
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel import poller as kernel_poller
from targcc_scheduler.kernel.audit import audit
from targcc_scheduler.kernel.job_owner import Owner
from targcc_scheduler.kernel.jobs.overrides import Override
from targcc_scheduler.kernel.node.nodes import Server, register
from targcc_scheduler.kernel.poller import Poller, poller_of

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
DANA = Actor(ActorKind.MANUAL, "dana")


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


def run(state, **columns):
    values = {"JobName": "Report", "Queue": "default", "JobType": "manual", "TriggeredBy": "x"}
    times = {"CreatedAt": NOW, "DueAt": NOW}
    return tables.job_run.insert().values({**values, **times, "State": state, **columns})


def release(**columns):
    values = {"Release": "1", "Fingerprint": "f", "FirstSeenAt": NOW, **columns}
    return tables.job_release.insert().values(values)


def override(value, at=NOW):
    return Override("Report", "priority", value, "dana", at, "why not", None)


async def begin_bulk(db):
    await bulk.create(
        db,
        Action="retry",
        Actor="dana",
        StartedAt=NOW,
        Total=1,
        Ceiling=1,
        OptionsJson="{}",
        FilterJson="{}",
    )


NODE = {"process_id": 1, "queues": "", "workers": 1, "version": "1", "started_at": NOW}
CHANGES = [
    ("beats", lambda db: register(db, Server(id="a", name="a", **NODE), NOW)),
    ("beats", lambda db: db.execute(sa.update(tables.job_server).values(StuckIn="a job"))),
    ("nodes", lambda db: db.execute(sa.update(tables.job_server).values(DrainRequestedBy="dana"))),
    ("waiting", lambda db: db.execute(run("scheduled"))),
    ("unknown", lambda db: db.execute(run("enqueued", UnknownSince=NOW, RefusedBy=""))),
    ("running", lambda db: db.execute(run("running", ServerId="a"))),
    ("orphans", lambda db: db.execute(run("running", ServerId="gone"))),
    ("alerts", lambda db: db.execute(tables.job_alert.insert().values(JobName="Report"))),
    ("alerts", lambda db: db.execute(sa.update(tables.job_alert).values(JobName="Other"))),
    ("releases", lambda db: db.execute(release())),
    ("releases", lambda db: db.execute(sa.update(tables.job_release).values(ChosenAt=NOW))),
    ("releases", lambda db: db.execute(sa.update(tables.job_release).values(ChosenAt=None))),
    ("owners", lambda db: owners.put(db, "Report", Owner.OLD, DANA, NOW)),
    ("owners", lambda db: owners.put(db, "Report", Owner.NEW, DANA, NOW)),
    ("owners", lambda db: owners.put(db, "Other", Owner.OLD, DANA, NOW - timedelta(hours=1))),
    ("overrides", lambda db: override_rows.put(db, [override("1")])),
    ("overrides", lambda db: override_rows.put(db, [override("2")])),
    ("overrides", lambda db: override_rows.put(db, [override("2", NOW - timedelta(hours=1))])),
    ("overrides", lambda db: override_rows.remove(db, "Report", ["priority"])),
    ("bulk", begin_bulk),
    ("texts", lambda db: db.execute(tables.job_text_due.insert().values(RunId=7))),
]
"""Values of a poll result, each with a change that the value must show."""


def mark(seen, name):
    return seen.marks[name] if name in seen.marks else getattr(seen, name)


async def test_a_look_shows_each_change_and_nothing_where_nothing_has_changed(store):
    before = await poller_of(store).look()
    assert (before.beats, before.nodes) == ((), ())  # the only row is no node
    for name, change in CHANGES:
        async with store.write() as connection:
            await change(connection)
        seen = await poller_of(store).look()
        assert mark(seen, name) != mark(before, name), (name, before)
        before = await poller_of(store).look()
        assert {key: mark(seen, key) for key, _ in CHANGES} == {
            key: mark(before, key) for key, _ in CHANGES
        }
    assert not before.marks["unsealed"]
    async with store.write() as connection:
        await audit(connection, DANA, "pause", NOW)
    seen = await poller_of(store).look()
    assert seen.marks["unsealed"] == store.dialect.many_writers


async def test_a_feature_that_is_not_installed_is_not_polled(store, monkeypatch):
    monkeypatch.setattr(features, "FEATURES", ("overrides",))
    caches = (feature._installed, feature._load, kernel_poller._poll)
    for cached in caches:
        cached.cache_clear()
    try:
        assert (await poller_of(store).look()).marks.keys() == {"overrides"}
    finally:
        monkeypatch.undo()
        for cached in caches:
            cached.cache_clear()


class Numbered(int):
    """Result of a poll, as its number."""

    beats = ()


class Counted:
    """Database poll that counts its calls."""

    def __init__(self, monkeypatch):
        self.looks, self.error = 0, None
        monkeypatch.setattr(poller, "see", self.see)
        self.lookout = Poller(self.read)

    @asynccontextmanager
    async def read(self):
        yield self

    async def see(self, connection):
        assert connection is self
        self.looks += 1
        if self.error is not None:
            raise self.error
        return Numbered(self.looks)


async def test_all_who_wait_share_the_look_of_the_most_impatient(monkeypatch):
    counted = Counted(monkeypatch)
    look = counted.lookout
    waiting = [asyncio.create_task(look.next(within)) for within in (3600, 0.01, 7200)]
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    patient, given_up = (asyncio.create_task(look.next(3600)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    look.hurry()
    assert await patient == 2
    look.hurry()  # no waiter is left
    assert (await look.look(), counted.looks) == (3, 3)
    counted.error = OperationalError("SELECT", {}, Exception("gone"))
    failing = [asyncio.create_task(look.next(0)) for _ in range(2)]
    assert await asyncio.gather(*failing, return_exceptions=True) == [counted.error] * 2
    counted.error = None
    assert await look.next(0) == 5
    left = asyncio.create_task(look.next(3600))
    await asyncio.sleep(0)
    await look.close()
    await asyncio.wait({left})
    assert (left.cancelled(), counted.looks) == (True, 5)


async def test_a_look_that_hangs_is_given_up_when_all_ends(monkeypatch):
    counted = Counted(monkeypatch)
    monkeypatch.setattr(poller, "_ENDS_SECONDS", 0.01)
    begun = asyncio.Event()

    async def hang(_):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(poller, "see", hang)
    waiting = asyncio.create_task(counted.lookout.next(0))
    await begun.wait()
    await counted.lookout.close()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
