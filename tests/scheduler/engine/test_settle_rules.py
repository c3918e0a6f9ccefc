"""Settlements: the runs, history, statistics, groups of errors and log lines that they write, and the rows of an import, by tables."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from targcc_scheduler import RunState
from targcc_scheduler.core.errors import UnknownRun
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import (
    job_failure,
    job_limit,
    job_log_line,
    job_run,
    job_stat,
    logged_job,
)
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.runs import settle, transition
from targcc_scheduler.kernel.runs.transition import state_line
from targcc_scheduler.kernel.runs.values import (
    ANY_TIE,
    LIMITED,
    NO_LIMIT,
    AttemptRecord,
    Claim,
    Ending,
    Settlement,
    Tie,
    Tied,
)

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=5)
SUCCEEDED, FAILED, ENQUEUED = RunState.SUCCEEDED, RunState.FAILED, RunState.ENQUEUED
CANCELLED, RETRYING = RunState.CANCELLED, RunState.RETRYING
AWAITED, QUIET = "Work/awaited", "Work/quiet"


def _claim(run_id=7, **fields):
    given = {"run_id": run_id, "job_name": "Work", "job_type": "Manual", "queue": "default"}
    given |= {"priority": 0, "attempt": 1, "lost_workers": 0, "arguments_json": None}
    given |= {"scheduled_for": None, "created_at": BEGAN, "due_at": BEGAN, "triggered_by": "dana"}
    return Claim(**{**given, "server_id": "node", "started_at": BEGAN, **fields})


def _settlement(run_id=7, state=SUCCEEDED, *, claim=None, **fields):
    return Settlement(claim=_claim(run_id, **(claim or {})), state=state, **fields)


def _attempt(*, success=True, **fields):
    given = {"ended_at": NOW, "server": "host", "message": "m", "duration_ms": 12}
    return AttemptRecord(**{**given, "success": success, **fields})


# Rows of the history.


@pytest.mark.parametrize(("success", "error"), [(True, None), (False, "m")])
def test_the_message_of_a_failed_attempt_is_its_error(success, error):
    row = settle.history_row(_claim(), _attempt(success=success))
    assert (row["Success"], row["ResultMessage"], row["ErrorMessage"]) == (success, "m", error)
    assert (row["JobName"], row["JobId"], row["TriggeredBy"]) == ("Work", "7", "dana")


@pytest.mark.parametrize(
    ("ended", "completed"), [(NOW, NOW), (BEGAN - timedelta(seconds=1), BEGAN)]
)
def test_no_attempt_ends_before_it_began_whatever_the_clocks_say(ended, completed):
    assert settle.history_row(_claim(), _attempt(ended_at=ended))["CompletedAt"] == completed


def _imported(**fields):
    given = {"job_name": "Work", "job_type": "Manual", "started_at": BEGAN, "completed_at": NOW}
    given |= {"duration_ms": 9, "success": True, "result_message": "done", "error_message": None}
    return settle.imported_row(**{**given, "server": "old", "metadata_json": None, **fields}, now=NOW)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "column", "longest"),
    [
        ("job_name", "J" * 200, "JobName", 100),
        ("job_type", "T" * 200, "JobType", 50),
        ("server", "S" * 200, "ServerName", 100),
    ],
)
def test_names_of_imported_runs_are_cut_to_their_columns(name, given, column, longest):
    assert _imported(**{name: given})[column] == given[:longest]


@pytest.mark.parametrize(("server", "name"), [("old", "old"), ("", None), (None, None)])
def test_an_imported_run_has_a_server_or_none(server, name):
    row = _imported(server=server)
    assert (row["ServerName"], row["Attempt"], row["TriggeredBy"]) == (name, 1, settle.IMPORTED)


@pytest.mark.parametrize(
    ("success", "outcome", "milliseconds"), [(True, SUCCEEDED, 9), (False, FAILED, None)]
)
def test_an_imported_run_counts_and_only_success_has_a_duration(success, outcome, milliseconds):
    ending = settle.imported_ending(_imported(success=success))
    assert (ending.job, ending.at) == ("Work", BEGAN)
    assert (ending.outcome, ending.duration_ms) == (outcome, milliseconds)


def test_imported_runs_are_found_by_job_and_start(migrated_url):
    rows = [_imported(metadata_json=text) for text in ("a", "b", None)]
    rows += [_imported(job_name="Other"), _imported(started_at=NOW)]
    own = {**_imported(metadata_json="ours"), "TriggeredBy": "dana"}
    with sync_engine(migrated_url) as engine, engine.begin() as connection:
        settle.insert_imported(connection, [])
        settle.insert_imported(connection, rows)
        connection.execute(sa.insert(logged_job), [own])
        wanted = {("Work", BEGAN), ("Work", BEGAN - timedelta(hours=1))}
        assert settle.imported_since(connection, wanted) == {
            ("Work", BEGAN): {"a", "b", None},
            ("Work", BEGAN - timedelta(hours=1)): set(),
        }
        assert settle.imported_since(connection, set()) == {}


# Settlements on a database.


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def _runs(connection, **by_id):
    """Insert runs that node ``node`` performs, in their first attempt. The argument ``r8`` has the columns of run 8."""
    for name, columns in by_id.items():
        given = {"Id": int(name[1:]), "JobName": "Work", "JobType": "Manual", "Queue": "default"}
        given |= {"Priority": 0, "DueAt": BEGAN, "CreatedAt": BEGAN, "TriggeredBy": "dana"}
        given |= {"State": "running", "ServerId": "node", "Attempt": 1, "StartedAt": BEGAN}
        await connection.execute(sa.insert(job_run).values(**given | columns))


async def _states(connection):
    rows = await connection.execute(sa.select(job_run.c.Id, job_run.c.State))
    return {row.Id: str(row.State) for row in rows}


@pytest.mark.parametrize(
    ("columns", "settles"),
    [
        ({}, True),
        ({"State": "enqueued"}, False),
        ({"ServerId": "other"}, False),
        ({"Attempt": 2}, False),
    ],
)
async def test_a_run_that_no_longer_belongs_to_the_claim_is_not_settled(store, columns, settles):
    item = _settlement(attempt=_attempt())
    async with store.write() as connection:
        await _runs(connection, r7=columns)
        assert await settle.settle(connection, [item], NOW) == [item] * settles
        for table, count in ((logged_job, settles), (job_stat, settles)):
            query = sa.select(sa.func.count()).select_from(table)
            assert await connection.scalar(query) == count
        expected = "succeeded" if settles else columns.get("State", "running")
        assert await _states(connection) == {7: expected}


async def test_settlements_return_in_their_order_with_the_ties_of_their_runs(store):
    ties = {8: 0, 9: int(Tie.FOLLOWED), 10: LIMITED, 11: LIMITED, 12: int(Tie.BATCH)}
    keys = {10: AWAITED, 11: QUIET}
    async with store.write() as connection:
        for key, awaited in ((AWAITED, True), (QUIET, False)):
            await connection.execute(
                sa.insert(job_limit).values(LimitKey=key, IsAwaited=awaited, UpdatedAt=NOW)
            )
        columns = {f"r{run}": {"Ties": tie, "LimitKey": keys.get(run)} for run, tie in ties.items()}
        await _runs(connection, **columns)
        items = [_settlement(run_id) for run_id in (12, 9, 99, 11, 10, 8)]
        settled = await settle.settle(connection, items, NOW)
    assert [item.claim.run_id for item in settled] == [12, 9, 11, 10, 8]
    assert [(item.ties, item.limit_key, bool(item.is_awaited)) for item in settled] == [
        (Tie.BATCH, None, False),
        (Tie.FOLLOWED, None, False),
        (LIMITED, QUIET, False),
        (LIMITED, AWAITED, True),
        (0, None, False),
    ]


@pytest.mark.parametrize(
    ("untied", "now_tied", "was_tied", "settles"),
    [
        (False, Tie.FOLLOWED, 0, True),
        (True, 0, 0, True),
        (True, Tie.FOLLOWED, 0, False),
        (True, LIMITED, 0, False),
        (True, LIMITED, LIMITED, True),
        (True, LIMITED | Tie.BATCH, LIMITED, False),
    ],
)
async def test_without_effects_a_run_settles_unless_others_depend_on_it(
    store, untied, now_tied, was_tied, settles
):
    item = _settlement(claim={"ties": int(was_tied)})
    async with store.write() as connection:
        await _runs(connection, r7={"Ties": int(now_tied)})
        settled = await settle.settle(connection, [item], NOW, untied=untied)
        assert len(settled) == settles
        assert await _states(connection) == {7: "succeeded" if settles else "running"}


async def test_failures_join_the_group_of_their_error(store):
    trace = 'Traceback:\n  File "work.py", line 3, in execute\n    x\nValueError: no 17'
    failed = [
        _settlement(8, FAILED, message="ValueError: no 17", attempt=_attempt(success=False, stack_trace=trace)),
        _settlement(9, FAILED, message="ValueError: no 18"),
        _settlement(10, FAILED, message="ValueError: no 19"),
        _settlement(11, SUCCEEDED),
    ]  # fmt: skip
    async with store.write() as connection:
        await _runs(connection, r8={}, r9={}, r10={"Attempt": 2}, r11={})
        await settle.settle(connection, failed, NOW)
        columns = (job_failure.c.JobName, job_failure.c.Kind, job_failure.c.Place)
        groups = (await connection.execute(sa.select(*columns))).all()
        assert sorted(map(tuple, groups), key=lambda row: row[2] is not None) == [
            ("Work", "ValueError", None),
            ("Work", "ValueError", "work.py in execute"),
        ]
        causes = dict((await connection.execute(sa.select(job_run.c.Id, job_run.c.Cause))).all())
    assert causes[8] is not None
    assert causes[9] not in {None, causes[8]}
    assert (causes[10], causes[11]) == (None, None)


async def test_log_lines_of_settled_runs_are_kept(store):
    line = {"Attempt": 1, "Level": "INFO", "At": NOW}
    items = [_settlement(run_id, log_lines=[{**line, "RunId": run_id, "Message": f"of {run_id}"}]) for run_id in (8, 9)]  # fmt: skip
    async with store.write() as connection:
        await _runs(connection, r8={}, r9={"ServerId": "other"})
        await settle.settle(connection, items, NOW)
        messages = (await connection.execute(sa.select(job_log_line.c.Message))).scalars()
        assert messages.all() == ["of 8"]


async def test_a_run_that_waits_again_keeps_its_capacity_and_loses_its_node(store):
    items = [
        _settlement(8, ENQUEUED, counts=False, note="released"),
        _settlement(9, RunState.RETRYING, cost_a_worker=True, due_at=NOW, progress=(1.0, 4.0)),
    ]
    async with store.write() as connection:
        await _runs(connection, r8={"LimitKey": QUIET}, r9={"LimitKey": QUIET})
        await settle.settle(connection, items, NOW)
        rows = (await connection.execute(sa.select(job_run).order_by(job_run.c.Id))).all()
    assert [(row.State, row.Attempt, row.LostWorkers) for row in rows] == [("enqueued", 0, 0), ("retrying", 1, 1)]  # fmt: skip
    assert [(row.RoomAt, row.DueAt) for row in rows] == [(BEGAN, BEGAN), (None, NOW)]
    assert [(row.ProgressDone, row.ProgressTotal) for row in rows] == [(None, None), (1.0, 4.0)]
    assert [(row.ServerId, row.CompletedAt) for row in rows] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("fields", "state", "message", "counted"),
    [
        ({"state": RETRYING, "message": "no", "due_at": NOW, "attempt": _attempt(success=False)}, CANCELLED, "cancelled by dana; no", CANCELLED),
        ({"state": ENQUEUED, "note": "released: bye", "counts": False}, CANCELLED, "cancelled by dana; released: bye", CANCELLED),
        ({"state": FAILED, "message": "no", "attempt": _attempt(success=False)}, FAILED, "no", FAILED),
        ({"state": SUCCEEDED, "message": "done", "attempt": _attempt()}, SUCCEEDED, "done", SUCCEEDED),
    ],
    ids=["retry", "release", "failure", "success"],
)  # fmt: skip
async def test_a_run_with_a_cancel_request_does_not_wait_again(store, fields, state, message, counted):  # fmt: skip
    item = _settlement(7, **fields)
    beside = _settlement(8, RETRYING, due_at=NOW)
    async with store.write() as connection:
        await _runs(connection, r7={"CancelRequestedBy": "dana", "Ties": int(Tie.FOLLOWED)}, r8={})
        settled = await settle.settle(connection, [item, beside], NOW)
        assert [(one.claim.run_id, one.state) for one in settled] == [(7, state), (8, RETRYING)]
        assert (settled[0].message, settled[0].ties) == (message, Tie.FOLLOWED)
        assert await _states(connection) == {7: str(state), 8: "retrying"}
        run = (await connection.execute(sa.select(job_run).where(job_run.c.Id == 7))).one()
        assert (run.CompletedAt, run.DueAt, run.CancelRequestedBy) == (NOW, BEGAN, "dana")
        outcomes = await connection.execute(sa.select(job_stat.c.Outcome, job_stat.c.Count))
        assert outcomes.all() == [(str(counted), 1)]
        attempts = await connection.scalar(sa.select(sa.func.count()).select_from(logged_job))
        assert attempts == (item.attempt is not None)
        again = await settle.settled_before(connection, [(item, NOW)])
        assert [(one.state, one.message) for one in again] == [(state, message)]


@pytest.mark.parametrize(
    ("tried", "state", "note", "was_written"),
    [
        (NOW, SUCCEEDED, "", True),
        (NOW, SUCCEEDED, "of another try", False),
        (NOW, FAILED, "", False),
        (NOW + timedelta(seconds=1), SUCCEEDED, "", False),
    ],
)
async def test_a_settlement_is_known_by_its_line_in_the_history_of_states(
    store, tried, state, note, was_written
):
    item = _settlement(state=state, note=note)
    async with store.write() as connection:
        await _runs(connection, r7={}, r8={})
        await settle.settle(connection, [_settlement()], NOW)
        tries = [(item, tried), (_settlement(8), NOW), (_settlement(99), NOW)]
        assert await settle.settled_before(connection, tries) == [item] * was_written


# States of runs.


async def test_the_state_of_a_run_or_an_error(store):
    async with store.write() as connection:
        await _runs(connection, r7={}, r8={"State": "failed", "CompletedAt": NOW})
        assert await transition.state_of(connection, 8) is FAILED
        with pytest.raises(UnknownRun, match="there is no run 9"):
            await transition.state_of(connection, 9)


@pytest.mark.parametrize(
    ("note", "line"),
    [
        ("", "2026-06-10T12:00:00.000+00:00 failed\n"),
        (" two\n words ", "2026-06-10T12:00:00.000+00:00 failed two words\n"),
    ],
)
def test_a_state_is_one_line_of_the_history(note, line):
    assert state_line(NOW, FAILED, note) == line
    assert transition.first_state(NOW, FAILED, note) == {"State": "failed", "LifeLog": line}


@pytest.mark.parametrize(
    "by_hand",
    [
        {"State": "enqueued"},
        {"ServerId": "other"},
        {"Attempt": 2},
    ],
)
async def test_a_run_belongs_to_its_node_in_its_attempt_while_it_runs(store, by_hand):
    async with store.write() as connection:
        await _runs(connection, r7={}, r8=by_hand)
        query = sa.select(job_run.c.Id)
        for run_id, owned in ((7, [7]), (8, []), (9, [])):
            rows = await connection.execute(query.where(transition.owned_by(run_id, "node", 1)))
            assert rows.scalars().all() == owned


@pytest.mark.parametrize(
    ("by_index", "column"), [(True, "c_JobRun.State"), (False, "coalesce(c_JobRun.State, ")]
)
def test_a_statement_by_id_does_not_look_at_the_index_of_states(by_index, column):
    condition = transition.is_in_state(ENQUEUED, FAILED, by_index=by_index)
    text = str(condition.compile(compile_kwargs={"literal_binds": True}))
    assert text.replace('"', "").startswith(column)
    assert text.endswith("IN ('enqueued', 'failed')")
    assert "coalesce" not in str(transition.is_in_state(ENQUEUED)).lower()


def test_a_run_that_another_transaction_has_locked_is_not_free():
    condition = transition.is_free(transition.OTHER.c.Id == 7)
    text = str(sa.select(job_run.c.Id).where(condition).compile(dialect=postgresql.dialect()))
    where = text.partition("WHERE")[2]
    assert where.strip().startswith("(c_JobRun.Id = ANY (ARRAY(")
    assert "FOR UPDATE SKIP LOCKED" in where


# PostgreSQL settles many runs in a single statement.


@pytest.mark.parametrize(
    ("duration", "server", "counted"),
    [
        (12, "node", {"milliseconds": 12, "retried": 1, "outcome": SUCCEEDED}),
        (None, "node", {"milliseconds": 0}),
        (12, None, {"shard": None}),  # the statement takes the shard of its connection
    ],
)
def test_the_statistics_of_a_settlement(duration, server, counted):
    ending = Ending(job="Work", at=NOW, outcome=SUCCEEDED, duration_ms=duration, retried=True)
    values = transition._counted({"server_id": server}, ending)
    assert {name: values[name] for name in counted} == counted
    assert (values["job_name"], values["begins_at"]) == ("Work", NOW)
    assert (values["shard"] is None) == (server is None)
    assert transition._counted({"server_id": server}, None) == {}


@pytest.mark.parametrize(
    ("barred", "free", "locks_keys"),
    [
        ([0, 0], False, True),  # with effects: the keys of the limits are locked afterwards
        ([ANY_TIE], False, False),
        ([NO_LIMIT, ANY_TIE], True, True),  # the keys are locked first: only free runs settle
    ],
)
async def test_the_statement_locks_the_keys_that_decide(monkeypatch, barred, free, locks_keys):
    sent = []

    async def execute(statement, _connection, parameters):
        sent.append((str(statement._statement), json.loads(parameters["rows"])))
        return [(7, 1, int(Tie.BATCH), None, False)]

    monkeypatch.setattr(transition.FrequentStatement, "all", execute)
    rows = [
        {"run_id": 7 + place, "server_id": "node", "due_at": NOW, "barred": bars}
        for place, bars in enumerate(barred)
    ]
    histories = [{"JobName": "Work", "Success": True}, *[None] * len(rows)][: len(rows)]
    endings = [Ending(job="Work", at=NOW, outcome=SUCCEEDED), *[None] * len(rows)][: len(rows)]
    settled = await transition._settle_at_once(None, rows, histories, endings)
    assert settled == {(7, 1): Tied(Tie.BATCH, None, is_awaited=False)}

    text, given = sent[0]
    assert [row["run_id"] for row in given] == [row["run_id"] for row in rows]
    assert given[0]["history"] == {"jobname": "Work", "success": True}
    assert [row["history"] for row in given[1:]] == [None] * (len(rows) - 1)
    assert [row.get("outcome") for row in given] == ["succeeded", *[None] * (len(rows) - 1)]
    assert datetime.fromisoformat(given[0]["due_at"]) == NOW
    assert ("held AS" in text) is locks_keys
    assert ("ending AS" in text) is free
    assert ("IsAwaited FROM settled" in text) is (0 in barred)
    columns = text.partition("INSERT INTO c_LoggedJob (")[2].partition(")")[0].split(", ")
    assert "JobName" in columns
    assert "Id" not in columns


@pytest.mark.parametrize("untied", [True, False])
async def test_the_json_of_an_attempt_is_read_once(migrated_postgresql_url, untied):
    """PostgreSQL expands ``(function(…)).*`` into a call for each column of the history."""
    statement = transition._postgresql_statement(untied=untied)
    store = Store(migrated_postgresql_url)
    async with store.read() as connection:
        plan = sa.text(f"EXPLAIN (VERBOSE) {statement._statement}")
        lines = [line for (line,) in await connection.execute(plan, {"rows": "[]"})]
    await store.dispose()
    assert sum(line.count("json_populate_record(") for line in lines) == 1
