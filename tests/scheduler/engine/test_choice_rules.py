"""Runs that a claim takes, by tables, without a database."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.runs import claim
from targcc_scheduler.kernel.runs.claim import MOST_MISFITS, POISON_AFTER, Choice
from targcc_scheduler.kernel.runs.values import ClaimTerms, Identity

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _choice(**fields):
    given = {"limits": {}, "busy": Counter(), "poison": False, "terms": {}}
    return Choice(**{**given, "fits": lambda *_: None, "now": NOW, **fields})


def _row(number=1, job="Work", **columns):
    given = {
        "Id": number,
        "JobName": job,
        "ArgumentsJson": None,
        "ExpiresAt": None,
        "Attempt": 0,
        "LostWorkers": 0,
        "LimitKey": None,
        "Queue": "default",
    }
    return SimpleNamespace(**{**given, **columns})


@pytest.mark.parametrize(
    ("expires_at", "attempt", "taken"),
    [
        (None, 0, True),
        (NOW + SECOND, 0, True),
        (NOW, 0, False),
        (NOW - SECOND, 0, False),
        (NOW - SECOND, 1, True),  # a run that has begun once does not expire
    ],
)
def test_a_run_that_has_not_begun_in_time_expires(expires_at, attempt, taken):
    choice = _choice()
    assert choice.take(_row(7, ExpiresAt=expires_at, Attempt=attempt)) is taken
    assert (choice.run_ids, choice.expired) == (([7], []) if taken else ([], [7]))


def test_a_run_that_the_node_cannot_perform_is_a_misfit_with_its_reason():
    calls = []

    def fits(*words):
        calls.append(words)
        return "unknown job"

    choice = _choice(fits=fits)
    assert choice.take(_row(7, ArgumentsJson="{}")) is False
    assert calls == [("Work", "{}", 7)]
    [misfit] = choice.misfits
    assert (misfit.run_id, misfit.job_name, misfit.why) == (7, "Work", "unknown job")
    assert choice.run_ids == []


@pytest.mark.parametrize(
    ("limits", "busy", "jobs", "taken"),
    [
        ({}, {}, ["Work", "Work"], [True, True]),
        ({"Work": 1}, {}, ["Work", "Work", "Other"], [True, False, True]),
        ({"Work": 2}, {"Work": 1}, ["Work", "Work"], [True, False]),
        ({"Work": 1}, {"Work": 1}, ["Work"], [False]),
        ({"Work": 1}, {"Work": 3}, ["Work"], [False]),
        ({"Work": 1}, {"Other": 1}, ["Work"], [True]),
    ],
)
def test_no_more_runs_of_a_job_are_taken_than_its_limit(limits, busy, jobs, taken):
    choice = _choice(limits=limits, busy=Counter(busy))
    assert [choice.take(_row(number, job)) for number, job in enumerate(jobs)] == taken
    full = [name for name, limit in limits.items() if choice.busy[name] >= limit]
    assert choice.full() == full


def test_jobs_at_their_limit_are_full():
    choice = _choice(limits={"A": 1, "B": 2, "C": 1}, busy=Counter(A=1, B=1, C=2))
    assert choice.full() == ["A", "C"]


@pytest.mark.parametrize(
    ("poison", "lost", "taken"),
    [
        (False, [POISON_AFTER], [True]),
        (True, [POISON_AFTER], [False]),
        (True, [POISON_AFTER - 1], [True]),
        (False, [POISON_AFTER, POISON_AFTER, 0], [True, False, True]),
        (False, [0, POISON_AFTER], [True, True]),
    ],
)
def test_a_node_has_one_poison_run_and_offers_the_next_later(poison, lost, taken):
    choice = _choice(poison=poison)
    rows = [_row(number, LostWorkers=count) for number, count in enumerate(lost)]
    assert [choice.take(row) for row in rows] == taken
    assert choice.later == [row for row, is_taken in zip(rows, taken, strict=True) if not is_taken]


@pytest.mark.parametrize(
    ("room", "queues", "taken"),
    [
        ({}, ["a", "a"], [True, True]),
        ({"a": 1}, ["a", "a", "b"], [True, False, True]),
        ({"a": 0}, ["a"], [False]),
        ({"a": 2, "b": 1}, ["a", "b", "a", "a"], [True, True, True, False]),
    ],
)
def test_no_more_runs_of_a_queue_are_taken_than_its_room(room, queues, taken):
    choice = _choice(room=dict(room))
    rows = [_row(number, Queue=queue) for number, queue in enumerate(queues)]
    assert [choice.take(row) for row in rows] == taken


class Keys:
    """Capacity of keys as the test says."""

    more = True

    def __init__(self, *, held_up=False, room=True):
        self.held_up, self.room = held_up, room

    def is_held_up(self, row):
        del row
        return self.held_up

    def take(self, row):
        del row
        return self.room


@pytest.mark.parametrize(
    ("keys", "key", "taken", "later"),
    [
        (None, None, True, False),
        (Keys(), "Work", True, False),
        (Keys(room=False), "Work", False, False),
        (Keys(room=False), None, True, False),
        (Keys(held_up=True), "Work", False, True),
        (Keys(held_up=True), None, True, False),
    ],
)
def test_a_run_with_a_key_is_taken_if_the_key_has_capacity(keys, key, taken, later):
    choice = _choice(keys=keys)
    row = _row(LimitKey=key)
    assert choice.take(row) is taken
    assert (row in choice.later) is later
    assert choice.busy["Work"] == int(taken)


@pytest.mark.parametrize(
    ("misfits", "expired", "more", "goes_on"),
    [
        (0, 0, None, True),
        (MOST_MISFITS - 1, 0, None, True),
        (MOST_MISFITS, 0, None, False),
        (0, MOST_MISFITS, None, False),
        (MOST_MISFITS - 2, 1, None, True),
        (MOST_MISFITS - 1, 1, None, False),
        (0, 0, True, True),
        (0, 0, False, False),
    ],
)
def test_a_claim_stops_looking_after_many_runs_it_cannot_take(misfits, expired, more, goes_on):
    keys = None if more is None else SimpleNamespace(more=more)
    choice = _choice(keys=keys, misfits=[None] * misfits, expired=[0] * expired)
    assert choice.goes_on is goes_on


@pytest.mark.parametrize(
    ("keyed", "rows", "expected"),
    [
        (False, [(2, False, False, 7), (2, False, False, 8)], ([7, 8], 2, False, False)),
        (True, [(3, True, False, 7), (3, True, False, 7)], ([7], 3, True, False)),  # two entries
        (False, [(1, False, True, None)], ([], 1, False, True)),
        (False, [(0, False, False, None)], None),
    ],
)
async def test_a_claim_by_one_statement_tells_what_it_looked_at(monkeypatch, keyed, rows, expected):
    """An empty answer may mean that the node has no place: only then the place is looked up."""
    given, places = [], []

    class Statement:
        async def planned_once(self, connection, parameters):
            assert connection == "connection"
            given.append(parameters)
            return [
                SimpleNamespace(
                    **_claimed(run_id), looked_at=count, has_rest=rest, has_bundle=bundle
                )
                for count, rest, bundle, run_id in rows
            ]

    async def require_place(connection, server_id):
        places.append((connection, server_id))

    monkeypatch.setattr(claim, "require_place", require_place)
    monkeypatch.setattr(claim, "_statement", lambda entries, *, keyed: Statement())  # noqa: ARG005
    terms = ClaimTerms(
        server_id="node", limits={}, poison_here=False, now=NOW, fits=lambda *_: None,
        keyed={"Work": LimitPolicy(most=1)}, identity=Identity("f", "node", "1"),
    )  # fmt: skip
    taken = await claim.claim_fast("connection", None, {"count": 5}, terms, ["Work"], keyed=keyed)
    assert places == ([] if expected else [("connection", "node")])
    run_ids, count, rest, bundle = expected or ([], 0, False, False)
    assert [item.run_id for item in taken.claims] == run_ids
    assert (taken.count, taken.rest, taken.bundle) == (count, rest, bundle)
    (parameters,) = given
    assert parameters["most_lost"] == POISON_AFTER - 1
    assert (parameters["count"], parameters["plain"]) == (5, ["Work"])
    assert (parameters["server_id"], parameters["now"]) == ("node", NOW)
    assert ("terms" in parameters) is keyed


def _claimed(run_id):
    given = dict.fromkeys(column.name for column in claim.CLAIMED)
    return {**given, "Id": run_id, "JobName": "Work", "Ties": 0}


async def test_no_queue_is_looked_at_if_none_is_offered():
    terms = SimpleNamespace(tell=None, now=NOW, poison_here=False, fits=None, keyed={})
    offer = SimpleNamespace(queues=())
    choice = await claim.next_waiting(None, offer, terms)
    assert (choice.run_ids, choice.limits, choice.busy) == ([], {}, Counter())


@pytest.mark.parametrize(
    ("limits", "busy", "offered", "asked"),
    [
        ({"Work": 2}, {}, ["Work"], []),  # there is room for more than is offered
        ({"Work": 2}, {}, ["Work"] * 2, [("plain", 2)]),
        ({"Work": 2}, {"Work": 1}, ["Work"] * 3, [("plain", 1)]),
        ({"Work": 2}, {"Work": 2}, ["Work"] * 3, []),
        ({"Work": 1}, {}, ["Work"], [("aged", 1)]),
        ({"Work": 1}, {}, ["Other"], []),
    ],
)
async def test_the_next_runs_of_a_job_go_first_if_its_limit_would_be_full(
    monkeypatch, limits, busy, offered, asked
):
    calls = []

    def statement(name):
        class Statement:
            async def all(self, connection, parameters):
                assert connection == "connection"
                calls.append((name, parameters["count"]))
                given = {"job": "Work", "queue": "default", "refused": "%f%", "full": []}
                given |= {"chosen": [], "most_lost": 3, "now": NOW}
                given |= {"aging": 9} if name == "aged" else {}
                assert parameters == given | {"count": parameters["count"]}
                return [_row(100 + number, "Work") for number in range(parameters["count"])]

        return Statement()

    monkeypatch.setattr(claim, "_NEXT_OF_JOB", statement("plain"))
    monkeypatch.setattr(claim, "_NEXT_AGED_OF_JOB", statement("aged"))
    choice = _choice(limits=limits, busy=Counter(busy))
    rows = [_row(number, job) for number, job in enumerate(offered)]
    aging = {"default": 9} if ("aged", 1) in asked else {}
    await claim._take_next_of_full("connection", choice, rows, aging, "%f%")
    assert calls == asked
    assert choice.run_ids == [100 + number for _, count in asked for number in range(count)]
