"""Claims by tables: the order of chosen runs, closed queues, refused and released runs. On both databases."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from targcc_scheduler import RunState
from targcc_scheduler.core.errors import NodeUnknown, RunStateError, UnknownRun
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_queue, job_run, job_server
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import pauses
from targcc_scheduler.kernel.runs import claim, eligibility
from targcc_scheduler.kernel.runs.values import (
    ClaimTerms,
    Identity,
    Misfit,
    Offer,
    OfferedRun,
)

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ENQUEUED, RUNNING, SCHEDULED = RunState.ENQUEUED, RunState.RUNNING, RunState.SCHEDULED
SERVER = {"Name": "node one", "ProcessId": 1, "Queues": "q", "Workers": 4, "Version": "1"}
SERVER |= {"StartedAt": NOW, "HeartbeatAt": NOW}


@pytest.mark.parametrize(
    ("queues", "names"),
    [("default", {"default"}), ("default, mail", {"default", "mail"}), (" a ,b", {"a", "b"})],
)
def test_the_queues_of_a_node(queues, names):
    assert eligibility._names(queues) == names


def test_a_refusal_is_one_line():
    assert eligibility._plain("no\tjob\n of  this name") == "no job of this name"
    text = "f\tat\tnode\trelease\twhy\nbroken\n"
    (refusal,) = eligibility.refusals_of(text)
    assert (refusal.fingerprint, refusal.node, refusal.why) == ("f", "node", "why")
    assert eligibility.refusals_of(None) == ()


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    async with made.write() as connection:
        await connection.execute(sa.insert(job_server).values(Id="n1", **SERVER))
    yield made
    await made.dispose()


async def _insert(connection, run_id, **columns):
    given = {"JobName": "A", "JobType": "Manual", "State": ENQUEUED, "Queue": "q", "Priority": 0}
    given |= {"DueAt": NOW - MINUTE, "CreatedAt": NOW, "TriggeredBy": "dana"}
    await connection.execute(sa.insert(job_run).values(Id=run_id, **given | columns))


def _terms(**fields):
    return ClaimTerms(**{"server_id": "n1", "limits": {}, "poison_here": False, "now": NOW, **fields})  # fmt: skip


def _waiting(aging=None, **wanted):
    fields = {"wanted": wanted or {"q": 10}, "aging": aging or {}, "shared": (), "runs": ()}
    queues = {*fields["wanted"]}
    return SimpleNamespace(**fields, queues=queues)


@pytest.mark.parametrize(
    ("rows", "options", "chosen"),
    [
        # The highest priority first, then the longest due, then the oldest.
        ([{}, {"Priority": 5}, {"DueAt": NOW - HOUR}], {}, [2, 3, 1]),
        ([{}, {}], {}, [1, 2]),
        ([{}, {"State": SCHEDULED}, {"State": RunState.AWAITING}, {"Queue": "r"}], {}, [1]),
        # Limits of jobs and of queues.
        ([{}, {}, {"JobName": "B"}], {"limits": {"A": 1}}, [1, 3]),
        ([{"State": RUNNING}, {}, {"JobName": "B"}], {"limits": {"A": 1}}, [3]),
        ([{"State": RUNNING}, {}, {}], {"limits": {"A": 2}}, [2]),
        ([{}, {}, {}], {"queue_limits": {"q": 2}}, [1, 2]),
        ([{"State": RUNNING}, {}, {}], {"queue_limits": {"q": 2}}, [2]),
        ([{"State": RUNNING, "Queue": "r"}, {}, {}], {"queue_limits": {"q": 1}}, [2]),
        ([{"State": RUNNING}, {}], {"queue_limits": {"q": 1}}, []),
        ([{}, {}], {"queue_limits": {"r": 0}}, [1, 2]),
        # A poison run has cost workers; a node has one at a time.
        ([{"LostWorkers": 2}, {"LostWorkers": 2}, {}], {}, None),
        ([{"LostWorkers": 2}, {}], {"poison_here": True}, [2]),
        # An expired run and a misfit take no place.
        ([{"ExpiresAt": NOW}, {}], {}, [2]),
        ([{"ExpiresAt": NOW, "Attempt": 1}, {}], {}, [1, 2]),
        ([{}, {"JobName": "B"}], {"fits": lambda job, *_: "no job" if job == "A" else None}, [2]),
    ],
)
async def test_a_claim_takes_the_next_runs_of_a_queue(store, rows, options, chosen):
    async with store.write() as connection:
        for run_id, row in enumerate(rows, 1):
            await _insert(connection, run_id, **row)
        choice = await claim.next_waiting(connection, _waiting(), _terms(**options))
    if chosen is not None:
        assert choice.run_ids == chosen
    else:
        assert 3 in choice.run_ids
        assert len({1, 2} & set(choice.run_ids)) == 1


@pytest.mark.parametrize(
    ("count", "expired", "chosen"), [(1, 0, [1]), (2, 0, [1, 2]), (0, 0, []), (2, 60, [61, 62])]
)
async def test_a_claim_takes_as_many_runs_as_wanted(store, count, expired, chosen):
    async with store.write() as connection:
        for run_id in range(1, expired + 1):
            await _insert(connection, run_id, ExpiresAt=NOW - SECOND)
        for run_id in range(expired + 1, expired + 4):
            await _insert(connection, run_id)
        choice = await claim.next_waiting(connection, _waiting(q=count), _terms())
        assert choice.run_ids == chosen
        assert len(choice.expired) == expired


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        (None, [1, 2, 3]),
        (1, [3, 1, 2]),
        (393, [3, 1, 2]),
        (394, [1, 3, 2]),
        (3539, [1, 3, 2]),
        (3541, [1, 2, 3]),
    ],
)
async def test_with_ageing_a_run_that_waits_overtakes(store, seconds, chosen):
    """Run 3 has waited an hour, run 2 has the priority 1, run 1 the priority 9."""
    async with store.write() as connection:
        await _insert(connection, 1, Priority=9)
        await _insert(connection, 2, Priority=1)
        await _insert(connection, 3, DueAt=NOW - HOUR)
        aging = {} if seconds is None else {"q": seconds}
        choice = await claim.next_waiting(connection, _waiting(aging), _terms())
    assert choice.run_ids == chosen


@pytest.mark.parametrize(
    ("columns", "is_open"),
    [
        ({}, True),
        ({"PausedAt": NOW}, False),
        ({"PausedAt": NOW, "PausedUntil": NOW + SECOND}, False),
        ({"PausedAt": NOW, "PausedUntil": NOW}, True),
        ({"PausedAt": NOW, "Name": "r"}, True),
    ],
)
async def test_a_paused_queue_is_left_alone(store, columns, is_open):
    async with store.write() as connection:
        await _insert(connection, 1)
        await connection.execute(sa.insert(job_queue).values({"Name": "q", **columns}))
        choice = await claim.next_waiting(connection, _waiting(), _terms())
    assert choice.run_ids == ([1] if is_open else [])


def _window(queues=(), *, begins=-MINUTE, ends=HOUR, planned=-HOUR):
    at = {"starts_at": NOW + begins, "ends_at": NOW + ends, "planned_at": NOW + planned}
    return pauses.Window(0, **at, queues=queues, reason="disk", by="dana")


@pytest.mark.parametrize(
    ("windows", "is_open"),
    [
        ([_window(("q",))], False),
        ([_window(("other", "q"))], False),
        ([_window(("q", "other"))], False),
        ([_window(("other",))], True),
        ([_window(("queue", "a_q", "qq"))], True),
        ([_window()], False),
        ([_window(("other",)), _window(("q",))], False),
        ([_window(ends=timedelta(0))], True),
        ([_window(begins=timedelta(0))], False),
        ([_window(begins=SECOND)], True),
        # planned to begin at once, by a clock that is ahead
        ([_window(begins=MINUTE, planned=MINUTE)], False),
    ],
)
@pytest.mark.parametrize("aging", [{}, {"q": 60}])
async def test_a_queue_in_maintenance_is_left_alone(store, windows, is_open, aging):
    async with store.write() as connection:
        await _insert(connection, 1)
        for window in windows:
            await pauses.add(connection, window)
        choice = await claim.next_waiting(connection, _waiting(aging), _terms())
        active = await pauses.active(connection, NOW)
    assert choice.run_ids == ([1] if is_open else [])
    assert [window.is_active(NOW) for window in active] == [True] * len(active)
    assert any(window.covers("q") for window in active) is not is_open


async def test_a_run_that_was_created_after_its_queue_was_closed_is_left_alone(
    migrated_postgresql_url, monkeypatch
):
    """The queue is paused and the run is created while a claim is between two of its statements."""
    store = Store(migrated_postgresql_url)
    refused_by = claim.refused_by

    def meanwhile(fingerprint):
        with sync_engine(migrated_postgresql_url) as engine, engine.begin() as other:
            other.execute(sa.insert(job_queue).values(Name="q", PausedAt=NOW))
            given = {"JobName": "A", "JobType": "Manual", "State": ENQUEUED, "Queue": "q"}
            given |= {"DueAt": NOW, "CreatedAt": NOW, "TriggeredBy": "dana", "Priority": 0}
            other.execute(sa.insert(job_run).values(Id=1, **given))
        return refused_by(fingerprint)

    monkeypatch.setattr(claim, "refused_by", meanwhile)
    async with store.write() as connection:
        choice = await claim.next_waiting(connection, _waiting(), _terms())
    await store.dispose()
    assert choice.run_ids == []


def _offer(*runs):
    return Offer(runs=tuple(OfferedRun(run_id, job, None, "q") for run_id, job in runs))


@pytest.mark.parametrize(
    ("rows", "runs", "options", "claimed"),
    [
        ([{}, {}], [(2, "A"), (1, "A")], {}, [2, 1]),
        ([{}, {}], [(2, "A")], {"limits": {"A": 1}}, [1]),  # the next run of a job goes first
        ([{}, {}], [(2, "A"), (1, "A")], {"limits": {"A": 3}}, [2, 1]),
        ([{"Priority": 1}, {}, {"JobName": "B"}], [(2, "A"), (3, "B")], {"limits": {"A": 1}}, [1, 3]),
        ([{"State": RUNNING}, {}], [(2, "A")], {"limits": {"A": 1}}, []),
        ([{"State": SCHEDULED}], [(1, "A")], {}, [1]),
        ([{"State": SCHEDULED, "DueAt": datetime(2999, 1, 1, tzinfo=UTC)}], [(1, "A")], {}, []),
        ([{"State": RunState.SUCCEEDED, "CompletedAt": NOW}], [(1, "A")], {}, []),
        ([{"LostWorkers": 2}], [(1, "A")], {"poison_here": True}, []),
        ([{"ExpiresAt": NOW}], [(1, "A")], {}, []),
        ([{"ExpiresAt": NOW, "Attempt": 1}], [(1, "A")], {}, [1]),
        # Where the next run of a job cannot begin here, the run after that goes before the offered run.
        ([{"LostWorkers": 2}, {}, {}], [(3, "A")], {"limits": {"A": 1}, "poison_here": True}, [2]),
        ([{"LostWorkers": 2}, {}, {}], [(1, "A")], {"limits": {"A": 1}, "poison_here": True}, [2]),
        ([{"LostWorkers": 2}, {"LostWorkers": 2}, {}, {}], [(3, "A"), (4, "A")], {"limits": {"A": 2}}, [1, 3]),
        ([{"ExpiresAt": NOW}, {}, {}], [(3, "A")], {"limits": {"A": 1}}, [2]),
        ([{}, {}, {}], [(3, "A")], {"limits": {"A": 1}, "fits": lambda _job, _text, run: "no" if run == 1 else None}, [2]),
        ([{}, {}, {}], [(2, "A"), (3, "A")], {"limits": {"A": 2}, "queue_limits": {"q": 1}}, [1]),
        ([{}, {}], [(1, "A"), (2, "A")], {"queue_limits": {"q": 1}}, [1]),
        ([{}], [(1, "A"), (7, "A")], {}, [1]),
        ([{}, {"JobName": "B"}], [(1, "A"), (2, "B")], {"fits": lambda job, *_: "no" if job == "A" else None}, [2]),
    ],
)  # fmt: skip
async def test_a_claim_takes_offered_runs(store, rows, runs, options, claimed):
    async with store.write() as connection:
        for run_id, row in enumerate(rows, 1):
            await _insert(connection, run_id, **row)
        result = await claim.claim(connection, _offer(*runs), _terms(**options))
        assert [item.run_id for item in result.claims] == claimed
        for item in result.claims:
            row = (
                await connection.execute(sa.select(job_run).where(job_run.c.Id == item.run_id))
            ).one()
            assert (row.State, row.ServerId, row.StartedAt) == (RUNNING, "n1", NOW)
            assert row.Attempt == rows[item.run_id - 1].get("Attempt", 0) + 1 == item.attempt
            assert row.LifeLog.rstrip().endswith("running on n1")


@pytest.mark.parametrize(
    ("looks", "claimed"),
    [
        (lambda connection: claim.offered(connection, _offer((1, "A"), (2, "A")).runs, {}, _terms(limits={"A": 5})), [2]),
        (lambda connection: claim.offered(connection, _offer((3, "A")).runs, {}, _terms(limits={"A": 1})), [2]),
        (lambda connection: claim.next_waiting(connection, _waiting(), _terms()), [2, 3]),
        (lambda connection: claim.next_waiting(connection, _waiting({"q": 60}), _terms()), [2, 3]),
    ],
    ids=["offered", "next of the job", "next of the queue", "next with ageing"],
)  # fmt: skip
async def test_a_run_that_another_transaction_has_locked_is_passed_over(
    migrated_postgresql_url, looks, claimed
):
    store = Store(migrated_postgresql_url)
    async with store.write() as connection:
        await connection.execute(sa.insert(job_server).values(Id="n1", **SERVER))
        for run_id in (1, 2, 3):
            await _insert(connection, run_id)
    async with store.write() as other, store.write() as connection:
        await other.execute(sa.select(job_run.c.Id).where(job_run.c.Id == 1).with_for_update())
        await connection.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
        choice = await looks(connection)
    await store.dispose()
    assert choice.run_ids == claimed


async def test_offered_runs_without_a_limit_are_claimed_without_a_look_at_them(store, monkeypatch):
    monkeypatch.setattr(claim, "offered", None)
    async with store.write() as connection:
        for run_id in (1, 2):
            await _insert(connection, run_id)
        result = await claim.claim(connection, _offer((2, "A"), (1, "A")), _terms())
    assert [item.run_id for item in result.claims] == [2, 1]


async def test_a_run_that_only_time_lets_begin_is_offered_again_two_seconds_later(store):
    async with store.write() as connection:
        await _insert(connection, 1, LostWorkers=2)
        result = await claim.claim(connection, _offer((1, "A")), _terms(poison_here=True))
    assert result.claims == []
    assert [(run.run_id, run.due_at) for run in result.ready] == [(1, NOW + 2 * SECOND)]


async def test_a_claimed_run_knows_its_limits(store):
    async with store.write() as connection:
        await _insert(connection, 1)
        terms = _terms(limits={"A": 3}, queue_limits={"q": 4})
        (item,) = (await claim.claim(connection, _offer((1, "A")), terms)).claims
        assert (item.limit, item.queue_limit) == (3, 4)
        assert [run.run_id for run in await claim.claims_of_node(connection, "n1", "q")] == [1]
        assert await claim.claims_of_node(connection, "n1", "r") == []
        assert await claim.running_on(connection, "n1") == {item.key: None}
        assert await claim.running_on(connection, "n2") == {}
        kept = await claim.give_back(connection, "n1", [], {}, NOW, note="stops")
        assert kept == []
        (given,) = await claim.give_back(connection, "n1", [item.key], {}, NOW, note="stops")
        assert (given.claim.run_id, given.state) == (1, ENQUEUED)


async def test_a_node_that_is_not_registered_claims_nothing(store):
    async with store.write() as connection:
        await _insert(connection, 1)
        with pytest.raises(NodeUnknown):
            await claim.claim(connection, _offer((1, "A")), _terms(server_id="n2"))


async def test_a_queue_without_a_limit_is_not_counted(store):
    async with store.write() as connection:
        await _insert(connection, 1, State=RUNNING)
        await _insert(connection, 2, State=RUNNING, Queue="r")
        assert await claim._room(connection, {"q"}, _terms()) == {}
        limits = {"q": 5, "r": 1, "s": 9}
        assert await claim._room(connection, {"q", "r", "t"}, _terms(queue_limits=limits)) == {
            "q": 4,
            "r": 0,
        }
        assert await claim._running(connection, ["A"]) == Counter(A=2)
        assert await claim._running(connection, []) == Counter()


# Refused runs.


async def test_a_refusal_names_the_node_and_the_reason(store):
    terms = _terms(identity=Identity("f1", "node one", "r1"))
    async with store.write() as connection:
        await _insert(connection, 1)
        await _insert(connection, 2)
        assert await eligibility.refuse(connection, [], terms) == ([], [])
        await eligibility.refuse(connection, [Misfit(1, "A", "no\tjob")], terms)
        rows = {row.Id: row for row in await connection.execute(sa.select(job_run))}
        (refusal,) = eligibility.refusals_of(rows[1].RefusedBy)
        assert (refusal.fingerprint, refusal.node, refusal.release) == ("f1", "node one", "r1")
        assert (refusal.why, refusal.at) == ("no job", NOW.isoformat(timespec="milliseconds"))
        assert rows[1].UnknownSince == NOW
        assert (rows[2].UnknownSince, rows[2].RefusedBy) == (None, None)


async def test_the_longest_wait_for_a_node_is_known(store):
    async with store.write() as connection:
        assert (await eligibility.unknown(connection)).since is None
        await _insert(connection, 1, UnknownSince=NOW, RefusedBy="")
        await _insert(connection, 2, UnknownSince=NOW - HOUR, RefusedBy="")
        assert (await eligibility.unknown(connection)).since == NOW - HOUR


async def test_runs_that_no_node_has_known_for_long_are_given_up(store):
    async with store.write() as connection:
        await _insert(connection, 1, UnknownSince=NOW - HOUR, RefusedBy="f\tat\tn\tr\twhy\n")
        await _insert(connection, 2, UnknownSince=NOW - HOUR + SECOND, RefusedBy="")
        await _insert(connection, 3)
        (given_up,) = await eligibility.give_up(connection, NOW, HOUR, {})
        assert (given_up.claim.run_id, given_up.state) == (1, RunState.FAILED)
        assert given_up.message.startswith("given up: no node has known it since")
        assert given_up.message.endswith("asked: n (why)")


async def test_a_person_fails_a_run_that_waits_for_a_node(store):
    async with store.write() as connection:
        await _insert(connection, 1, UnknownSince=NOW, RefusedBy="")
        await _insert(connection, 2, UnknownSince=NOW, RefusedBy="")
        await _insert(connection, 3)
        await _insert(connection, 4, UnknownSince=NOW, State=RunState.FAILED, CompletedAt=NOW)
        (failed,) = await eligibility.fail(connection, 2, "dana", NOW)
        assert (failed.claim.run_id, failed.state) == (2, RunState.FAILED)
        assert failed.message.startswith("failed by dana: ")
        for run_id in (3, 4):
            with pytest.raises(RunStateError, match=f"run {run_id} does not wait"):
                await eligibility.fail(connection, run_id, "dana", NOW)
        with pytest.raises(UnknownRun, match="there is no run 9"):
            await eligibility.fail(connection, 9, "dana", NOW)


def _refused_by(*fingerprints):
    return "".join(f"{name}\tat\tn\tr\twhy\n" for name in fingerprints)


@pytest.mark.parametrize(
    ("columns", "nodes", "offered"),
    [
        ({}, [("f2", "q")], True),
        ({}, [("f2", "r, q")], True),
        ({}, [("f2", "r")], False),  # takes nothing from the queue of the run
        ({}, [("f1", "q")], False),  # is as the node that refuses
        ({"RefusedBy": _refused_by("f2")}, [("f2", "q")], False),
        ({"RefusedBy": _refused_by("f2")}, [("f2", "q"), ("f3", "q")], True),
        ({}, [(None, "q")], False),  # a node of an earlier release
        ({}, [], False),
        ({"State": RUNNING}, [("f2", "q")], False),
    ],
)
async def test_a_refused_run_is_offered_to_nodes_that_may_know_it(store, columns, nodes, offered):
    terms = _terms(identity=Identity("f1", "node one", "r1"))
    async with store.write() as connection:
        for number, (fingerprint, queues) in enumerate(nodes):
            values = {**SERVER, "Queues": queues, "Fingerprint": fingerprint}
            await connection.execute(sa.insert(job_server).values(Id=f"m{number}", **values))
        await _insert(connection, 1, Priority=3, **columns)
        others, again = await eligibility.refuse(connection, [Misfit(1, "A", "no job")], terms)
    waiting = eligibility.Waiting(1, "q", 3, NOW - MINUTE)
    assert (others, again) == ([waiting] * offered, [])


async def test_a_run_whose_job_was_renamed_meanwhile_is_not_refused(store):
    terms = _terms(identity=Identity("f1", "node one", "r1"))
    async with store.write() as connection:
        await _insert(connection, 1, JobName="B")
        others, again = await eligibility.refuse(connection, [Misfit(1, "A", "no job")], terms)
        row = (await connection.execute(sa.select(job_run))).one()
    assert (others, again) == ([], [eligibility.Waiting(1, "q", 0, NOW - MINUTE)])
    assert (row.RefusedBy, row.UnknownSince) == (None, None)


async def test_a_node_asks_for_runs_that_other_nodes_refused(store, monkeypatch):
    async with store.write() as connection:
        rows = [
            {"RefusedBy": _refused_by("f2")},
            {"RefusedBy": _refused_by("f2", "f1")},
            {"RefusedBy": _refused_by("f2"), "Queue": "r"},
            {},
            {"RefusedBy": _refused_by("f2"), "State": RUNNING},
            {"RefusedBy": _refused_by("f3")},
        ]
        for run_id, columns in enumerate(rows, 1):
            since = NOW if "RefusedBy" in columns else None
            await _insert(connection, run_id, UnknownSince=since, **columns)

        async def asked(*words):
            return [run.run_id for run in await eligibility.not_asked_yet(connection, "f1", *words)]

        assert await asked(["q"]) == [1, 6]
        assert await asked(["q", "r"]) == [1, 3, 6]
        assert await asked(["q"], 1) == [6]
        monkeypatch.setattr(eligibility, "_MOST", 1)
        assert await asked(["q"]) == [1]


async def test_runs_that_no_node_knows_are_told_once_by_job(store):
    async with store.write() as connection:
        for run_id, job, since in ((1, "A", HOUR), (2, "B", HOUR), (3, "A", 2 * HOUR), (4, "A", SECOND)):  # fmt: skip
            await _insert(connection, run_id, JobName=job, UnknownSince=NOW - since, RefusedBy=_refused_by("f"))  # fmt: skip
        await _insert(connection, 5, UnknownSince=NOW - HOUR, RefusedBy="", State=RUNNING)
        told = await eligibility.to_tell(connection, NOW - HOUR)
        assert {job: [row.Id for row in rows] for job, rows in told.items()} == {
            "A": [1, 3],
            "B": [2],
        }
        assert await eligibility.to_tell(connection, NOW - HOUR) == {}
        waits = await eligibility.unknown(connection)
        assert (waits.since, waits.untold_since) == (NOW - 2 * HOUR, NOW - SECOND)


async def test_the_claims_of_a_node_are_the_runs_that_it_performs(store):
    on_node = {"State": RUNNING, "ServerId": "n1", "StartedAt": NOW}
    rows = [on_node, on_node | {"ServerId": "n2"}, {"ServerId": "n1"}, on_node | {"Queue": "r"}]
    async with store.write() as connection:
        for run_id, row in enumerate(rows, 1):
            await _insert(connection, run_id, **row)
        claims = await claim.claims_of_node(connection, "n1", "q")
        running = await claim.running_on(connection, "n1")
    assert [item.run_id for item in claims] == [1]
    assert sorted(run_id for run_id, *_ in running) == [1, 4]


@pytest.mark.parametrize("row", [{"ExpiresAt": NOW - SECOND}, {"JobName": "B"}])
async def test_runs_that_a_claim_cannot_take_are_read_by_fifties(store, monkeypatch, row):
    looked_at = []

    class Counted:
        async def all(self, connection, parameters):
            looked_at.append(parameters["count"])
            return await next_waiting.all(connection, parameters)

    next_waiting = claim._NEXT_WAITING
    monkeypatch.setattr(claim, "_NEXT_WAITING", Counted())
    terms = _terms(fits=lambda job, *_: "no job" if job == "B" else None)
    async with store.write() as connection:
        for run_id in range(1, 61):
            await _insert(connection, run_id, **row)
        await _insert(connection, 61)
        choice = await claim.next_waiting(connection, _waiting(q=1), terms)
    assert (choice.run_ids, looked_at) == ([61], [1, 50, 50])


@pytest.mark.parametrize("waiting", [3, 250])
@pytest.mark.parametrize("aging", [None, {"q": 60}])
async def test_runs_of_other_jobs_start_however_many_runs_of_a_full_job_wait_before(
    store, waiting, aging
):
    rows = [{"State": RUNNING}, {"JobName": "C"}, {"JobName": "B"}, {"JobName": "B"}]
    rows += [{"JobName": "B", "Priority": 3}, {"JobName": "D", "Priority": 2}, {"Queue": "r"}]
    first = {"DueAt": NOW - HOUR}
    async with store.write() as connection:
        for run_id, row in enumerate(rows + [first] * waiting, 1):
            await _insert(connection, run_id, **row)
        terms = _terms(limits={"A": 1, "B": 2})
        choice = await claim.next_waiting(connection, _waiting(aging), terms)
    assert choice.run_ids == [5, 6, 2, 3]


@pytest.mark.sqlite
async def test_a_claim_on_sqlite_passes_over_the_runs_of_a_full_job(migrated_sqlite_url):
    """SQLite has no entries: a claim looks at the waiting runs, in steps that do not grow with those of a full job."""
    steps = []
    store = Store(migrated_sqlite_url)
    async with store.write() as connection:
        await connection.execute(sa.insert(job_server).values(Id="n1", **SERVER))
        await _insert(connection, 1, State=RUNNING)
        many = """
            WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
            INSERT INTO c_JobRun (Id, JobName, JobType, State, Queue, Priority, DueAt, CreatedAt, TriggeredBy)
            SELECT n, 'A', JobType, 'enqueued', Queue, Priority, DueAt, CreatedAt, TriggeredBy FROM number, c_JobRun WHERE Id = 1
        """
        await connection.execute(sa.text(many))
        await _insert(connection, 30_000, JobName="B", DueAt=NOW)
        raw = (await connection.get_raw_connection()).driver_connection._connection
        raw.set_progress_handler(lambda: steps.append(1), 1_000)
        choice = await claim.next_waiting(connection, _waiting(), _terms(limits={"A": 1}))
        raw.set_progress_handler(None, 0)
    await store.dispose()
    assert choice.run_ids == [30_000]
    assert len(steps) < 60
