"""Inbox: a failure stays until a person has handled it."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_scheduler import JobContext, JobResult, job
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.errors import BulkError, UnknownBulk, UnknownFailure
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import RunState
from targcc_scheduler.features.triage import bulk as triage_bulk
from targcc_scheduler.features.triage import bulk_actions, bulk_queries, inbox
from targcc_scheduler.features.triage import inbox as triage_inbox
from targcc_scheduler.features.triage.bulk_actions import Wish
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.queries.run_search import RunFilter
from targcc_scheduler.kernel.queries.runs import get_run

DANA = Actor("CLI", "dana")
broken = {"card", "mail"}


@job(retries=0)
class ChargeJob:
    """Fail while its part is broken."""

    def execute(self, _ctx: JobContext, customer: int, part: str = "card") -> JobResult:
        if part == "refused":
            return JobResult.failure(f"customer {customer} has no card")
        if part in broken:
            raise ConnectionError(f"{part} gateway refused order {customer}")
        return JobResult.success("charged")


async def enqueue(scheduler, *customers, part="card"):
    ids = [
        await scheduler.enqueue(ChargeJob, customer=customer, part=part) for customer in customers
    ]
    for run_id in ids:
        await scheduler.wait(run_id, timeout=30)
    return ids


async def look(scheduler, **options):
    now = scheduler.clock.now()
    return await scheduler.read(lambda db: triage_inbox.inbox(db, now, **options))


@pytest.fixture
async def scheduler(make_scheduler):
    broken.update({"card", "mail"})
    made = make_scheduler()
    await made.start(schedule=False)
    return made


@pytest.mark.slow
async def test_failures_of_one_cause_are_one_entry_until_each_was_retried_well(scheduler):
    ids = await enqueue(scheduler, 1, 2, 3)
    await enqueue(scheduler, 4, part="mail")
    await enqueue(scheduler, 5, part="refused")
    card, *others = await look(scheduler)
    assert (card.open, card.total, card.kind) == (3, 3, "ConnectionError")
    assert card.message == "card gateway refused order <n>"
    assert card.place.endswith("test_inbox.py in execute")
    assert sum(card.trend) == card.trend[-1] == 3
    assert {item.message for item in others} == {
        "mail gateway refused order <n>",
        "customer <n> has no card",
    }
    assert card.works_since is None
    broken.discard("card")
    # successful runs with other arguments resolve nothing
    await enqueue(scheduler, *range(100, 130))
    card = (await look(scheduler))[0]
    assert card.open == 3
    assert card.works_since is not None
    runs = await scheduler.read(lambda db: triage_inbox.runs_of(db, card.cause))
    assert [run.id for run in runs] == ids[::-1]
    assert not await scheduler.read(lambda db: triage_inbox.done_since(db, runs))
    await enqueue(scheduler, 2)
    done = await scheduler.read(lambda db: triage_inbox.done_since(db, runs))
    assert done == {ids[1]}

    bulk_id = await scheduler.operate(
        bulk_actions.begin,
        None,
        Wish(action="retry", wanted=RunFilter(search=only(cause=card.cause, is_="open"))),
        DANA,
    )
    item = await bulk_actions.work_off(scheduler, bulk_id)
    assert (item.state, item.done, item.refused) == ("done", 3, 0)
    await wait_until_done(scheduler, bulk_id)
    assert [item.message for item in await look(scheduler)] == [item.message for item in others]


async def wait_until_done(scheduler, bulk_id):
    from targcc_scheduler.features.triage import bulk as rows

    for did in await scheduler.read(lambda db: rows.done_to(db, bulk_id, None, 1000)):
        if did.new_run_id is not None:
            await scheduler.wait(did.new_run_id, timeout=30)


async def test_a_retry_that_fails_again_is_open_in_place_of_its_run(scheduler):
    [first] = await enqueue(scheduler, 1)
    again = await scheduler.retry(first, by=DANA)
    await scheduler.wait(again, timeout=30)
    [entry] = await look(scheduler)
    assert (entry.open, entry.total, entry.newest_run) == (1, 2, again)
    old = await scheduler.read(lambda db: get_run(db, first))
    assert old.handling == f"retried as run {again}"


async def test_what_a_person_can_do_about_a_failure(scheduler):
    ids = await enqueue(scheduler, 1, 2)
    [entry] = await look(scheduler)
    await scheduler.operate(inbox.assign, None, entry.cause, DANA, "noam")
    await scheduler.operate(inbox.link, None, entry.cause, DANA, "https://tickets.example/7")
    with pytest.raises(BulkError, match="no http address"):
        await scheduler.operate(inbox.link, None, entry.cause, DANA, "javascript:alert(1)")
    [entry] = await look(scheduler)
    assert (entry.assignee, entry.ticket) == ("noam", "https://tickets.example/7")

    assert await scheduler.operate(inbox.discard, None, entry.cause, DANA, run_ids=ids[:1]) == 1
    [entry] = await look(scheduler)
    assert entry.open == 1
    done = await scheduler.operate(
        inbox.acknowledge, None, entry.cause, DANA, note="the bank knows"
    )
    assert done == 1
    assert await look(scheduler) == ()
    handled = await scheduler.read(lambda db: get_run(db, ids[1]))
    assert handled.handling == "acknowledged: the bank knows"

    await enqueue(scheduler, 3)  # the job runs on
    [entry] = await look(scheduler)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await scheduler.operate(inbox.acknowledge, None, entry.cause, DANA, note="wait", until=tomorrow)
    assert await look(scheduler) == ()
    late = tomorrow + timedelta(minutes=1)
    [again] = await scheduler.read(lambda db: triage_inbox.inbox(db, late))
    assert again.open == 1

    await scheduler.operate(inbox.reopen, None, entry.cause, DANA)
    await scheduler.operate(inbox.mute, None, entry.cause, DANA, note="a test customer")
    await enqueue(scheduler, 4)
    assert await look(scheduler) == ()
    [muted] = await look(scheduler, everything=True)
    assert (muted.standing, muted.open, muted.note) == ("muted", 2, "a test customer")
    with pytest.raises(UnknownFailure):
        await scheduler.operate(inbox.mute, None, "nonsense", DANA)


async def test_many_runs_at_once(scheduler):
    """Bulk retry: count first, record one audit row, pace by a rate, and cancel the rest."""
    ids = await enqueue(scheduler, *range(8))
    wish = Wish(action="retry", wanted=RunFilter(search=only(state=RunState.FAILED)), rate=0.5)
    counted = await bulk_actions.count(scheduler, wish)
    assert (counted.total, dict(counted.jobs)) == (8, {"Charge": 8})
    with pytest.raises(BulkError, match="8 runs match by now, not 7"):
        await scheduler.operate(bulk_actions.begin, None, wish, DANA, most=7)
    bulk_id = await scheduler.operate(bulk_actions.begin, None, wish, DANA)
    operation = await bulk_actions.work_off(scheduler, bulk_id)
    assert (operation.done, operation.filter, operation.by) == (8, "state:failed", "CLI (dana)")
    waiting = await scheduler.read(
        lambda db: bulk_queries.find(db, RunFilter(search=only(state=RunState.SCHEDULED)))
    )
    # the first run is due at once, the others at intervals of two minutes
    assert waiting.total == 7
    [card] = await look(scheduler)
    assert card.in_hand >= 7

    moved = Wish(
        action="queue", wanted=RunFilter(search=only(state=RunState.SCHEDULED)), queue="slow"
    )
    move_id = await scheduler.operate(bulk_actions.begin, None, moved, DANA)
    assert (await bulk_actions.work_off(scheduler, move_id)).done == 7
    slow = await scheduler.read(
        lambda db: bulk_queries.find(db, RunFilter(search=only(queue="slow")))
    )
    assert slow.total == 7
    undone = await scheduler.operate(bulk_actions.undo, None, move_id, DANA)
    assert (await bulk_actions.work_off(scheduler, undone)).done == 7
    slow = await scheduler.read(
        lambda db: bulk_queries.find(db, RunFilter(search=only(queue="slow")))
    )
    assert slow.total == 0

    back = await scheduler.operate(bulk_actions.undo, None, bulk_id, DANA)
    await bulk_actions.work_off(scheduler, back)
    [card] = await look(scheduler)
    assert card.in_hand == 0
    assert card.open >= 7
    with pytest.raises(BulkError, match="taken back by operation"):
        await scheduler.operate(bulk_actions.undo, None, bulk_id, DANA)

    three = Wish(action="delete", wanted=RunFilter(search=only(run=ids[:3])))
    gone = await scheduler.operate(bulk_actions.begin, None, three, DANA)
    assert (await bulk_actions.work_off(scheduler, gone)).done == 3
    with pytest.raises(BulkError, match="delete cannot be taken back"):
        await scheduler.operate(bulk_actions.undo, None, gone, DANA)


async def test_an_operation_that_is_being_taken_back_is_not_removed_as_old(scheduler):
    now = scheduler.clock.now()
    before = now + timedelta(days=1)
    common = {"FilterJson": "{}", "OptionsJson": "{}", "Total": 1, "Ceiling": 1, "StartedAt": now}

    async def work(db):
        first = await triage_bulk.create(db, Action="cancel", Actor=str(DANA), **common)
        await triage_bulk.end(db, first, triage_bulk.DONE, now)
        undo = await triage_bulk.create(db, Action="undo", Actor=str(DANA), Undoes=first, **common)
        await triage_bulk.remove_old(db, before, now, 10)
        kept = await triage_bulk.get(db, first)
        await triage_bulk.end(db, undo, triage_bulk.DONE, now)
        await triage_bulk.remove_old(db, before, now, 10)
        with pytest.raises(UnknownBulk):
            await triage_bulk.get(db, first)
        return kept.Status

    assert await scheduler.change(work) == triage_bulk.DONE


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("KeyError: 'alice'", "KeyError: 'bob'"),
        ("order 17 of 2026-11-25T02:00:00Z", "order 4 of 2026-11-26T02:00:00+02:00"),
        ("run 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "run 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"),
        ("mail to dana@example.com", "mail to noam@example.org"),
        ("at 0x7f3a10 after 1,204.5 ms", "at 0x7f3b22 after 9 ms"),
    ],
)
def test_messages_that_differ_by_what_varies_have_one_cause(first, second):
    assert fingerprint_of("A", first).key == fingerprint_of("A", second).key


def test_causes_differ_by_job_type_and_place():
    trace = (
        'Traceback (most recent call last):\n  File "/app/{}.py", line 3, in execute\n    x\n{}: no'
    )
    keys = {
        fingerprint_of(job, "no", trace.format(file, kind)).key
        for job in ("A", "B")
        for file in ("jobs/a", "jobs/b")
        for kind in ("ValueError", "app.errors.Refused")
    }
    assert len(keys) == 8


def test_the_place_is_in_the_jobs_own_code_and_has_no_line():
    trace = (
        "Traceback (most recent call last):\n"
        '  File "/app/src/acme/jobs/report.py", line 30, in execute\n    self.load()\n'
        '  File "/venv/lib/python3.12/site-packages/httpx/_client.py", line 9, in get\n    raise\n'
        "httpx.ConnectError: [Errno 111] refused"
    )
    fingerprint = fingerprint_of("Report", "ignored", trace)
    assert fingerprint.kind == "httpx.ConnectError"
    assert fingerprint.place == "jobs/report.py in execute"
    moved = fingerprint_of("Report", "ignored", trace.replace("line 30", "line 31"))
    assert moved.key == fingerprint.key
