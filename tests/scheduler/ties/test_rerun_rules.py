"""Reruns: the dependencies that a rerun takes over, by tables, and the statements that find replaced runs, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.db.tables import job_link, job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import dependencies
from targcc_scheduler.kernel.runs import rerun
from targcc_scheduler.kernel.runs.values import After, Effects, NewRun, Ready, RunId, Tie

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN, BATCH, JOB = dependencies.RUN, dependencies.BATCH, dependencies.JOB
CANCELLED, FAILED, SUCCEEDED = RunState.CANCELLED, RunState.FAILED, RunState.SUCCEEDED
DISCARDED = f"{dependencies.DISCARDED}run 1 failed"


def _link(parent, outcome=None, kind=RUN, **columns):
    given = {"Condition": "success", "Quorum": "all", "Otherwise": "discard"}
    return SimpleNamespace(**{**given, "ParentKind": kind, "ParentId": parent, "Outcome": outcome, **columns})  # fmt: skip


def _new(retry_of=None, ties=0, **fields):
    given = {"job_name": "Work", "job_type": "Manual", "queue": "q", "priority": 0}
    return NewRun(**{**given, "due_at": NOW, "triggered_by": "dana"}, retry_of=retry_of, ties=ties, **fields)  # fmt: skip


@pytest.mark.parametrize(
    ("link", "stopped"),
    [
        (_link(1, "failed"), True),
        (_link(1, "succeeded"), False),
        (_link(1), False),
        (_link(1, "failed", Condition="failure"), False),
        (_link(1, "succeeded", Condition="failure"), True),
        (_link(1, "failed", Condition="finish"), False),
        (_link(1, "failed", BATCH), False),
        (_link(1, None, JOB), False),
    ],
)
def test_a_parent_has_stopped_its_child(link, stopped):
    assert rerun._stopped(link) is stopped


@pytest.mark.parametrize(
    ("links", "instead", "parents"),
    [
        ([_link(1, "failed")], {1: 9}, [(RUN, 9)]),
        ([_link(1, "failed")], {}, [(RUN, 1)]),
        ([_link(1, "succeeded")], {1: 9}, [(RUN, 1)]),
        ([_link(1), _link(2, "failed")], {1: 8, 2: 9}, [(RUN, 1), (RUN, 9)]),
        ([_link(1, "failed", BATCH), _link(2, "failed")], {1: 8, 2: 9}, [(BATCH, 1), (RUN, 9)]),
    ],
)
def test_a_rerun_waits_for_the_reruns_of_the_parents_that_stopped_it(links, instead, parents):
    assert rerun._after(links, instead).parents == tuple(parents)


def test_a_rerun_keeps_the_conditions_of_the_old_run():
    first = _link(1, "succeeded", Condition="failure", Quorum="any", Otherwise="wait")
    after = rerun._after([first, _link(2)], {1: 9})
    assert after == After(((RUN, 9), (RUN, 2)), "failure", "any", "wait")


@pytest.mark.parametrize(
    ("retry_of", "ties", "has_place"),
    [
        (5, Tie.FOLLOWED, True),
        (5, Tie.FOLLOWED | Tie.BATCH, True),
        (5, Tie.FOLLOWS, False),
        (5, 0, False),
        (None, Tie.FOLLOWED, False),
    ],
)
def test_a_run_with_dependents_leaves_its_place_to_its_rerun(retry_of, ties, has_place):
    run = _new(retry_of, ties)
    assert rerun._places([run], [RunId(9)]) == ({5: (9, run)} if has_place else {})


def _row(**columns):
    given = dict.fromkeys(column.name for column in job_run.c)
    given |= {"Id": 4, "JobName": "Work", "JobType": "Manual", "Queue": "q", "Priority": 2}
    given |= {"State": CANCELLED, "DueAt": NOW, "CreatedAt": NOW, "Ties": 0, "Weight": 1}
    return SimpleNamespace(**{**given, **columns})


@pytest.mark.parametrize(
    ("due", "ties", "copied", "state", "minutes"),
    [
        (0, 0, 0, RunState.ENQUEUED, 0),
        (-5, Tie.FOLLOWS, 0, RunState.ENQUEUED, 0),
        (5, 0, 0, RunState.SCHEDULED, 5),
        (-55, Tie.DELAYED, Tie.DELAYED, RunState.SCHEDULED, 5),
        (-60, Tie.DELAYED, Tie.DELAYED, RunState.ENQUEUED, 0),
        (0, Tie.FOLLOWED | Tie.LIMITED, Tie.FOLLOWED, RunState.ENQUEUED, 0),
    ],
)
def test_a_discarded_run_is_created_again(due, ties, copied, state, minutes):
    row = _row(DueAt=NOW + due * MINUTE, CreatedAt=NOW - 60 * MINUTE, Ties=ties)
    copy = rerun._copy(rerun._Child(row, [_link(1, "failed")]), {1: 9}, "dana", NOW)
    assert (copy.state, copy.ties, copy.retry_of) == (state, copied, 4)
    assert copy.due_at == NOW + minutes * MINUTE
    assert copy.after.parents == ((RUN, 9),)
    assert (copy.triggered_by, copy.priority) == ("dana", 2)


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def _insert(connection, **columns):
    given = {"JobName": "Work", "JobType": "Manual", "State": FAILED, "Queue": "q"}
    given |= {"Priority": 0, "DueAt": NOW, "CreatedAt": NOW, "TriggeredBy": "dana"}
    if columns.get("State") in {None, CANCELLED, SUCCEEDED}:
        given["CompletedAt"] = NOW
    await connection.execute(sa.insert(job_run).values(**given | columns))


async def _tie(connection, child, parent, outcome=None, kind=RUN, **columns):
    given = {"ChildId": child, "ParentKind": kind, "ParentId": parent, "Outcome": outcome}
    given |= {"Condition": "success", "Quorum": "all", "Otherwise": "wait"}
    await connection.execute(sa.insert(job_link).values(**given | columns))


async def _links(connection, child):
    links = (await dependencies.links_of(connection, [child])).get(child, ())
    return sorted((link.ParentKind, link.ParentId, link.Outcome) for link in links)


async def test_dependents_are_found_through_runs_that_still_wait(store):
    async with store.write() as connection:
        for run_id in range(1, 7):
            state = CANCELLED if run_id == 4 else RunState.AWAITING
            await _insert(connection, Id=run_id, State=state)
        for child, parent in ((2, 1), (3, 2), (4, 3), (5, 4)):
            await _tie(connection, child, parent)
        await _tie(connection, 6, 1, kind=dependencies.BATCH)
        for start, found in (([1], {1, 2, 3}), ([3], {3}), ([4, 2], {2, 3, 4, 5}), ([], set())):
            which = dependencies.AWAITS
            assert await dependencies.with_children(connection, start, which) == found


async def test_the_latest_rerun_of_a_chain(store):
    async with store.write() as connection:
        for run_id, retry_of in ((1, None), (2, 1), (3, 2), (4, None), (5, 4), (6, 4), (7, None)):
            await _insert(connection, Id=run_id, RetryOf=retry_of)
        latest = await rerun._latest(connection, [1, 2, 3, 4, 7])
        assert latest == {1: 3, 2: 3, 3: 3, 4: 6, 7: 7}
        assert await rerun._latest(connection, []) == {}


async def test_a_run_is_repeated_unless_its_rerun_was_discarded(store):
    async with store.write() as connection:
        for run_id in (1, 2, 3):
            await _insert(connection, Id=run_id)
        await _insert(connection, Id=4, RetryOf=1)
        await _insert(connection, Id=5, RetryOf=2, State=CANCELLED, Message=DISCARDED)
        await _insert(connection, Id=6, RetryOf=3, State=CANCELLED, Message="by dana")
        assert await rerun._repeated(connection, [1, 2, 3]) == {1, 3}


async def test_runs_are_created_again_that_were_discarded_because_of_the_old_run(store):
    async with store.write() as connection:
        for run_id in (1, 2):
            await _insert(connection, Id=run_id)
        gone = {"State": CANCELLED, "Message": DISCARDED}
        for run_id, columns in enumerate(
            [
                gone,  # discarded because of run 1
                {**gone, "Message": "by dana"},
                gone,  # discarded because of run 2
                gone,  # has a rerun
                gone,  # accepted the outcome of run 1
                {**gone, "State": SUCCEEDED},
                gone,  # waited for a batch of the same number
                gone,  # discarded because of run 1 too
            ],
            10,
        ):
            await _insert(connection, Id=run_id, **columns)
        await _insert(connection, Id=30, RetryOf=13)
        for child in (10, 11, 13, 15, 17):
            await _tie(connection, child, 1, "failed")
        await _tie(connection, 12, 2, "failed")
        await _tie(connection, 14, 1, "failed", Condition="finish")
        await _tie(connection, 14, 2, "failed")
        await _tie(connection, 16, 1, "failed", BATCH)
        await _tie(connection, 17, 2, "succeeded")
        children = await rerun._discarded(connection, [1])
        assert [child.row.Id for child in children] == [10, 17]
        assert [len(child.links) for child in children] == [1, 2]
        assert await rerun._discarded(connection, [99]) == []


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([(1, "failed")], [(RUN, 9, None)]),
        ([(1, "failed"), (2, "failed")], [(RUN, 2, "failed"), (RUN, 9, None)]),
        ([(1, "failed"), (3, "failed")], [(RUN, 9, None)]),
        ([(1, "failed"), (9, None)], [(RUN, 9, None)]),
        ([(1, "succeeded"), (2, None)], [(RUN, 1, "succeeded"), (RUN, 2, None)]),
        ([(1, None)], [(RUN, 1, None)]),
        ([(3, "failed"), (2, "failed")], [(RUN, 2, "failed"), (RUN, 9, None)]),
    ],
)
async def test_a_waiting_child_waits_for_the_rerun_of_its_parent(store, links, expected):
    """Run 3 is a failed rerun of run 1, and run 9 the rerun that takes the place of run 1."""
    async with store.write() as connection:
        for run_id, retry_of in ((1, None), (2, None), (3, 1), (9, 1)):
            state = RunState.ENQUEUED if run_id == 9 else FAILED
            await _insert(connection, Id=run_id, RetryOf=retry_of, State=state)
        await _insert(connection, Id=20, State=RunState.AWAITING, Ties=int(Tie.FOLLOWS))
        await _insert(connection, Id=21, State=RunState.AWAITING, Ties=int(Tie.FOLLOWS))
        for parent, outcome in links:
            await _tie(connection, 20, parent, outcome)
        await _tie(connection, 20, 1, "failed", BATCH)
        await _tie(connection, 21, 2, "failed")
        await rerun._take_place(connection, 1, 9)
        assert await _links(connection, 20) == [(BATCH, 1, "failed"), *expected]
        assert await _links(connection, 21) == [(RUN, 2, "failed")]


@pytest.mark.parametrize(
    ("links", "waits"),
    [
        ([(1, "succeeded")], False),
        ([(1, None)], True),
        ([(1, "failed")], True),
        ([], False),
    ],
)
async def test_a_cancelled_run_that_comes_back_waits_for_its_parents(store, links, waits):
    async with store.write() as connection:
        await _insert(connection, Id=20, State=CANCELLED)
        for parent, outcome in links:
            await _tie(connection, 20, parent, outcome)
        (run,) = await rerun.waiting(connection, [_new(20)])
    assert (run.after is not None) is waits
    assert not waits or run.after.parents == tuple((RUN, parent) for parent, _ in links)


async def test_a_rerun_submits_what_a_key_moved_and_what_a_batch_made_ready(monkeypatch):
    """An existing run may stand for the rerun. The batch then has a member less, which may end the batch."""
    moved, ready = Ready(5, "q", 0, NOW), Ready(6, "q", 0, NOW)
    settled = [object(), object()]
    given = []

    class Batches:
        async def rejoin(self, _connection, runs):
            return [replace(run, batch_id=3) for run in runs]

        async def stood_for(self, _connection, runs, ids, now):
            given.append(([run.batch_id for run in runs], ids, now))
            return Effects(ready=[ready], settled=settled[:1])

    async def outcomes(*_):
        return {}

    async def insert_many(_connection, runs, _now):
        new = [(RunId(9), runs[0])]
        return SimpleNamespace(ids=[RunId(9), RunId.of(5, existing=True)], new=new, moved=[moved])

    async def tie(_connection, new, _ended, _now):
        assert [run_id for run_id, _ in new] == [9]
        return settled[1:]

    monkeypatch.setattr(rerun, "load", lambda _: [Batches()])
    monkeypatch.setattr(rerun.deferred_keys, "insert_many", insert_many)
    for function in (outcomes, tie):
        monkeypatch.setattr(dependencies, function.__name__, function)
    done = rerun.Reruns()
    assert await rerun._create(None, [], NOW, done) == []
    assert await rerun._create(None, [_new(1), _new(2)], NOW, done) == [9, 5]
    assert given == [([3, 3], [9, 5], NOW)]
    assert (done.moved, done.settled) == ([moved, ready], settled)
    assert [(run_id, run.retry_of) for run_id, run in done.new] == [(9, 1)]
    assert done.consequences == Effects(ready=done.moved, settled=settled)


@pytest.mark.parametrize(
    ("runs", "held"),
    [
        ([(1, Tie.FOLLOWED), (2, 0)], [1]),
        ([(1, Tie.FOLLOWED), (2, Tie.FOLLOWED | Tie.BATCH)], [1, 2]),
        ([(1, Tie.BATCH), (None, Tie.FOLLOWED)], None),
    ],
)
async def test_old_runs_with_dependents_are_locked_before_anything_is_created(
    monkeypatch, runs, held
):
    acts = []

    async def hold(_connection, run_ids):
        acts.append(run_ids)

    async def create(_connection, new, _now, _done):
        acts.append(len(new))
        return [RunId(7)] * len(new)

    async def nothing(*_):
        return []

    for name in ("_take_place", "_discarded", "_copies"):
        monkeypatch.setattr(rerun, name, nothing)
    monkeypatch.setattr(rerun, "_hold", hold)
    monkeypatch.setattr(rerun, "_create", create)
    await rerun.rerun(None, [_new(*run) for run in runs], "dana", NOW)
    assert acts[:2] == ([len(runs)] if held is None else [held, len(runs)])


async def test_the_other_parents_of_dependents_are_locked_too(store, monkeypatch):
    """Run 2 waits for the runs 1 and 3, and run 4 was discarded because of run 1; run 5 waits for run 3 alone."""
    locked = []

    async def lock(_connection, run_ids):
        locked.append(set(run_ids))

    monkeypatch.setattr(dependencies, "lock", lock)
    async with store.write() as connection:
        for run_id in (1, 3):
            await _insert(connection, Id=run_id)
        for run_id in (2, 5):
            await _insert(connection, Id=run_id, State=RunState.AWAITING)
        await _insert(connection, Id=4, State=CANCELLED, Message=DISCARDED)
        for child, parent, outcome in ((2, 1, "failed"), (2, 3, None), (4, 1, "failed"), (5, 3, None)):  # fmt: skip
            await _tie(connection, child, parent, outcome)
        await rerun._hold(connection, [1])
    assert locked == [{1, 2, 3, 4}]


@pytest.mark.parametrize(
    ("links", "asked"),
    [
        ([_link(1, "failed")], []),
        ([_link(1, "failed"), _link(3, None, JOB)], [(8, 9)]),
        ([_link(1, "failed"), _link(2, "failed"), _link(3, None, JOB)], [(8, 9)]),
        ([_link(2, "failed"), _link(3, None, JOB)], []),
        ([_link(1, "failed", BATCH), _link(3, None, JOB)], []),
    ],
)
async def test_an_existing_run_of_a_job_that_waits_for_several_jobs_joins(
    monkeypatch, links, asked
):
    """Run 9, of weight 8, takes the place of run 1."""
    copy, parent, seen = _new(4), _new(1, weight=8), []

    async def joined(_connection, run, of, new_id):
        assert run is copy
        seen.append((of.weight, new_id))
        return True

    monkeypatch.setattr(dependencies, "joined", joined)
    child = rerun._Child(_row(), links)
    assert await rerun._joins(None, child, copy, {1: (RunId(9), parent)}) is bool(asked)
    assert seen == asked


@pytest.mark.parametrize(
    ("condition", "outcome", "is_unmet"),
    [
        ("success", SUCCEEDED, False),
        ("success", FAILED, True),
        ("success", CANCELLED, True),
        ("success", dependencies.DELETED, False),
        ("success", None, False),
        ("failure", FAILED, False),
        ("failure", SUCCEEDED, True),
        ("finish", FAILED, False),
        ("finish", dependencies.DELETED, False),
    ],
)
async def test_a_rerun_of_the_parent_may_help_where_its_outcome_does_not(
    store, condition, outcome, is_unmet
):
    link = {"ChildId": 2, "ParentKind": RUN, "ParentId": 1, "Condition": condition}
    link |= {"Quorum": "all", "Otherwise": "discard", "Outcome": outcome}
    async with store.write() as connection:
        await connection.execute(sa.insert(job_link).values(link))
        rows = await connection.execute(sa.select(job_link).where(dependencies._IS_UNMET))
        assert len(rows.all()) == is_unmet
