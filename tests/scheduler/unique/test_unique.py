"""Unique runs: by a key of their arguments, or by the caller's idempotency key."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from targcc_scheduler import JobError, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.errors import IdempotencyError
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_audit, job_run
from targcc_scheduler.kernel.engine import procrastinate
from targcc_scheduler.kernel.jobs.declaration import declare

ANNA = Actor(ActorKind.MANUAL, "anna")


@job(unique="customer_id")
class Bill:
    async def execute(self, customer_id: int, note: str = "") -> str:
        return f"{customer_id} {note}"


@job(unique="customer_id", unique_scope="1h")
class Remind:
    async def execute(self, customer_id: int) -> str:
        return str(customer_id)


@job(unique=("shop", "day"), on_duplicate="replace")
class Count:
    async def execute(self, shop: str, day: int, note: str = "") -> str:
        return f"{shop} {day} {note}"


@job(unique=True, on_duplicate="debounce 30s", expires_in="1m")
class Reindex:
    async def execute(self) -> None:
        """Do nothing."""


@job(unique=lambda mail, **_: mail.lower() or None, on_duplicate="throttle 1m")
class Greet:
    async def execute(self, mail: str, note: str = "") -> str:
        return f"{mail} {note}"


@job(unique="pin")
class Unlock:
    async def execute(self, pin: SecretStr) -> str:
        return str(pin)


async def _run(scheduler, run_id):
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    return (await scheduler.read(lambda db: db.execute(query))).one()


async def _count(scheduler):
    query = sa.select(sa.func.count()).select_from(job_run)
    return await scheduler.read(lambda db: db.scalar(query))


async def _set(scheduler, run_id, **values):
    """Put a run into a later state."""
    values = {"LifeLog": "", **values}
    await scheduler.change(
        lambda db: db.execute(sa.update(job_run).where(job_run.c.Id == run_id).values(values))
    )


@pytest.mark.parametrize(
    ("unique", "arguments"), [(Bill, {"customer_id": 1}), (Count, {"shop": "a", "day": 1})]
)
async def test_a_call_that_waited_for_the_database_while_the_first_ended_makes_a_run(
    scheduler, unique, arguments
):
    first = await scheduler.enqueue(unique, **arguments)
    ended = scheduler.clock.now() + timedelta(seconds=9)  # after the time of the next call
    await _set(scheduler, first, State="succeeded", Attempt=1, CompletedAt=ended)
    new = await scheduler.enqueue(unique, **arguments)
    assert (new != first, new.existing) == (True, False)


async def test_the_first_stands_for_all_with_its_key_until_it_is_over(scheduler):
    first = await scheduler.enqueue(Bill, customer_id=1, note="a")
    again = await scheduler.enqueue(Bill, customer_id=1, note="b")
    other = await scheduler.enqueue(Bill, customer_id=2)
    assert (first.existing, again.existing, other.existing) == (False, True, False)
    assert again == first != other
    assert json.loads((await _run(scheduler, first)).ArgumentsJson)["note"] == "a"
    await _set(scheduler, first, State="running", Attempt=1)
    assert await scheduler.enqueue(Bill, customer_id=1) == first
    for state in ("succeeded", "failed", "cancelled"):
        await _set(scheduler, first, State=state, CompletedAt=scheduler.clock.now())
        new = await scheduler.enqueue(Bill, customer_id=1)
        assert new != first
        assert not new.existing
        first = new
    await scheduler.cancel(first, by=ANNA)
    new = await scheduler.enqueue(Bill, customer_id=1)
    await scheduler.delete(new, by=ANNA)
    assert not (await scheduler.enqueue(Bill, customer_id=1)).existing


async def test_many_at_once_with_the_same_keys(scheduler):
    held = await scheduler.enqueue(Bill, customer_id=3)
    ids = await scheduler.enqueue_many(Bill, [{"customer_id": n % 5} for n in range(1_200)])
    assert len(set(ids)) == 5
    assert ids[3] == held
    assert [run_id.existing for run_id in ids[:6]] == [False, False, False, True, False, True]
    assert ids == ids[:5] * 240
    assert await _count(scheduler) == 5
    ids = await scheduler.enqueue_many(
        Count, [{"shop": "x", "day": 1, "note": str(n)} for n in range(3)]
    )
    assert [run_id.existing for run_id in ids] == [False, True, True]
    assert json.loads((await _run(scheduler, ids[0])).ArgumentsJson)["note"] == "2"


async def test_a_key_that_lasts_for_a_while_after_success(scheduler):
    first = await scheduler.enqueue(Remind, customer_id=1)
    now = scheduler.clock.now()
    await _set(scheduler, first, State="succeeded", CompletedAt=now - timedelta(minutes=59))
    assert await scheduler.enqueue(Remind, customer_id=1) == first
    again = await scheduler.retry(first, by=ANNA)  # a manual retry ignores the period
    assert again != first
    await _set(scheduler, again, State="failed", CompletedAt=now)
    new = await scheduler.enqueue(Remind, customer_id=1)
    assert not new.existing
    await _set(scheduler, new, State="succeeded", CompletedAt=now - timedelta(minutes=61))
    assert not (await scheduler.enqueue(Remind, customer_id=1)).existing


async def test_a_person_who_retries_gets_the_run_that_is_there(scheduler):
    first = await scheduler.enqueue(Bill, customer_id=1)
    await _set(scheduler, first, State="failed", CompletedAt=scheduler.clock.now())
    second = await scheduler.enqueue(Bill, customer_id=1)
    again = await scheduler.retry(first, by=ANNA)
    assert again == second
    assert again.existing
    assert (await scheduler.trigger(Bill, {"customer_id": 1}, by=ANNA)).existing
    query = sa.select(job_audit.c.Detail).where(job_audit.c.Action == "trigger")
    assert await scheduler.read(lambda db: db.scalar(query)) == "the run was there already"


async def test_the_latest_arguments_replace_those_of_a_run_that_has_not_begun(scheduler):
    first = await scheduler.enqueue(Count, shop="x", day=1, note="a")
    assert await scheduler.enqueue(Count, shop="x", day=1, note="b") == first
    assert json.loads((await _run(scheduler, first)).ArgumentsJson)["note"] == "b"
    await _set(scheduler, first, State="running", Attempt=1)
    second = await scheduler.enqueue(Count, shop="x", day=1, note="c")
    assert second != first
    await _set(scheduler, second, State="retrying", Attempt=1)
    assert await scheduler.enqueue(Count, shop="x", day=1, note="d") not in {first, second}


async def test_a_run_performs_the_latest_arguments_also_when_a_worker_had_looked_at_others(
    scheduler, monkeypatch
):
    run_id = await scheduler.enqueue(Count, shop="x", day=1, note="b")
    before = json.dumps({"shop": "x", "day": 1, "note": "a"})
    offered = procrastinate._offered

    def looked_at_too_early(rows, queue):
        return [replace(run, arguments_json=before) for run in offered(rows, queue)]

    monkeypatch.setattr(procrastinate, "_offered", looked_at_too_early)
    await scheduler.start(schedule=False)
    assert await scheduler.wait(run_id, 30) == "succeeded"
    assert (await _run(scheduler, run_id)).Message == "x 1 b"


async def test_a_run_starts_when_no_other_came_for_a_while(scheduler):
    first = await scheduler.enqueue(Reindex)
    run = await _run(scheduler, first)
    assert run.State == "scheduled"
    assert run.DueAt - run.CreatedAt == timedelta(seconds=30)
    assert run.ExpiresAt - run.DueAt == timedelta(minutes=1)
    await _set(scheduler, first, DueAt=run.CreatedAt, ExpiresAt=run.CreatedAt)
    assert await scheduler.enqueue(Reindex) == first
    moved = await _run(scheduler, first)
    assert moved.DueAt >= run.DueAt
    assert moved.ExpiresAt - moved.DueAt == timedelta(minutes=1)
    await _set(scheduler, first, State="enqueued", DueAt=run.CreatedAt)
    assert await scheduler.enqueue(Reindex) == first  # the run is due: it is not postponed again
    assert (await _run(scheduler, first)).DueAt == run.CreatedAt


async def test_runs_that_are_throttled_start_far_enough_apart(scheduler):
    first = await scheduler.enqueue(Greet, mail="A@x.de")
    assert (await _run(scheduler, first)).State == "enqueued"
    began = scheduler.clock.now()
    await _set(scheduler, first, State="running", Attempt=1, StartedAt=began)
    second = await scheduler.enqueue(Greet, mail="a@X.de", note="b")
    run = await _run(scheduler, second)
    assert (second.existing, run.State) == (False, "scheduled")
    assert run.DueAt == began + timedelta(minutes=1)
    assert await scheduler.enqueue(Greet, mail="a@x.de", note="c") == second
    assert json.loads((await _run(scheduler, second)).ArgumentsJson)["note"] == "c"
    await scheduler.cancel(second, by=ANNA)
    third = await scheduler.enqueue(Greet, mail="a@x.de")
    assert (await _run(scheduler, third)).DueAt == run.DueAt  # although the second run never began
    await _set(scheduler, third, State="succeeded", StartedAt=began - timedelta(minutes=2))
    fourth = await scheduler.enqueue(Greet, mail="a@x.de")
    assert (await _run(scheduler, fourth)).State == "enqueued"
    assert not (await scheduler.enqueue(Greet, mail="")).existing
    assert not (await scheduler.enqueue(Greet, mail="")).existing  # the key function returned None


async def test_secret_arguments_do_not_stand_in_the_key(scheduler):
    first = await scheduler.enqueue(Unlock, pin="4711-geheim")
    assert await scheduler.enqueue(Unlock, pin="4711-geheim") == first
    assert "geheim" not in (await _run(scheduler, first)).UniqueKey
    shown = await scheduler.enqueue(Bill, customer_id=7)
    assert (await _run(scheduler, shown)).UniqueKey.endswith(" customer_id=7")


async def test_a_key_is_taken_in_the_callers_transaction(scheduler):
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    async with engine.connect() as connection:
        lost = await scheduler.enqueue(Bill, customer_id=1, connection=connection)
        assert await scheduler.enqueue(Bill, customer_id=1, connection=connection) == lost
        await connection.rollback()
        kept = await scheduler.enqueue(
            Bill, customer_id=1, connection=connection, idempotency_key="k"
        )
        assert not kept.existing
        await connection.commit()
    await engine.dispose()
    assert await scheduler.enqueue(Bill, customer_id=1) == kept
    assert await _count(scheduler) == 1


async def test_a_call_that_is_repeated_makes_one_run_as_long_as_that_is_kept(scheduler):
    first = await scheduler.enqueue(Remind, customer_id=1, idempotency_key="order 17")
    await _set(scheduler, first, State="failed", CompletedAt=scheduler.clock.now())
    again = await scheduler.enqueue(Remind, customer_id=1, idempotency_key="order 17")
    assert again == first
    assert (first.existing, again.existing) == (False, True)
    with pytest.raises(IdempotencyError, match=f"that of run {first}, which has"):
        await scheduler.enqueue(Remind, customer_id=2, idempotency_key="order 17")
    with pytest.raises(IdempotencyError, match="1 to 200 characters"):
        await scheduler.schedule(Remind, delay="1m", customer_id=2, idempotency_key="")
    await scheduler.delete(first, by=ANNA)
    assert not (await scheduler.enqueue(Remind, customer_id=2, idempotency_key="order 17")).existing


@pytest.mark.parametrize(
    ("schedule", "options", "said"),
    [
        (None, {"unique": "customer"}, "it has no argument 'customer'"),
        (None, {"unique": ()}, "an argument's name, a tuple of them, True or a function"),
        (None, {"on_duplicate": "skip"}, "belong to unique"),
        (None, {"unique": True, "unique_scope": "soon"}, "unique_scope is queued, running or a"),
        (None, {"unique": True, "on_duplicate": "debounce"}, "on_duplicate is skip, replace"),
        (None, {"unique": True, "on_duplicate": "throttle 0s"}, "throttle: "),
        (None, {"unique": True, "on_duplicate": "throttle 1m", "unique_scope": "queued"}, "has no"),
        ("0 2 * * *", {"unique": True, "on_duplicate": "debounce 1m"}, "without a schedule"),
    ],
)
def test_options_that_cannot_be_are_refused(schedule, options, said):
    def shrink(customer_id: int = 0) -> None:
        """Do nothing."""

    with pytest.raises(JobError, match=said):
        declare(shrink, schedule, **options)
