"""Simulate weeks of seeded switches back and forth, with killed processes and a sleeping old server."""

import random
from datetime import timedelta

import pytest
from rehearsal import JOBS, Rehearsal, local
from test_handover import _dies_at

pytestmark = pytest.mark.soak
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("seed", range(3))
async def test_every_slot_runs_once_whatever_goes_there_and_back(
    rehearsal: Rehearsal, monkeypatch, seed
):
    world, chance = rehearsal, random.Random(seed)
    await world.start()
    await world.targcc("targcc owner import")
    while world.clock.now() < local("2031-06-21T12:00"):
        job, command = chance.choice(list(JOBS)), chance.choice(["start", "back"])
        line = f"targcc cutover {command} --job {job}"
        if chance.random() < 0.3:
            await _dies_at(world, monkeypatch, line, chance.randint(1, 8))
        else:
            await world.anyhow(line)
        live = [{"old"} if world.row(name)["active"] else set() for name in JOBS]
        for name, sides in zip(JOBS, live, strict=True):
            assert len(sides | ({"new"} if world.owner(name) == "new" else set())) <= 1
        await world.finish()
        await world.until(world.clock.now() + chance.uniform(0.1, 9) * HOUR)
    world.judge()
