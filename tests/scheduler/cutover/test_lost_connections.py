"""A switch that loses its connections at any moment: each slot runs once on one side, and unfinished switches are reported."""

import asyncio
import os
import sys
from contextlib import suppress
from functools import partial
from itertools import count

import breaks
import pytest
from breaks import KILLED, Breaks, postgresql_loses
from projects import PATH
from rehearsal import HOUR, ZONE, local
from sqlalchemy.exc import DBAPIError
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.core.errors import CutoverError
from targcc_scheduler.features.legacy import cutover, owning
from targcc_scheduler.features.legacy.cutover import Returning, Taking
from targcc_scheduler.features.legacy.old_server import OldClock, OldServer
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel.job_owner import Owner
from test_handover import live

DANA = Actor(ActorKind.CLI, "dana")
JOB = "Orders"


@pytest.fixture
async def world(rehearsal, monkeypatch):
    """A rehearsal that the old server owns, with both sides up and no delay before a step is repeated."""
    monkeypatch.setattr(cutover, "AGAIN", (0, 0))
    await rehearsal.start()
    await rehearsal.targcc("targcc owner import")
    await rehearsal.until(local("2031-06-01T13:00"))
    clock = OldClock(ZONE.key)
    rehearsal.clock_there, rehearsal.there = clock, OldServer(rehearsal.old_url, "c_Job", clock)
    yield rehearsal
    rehearsal.there.close()


@pytest.fixture
def loses(rehearsal):
    """Make connections breakable."""
    with postgresql_loses(rehearsal.url):
        yield


async def switch(world, side, cuts=None):
    """Switch the job to a side; return whether the switch is done."""
    kind = Taking if side == "new" else Returning
    side_change = kind(world.scheduler, world.clock_there, DANA, old=world.there)
    work = side_change.take([JOB]) if side == "new" else side_change.give_back([JOB])
    [outcome] = await (cuts.during(work) if cuts else work)
    await world.idle()
    return outcome.done


async def told(world):
    """Return the jobs that pages, metrics and the doctor report as being on neither side."""
    later = world.clock.now() + owners.UNFINISHED_AFTER
    return [
        entry.job for entry in await world.scheduler.read(lambda db: owners.unfinished(db, later))
    ]


@pytest.mark.usefixtures("loses")
@pytest.mark.parametrize("rehearsal", ["postgresql"], indirect=True)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.soak)])
async def test_a_switch_comes_through_whichever_connection_it_loses(world, step):
    made = {"new": 1, "old": 1}
    for moment in count(1, step):
        for side in made:
            cuts = Breaks(moment, moment)
            assert await switch(world, side, cuts)
            assert live(world, JOB) == {side}
            made[side] = cuts.made
            if moment % 8 == 0:
                await world.until(world.clock.now() + 2 * HOUR)
        if not any(made.values()):
            break
    assert moment > 30
    await say_who_runs_it(world)
    world.judge()


async def say_who_runs_it(world):
    """Setting an owner without a switch takes one transaction; the caller repeats the call after a lost connection."""
    for moment in count(1):
        cuts, owner = Breaks(moment, moment), Owner.SHADOW if moment % 2 else Owner.OLD
        say = partial(world.scheduler.operate, owning.set_owner, None, JOB, owner, DANA)
        with suppress(DBAPIError):
            await cuts.during(say())
        await say()
        assert world.owner(JOB) == owner
        if not cuts.made:
            break
    assert moment > 5


@pytest.mark.soak
@pytest.mark.usefixtures("loses")
@pytest.mark.parametrize("rehearsal", ["postgresql"], indirect=True)
async def test_a_switch_that_gives_up_is_told_and_finished_by_the_same_command(world):
    made = {"new": 1, "old": 1}
    for moment in count(1, 3):  # every third moment: each commit, before or after
        for side in made:
            cuts = Breaks(moment, 99)
            try:
                done = await switch(world, side, cuts)
            except (DBAPIError, CutoverError):
                done = False
            made[side] = cuts.made
            assert done == (not cuts.made)
            assert len(live(world, JOB)) <= 1
            assert live(world, JOB) or await told(world) == [JOB]
            await world.until(world.clock.now() + 1.6 * HOUR)
            for _ in range(3):
                if await switch(world, side):
                    break
            assert live(world, JOB) == {side}
            assert await told(world) == []
        if not any(made.values()):
            break
    assert moment > 20
    world.judge()


@pytest.mark.soak
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_command_that_is_killed_is_told_and_finished_by_the_same_command(world):
    status = {"start": KILLED, "back": KILLED}
    for moment in count(1, 3):
        for command, side in (("start", "new"), ("back", "old")):
            words = ["cutover", command, "--job", JOB]
            status[command] = await run_and_die(world, moment, *words)
            assert status[command] in {0, KILLED}
            assert len(live(world, JOB)) <= 1
            assert live(world, JOB) or await told(world) == [JOB]
            await world.until(world.clock.now() + 1.6 * HOUR)
            for _ in range(3):
                if await switch(world, side):
                    break
            assert live(world, JOB) == {side}
        if KILLED not in status.values():
            break
    assert moment > 20
    world.judge()


async def run_and_die(world, moment, *words):
    """Run a command in its own process that dies at a moment; return the exit status."""
    arguments = [breaks.__file__, world.clock.now().isoformat(), str(moment), *words]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={**os.environ, "PYTHONPATH": PATH}
    )
    return await process.wait()
