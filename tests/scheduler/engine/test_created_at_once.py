"""On PostgreSQL a run that stands alone is inserted, with its entry, by one statement; the rows are those of a transaction."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import Settings, job
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine.submit import stands_alone
from targcc_scheduler.kernel.runs.values import ASKS

OWN = {"Id", "CreatedAt", "DueAt", "ExpiresAt", "LifeLog"}
ENTRIES = sa.text(
    "SELECT queue_name, task_name, priority, lock, queueing_lock, status, scheduled_at IS NULL AS at_once, args FROM procrastinate_jobs"
    " ORDER BY id"
)


@job()
async def hello() -> None:
    """Do nothing."""


@pytest.fixture
async def scheduler(migrated_postgresql_url, make_scheduler):
    settings = Settings(_env_file=None, database_url=migrated_postgresql_url, **QUICK)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(work=False, schedule=False)
    yield scheduler
    await scheduler.stop()


async def rows_of(scheduler) -> tuple[list, list]:
    async def read(db):
        runs = (await db.execute(sa.select(job_run).order_by(job_run.c.Id))).mappings().all()
        return runs, (await db.execute(ENTRIES)).mappings().all()

    return await scheduler.read(read)


CALLS = {
    "now": lambda scheduler: scheduler.enqueue("Hello"),
    "with a priority": lambda scheduler: scheduler.enqueue("Hello", priority=3),
    "expires": lambda scheduler: scheduler.enqueue("Hello", expires_in="5m"),
    "later": lambda scheduler: scheduler.schedule("Hello", delay="10m"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_rows_are_those_of_a_transaction(scheduler, monkeypatch, call):
    alone = await CALLS[call](scheduler)
    monkeypatch.setattr("targcc_scheduler.hosting.stands_alone", lambda _run: False)
    together = await CALLS[call](scheduler)

    (first, second), (entry, other) = await rows_of(scheduler)

    assert (first["Id"], second["Id"]) == (alone, together)
    same = [column for column in first if column not in OWN]
    assert {column: first[column] for column in same} == {column: second[column] for column in same}
    assert (first["ExpiresAt"] is None) == (second["ExpiresAt"] is None) == (call != "expires")
    assert (entry["args"], other["args"]) == ({"run_id": alone}, {"run_id": together})
    assert dict(entry) | {"args": None} == dict(other) | {"args": None}


async def test_no_transaction_is_opened(scheduler, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a transaction was opened")

    monkeypatch.setattr(Store, "write", refuse)
    assert await scheduler.enqueue("Hello") > 0


async def test_nothing_is_left_of_a_run_whose_entry_cannot_be_written(scheduler):
    await scheduler.change(
        lambda db: db.execute(sa.text("ALTER TABLE procrastinate_jobs ADD CHECK (priority < 5)"))
    )

    with pytest.raises(sa.exc.DBAPIError):
        await scheduler.enqueue("Hello", priority=9)

    assert await rows_of(scheduler) == ([], [])


@pytest.mark.parametrize(
    ("field", "value"),
    [("after", object()), ("unique", object()), ("call", object()), ("then", (1,)), ("contents", (1,)), ("contents_of", 5), ("limit_key", f"{ASKS}x")],
)  # fmt: skip
def test_a_run_with_more_than_a_row_and_an_entry_does_not_stand_alone(field, value):
    plain = dict.fromkeys(("after", "unique", "call", "contents_of", "scheduled_for", "limit_key"))
    plain |= {"then": (), "contents": ()}
    assert stands_alone(SimpleNamespace(**plain))
    assert not stands_alone(SimpleNamespace(**plain | {field: value}))
