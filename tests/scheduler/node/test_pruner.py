"""Rows that the pruner removes or keeps, on SQLite and PostgreSQL, and short waits for other writers."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import (
    job_batch,
    job_delivery,
    job_failure,
    job_limit,
    job_log_line,
    job_request,
    job_run,
    job_shadow,
    job_stat,
    logged_job,
)
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.events.model import remove_old as remove_messages
from targcc_scheduler.kernel import error_groups, idempotency, job_owner, statistics
from targcc_scheduler.kernel.node.pruner import prune

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MONTH_AGO = NOW - timedelta(days=30)


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


def attempt(job: str, days: float) -> dict[str, object]:
    at = NOW - timedelta(days=days)
    return {"JobName": job, "JobType": "Manual", "StartedAt": at, "Success": True}


def run(job: str, days: float, state: str = "succeeded") -> dict[str, object]:
    at = NOW - timedelta(days=days)
    final = state == "succeeded"
    return {
        "JobName": job,
        "JobType": "Manual",
        "State": state,
        "Queue": "default",
        "DueAt": at,
        "CreatedAt": at,
        "CompletedAt": at if final else None,
        "TriggeredBy": "test",
        "LifeLog": "",
    }


def fill(url: str, table: sa.Table, rows: list[dict[str, object]]) -> None:
    with sync_engine(url) as engine, engine.begin() as connection:
        connection.execute(sa.insert(table), rows)


def left(url: str, table: sa.Table) -> list[tuple[str, int]]:
    """Return job and number of the remaining rows."""
    key = table.c.Id if table is job_run else table.c.ID
    with sync_engine(url) as engine, engine.connect() as connection:
        return [
            tuple(row) for row in connection.execute(sa.select(table.c.JobName, key).order_by(key))
        ]


async def test_exactly_the_newest_of_each_job_stay(store, migrated_url):
    rows = [attempt(f"Job{n % 3}", 400 - n) for n in range(90)] + [attempt("Rare", 300)]
    fill(migrated_url, logged_job, rows)
    removed = await prune(store, before=MONTH_AGO, keep_last=4)
    assert removed == {"runs": 0, "attempts": 78, "audit": 0, "statistics": 0}
    stayed = left(migrated_url, logged_job)
    assert Counter(job for job, _ in stayed) == {"Job0": 4, "Job1": 4, "Job2": 4, "Rare": 1}
    assert {key for job, key in stayed if job == "Job0"} == {79, 82, 85, 88}


async def test_what_is_young_stays_however_much_there_is(store, migrated_url):
    fill(migrated_url, logged_job, [attempt("Busy", 1) for _ in range(50)])
    assert (await prune(store, before=MONTH_AGO, keep_last=0))["attempts"] == 0


async def test_history_that_was_imported_later_counts_by_its_own_age(store, migrated_url):
    fill(migrated_url, logged_job, [attempt("A", 1), attempt("A", 900), attempt("A", 800)])
    assert (await prune(store, before=MONTH_AGO, keep_last=1))["attempts"] == 1
    assert left(migrated_url, logged_job) == [("A", 1), ("A", 3)]


async def test_runs_go_with_their_logs_and_only_when_they_are_over(store, migrated_url):
    fill(
        migrated_url, job_run, [run("A", 99), run("A", 98, "retrying"), run("A", 97), run("A", 96)]
    )
    line = {"Attempt": 1, "At": NOW, "Level": "info", "Message": "a line"}
    fill(migrated_url, job_log_line, [{"RunId": 1, **line}, {"RunId": 3, **line}])
    assert (await prune(store, before=MONTH_AGO, keep_last=2))["runs"] == 1
    assert left(migrated_url, job_run) == [("A", 2), ("A", 3), ("A", 4)]
    with sync_engine(migrated_url) as engine, engine.connect() as connection:
        assert list(connection.scalars(sa.select(job_log_line.c.RunId))) == [3]


async def test_flows_and_batches_go_with_their_last_run(store, migrated_url):
    at = NOW - timedelta(days=99)
    over = {"Name": "x", "State": "failed", "CreatedBy": "a", "CreatedAt": at, "CompletedAt": at}
    goes_on = over | {"State": "running", "CompletedAt": None}
    young = over | {"CompletedAt": NOW}
    rows = [row | {"Kind": kind} for kind in ("flow", "batch") for row in (over, over, goes_on, young)]  # fmt: skip
    fill(migrated_url, job_batch, rows)
    fill(migrated_url, job_run, [run("A", 99) | {"BatchId": 1}, run("B", 99) | {"BatchId": 2}])
    fill(migrated_url, job_run, [run("B", 98) | {"BatchId": None}, run("B", 97) | {"BatchId": 5}])
    await prune(store, before=MONTH_AGO, keep_last=1, now=NOW)
    with sync_engine(migrated_url) as engine, engine.connect() as connection:
        remaining = list(connection.scalars(sa.select(job_batch.c.Id).order_by(job_batch.c.Id)))
    assert remaining == [1, 3, 4, 5, 7, 8]


async def test_keys_of_limits_go_that_nobody_uses(store, migrated_url, monkeypatch):
    monkeypatch.setattr(store.dialect, "most_rows", 200)

    def key(number: int, full_at: datetime | None = None) -> dict[str, object]:
        name = f"A tenant={number:03}"
        return {"LimitKey": name, "JobName": "A", "Most": 1, "NextAt": full_at, "UpdatedAt": NOW}

    rows = [key(n) for n in range(450)]
    rows += [key(600, datetime.now(UTC) + timedelta(hours=1)), key(601, NOW - timedelta(days=1))]
    fill(migrated_url, job_limit, rows)
    states = {n: state for n, state in enumerate(("running", "awaiting", "retrying", "succeeded"))}
    runs = [run("A", 1, state) | {"LimitKey": f"A tenant={n:03}"} for n, state in states.items()]
    fill(migrated_url, job_run, runs)
    steps: list[int] = []
    await prune(
        store,
        before=MONTH_AGO,
        keep_last=0,
        now=NOW,
        progress=lambda removed: steps.append(removed["keys"]),
    )
    with sync_engine(migrated_url) as engine, engine.connect() as connection:
        remaining = set(connection.scalars(sa.select(job_limit.c.LimitKey)))
    assert remaining == {f"A tenant={n:03}" for n in (0, 1, 2, 600)}
    assert max(later - before for before, later in zip([0, *steps], steps, strict=False)) <= 200


async def test_it_can_be_stopped_and_begun_again(store, migrated_url):
    fill(migrated_url, logged_job, [attempt("A", 400 - n / 100) for n in range(3_000)])
    reached = asyncio.Event()
    counts: list[int] = []

    def progress(removed: Counter[str]) -> None:
        counts.append(removed["attempts"])
        reached.set()

    first = asyncio.create_task(prune(store, before=MONTH_AGO, keep_last=10, progress=progress))
    await reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert 10 < len(left(migrated_url, logged_job)) < 3_000
    second = await prune(store, before=MONTH_AGO, keep_last=10)
    assert second["attempts"] == 3_000 - 10 - counts[-1]
    assert [key for _, key in left(migrated_url, logged_job)] == list(range(2_991, 3_001))


async def test_a_step_looks_at_no_more_rows_than_it_may(store, migrated_url, monkeypatch):
    monkeypatch.setattr(store.dialect, "most_rows", 200)
    shuffled = random.Random(7).sample(range(2_000), 2_000)
    fill(migrated_url, logged_job, [attempt(f"Job{n % 40}", 100 + n / 50) for n in shuffled])
    steps: list[int] = []
    before = 0

    def progress(removed: Counter[str]) -> None:
        nonlocal before
        steps.append(removed["attempts"] - before)
        before = removed["attempts"]

    await prune(store, before=MONTH_AGO, keep_last=5, progress=progress)
    assert max(steps) <= 200
    assert sum(steps) == 2_000 - 40 * 5


@pytest.mark.slow
@pytest.mark.sqlite
async def test_the_file_becomes_smaller(database):
    store = Store(database.url)
    text = "x" * 1000
    fill(database.url, logged_job, [{**attempt("Old", 90), "ResultMessage": text}] * 5_000)
    pages = database.one("PRAGMA page_count")
    await prune(store, before=MONTH_AGO, keep_last=0)
    await store.dispose()
    assert database.one("PRAGMA freelist_count") == 0
    assert database.one("PRAGMA page_count") < pages / 5


async def remove_statistics(connection, before, _, most):
    return await statistics.remove(connection, before=before, most=most)


@pytest.mark.parametrize(
    ("remove", "table", "row"),
    [
        (job_owner.prune, job_shadow, {"JobName": "Report", "Slot": NOW}),
        (
            idempotency.remove_old,
            job_request,
            {"Scope": "7", "RequestKey": "{}", "Digest": "7", "BegunAt": NOW},
        ),
        (
            error_groups.remove_old,
            job_failure,
            {"Cause": "{}", "JobName": "Report", "Kind": "ValueError", "FirstAt": NOW},
        ),
        (
            remove_messages,
            job_delivery,
            {"WebhookId": 7, "MessageId": "{}", "Event": "run", "Body": "", "Status": "done", "CreatedAt": NOW},
        ),
        (
            remove_statistics,
            job_stat,
            {"JobName": "{}", "BeginsAt": NOW, "Outcome": "failed", "Bucket": 1, "Shard": 0, "Count": 1},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, sa.Table) else "",
)  # fmt: skip
async def test_a_step_removes_a_limited_number_of_rows(store, migrated_url, remove, table, row):
    [at] = (name for name, value in row.items() if value == NOW)
    texts = [name for name, value in row.items() if value == "{}"]
    rows = [
        row | {at: NOW - timedelta(days=days)} | dict.fromkeys(texts, f"of {days} days ago")
        for days in (90, 80, 70, 60, 50, 0)
    ]
    fill(migrated_url, table, rows)
    removed = []
    for _ in range(4):
        async with store.write() as connection:
            removed.append(await remove(connection, MONTH_AGO, NOW, 2))
    assert removed == [2, 2, 1, 0]
    async with store.read() as connection:
        assert list(await connection.scalars(sa.select(table.c[at]))) == [NOW]


async def test_a_pass_removes_all_old_requests(store, migrated_url):
    """A request is kept for a day, whatever the age of the runs that are kept."""
    old = {"Scope": "7", "Digest": "7", "BegunAt": NOW - timedelta(days=2)}
    requests = [old | {"RequestKey": f"{n}"} for n in range(250)]
    fill(migrated_url, job_request, [*requests, old | {"RequestKey": "new", "BegunAt": NOW}])
    await prune(store, before=MONTH_AGO, keep_last=0, now=NOW)
    async with store.read() as connection:
        assert list(await connection.scalars(sa.select(job_request.c.RequestKey))) == ["new"]
