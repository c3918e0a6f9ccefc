"""A node after a long silence begins no run until a heartbeat confirms that the node was not declared lost; a real node, both databases."""

import asyncio
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import RunState, Settings, job
from targcc_scheduler.core.errors import NodeSilent
from targcc_scheduler.db.tables import job_run, job_server
from targcc_scheduler.kernel.worker import claimer
from targcc_scheduler.kernel.worker.claimer import Lease

begun: list[int] = []


@job(retries=0)
async def task(ctx) -> None:
    begun.append(ctx.run_id)


class Silence:
    """Silence a node's heartbeat as if its process had stopped, while the rest of the node continues."""

    def __init__(self, scheduler, monkeypatch):
        self.lease: Lease = scheduler.node.executor._lease
        self.refused = 0
        self._over = asyncio.Event()
        self._over.set()
        heartbeat = scheduler.node._heartbeat
        beat, require, known = heartbeat.beat, Lease.require, heartbeat._known_since

        async def silent_beat():
            await self._over.wait()
            await beat()

        def unheard(sent_at):
            if self._over.is_set():  # else a heartbeat that was under way when the silence began
                known(sent_at)

        async def counted(one):
            try:
                await require(one)
            except NodeSilent:
                self.refused += 1
                raise

        monkeypatch.setattr(heartbeat, "beat", silent_beat)
        monkeypatch.setattr(heartbeat, "_known_since", unheard)
        monkeypatch.setattr(Lease, "require", counted)
        monkeypatch.setattr(claimer, "_NEXT_BEAT_SECONDS", 0.05)

    async def begin(self):
        self._over.clear()
        await until(lambda: not self.lease.holds)

    def end(self):
        self._over.set()


@pytest.fixture
async def scheduler(migrated_url, make_scheduler):
    begun.clear()
    settings = Settings(_env_file=None, database_url=migrated_url, **QUICK)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(schedule=False)
    return scheduler


async def _claimed_before(scheduler, monkeypatch):
    """Begin a silence; return it with the id of a run claimed at its start."""
    silence = Silence(scheduler, monkeypatch)
    monkeypatch.setattr(Lease, "require", _nothing)
    await silence.begin()
    run_id = await scheduler.enqueue("Task")
    await until(lambda: run_id in scheduler.node.executor._running)
    assert tuple(await _state(scheduler, run_id)) == (RunState.RUNNING, 1)
    assert begun == []
    return silence, run_id


async def _state(scheduler, run_id):
    query = sa.select(job_run.c.State, job_run.c.Attempt).where(job_run.c.Id == run_id)

    async def look(connection):
        return (await connection.execute(query)).one()

    return await scheduler.read(look)


async def test_a_node_that_was_silent_claims_nothing_until_it_has_beaten(scheduler, monkeypatch):
    silence = Silence(scheduler, monkeypatch)
    await silence.begin()
    run_id = await scheduler.enqueue("Task")
    await until(lambda: silence.refused >= 3)
    assert tuple(await _state(scheduler, run_id)) == (RunState.ENQUEUED, 0)
    silence.end()
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    assert begun == [run_id]


async def test_a_run_that_was_claimed_before_a_silence_does_not_begin_if_the_node_was_declared_lost(
    scheduler, monkeypatch
):
    """The process stopped right after the claim; meanwhile another node took the node's runs over, and each run executes once."""
    silence, run_id = await _claimed_before(scheduler, monkeypatch)
    await scheduler.change(lambda connection: connection.execute(sa.delete(job_server)))
    silence.end()
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    assert begun == [run_id]
    assert (await _state(scheduler, run_id)).Attempt == 2


async def test_a_run_that_was_claimed_before_a_silence_begins_when_the_node_still_has_it(
    scheduler, monkeypatch
):
    silence, run_id = await _claimed_before(scheduler, monkeypatch)
    silence.end()
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    assert begun == [run_id]
    assert (await _state(scheduler, run_id)).Attempt == 1


async def test_a_node_that_is_cut_off_once_it_has_registered_again_works_by_its_new_id(
    scheduler, monkeypatch
):
    """A heartbeat has a time limit and the database can be slow; rows written before the cut remain."""
    heartbeat, cut = scheduler.node._heartbeat, []
    known, before = heartbeat._known_since, scheduler.node.id

    def cut_off(asked):
        if not cut and scheduler.node.id != before:
            cut.append(scheduler.node.id)
            raise TimeoutError
        known(asked)

    monkeypatch.setattr(heartbeat, "_known_since", cut_off)
    await scheduler.change(lambda connection: connection.execute(sa.delete(job_server)))
    await until(lambda: cut)
    run_id = await scheduler.enqueue("Task")
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    assert scheduler.node.executor.server_id == scheduler.node.id == cut[0]


async def _nothing(_lease) -> None: ...


async def test_a_lease_holds_for_half_of_the_time_after_which_a_node_is_lost(monkeypatch):
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr(claimer, "uptime", lambda: time.now)
    lease = Lease(20)
    assert not lease.holds
    lease.renew(100.0)
    time.now = 109.9
    assert lease.holds
    await lease.require()
    time.now = 110.0
    assert not lease.holds
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await lease.held_or(future)
    assert not lease.holds


@pytest.mark.parametrize(("heartbeat", "seconds"), [(2, 10), (8, 12), (10, 15), (60, 18)])
def test_a_lease_holds_from_one_heartbeat_to_the_next_where_they_are_rare(
    monkeypatch, heartbeat, seconds
):
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr(claimer, "uptime", lambda: time.now)
    lease = Lease(20, heartbeat)
    lease.renew(100.0)
    time.now += seconds - 0.1
    assert lease.holds
    time.now += 0.2
    assert not lease.holds
