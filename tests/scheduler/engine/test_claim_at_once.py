"""Single-statement claims on PostgreSQL: the same runs as a claim in a transaction, and no change to other runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on, until
from psycopg import _queries
from targcc_scheduler.core.errors import NodeUnknown
from targcc_scheduler.db.dialects.psycopg_driver import PsycopgStatement
from targcc_scheduler.db.tables import job_limit, job_run, job_server
from targcc_scheduler.kernel import limit_renames, poller
from targcc_scheduler.kernel.engine import procrastinate
from targcc_scheduler.kernel.engine.procrastinate import _TAKE as TAKE
from targcc_scheduler.kernel.engine.procrastinate import ENTRIES
from targcc_scheduler.kernel.engine.submit import submission
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.runs import claim, create
from targcc_scheduler.kernel.runs import claim as run_claim
from targcc_scheduler.kernel.runs.claim import Entries, Taken, claim_fast
from targcc_scheduler.kernel.runs.values import POISON_AFTER, Offer, OfferedRun, Tie

PARAMETERS = {"queue": sa.Text, "refused": sa.Text, "count": sa.Integer}


@pytest.fixture
async def node(migrated_postgresql_url: str) -> AsyncIterator[Node]:
    """A node that does not work."""
    async with nodes_on(migrated_postgresql_url) as make:
        yield await make()


async def take(
    node: Node, plain: Collection[str] = ("Work",), count: int = 10, *, keyed: bool = False
) -> Taken:
    """Claim runs as the engine does."""
    parameters = {"queue": "default", "refused": "", "count": count}
    async with node.store.write_at_once() as connection:
        terms = replace(node.terms(), keyed={"Work": LimitPolicy(most=1)})
        return await claim_fast(connection, ENTRIES, parameters, terms, plain, keyed=keyed)


async def entries(node: Node) -> int:
    """Return the number of queue entries."""
    async with node.store.read() as connection:
        count = await connection.scalar(sa.text("SELECT count(*) FROM procrastinate_jobs"))
    return int(count or 0)


async def change(node: Node, run_id: int, **values: object) -> None:
    async with node.store.write() as connection:
        await connection.execute(sa.update(job_run).where(job_run.c.Id == run_id).values(**values))


async def test_the_most_urgent_runs_are_taken_and_their_entries_are_gone(node):
    late = await node.create("Work")
    urgent = await node.create("Work", priority=10)
    last = await node.create("Work")
    taken = await take(node, count=2)
    assert [claim.run_id for claim in taken.claims] == [urgent, late]
    assert (taken.count, taken.rest) == (2, False)
    assert await entries(node) == 1
    assert await node.state(last) == "enqueued"


async def test_a_claim_is_what_a_transaction_makes_of_it(node):
    first, other = [await node.create("Work") for _ in range(2)]
    (claim,) = (await take(node, count=1)).claims
    async with node.store.write() as connection:
        offer = Offer(runs=[OfferedRun(other, "Work")])
        (usual,) = (await run_claim.claim(connection, offer, node.terms())).claims
    same = {name: getattr(claim, name) for name in claim.__dataclass_fields__}
    differs = {name: value for name, value in same.items() if value != getattr(usual, name)}
    assert set(differs) <= {"run_id", "created_at", "due_at", "started_at"}
    assert claim.run_id == first


@pytest.mark.parametrize(
    "values", [{"JobName": "Limited"}, {"LostWorkers": POISON_AFTER}], ids=["job", "poison"]
)
async def test_an_entry_of_another_run_stays_for_a_transaction(node, values):
    special, plain = await node.create("Work", priority=5), await node.create("Work")
    await change(node, special, **values)
    taken = await take(node)
    assert [claim.run_id for claim in taken.claims] == [plain]
    assert (taken.count, taken.rest) == (2, True)
    assert await node.state(special) == "enqueued"
    assert await entries(node) == 1


async def keyed_runs(node: Node, keys: str, **limit: object) -> list[int]:
    """Create one run per letter, with the letter as limit key, and insert the limit rows with the given values."""
    ids = [await node.create("Work") for _ in keys]
    for run_id, key in zip(ids, keys, strict=True):
        await change(node, run_id, LimitKey=f"Work k={key}", Ties=int(Tie.LIMITED))
    rows = [{"LimitKey": f"Work k={key}", "UpdatedAt": node.clock.now()} for key in set(keys)]
    async with node.store.write() as connection:
        await connection.execute(sa.insert(job_limit), [row | limit for row in rows])
    return ids


async def answers(node: Node, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on the connection of the claims."""
    async with node.store.write_at_once() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(query))]


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_claim_is_planned_once(node, keyed):
    """Planning the statement takes longer than executing it."""
    for _ in range(20):
        await node.create("Work")
        await take(node, keyed=keyed)
    plans = await answers(
        node,
        "SELECT generic_plans > 0, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'WITH found AS%'",
    )
    assert plans == [(True, 0)]
    assert await answers(node, "SHOW plan_cache_mode") == [("auto",)]
    assert await answers(node, "SHOW enable_seqscan") == [("on",)]


@pytest.mark.parametrize("statistics", ["fresh", "analysed", "stale"])
async def test_a_claim_reads_no_table_from_end_to_end(node, statistics):
    """Whatever the statistics say: a claim reads the rows that it takes."""
    scans = """
        SELECT relname, seq_tup_read FROM pg_stat_user_tables
        WHERE relname IN ('c_jobrun', 'c_joblimit') ORDER BY relname
    """

    async def analyse() -> None:
        async with node.store.write() as connection:
            await connection.execute(sa.text("ANALYZE"))

    if statistics == "stale":
        await analyse()
    await keyed_runs(node, "abcdefghijkl", Most=1)
    if statistics == "analysed":
        await analyse()
    await answers(node, "SELECT pg_stat_force_next_flush()")
    before = await answers(node, scans)
    for _ in range(12):
        assert len((await take(node, count=1, keyed=True)).claims) == 1
    await answers(node, "SELECT pg_stat_force_next_flush()")
    assert await answers(node, scans) == before


async def test_a_node_with_a_long_history_reads_no_table_from_end_to_end(node):
    """Statistics know the states of ended runs alone; a plan for any state would read all of them to find that no run waits."""
    scans = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'c_jobrun'"
    async with node.store.write() as connection:
        await connection.execute(sa.text("""
                INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, StartedAt, CompletedAt, TriggeredBy)
                SELECT 'Work', 'Recurring', (ARRAY['succeeded', 'failed', 'cancelled'])[1 + n % 3], 'default', at, at, at, at, 'System'
                FROM (SELECT n, now() - n * interval '1 second' AS at FROM generate_series(1, 20000) AS n) AS runs
            """))
        await connection.execute(sa.text("ANALYZE c_JobRun"))
    statement, _ = poller._poll()
    now = node.clock.now()
    await answers(node, "SELECT pg_stat_force_next_flush()")
    before = await answers(node, scans)
    async with node.store.write_at_once() as connection:
        for _ in range(20):
            await statement.all(connection, {})
            assert await create.waiting_work(connection, ["default"], now, now) == (False, None)
    await answers(node, "SELECT pg_stat_force_next_flush()")
    assert await answers(node, scans) == before


@pytest.mark.parametrize(
    "ended", ["'succeeded'", "(ARRAY['succeeded', 'failed', 'cancelled'])[1 + n % 3]"]
)
@pytest.mark.parametrize("aging", [None, {"default": 60}])
async def test_a_look_for_the_next_runs_of_a_job_reads_no_other_jobs(node, aging, ended):
    """Statistics from before a burst know no waiting run, and the job has a long history."""
    insert = """
        INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, CompletedAt, TriggeredBy)
        SELECT {job}, 'Recurring', {state}, 'default', now(), now(), {ended}, 'System' FROM generate_series(1, {rows}) AS n
    """
    history = insert.format(job="'Job' || n % 100", state=ended, ended="now()", rows=20_000)
    own = insert.format(job="'Job7'", state=ended, ended="now()", rows=5_000)
    burst = insert.format(job="'Job' || n % 100", state="'enqueued'", ended="NULL", rows=3_000)
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'c_jobrun'"
    async with node.store.write() as connection:
        for statement in (history, "ANALYZE c_JobRun", own, burst):
            await connection.execute(sa.text(statement))
    await answers(node, "SELECT pg_stat_force_next_flush()")
    [(before,)] = await answers(node, read)
    engine = procrastinate.ProcrastinateEngine(
        node.store.engine, node.clock, poll=timedelta(1), aging=aging
    )
    options = {"job_name": "Job7", "count": 2, "refused": "-"}
    options |= {"aging": json.dumps(aging)} if aging else {}
    async with node.store.write_at_once() as connection:
        rows = await engine._next.of_job.all(connection, options)
    assert len(rows) == 2
    await answers(node, "SELECT pg_stat_force_next_flush()")
    [(after,)] = await answers(node, read)
    assert 2 <= after - before <= 60  # the job has 30 waiting runs


async def test_a_key_has_no_more_runs_than_room_and_no_run_goes_before_those_that_wait(node):
    ids = await keyed_runs(node, "aaab", Most=2)
    taken = await take(node, keyed=True)
    assert [claim.run_id for claim in taken.claims] == [ids[0], ids[1], ids[3]]
    assert taken.rest
    assert (await take(node, keyed=True)).claims == []  # both runs of key a are running
    [late] = await keyed_runs(node, "c", Most=2, IsAwaited=True)
    assert (await take(node, keyed=True)).claims == []
    assert await node.state(late) == "enqueued"


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
async def test_of_hundreds_of_keys_those_of_the_runs_are_looked_up(node, known):
    """The planner knows the number of rows, or last saw an empty table."""
    ids = await keyed_runs(node, "abc", Most=1)
    rows = [{"LimitKey": f"Work k={n}", "UpdatedAt": node.clock.now()} for n in range(400)]
    async with node.store.write() as connection:
        await connection.execute(sa.text("TRUNCATE c_JobLimit"))
        await connection.execute(sa.text("ANALYZE c_JobLimit"))
        wanted = [{**rows[0], "LimitKey": f"Work k={key}", "Most": 1} for key in "abc"]
        await connection.execute(sa.insert(job_limit), wanted)
        await connection.execute(sa.insert(job_limit), rows)
        if known:
            await connection.execute(sa.text("ANALYZE c_JobLimit"))
    read = sa.text(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'c_joblimit'"
    )
    terms = replace(node.terms(), keyed={"Work": LimitPolicy(most=1)})
    parameters = {"queue": "default", "refused": "", "count": 10}
    async with node.store.write() as connection:
        taken = await claim_fast(connection, ENTRIES, parameters, terms, ["Work"], keyed=True)
        assert await connection.scalar(read) < len(rows)
    assert [claim.run_id for claim in taken.claims] == ids


async def test_where_nobody_looks_at_keys_no_run_goes_that_needs_room(node):
    first, second = await keyed_runs(node, "ab", Most=5)
    await change(node, second, RoomAt=node.clock.now())
    taken = await take(node)
    assert [claim.run_id for claim in taken.claims] == [second]
    assert (taken.rest, await node.state(first)) == (True, "enqueued")


@pytest.mark.parametrize("limit", [{"Most": 0}, {"Most": 1, "IntervalMs": 10.0, "Burst": 1}])
async def test_a_key_without_room_or_with_tokens_is_left_to_a_transaction(node, limit):
    await keyed_runs(node, "a", **limit)
    assert ((taken := await take(node, keyed=True)).claims, taken.rest) == ([], True)


async def test_a_key_that_is_new_gets_its_row_but_for_those_of_a_job_that_had_another_name(node):
    ids = await keyed_runs(node, "aab", Most=1)
    moved = {
        "LimitKey": limit_renames.MARK + "Work",
        "JobName": "Task",
        "UpdatedAt": node.clock.now(),
    }
    keys = sa.select(job_limit.c.LimitKey, job_limit.c.Most).order_by(job_limit.c.LimitKey)
    async with node.store.write() as connection:
        await connection.execute(sa.delete(job_limit))
        await connection.execute(sa.insert(job_limit), [moved])
    assert (await take(node, keyed=True)).claims == []
    async with node.store.write() as connection:
        await connection.execute(sa.delete(job_limit))
    taken = await take(node, keyed=True)
    assert ([claim.run_id for claim in taken.claims], taken.rest) == ([ids[0], ids[2]], True)
    async with node.store.read() as connection:
        rows = [tuple(row) for row in await connection.execute(keys)]
    assert rows == [("Work k=a", 1), ("Work k=b", 1)]


async def test_a_key_that_somebody_holds_is_left_alone_and_holds_nobody_up(node):
    ids = await keyed_runs(node, "ab", Most=1)
    query = sa.select(job_limit.c.LimitKey).where(job_limit.c.LimitKey == "Work k=a")
    async with node.store.write() as connection:
        await connection.execute(query.with_for_update())
        taken = await take(node, keyed=True)
    assert [claim.run_id for claim in taken.claims] == [ids[1]]


async def test_a_claim_does_not_take_room_that_another_has_taken_since_it_began(node):
    """The statement takes its snapshot first and then waits for a lock that the test holds."""
    held = "SELECT found.* FROM (SELECT pg_advisory_xact_lock_shared(7)) AS waits, ({}) AS found"
    text = sa.text(held.format(ENTRIES.next_ones.text)).bindparams(
        *(sa.bindparam(name, type_=kind) for name, kind in PARAMETERS.items())
    )
    late = Entries(text, ENTRIES.table)
    ids = await keyed_runs(node, "aa", Most=1)
    parameters = {"queue": "default", "refused": "", "count": 1}

    async def take_late() -> Taken:
        async with node.store.write_at_once() as connection:
            return await claim_fast(
                connection, late, parameters, node.terms(), ["Work"], keyed=True
            )

    async with node.store.engine.connect() as holder:
        await holder.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
        waits = asyncio.create_task(take_late())
        is_waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with asyncio.timeout(30):
            while not await holder.scalar(is_waiting):  # noqa: ASYNC110 - the database says it
                await asyncio.sleep(0.01)
        taken = await take(node, count=1, keyed=True)
        assert len(taken.claims) == 1
        await holder.rollback()
        result = await waits
    assert (result.claims, result.rest) == ([], True)
    assert sorted([await node.state(run_id) for run_id in ids]) == ["enqueued", "running"]


async def in_a_transaction(node: Node, **minds: object) -> list[int]:
    """Claim in a transaction as the engine does after a single-statement claim; return the runs to offer again."""
    async with node.store.write() as connection:
        parameters = {"queue": "default", "refused": "", "count": 10}
        rows = (await connection.execute(TAKE, parameters)).all()
        offer = Offer(runs=[OfferedRun(row.run_id, row.job_name) for row in rows])
        terms = replace(node.terms(), **minds)
        claimed = await run_claim.claim(connection, offer, terms)
        assert not claimed.claims
        await node.engine.submit(connection, list(map(submission, claimed.ready)))
        assert all(run.due_at > terms.now for run in claimed.ready)
        return [run.run_id for run in claimed.ready]


async def test_a_poison_run_that_another_holds_up_is_offered_again(node):
    """The claim consumes the entry; without a new entry the run would wait until the queue is empty."""
    run_id = await node.create("Work")
    await change(node, run_id, LostWorkers=POISON_AFTER)
    assert await in_a_transaction(node, poison_here=True) == [run_id]
    assert await entries(node) == 1


async def test_a_run_whose_key_somebody_holds_for_long_is_offered_again(node):
    [run_id] = await keyed_runs(node, "a", Most=1)
    terms = {"keyed": {"Work": LimitPolicy(most=1)}}
    async with node.store.engine.begin() as holder:
        await holder.execute(sa.select(job_limit).with_for_update())
        assert await in_a_transaction(node, **terms) == [run_id]
    assert (await node.state(run_id), await entries(node)) == ("enqueued", 1)


async def test_an_entry_of_a_run_that_is_over_goes(node):
    run_id = await node.create("Work")
    await change(node, run_id, State="cancelled")
    taken = await take(node)
    assert (taken.claims, taken.count, taken.rest) == ([], 1, False)
    assert await entries(node) == 0


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundle entries from a hundred runs on."""
    monkeypatch.setattr(procrastinate, "_AT_LEAST", 100)


@pytest.mark.usefixtures("bundles")
async def test_nothing_is_taken_that_comes_after_a_bundle(node):
    first = await node.create("Work")
    await node.create_many(250)
    last = await node.create("Work")
    taken = await take(node)
    assert [claim.run_id for claim in taken.claims] == [first]
    assert (taken.rest, taken.bundle) == (False, True)
    assert await node.state(last) == "enqueued"
    assert await entries(node) == 3  # two full bundles and the rest


@pytest.mark.usefixtures("bundles")
async def test_the_runs_of_bundles_are_taken_in_their_order_between_what_came_before_and_after(
    node,
):
    runs = [await node.create("Work"), *await node.create_many(450), await node.create("Work")]
    urgent = await node.create("Work", priority=1)
    node.work(default=1)
    await until(lambda: len(node.ended) == len(runs) + 1, "all are performed")
    assert node.begun == [urgent, *runs]


@pytest.mark.usefixtures("bundles")
async def test_a_bundle_of_later_runs_waits_for_them(node):
    runs = await node.create_many(150, due=timedelta(hours=1))
    await node.create("Work")
    taken = await take(node)
    assert (len(taken.claims), taken.bundle) == (1, False)
    assert await node.state(runs[0]) == "scheduled"


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "lost"])
async def test_a_node_without_a_place_takes_nothing(node, drained):
    run_id = await node.create("Work")
    me = job_server.c.Id == node.name
    gone = (
        sa.update(job_server).where(me).values(DrainRequestedAt=node.clock.now())
        if drained
        else sa.delete(job_server).where(me)
    )
    async with node.store.write() as connection:
        await connection.execute(gone)
    with pytest.raises(NodeUnknown):
        await take(node)
    assert await node.state(run_id) == "enqueued"
    assert await entries(node) == 1


async def test_a_run_that_is_not_due_yet_waits(node):
    await node.create("Work", due=timedelta(hours=1))
    assert (await take(node)).count == 0
    assert await entries(node) == 1


async def test_an_engine_claims_at_once_what_it_knows(node):
    for _ in range(30):
        await node.create("Work")
    node.work()
    await until(lambda: len(node.ended) == 30, "all are performed")
    assert node.at_once >= 20
    assert len(set(node.begun)) == 30


@pytest.mark.parametrize("keyed", [False, True])
def test_psycopg_need_not_look_for_parameters_in_the_statement(keyed):
    """Psycopg parses a statement of this length anew on each call."""
    statement = PsycopgStatement(claim._statement(ENTRIES, keyed=keyed)._statement)
    assert len(statement.text) > _queries.MAX_CACHED_STATEMENT_LENGTH
    assert "%(" not in statement.text
    assert f"${len(statement.names)}" in statement.text


LOOKED_AT = sa.text(
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'c_jobrun'"
)


@pytest.fixture
async def crowd(node: Node) -> Node:
    """A node with thousands of waiting runs that the planner does not know of: at the last ANALYZE all runs were finished."""
    await node.create_many(2_000)
    async with node.store.write() as connection:
        await connection.execute(sa.text("DELETE FROM procrastinate_jobs"))
        await connection.execute(sa.text("ALTER TABLE c_JobRun SET (autovacuum_enabled = false)"))
    await change_all(node, State="succeeded", CompletedAt=node.clock.now())
    async with node.store.write() as connection:
        await connection.execute(sa.text("ANALYZE c_JobRun"))
    await node.create_many(3_000)
    return node


async def change_all(node: Node, **values: object) -> None:
    async with node.store.write() as connection:
        await connection.execute(sa.update(job_run).values(**values))


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_claim_at_once_looks_at_its_runs_alone(crowd, keyed):
    if keyed:
        await change_all(crowd, LimitKey="Work k=a", Ties=int(Tie.LIMITED))
    parameters = {"queue": "default", "refused": "", "count": 10}
    async with crowd.store.write() as connection:
        terms = replace(crowd.terms(), keyed={"Work": LimitPolicy(most=5_000)})
        before = await connection.scalar(LOOKED_AT)
        taken = await claim_fast(connection, ENTRIES, parameters, terms, ["Work"], keyed=keyed)
        looked_at = await connection.scalar(LOOKED_AT) - before
    assert taken.count == 10
    assert looked_at < 300


async def test_a_claim_looks_at_its_runs_alone(crowd):
    async with crowd.store.read() as connection:
        waiting = sa.select(job_run.c.Id).where(job_run.c.State == "enqueued").limit(10)
        ids = list(await connection.scalars(waiting))
    async with crowd.store.write() as connection:
        offer = Offer(runs=[OfferedRun(run_id, "Work") for run_id in ids])
        before = await connection.scalar(LOOKED_AT)
        claimed = await run_claim.claim(connection, offer, crowd.terms())
        looked_at = await connection.scalar(LOOKED_AT) - before
    assert len(claimed.claims) == 10
    assert looked_at < 300


BEFORE, BEHIND = "'epoch'", "now() + interval '1 hour'"


async def add_limited(crowd: Node, own: int, due: str) -> int:
    """Add runs of a job with a limit beside the crowd, unknown to the statistics; return the newest."""
    insert = f"""
        INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy)
        SELECT 'Limited', 'Recurring', 'enqueued', 'default', {due}, now(), 'System' FROM generate_series(1, :own)
    """
    crowd.limits["Limited"] = 1
    async with crowd.store.write() as connection:
        await connection.execute(sa.text(insert), {"own": own})
        return await connection.scalar(sa.select(sa.func.max(job_run.c.Id)))


@pytest.mark.parametrize("due", [BEFORE, BEHIND], ids=["before", "behind"])
@pytest.mark.parametrize("own", [30, 3_000])
async def test_a_claim_of_a_job_with_a_limit_reads_few_of_the_waiting_runs(crowd, own, due):
    """3,000 runs of another job wait, with its own before or behind them. No plan may read all of them."""
    offer = Offer(runs=[OfferedRun(await add_limited(crowd, own, due), "Limited")])
    async with crowd.store.write() as connection:
        for _ in range(8):  # PostgreSQL keeps a plan after some executions
            before = await connection.scalar(LOOKED_AT)
            choice = await run_claim.offered(connection, offer.runs, {}, crowd.terms())
            assert len(choice.run_ids) == 1
            assert await connection.scalar(LOOKED_AT) - before < 100


@pytest.mark.parametrize("released", [{"job_name": "Limited"}, {"queue": "default"}])
@pytest.mark.parametrize("due", [BEFORE, BEHIND], ids=["before", "behind"])
async def test_the_look_for_the_next_run_reads_few_of_the_waiting_runs(crowd, due, released):
    """After each run of a limited job or queue, the engine looks for the runs that may start now."""
    await add_limited(crowd, 3_000, due)
    offered = await entries(crowd)
    async with crowd.store.write() as connection:
        for _ in range(8):
            before = await connection.scalar(LOOKED_AT)
            await crowd.engine.release(connection, count=2, **released)
            assert await connection.scalar(LOOKED_AT) - before < 100
    assert await entries(crowd) - offered == 16
