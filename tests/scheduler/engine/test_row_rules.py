"""Rows that creating and settling a run writes, by tables, without a database."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.core.errors import RunStateError
from targcc_scheduler.kernel.runs import create, settle
from targcc_scheduler.kernel.runs.transition import transition
from targcc_scheduler.kernel.runs.values import (
    ANY_TIE,
    ASKS,
    LIMITED,
    NO_LIMIT,
    AttemptRecord,
    Claim,
    NewRun,
    Settlement,
    Tie,
)

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=5)
SLOT = NOW - timedelta(minutes=7)
SUCCEEDED, FAILED, CANCELLED = RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED
ENQUEUED, SCHEDULED, RETRYING = RunState.ENQUEUED, RunState.SCHEDULED, RunState.RETRYING
MISSED, SKIPPED, RUNNING = RunState.MISSED, RunState.SKIPPED, RunState.RUNNING


def _new(**fields):
    given = {"job_name": "Work", "job_type": "Recurring", "queue": "default", "priority": 0}
    return NewRun(**{**given, "arguments_json": None, "due_at": NOW, "triggered_by": "x", **fields})


@pytest.mark.parametrize(
    ("fields", "state", "ties"),
    [
        ({}, ENQUEUED, 0),
        ({"state": SCHEDULED}, SCHEDULED, 0),
        ({"ties": Tie.BATCH}, ENQUEUED, Tie.BATCH),
        ({"limit_key": "Work"}, ENQUEUED, Tie.LIMITED),
        ({"limit_key": "Work", "ties": Tie.BATCH}, ENQUEUED, Tie.BATCH | Tie.LIMITED),
        # A run whose keys are decided later waits for the next staging.
        ({"limit_key": ASKS}, SCHEDULED, Tie.LIMITED),
        ({"limit_key": ASKS, "state": RunState.AWAITING}, RunState.AWAITING, Tie.LIMITED),
    ],
)
def test_the_row_of_a_new_run(fields, state, ties):
    row = create.new_row(_new(note="why", **fields), NOW)
    assert (row["State"], row["Ties"]) == (state, ties)
    assert (row["CreatedAt"], row["CompletedAt"], row["Message"]) == (NOW, None, None)


@pytest.mark.parametrize("state", [MISSED, SKIPPED])
def test_a_slot_that_does_not_run_is_over_at_once_and_says_why(state):
    row = create.new_row(_new(state=state, note="why"), NOW)
    assert (row["State"], row["CompletedAt"], row["Message"]) == (state, NOW, "why")


@pytest.mark.parametrize(("slot", "at"), [(SLOT, SLOT), (None, NOW)])
def test_a_slot_that_does_not_run_counts_at_its_instant(slot, at):
    ending = create._ending(_new(state=MISSED, scheduled_for=slot), NOW)
    assert (ending.job, ending.at, ending.outcome) == ("Work", at, MISSED)


@pytest.mark.parametrize(
    ("states", "has_cause"),
    [
        ([MISSED, MISSED], [True, True]),
        ([MISSED, SKIPPED], [True, False]),
        ([MISSED, ENQUEUED], [False, False]),  # the run makes up for the slot
    ],
)
def test_a_missed_slot_is_in_the_inbox_unless_a_run_makes_up_for_it(states, has_cause):
    runs = create._with_causes([_new(state=state) for state in states])
    assert [run.cause is not None for run in runs] == has_cause
    other = create._with_causes([_new(state=MISSED), _new(job_name="Other")])
    assert other[0].cause is not None


def _claim(**fields):
    given = {"run_id": 7, "job_name": "Work", "job_type": "Recurring", "queue": "default"}
    given |= {"priority": 0, "attempt": 1, "lost_workers": 0, "arguments_json": None}
    given |= {"scheduled_for": None, "created_at": SLOT, "due_at": SLOT, "triggered_by": "x"}
    return Claim(**{**given, "server_id": "node", "started_at": BEGAN, **fields})


def _settlement(state, *, success=None, attempt=1, **fields):
    record = None
    if success is not None:
        record = AttemptRecord(
            ended_at=NOW, success=success, server="node", message="m", duration_ms=12
        )
    return Settlement(claim=_claim(attempt=attempt), state=state, attempt=record, **fields)


@pytest.mark.parametrize(
    ("settlement", "counted"),
    [
        # Instant, outcome, duration, retried.
        (_settlement(SUCCEEDED, success=True), (BEGAN, SUCCEEDED, 12, False)),
        (_settlement(SUCCEEDED, success=True, attempt=2), (BEGAN, SUCCEEDED, 12, True)),
        (_settlement(FAILED, success=False), (BEGAN, FAILED, None, False)),
        (_settlement(FAILED, success=False, attempt=3), (BEGAN, FAILED, None, True)),
        (_settlement(CANCELLED), (NOW, CANCELLED, None, False)),
        (_settlement(RETRYING, success=False), (BEGAN, RETRYING, None, False)),
        (_settlement(RETRYING, success=False, attempt=2), (BEGAN, RETRYING, None, False)),
        (_settlement(ENQUEUED), None),  # a released attempt
    ],
)
def test_an_ending_is_counted_once(settlement, counted):
    ending = settle._ending(settlement, NOW)
    assert counted == (
        None if ending is None else (ending.at, ending.outcome, ending.duration_ms, ending.retried)
    )


@pytest.mark.parametrize(
    ("settlement", "values"),
    [
        (
            _settlement(SUCCEEDED, success=True, message="done"),
            {"completed_at": NOW, "last_server_id": "node", "not_counted": 0, "lost": 0},
        ),
        (
            _settlement(ENQUEUED, counts=False, due_at=SLOT),
            {"completed_at": None, "last_server_id": None, "not_counted": 1, "due_at": SLOT},
        ),
        (_settlement(FAILED, cost_a_worker=True), {"lost": 1, "state": FAILED}),
        (_settlement(FAILED, progress=(1.0, 4.0)), {"done": 1.0, "total": 4.0}),
        (_settlement(FAILED), {"done": None, "total": None, "barred": 0, "cause": None}),
    ],
)
def test_the_values_of_a_settlement(settlement, values):
    row = settle._row(settlement, NOW, None, untied=False)
    assert {name: row[name] for name in values} == values


@pytest.mark.parametrize(("ties", "barred"), [(0, ANY_TIE), (LIMITED, NO_LIMIT)])
def test_a_settlement_without_effects_is_barred_by_ties(ties, barred):
    item = Settlement(claim=_claim(ties=ties), state=SUCCEEDED)
    assert settle._row(item, NOW, None, untied=True)["barred"] == barred


def test_a_settlement_from_a_wrong_state_is_refused():
    item = Settlement(claim=_claim(), state=RUNNING, source=SUCCEEDED)
    with pytest.raises(RunStateError, match="succeeded cannot become running"):
        settle._row(item, NOW, None, untied=False)


@pytest.mark.parametrize(
    ("target", "sources", "allowed"),
    [
        (SUCCEEDED, None, ["running"]),
        (ENQUEUED, [SCHEDULED], ["scheduled"]),
        (ENQUEUED, [SCHEDULED, SUCCEEDED], ["scheduled"]),
    ],
)
def test_a_transition_begins_in_allowed_states_only(target, sources, allowed):
    words = {} if sources is None else {"sources": sources}
    statement = transition(target, **words).compile(compile_kwargs={"render_postcompile": True})
    states = {str(state) for state in RunState}
    where = str(statement).partition("WHERE")[2]
    written = {str(value) for value in statement.params.values()} | set(where.split("'"))
    assert sorted((written & states) - {str(target)}) == allowed
    assert isinstance(transition(target, **words), sa.Update)
