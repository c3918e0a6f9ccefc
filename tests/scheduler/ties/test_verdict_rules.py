"""Decisions about dependents from the outcomes of their parents, by tables, without a database."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from targcc_scheduler import RunState
from targcc_scheduler.kernel.dependencies import (
    DELETED,
    _going,
    _listed,
    _reasons,
    due_after,
    is_met,
    verdict,
)
from targcc_scheduler.kernel.runs.values import ASKS, Tie

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _links(outcomes, condition="success", quorum="all", otherwise="cancel"):
    return [
        SimpleNamespace(
            ParentKind="run",
            ParentId=number,
            Condition=condition,
            Outcome=outcome,
            Quorum=quorum,
            Otherwise=otherwise,
        )
        for number, outcome in enumerate(outcomes, 1)
    ]


@pytest.mark.parametrize(
    ("condition", "outcome", "met"),
    [
        ("success", "succeeded", True),
        ("success", "failed", False),
        ("success", "cancelled", False),
        ("success", DELETED, False),
        ("failure", "failed", True),
        ("failure", "succeeded", False),
        ("failure", "cancelled", False),
        ("finish", "succeeded", True),
        ("finish", "failed", True),
        ("finish", "cancelled", True),
        ("finish", DELETED, True),
    ],
)
def test_an_outcome_meets_a_condition(condition, outcome, met):
    [link] = _links([outcome], condition)
    assert is_met(link) is met


WELL, BADLY, OPEN = "succeeded", "failed", None


@pytest.mark.parametrize(
    ("quorum", "otherwise", "outcomes", "decision"),
    [
        ("all", "cancel", [WELL], "goes"),
        ("all", "cancel", [OPEN], "waits"),
        ("all", "cancel", [BADLY], "discarded"),
        ("all", "cancel", [WELL, WELL], "goes"),
        ("all", "cancel", [WELL, OPEN], "waits"),
        ("all", "cancel", [WELL, BADLY], "discarded"),
        ("all", "cancel", [BADLY, OPEN], "discarded"),
        ("any", "cancel", [WELL, OPEN, OPEN], "goes"),
        ("any", "cancel", [WELL, BADLY], "goes"),
        ("any", "cancel", [BADLY, OPEN], "waits"),
        ("any", "cancel", [BADLY, BADLY], "discarded"),
        ("any", "cancel", [OPEN, OPEN], "waits"),
        # Parents that may be rerun are waited for, deleted parents are not.
        ("all", "wait", [BADLY], "waits"),
        ("all", "wait", [WELL, BADLY], "waits"),
        ("all", "wait", [DELETED], "discarded"),
        ("all", "wait", [BADLY, DELETED], "discarded"),
        ("any", "wait", [BADLY, DELETED], "waits"),
        ("any", "wait", [DELETED, DELETED], "discarded"),
    ],
)
def test_a_dependent_goes_waits_or_is_discarded(quorum, otherwise, outcomes, decision):
    assert verdict(_links(outcomes, quorum=quorum, otherwise=otherwise)) == decision


@pytest.mark.parametrize(
    ("due", "ties", "at"),
    [
        # Minutes from now; the run was created ten minutes ago.
        (-10, Tie.FOLLOWS, -0),
        (-4, Tie.FOLLOWS, 0),
        (5, Tie.FOLLOWS, 5),
        # A relative delay counts from the end of the parents.
        (-10, Tie.FOLLOWS | Tie.DELAYED, 0),
        (-4, Tie.FOLLOWS | Tie.DELAYED, 6),
        (5, Tie.FOLLOWS | Tie.DELAYED, 15),
    ],
)
def test_a_dependent_is_due_after_its_parents(due, ties, at):
    assert due_after(NOW + due * MINUTE, NOW - 10 * MINUTE, int(ties), NOW) == NOW + at * MINUTE


def _row(due, *, expires=None, key=None, ties=Tie.FOLLOWS | Tie.DELAYED):
    return SimpleNamespace(
        DueAt=NOW + due * MINUTE,
        CreatedAt=NOW - 10 * MINUTE,
        ExpiresAt=None if expires is None else NOW + expires * MINUTE,
        Ties=int(ties),
        LimitKey=key,
    )


@pytest.mark.parametrize(
    ("row", "state", "due", "expires"),
    [
        (_row(-10), RunState.ENQUEUED, 0, None),
        (_row(-9), RunState.SCHEDULED, 1, None),
        (_row(-9, ties=Tie.FOLLOWS), RunState.ENQUEUED, 0, None),
        (_row(-10, key=ASKS), RunState.SCHEDULED, 0, None),
        (_row(-10, key="Work"), RunState.ENQUEUED, 0, None),
        # The expiry moves by as much as the due time.
        (_row(-9, expires=3), RunState.SCHEDULED, 1, 13),
    ],
)
def test_a_dependent_that_goes_is_enqueued_or_scheduled(row, state, due, expires):
    going = _going(row, _links([WELL, OPEN]), NOW)
    assert (going.state, going.due_at) == (state, NOW + due * MINUTE)
    assert going.expires_at == (None if expires is None else NOW + expires * MINUTE)
    assert going.note == "after run 1 of 2"


@pytest.mark.parametrize(
    ("count", "of", "text"),
    [
        (1, 1, "run 1"),
        (2, 2, "run 1, run 2"),
        (2, 3, "run 1, run 2 of 3"),
        (5, 5, "run 1, run 2, run 3, run 4, run 5"),
        (6, 6, "run 1, run 2, run 3, run 4, run 5 and 1 others"),
        (8, 9, "run 1, run 2, run 3, run 4, run 5 and 3 others of 9"),
    ],
)
def test_five_parents_are_listed(count, of, text):
    links = _links([WELL] * of)
    assert _listed(links, links[:count]) == text


def test_the_reason_of_a_discarded_run_lists_its_parents():
    reason = _reasons(_links(["failed", "cancelled", "skipped", "missed", DELETED]))
    assert reason == (
        "run 1 failed; run 2 was cancelled; run 3 was skipped; run 4 missed; run 5 was deleted"
    )
