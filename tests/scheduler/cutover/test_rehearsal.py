"""Rehearse the cutover from the first look to the way back and forward again: every slot runs once, on one side."""

from rehearsal import Rehearsal, local
from targcc_scheduler.features.legacy.cutover import Returning, Taking


class ItDiesError(Exception):
    """Raised where the test ends the process."""


async def _dies(*_: object) -> None:
    raise ItDiesError


async def test_every_slot_runs_once_on_one_side(rehearsal: Rehearsal, monkeypatch):
    world = rehearsal
    await world.start()
    await _look_on(world)
    await _the_night(world)
    await _back_after_a_failure(world)
    await _processes_die_between_the_sides(world, monkeypatch)
    await _by_script(world)
    await world.until(local("2031-06-06T12:00"))
    assert world.page == []
    world.judge()


async def _look_on(world):
    await world.follow("owner import")
    await world.until(local("2031-06-01T13:00"))
    assert "the next runs of both sides agree" in await world.follow("cutover plan")
    assert "5 jobs without a procedure" in await world.follow("cutover rights")
    output = await world.targcc("targcc owner set --all shadow --dry-run")
    assert "Sync: old -> shadow" in output
    assert world.owner("Sync") == "old"
    await world.follow("owner set --all shadow")
    await world.until(local("2031-06-03T12:00"))
    await world.targcc("targcc shadow report --days 2", 1)
    output = await world.follow("shadow report")
    assert "5 jobs, 1 clean day of 1" in output


async def _the_night(world):
    decisions = world.folder / "legacy" / "decisions.csv"
    decisions.write_text("Id,Job,By,Date\nd1,NightReport,,\n", encoding="utf-8-sig")
    unsigned = await world.follow("start --all --signed legacy/decisions.csv --dry-run", status=2)
    assert "d1 NightReport: nobody signed it. Old: 02:00; new: 01:00" in unsigned
    decisions.write_text("Id;Job;By;Date\nd1;NightReport;דנה;3.6.2031\n", encoding="utf-16")
    assert "Nothing was changed" in await world.targcc(
        "targcc cutover start --all --signed legacy/decisions.csv --dry-run"
    )

    output = await world.follow("start --runner night --dry-run")
    assert "Nothing was changed" in output
    await world.follow("start --runner night")
    assert world.audit("NightReport")[-2:] == [  # in the project's time zone
        "cutover start: row 1 is to be switched off",
        "cutover start: row 1 is off; it runs here, next 2031-06-04 01:00:00",
    ]
    assert not world.row("NightReport")["active"]
    assert world.row("Sync")["active"]
    await world.follow("cutover status")

    await world.at(local("2031-06-03T12:10:30"), old=False)
    world.tell(f"choose {world.clock.now().isoformat()}")
    world.tell("claim")
    output = await world.targcc("targcc cutover start --runner day", 1)
    assert "LEFT  Sync: runs there right now" in output
    world.tell("end")
    await world.follow("start --runner day --smoke Cleanup")
    assert ("new", "Cleanup", "by-hand") in world.ran()
    await world.follow("cutover status")


async def _back_after_a_failure(world):
    world.record.with_suffix(".fail").write_text("Orders", encoding="utf-8")
    await world.until(local("2031-06-04T03:00"))
    assert "failed" in await world.targcc("targcc cutover status", 1)
    output = await world.targcc("targcc cutover back --all --dry-run")
    assert (
        "NightReport (row 1): run it here no more, switch it on there, next there 2031-06-05"
        in output
    )
    assert world.owner("NightReport") == "new"
    await world.follow("back --all")
    assert world.audit("NightReport")[-1].startswith("cutover back: row 1 is on;")
    assert world.row("NightReport")["active"]
    carried = world.logged_here("Orders")
    assert [status for _, status in carried].count("Failure") == 1
    assert len(carried) == len({start for start, _ in carried}) == 5
    await world.until(local("2031-06-05T01:00"))
    await world.targcc("targcc cutover status")


async def _processes_die_between_the_sides(world, monkeypatch):
    with monkeypatch.context() as dying:
        dying.setattr(Taking, "wait_for_old_server", _dies)
        await world.targcc("targcc cutover start --runner night", 1)
    assert "off on both sides" in await world.targcc("targcc cutover status", 1)
    await world.until(local("2031-06-05T02:30"))  # a slot passes
    await world.targcc("targcc cutover start --runner night")
    await world.follow("start --all")

    with monkeypatch.context() as dying:
        dying.setattr(Returning, "return_of", _dies)
        await world.targcc("targcc cutover back --runner day", 1)
    await world.until(local("2031-06-05T04:00"))
    output = await world.targcc("targcc cutover back --runner day", 1)
    assert "it runs here" in output
    await world.targcc("targcc cutover back --runner day")
    await world.targcc("targcc cutover back --runner night")


async def _by_script(world):
    here = f"--dialect {world.old.dialect.name}"
    await world.follow("start --runner night --script", here)
    world.run_script("off.sql", "off.txt")
    await world.follow("start --said")
    await world.until(local("2031-06-05T12:00"))
    await world.follow("back --runner night --script", here)
    world.run_script("on.sql", "on.txt")
    await world.follow("back --said")
    assert world.row("CloseDay")["active"]
    await world.targcc("targcc cutover start --all")
