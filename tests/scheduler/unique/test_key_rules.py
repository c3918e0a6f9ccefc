"""Unique keys, idempotency keys and expiry of a run, by tables; the rows of unique keys on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.core.errors import IdempotencyError, RunStateError
from targcc_scheduler.db.tables import job_run, job_unique
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import unique
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.options import Unique, digest_of
from targcc_scheduler.kernel.runs.values import NewRun, Ready, Tie, UniqueKey

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENQUEUED, RUNNING, SUCCEEDED = RunState.ENQUEUED, RunState.RUNNING, RunState.SUCCEEDED


def _work(number: int = 1) -> None:
    """Job function for the definitions."""


def _job(**options):
    return define(_work, **{"name": "Work", **options})


def _holder(state=ENQUEUED, attempt=0, ended=None, started=None, until=None):
    return SimpleNamespace(
        RunId=5,
        State=state,
        Attempt=attempt,
        CompletedAt=ended,
        StartedAt=started,
        Until=until,
        Queue="q",
        Priority=3,
    )


def _new(rule=None, due=NOW, state=ENQUEUED, expires=None):
    return NewRun(
        job_name="Work",
        job_type="Manual",
        queue="q",
        priority=0,
        due_at=due,
        triggered_by="dana",
        state=state,
        expires_at=expires,
        unique=UniqueKey("k", rule),
    )


RUN, QUEUED = Unique(), Unique(scope="queued")
HOUR = Unique(window=60 * MINUTE)


@pytest.mark.parametrize(
    ("rule", "holder", "held"),
    [
        (RUN, _holder(), True),
        (RUN, _holder(RunState.SCHEDULED), True),
        (RUN, _holder(RunState.AWAITING), True),
        (RUN, _holder(RUNNING, 1), True),
        (RUN, _holder(RunState.RETRYING, 1), True),
        (RUN, _holder(None), False),
        (RUN, _holder(SUCCEEDED, 1, NOW), False),
        (RUN, _holder(RunState.FAILED, 1, NOW), False),
        (QUEUED, _holder(), True),
        (QUEUED, _holder(RUNNING, 1), False),
        (QUEUED, _holder(RUNNING, 0), False),
        (QUEUED, _holder(ENQUEUED, 1), False),
        (None, _holder(RUNNING, 1), True),
        (None, _holder(SUCCEEDED, 1, NOW), False),
        (HOUR, _holder(SUCCEEDED, 1, NOW - 59 * MINUTE), True),
        (HOUR, _holder(SUCCEEDED, 1, NOW - 60 * MINUTE), False),
        (HOUR, _holder(SUCCEEDED, 1, NOW - 61 * MINUTE), False),
        (HOUR, _holder(SUCCEEDED, 1, None), False),
        (HOUR, _holder(RunState.FAILED, 1, NOW), False),
        (HOUR, _holder(RunState.CANCELLED, 0, NOW), False),
    ],
)
def test_a_run_holds_its_key_for_as_long_as_the_rule_says(rule, holder, held):
    assert unique.is_held(holder, rule, NOW) is held


@pytest.mark.parametrize(("rule", "free"), [(None, NOW), (RUN, NOW), (HOUR, NOW + 60 * MINUTE)])
def test_the_key_of_a_run_that_is_over_is_free_after_the_window(rule, free):
    assert unique.free_at(_holder(SUCCEEDED, 1, NOW), rule) == free


@pytest.mark.parametrize(
    ("due", "earliest", "expected"),
    [
        (NOW, None, NOW),
        (NOW, NOW, NOW),
        (NOW, NOW - MINUTE, NOW),
        (NOW, NOW + MINUTE, NOW + MINUTE),
        (NOW - MINUTE, NOW, NOW - MINUTE),
        (NOW - MINUTE, NOW + MINUTE, NOW + MINUTE),
        (NOW + 5 * MINUTE, NOW + MINUTE, NOW + 5 * MINUTE),
        (NOW + 5 * MINUTE, NOW + 5 * MINUTE, NOW + 5 * MINUTE),
    ],
)
def test_a_run_is_postponed_to_an_instant_in_the_future(due, earliest, expected):
    assert unique._due(_new(due=due), earliest, NOW).due_at == expected


def test_a_postponed_run_is_scheduled_and_expires_as_much_later():
    run = unique._due(_new(expires=NOW + 2 * MINUTE), NOW + 5 * MINUTE, NOW)
    assert (run.state, run.expires_at) == (RunState.SCHEDULED, NOW + 7 * MINUTE)
    assert unique._due(_new(), NOW + MINUTE, NOW).expires_at is None
    awaiting = unique._due(_new(state=RunState.AWAITING), NOW + MINUTE, NOW)
    assert awaiting.state is RunState.AWAITING


def test_a_run_that_is_not_postponed_stays_as_it_is():
    run = _new(expires=NOW + MINUTE)
    assert unique._due(run, NOW, NOW) is run


DEBOUNCE = Unique(duplicate="debounce", wait=3 * MINUTE)
THROTTLE = Unique(duplicate="throttle", wait=3 * MINUTE)


@pytest.mark.parametrize(
    ("rule", "holder", "first", "after"),
    [
        (None, _holder(), 0, 0),
        (RUN, _holder(started=NOW), 0, 0),
        (DEBOUNCE, _holder(started=NOW - 10 * MINUTE), 3, 3),
        (THROTTLE, _holder(started=NOW - MINUTE), 0, 2),
        (THROTTLE, _holder(started=NOW - 3 * MINUTE), 0, 0),
        (THROTTLE, _holder(started=NOW - 10 * MINUTE), 0, 0),
        (THROTTLE, _holder(until=NOW + 7 * MINUTE), 0, 7),
        (THROTTLE, _holder(until=None), 0, 0),
        (THROTTLE, _holder(started=NOW, until=NOW + 7 * MINUTE), 0, 3),
    ],
)
def test_minutes_by_which_a_run_is_postponed(rule, holder, first, after):
    assert unique._first(_new(rule), NOW).due_at == NOW + first * MINUTE
    assert unique._after(holder, _new(rule), NOW).due_at == NOW + after * MINUTE


@pytest.mark.parametrize(
    ("state", "attempt", "begun"),
    [(ENQUEUED, 0, False), (ENQUEUED, 1, True), (RUNNING, 0, True), (RUNNING, 1, True)],
)
def test_a_run_has_begun_with_its_first_attempt(state, attempt, begun):
    assert unique._has_begun(_holder(state, attempt)) is begun


@pytest.mark.parametrize(
    ("rule", "holder"),
    [
        (RUN, _holder()),
        (DEBOUNCE, _holder(RUNNING, 1)),
        (Unique(duplicate="replace"), _holder(ENQUEUED, 1)),
    ],
)
def test_the_run_that_has_the_key_stands_as_it_is(rule, holder):
    unchanged = unique._unchanged({"k": holder}, {"k": _new(rule)}, NOW)
    assert unchanged == {"k": unique.Standing(5, None)}


@pytest.mark.parametrize(
    ("rule", "holder"),
    [
        (DEBOUNCE, _holder()),
        (Unique(duplicate="replace"), _holder()),
        (RUN, _holder(SUCCEEDED, 1, NOW)),
    ],
)
def test_a_run_that_takes_the_newest_arguments_or_is_over_is_locked_first(rule, holder):
    assert unique._unchanged({"k": holder}, {"k": _new(rule)}, NOW) == {}


@pytest.mark.parametrize(
    ("many_writers", "autocommit", "keeps"),
    [(False, False, False), (True, False, True), (True, True, False)],
)
async def test_a_transaction_on_a_database_with_many_writers_keeps_locks(
    monkeypatch, many_writers, autocommit, keeps
):
    dialect = SimpleNamespace(many_writers=many_writers)
    monkeypatch.setattr(unique, "known", SimpleNamespace(of=lambda _: dialect))

    class Connection:
        async def get_raw_connection(self):
            return SimpleNamespace(dbapi_connection=SimpleNamespace(autocommit=autocommit))

    assert await unique._keeps_locks(Connection()) is keeps


@pytest.mark.parametrize(
    ("options", "has"),
    [({}, False), ({"unique": True}, True), ({"limit": {"key": "number", "running": 1}}, True)],
)
def test_a_job_with_a_rule_or_a_limit_by_key_has_keys(options, has):
    assert unique.has_keys(_job(**options)) is has


def test_the_unique_key_of_a_run_has_the_rule_of_its_job():
    assert unique.unique_key(_job(), "{}") is None
    key = unique.unique_key(_job(unique=True), '{"number": 1}')
    assert key.rule == _job(unique=True).unique
    assert (
        unique.unique_key(_job(unique=lambda number: None if number else 0), '{"number": 1}')
        is None
    )


@pytest.mark.parametrize(
    ("of_job", "of_call", "expires"),
    [
        (None, None, None),
        ("5m", None, 5),
        (None, "2m", 2),
        ("5m", "2m", 2),
        ("5m", MINUTE, 1),
    ],
)
def test_minutes_within_which_a_run_starts(of_job, of_call, expires):
    at = unique.expiry(_job(expires_in=of_job), NOW, of_call)
    assert at == (None if expires is None else NOW + expires * MINUTE)


@pytest.mark.parametrize("limit", [timedelta(), -MINUTE])
def test_a_run_cannot_expire_before_it_is_due(limit):
    with pytest.raises(ValueError, match="a duration above 0"):
        unique.expiry(_job(), NOW, limit)
    assert unique.expiry(_job(), NOW, timedelta(microseconds=1)) > NOW


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (200, True), (201, False)])
def test_an_idempotency_key_has_1_to_200_characters(length, fits):
    if fits:
        assert unique.call_key(_job(), "{}", "k" * length).shown == "k" * length
    else:
        with pytest.raises(IdempotencyError, match="1 to 200 characters"):
            unique.call_key(_job(), "{}", "k" * length)


def test_an_idempotency_key_belongs_to_its_caller():
    assert unique.call_key(_job(), "{}", None) is None
    shared = unique.call_key(_job(aliases=("Old",)), '{"number": 1}', "k")
    assert (shared.key, shared.shown) == ("k", "k")
    assert shared.digest == digest_of(
        ["Work", shared_plain := _job().signature.plain('{"number": 1}')]
    )
    assert shared.former == (digest_of(["Old", shared_plain]),)
    assert unique.call_key(_job(), "{}", "k", "dana").key == digest_of(["dana", "k"])


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


A, B = ("Work", "a"), ("Work", "b")


async def _keys(connection):
    rows = await connection.execute(sa.select(job_unique))
    return {(row.JobName, row.UniqueKey): (row.RunId, row.Scope, row.Until) for row in rows}


async def _run(connection, run_id, **columns):
    given = {"Id": run_id, "JobName": "Work", "JobType": "Manual", "State": "enqueued"}
    given |= {"Queue": "q", "Priority": 3, "DueAt": NOW, "CreatedAt": NOW, "TriggeredBy": "dana"}
    await connection.execute(sa.insert(job_run).values(**given | columns))


async def test_new_keys_belong_to_nobody_until_the_runs_are_inserted(store):
    async with store.write() as connection:
        runs = {A: _new(RUN), B: _new(HOUR)}
        assert await unique.take(connection, runs, NOW) == runs
        nobody = (unique.NOBODY, "running", None)
        assert await _keys(connection) == {A: nobody, B: nobody}


async def test_keys_are_given_to_the_inserted_runs_with_their_rules(store):
    async with store.write() as connection:
        await unique.take(connection, {A: _new(RUN), B: _new(RUN)}, NOW)
        throttled = replace(_new(THROTTLE), unique=UniqueKey("a", THROTTLE))
        await unique.give(connection, {7: throttled, 8: replace(_new(), unique=None)})
        keys = await _keys(connection)
        assert keys == {A: (7, THROTTLE.scope, NOW), B: (unique.NOBODY, "running", None)}
        await unique.give(connection, {9: replace(_new(HOUR), unique=UniqueKey("b", HOUR))})
        assert (await _keys(connection))[B] == (9, "1h", None)


async def test_keys_are_left_if_no_run_was_inserted(store):
    async with store.write() as connection:
        await unique.take(connection, {A: _new(RUN), B: _new(RUN)}, NOW)
        await unique.give(connection, {7: replace(_new(RUN), unique=UniqueKey("b", RUN))})
        await unique.leave(connection, [A, B, ("Other", "a")])
        assert set(await _keys(connection)) == {B}
        await unique.take(connection, {A: _new(RUN)}, NOW)
        await unique.leave(connection, [("Other", "a"), ("Work", "c")])
        assert set(await _keys(connection)) == {A, B}


@pytest.mark.parametrize(
    ("columns", "rule", "is_free"),
    [
        ({}, RUN, False),
        ({"State": "running", "Attempt": 1}, RUN, False),
        ({"State": "running", "Attempt": 1}, QUEUED, True),
        ({"State": "failed", "CompletedAt": NOW}, RUN, True),
        ({"State": "succeeded", "CompletedAt": NOW}, HOUR, False),
        ({"State": "succeeded", "CompletedAt": NOW - 60 * MINUTE}, HOUR, True),
        (None, RUN, True),  # the run was removed
    ],
)
async def test_a_key_is_taken_over_once_its_run_is_over(store, columns, rule, is_free):
    async with store.write() as connection:
        if columns is not None:
            await _run(connection, 5, **columns)
        await unique.take(connection, {A: _new(RUN)}, NOW)
        await unique.give(connection, {5: replace(_new(RUN), unique=UniqueKey("a", RUN))})
        new = replace(_new(rule), unique=UniqueKey("a", rule))
        outcomes = await unique.take(connection, {A: new, B: _new(rule)}, NOW)
        assert outcomes[A] == (new if is_free else unique.Standing(5))
        assert outcomes[B] == _new(rule)


async def test_held_keys_return_the_rows_of_their_runs(store):
    async with store.write() as connection:
        await _run(connection, 5, State="running", Attempt=2)
        await unique.take(connection, {A: _new(RUN), B: _new(RUN)}, NOW)
        await unique.give(connection, {5: replace(_new(RUN), unique=UniqueKey("a", RUN))})
        rows = await unique.held(connection, [A, B, ("Work", "c")])
        assert {pair: (row.RunId, row.State, row.Attempt) for pair, row in rows.items()} == {
            A: (5, "running", 2)
        }
        await unique.tie(connection, [])
        await unique.tie(connection, [5])
        ties = await connection.scalar(sa.select(job_run.c.Ties).where(job_run.c.Id == 5))
        assert ties == Tie.KEYED


REPLACE = Unique(duplicate="replace")


@pytest.mark.parametrize(
    ("rule", "state", "due", "moves"),
    [
        (REPLACE, "enqueued", NOW, False),
        (REPLACE, "scheduled", NOW, False),
        (DEBOUNCE, "enqueued", NOW, False),
        (DEBOUNCE, "scheduled", NOW + 3 * MINUTE, True),
    ],
)
async def test_a_standing_run_takes_the_arguments_of_the_newest_call(
    store, rule, state, due, moves
):
    new = replace(_new(rule), arguments_json='{"number": 2}', expires_at=NOW + MINUTE)
    async with store.write() as connection:
        await _run(connection, 5, State=state)
        standing = await unique._stand(connection, _holder(state), new, NOW)
        row = (await connection.execute(sa.select(job_run))).one()
    assert (row.ArgumentsJson, row.DueAt) == ('{"number": 2}', due)
    assert row.ExpiresAt == (due + MINUTE if moves else None)
    assert standing == unique.Standing(5, Ready(5, "q", 3, due) if moves else None)


@pytest.mark.parametrize("columns", [{"State": "running"}, {"Attempt": 1}])
async def test_a_run_that_has_begun_meanwhile_does_not_stand_for_a_newer_call(store, columns):
    async with store.write() as connection:
        await _run(connection, 5, **columns)
        assert await unique._stand(connection, _holder(), _new(REPLACE), NOW) is None


async def test_files_of_the_newest_call_come_along(monkeypatch):
    added = []

    async def add(*given):
        added.append(given[1:])

    async def changed(*_):
        return 1

    monkeypatch.setattr(unique, "changed", changed)
    monkeypatch.setattr(unique.blobs, "add", add)
    for contents in ((), ("file",)):
        await unique._stand(None, _holder(), replace(_new(REPLACE), contents=contents), NOW)
    assert added == [(5, ("file",), NOW)]


@pytest.mark.parametrize(
    ("keys", "keeps_locks", "tries", "statements"),
    [
        ("a", True, ["+a"], []),
        ("a", True, ["=a"], []),
        ("a", True, ["a"], ["SAVEPOINT", "RELEASE"]),
        ("a", True, ["", "+a"], ["SAVEPOINT", "ROLLBACK", "RELEASE"]),
        ("a", False, ["", "", "a"], []),
        ("ab", False, ["a", "b"], []),
        ("ab", True, ["+ab"], ["SAVEPOINT", "RELEASE"]),
        ("ab", True, ["=ab"], ["SAVEPOINT", "RELEASE"]),
        ("ab", True, ["a", "ab"], ["SAVEPOINT", "ROLLBACK", "RELEASE"]),
        ("ab", True, ["", "b", "ab"], ["SAVEPOINT", "ROLLBACK", "ROLLBACK", "RELEASE"]),
    ],
)
async def test_no_lock_is_kept_while_another_is_waited_for(
    monkeypatch, keys, keeps_locks, tries, statements
):
    """``+`` marks keys that are new, ``=`` keys whose run stands as it is; other keys are locked."""
    executed, asked = [], []
    given = iter(tries)

    class Connection:
        dialect = SimpleNamespace(name="postgresql")

        async def execute(self, statement):
            executed.append(str(statement).split()[0])

    got = ""

    async def insert(_connection, pairs):
        nonlocal got
        asked.append("".join(sorted(pairs)))
        got = next(given)
        return set(got[1:]) & set(pairs) if got.startswith("+") else set()

    async def holders(_connection, pairs):
        return dict.fromkeys(pairs)

    def unchanged(holders, wanted, _now):
        return {key: wanted[key] for key in holders if got.startswith("=")}

    async def among_others(_connection, holders, wanted, _now):
        return {key: wanted[key] for key in holders if key in got}

    async def keeps(_connection):
        return keeps_locks

    for name, double in {
        "_insert": insert,
        "_holders": holders,
        "_unchanged": unchanged,
        "_among_others": among_others,
        "_keeps_locks": keeps,
    }.items():
        monkeypatch.setattr(unique, name, double)
    wanted = {key: _new() for key in keys}
    assert await unique.take(Connection(), wanted, NOW) == wanted
    assert executed == statements
    assert asked[0] == keys
    assert all(item == keys for item in asked) is (keys == "a" or keeps_locks or len(tries) == 1)


async def test_a_key_that_is_never_free_ends_in_an_error(monkeypatch):
    tries = []

    async def insert(*_):
        tries.append("")
        return set()

    async def nothing(*_):
        return {}

    monkeypatch.setattr(unique, "_insert", insert)
    for name in ("_holders", "_among_others", "_keeps_locks"):
        monkeypatch.setattr(unique, name, nothing)
    with pytest.raises(RunStateError, match="taken and left again all the time"):
        await unique.take(None, {A: _new()}, NOW)
    assert len(tries) == 1000
