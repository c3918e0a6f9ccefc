"""The audit is a hash chain: changing, removing or inserting a row, or truncating the end, is detected."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import job_audit
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.audit.queries import Filter, export, verify
from targcc_scheduler.kernel import audit as chain
from targcc_scheduler.kernel.audit import Link, audit
from targcc_scheduler.kernel.node.pruner import AuditAge, prune

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
DANA = Actor(ActorKind.MANUAL, "dana", "10.1.2.3")
WRITERS, EACH = 4, 10


@pytest.fixture
async def store(migrated_url):
    new_store = Store(migrated_url)
    yield new_store
    await new_store.dispose()


async def write(store, count, *, at=NOW, action="trigger", **more):
    for number in range(count):
        async with store.write() as db:
            await audit(db, DANA, action, at + timedelta(seconds=number), **more)


async def seal_all(store):
    async with store.write() as db:
        while await db.run_sync(chain.seal):
            pass


async def verdict(store, noted=None):
    async with store.engine.connect() as db:
        return await verify(lambda query: query(db), noted)


async def test_writers_on_several_nodes_make_one_chain(store, migrated_url):
    nodes = [store, *(Store(migrated_url) for _ in range(WRITERS - 1))]

    async def work(node):
        for number in range(EACH):
            await write(node, 1, job_name="Report", run_id=number, detail="é\n☃")
            await seal_all(node)

    await asyncio.gather(*(work(node) for node in nodes))
    await seal_all(store)
    for node in nodes[1:]:
        await node.dispose()
    result = await verdict(store)
    assert result.fault is None
    assert (result.rows, result.head.seq, result.unchained) == (WRITERS * EACH,) * 2 + (0,)


async def test_who_writes_waits_for_nobody_who_writes_or_chains(migrated_postgresql_url):
    store, other = Store(migrated_postgresql_url), Store(migrated_postgresql_url)
    async with store.write() as slow:  # such as an application's transaction that stays open
        await audit(slow, DANA, "trigger", NOW)
        assert await slow.run_sync(chain.seal) is False
        async with asyncio.timeout(30):
            await write(other, 3)
            await seal_all(other)
        assert (await verdict(other)).rows == 0  # the lock is free, and no writer waited for it
    await seal_all(other)
    assert (await verdict(other)).rows == 4
    for opened_store in (store, other):
        await opened_store.dispose()


COLUMNS = "At, Actor, Action, JobName, RunId, Detail, RemoteAddress"
TAMPERING = {
    "who": ("UPDATE c_JobAudit SET Actor = 'Manual (eve)' WHERE Seq = 3", "changed", 3),
    "when": ("UPDATE c_JobAudit SET At = '2026-11-25 09:00:00+00' WHERE Seq = 4", "changed", 4),
    "what": ("UPDATE c_JobAudit SET Action = 'view' WHERE Seq = 2", "changed", 2),
    "the hash": (f"UPDATE c_JobAudit SET Hash = '{'0' * 64}' WHERE Seq = 5", "changed", 5),
    "one gone": ("DELETE FROM c_JobAudit WHERE Seq = 4", "removed", 5),
    "the first gone": ("DELETE FROM c_JobAudit WHERE Seq <= 2", "removed", 3),
    "gone, and the rest moved up": (
        (
            "DELETE FROM c_JobAudit WHERE Seq = 2; UPDATE c_JobAudit SET Seq = -Seq WHERE Seq > 2;"
            " UPDATE c_JobAudit SET Seq = -Seq - 1 WHERE Seq < 0"
        ),
        "changed",
        3,
    ),
    "one more at the end": (
        "INSERT INTO c_JobAudit (At, Actor, Action) VALUES ('2026-11-25 09:00:00', 'me', 'x')",
        "inserted",
        "the newest",
    ),
    "one more between two": (
        (
            "UPDATE c_JobAudit SET Seq = -Seq WHERE Seq > 3; UPDATE c_JobAudit SET Seq = -Seq + 1 WHERE Seq < 0;"
            f" INSERT INTO c_JobAudit ({COLUMNS}, Seq, Hash)"
            f" SELECT {COLUMNS}, 4, Hash FROM c_JobAudit WHERE Seq = 1"
        ),
        "inserted",
        "the newest",
    ),
    "the begin, said to be old": (
        (
            "DELETE FROM c_JobAudit WHERE Seq <= 2;"
            " INSERT INTO c_JobSetting (Name, Value, UpdatedAt) VALUES ('audit_anchor', '{second}', CURRENT_TIMESTAMP)"
        ),
        "removed",
        None,
    ),
}


async def test_each_way_to_tamper_is_noticed_and_the_first_row_named(store, migrated_url):
    await write(store, 8)
    await seal_all(store)
    whole = await verdict(store)
    assert (whole.fault, whole.rows) == (None, 8)
    engine = make_engine(migrated_url)
    async with engine.connect() as db:
        second = Link(
            *(
                await db.execute(
                    sa.select(job_audit.c.Seq, job_audit.c.Hash).where(job_audit.c.Seq == 2)
                )
            ).one()
        )
        await db.rollback()
        for what, (statements, kind, expected) in TAMPERING.items():
            for statement in statements.split(";"):
                await db.exec_driver_sql(statement.replace("{second}", str(second)))
            result = await verify(lambda query: query(db))
            assert result.fault is not None, what
            newest = sa.select(sa.func.max(job_audit.c.Id))
            row = await db.scalar(newest) if expected == "the newest" else expected
            assert (result.fault.kind, result.fault.row) == (kind, row), (what, result.fault)
            await db.rollback()
        # A chain without its last rows still fits: only a head noted earlier reveals the loss.
        await db.exec_driver_sql("DELETE FROM c_JobAudit WHERE Seq > 6")
        assert (await verify(lambda query: query(db))).fault is None
        cut = await verify(lambda query: query(db), whole.head)
        assert getattr(cut.fault, "kind", None) == "cut off", cut
        await db.rollback()
        assert (await verify(lambda query: query(db), whole.head)).fault is None
    await engine.dispose()


async def test_old_rows_go_and_the_chain_is_verified_from_there_on(store):
    await write(store, 5)
    await seal_all(store)
    early = (await verdict(store)).head
    await write(store, 3, at=NOW + timedelta(days=9))
    await seal_all(store)
    for days in (1, 1, 8):  # the second pruning finds nothing
        age = AuditAge(NOW + timedelta(days=days), NOW + timedelta(days=20))
        removed = await prune(store, before=NOW, keep_last=0, audit=age)
        await seal_all(store)
    assert removed["audit"] == 0
    result = await verdict(store)
    assert (result.fault, result.rows, result.head.seq) == (None, 4, 9)
    assert (await verdict(store, early)).fault is None  # the noted head is the last pruned row
    await prune(
        store,
        before=NOW,
        keep_last=0,
        audit=AuditAge(NOW + timedelta(days=30), NOW + timedelta(days=30)),
    )
    await write(store, 1, at=NOW + timedelta(days=31))
    await seal_all(store)
    assert (await verdict(store)).fault is None
    assert (await verdict(store, early)).too_old


async def test_rows_from_before_are_not_chained_and_later_ones_are_adopted_by_a_person(store):
    by_hand = job_audit.insert().values(At=NOW, Actor="CLI (dana)", Action="pause")
    async with store.write() as db:
        await db.execute(by_hand)
    await write(store, 2)
    await seal_all(store)
    result = await verdict(store)
    assert (result.fault, result.rows, result.unchained) == (None, 2, 1)
    async with store.write() as db:  # as a node of an earlier release writes
        await db.execute(by_hand)
    assert (await verdict(store)).fault.kind == "inserted"
    async with store.write() as db:
        assert await db.run_sync(chain.adopt) == [4]
    await seal_all(store)
    result = await verdict(store)
    assert (result.fault, result.rows, result.unchained) == (None, 3, 1)


async def test_no_cell_of_an_export_is_a_formula(store):
    texts = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\t=1", " =1", "plain", 'a "b", c']
    for text in texts:
        await write(store, 1, detail=text)
    await write(store, 1, action="pause", at=NOW + timedelta(days=1))

    async def exported(which, kind):
        async with store.engine.connect() as db:
            return "".join([text async for text in export(lambda query: query(db), which, kind)])

    rows = list(csv.DictReader(io.StringIO(await exported(Filter(action="trigger"), "csv"))))
    assert [row["detail"] for row in reversed(rows)] == [
        *(f"'{text}" for text in texts[:6]),
        *texts[6:],
    ]
    assert rows[0]["actor"] == "Manual (dana)"
    exported_rows = json.loads(
        await exported(Filter(actor="DANA", since=NOW + timedelta(hours=1)), "json")
    )
    assert [(row["action"], row["at"]) for row in exported_rows] == [
        ("pause", "2026-11-26T08:00:00Z")
    ]
    assert json.loads(await exported(Filter(actor="100%"), "json")) == []
