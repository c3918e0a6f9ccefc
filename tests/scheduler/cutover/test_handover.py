"""A job changes sides: unchanged columns, recovery after a killed process, and never live on both sides."""

import asyncio
import json
import os
import sys
from datetime import datetime
from itertools import count

import pytest
from projects import PATH
from rehearsal import local
from rt_tools import until
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.features.legacy.cutover import Handover, Returning


class ItDiesError(Exception):
    """Raised where the test ends the process."""


@pytest.fixture
async def world(rehearsal):
    """A rehearsal in which both sides run and the old server owns every job."""
    await rehearsal.start()
    await rehearsal.targcc("targcc owner import")
    await rehearsal.until(local("2031-06-01T13:00"))
    return rehearsal


def live(world, job="NightReport"):
    """Return the sides on which a job is live."""
    sides = {"old"} if world.row(job)["active"] else set()
    return sides | ({"new"} if world.owner(job) == "new" else set())


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_whenever_a_process_dies_the_job_is_on_one_side_at_most_and_repeating_finishes(
    world, monkeypatch
):
    """Kill the process before and after each step of the way there and of the way back, in turn."""
    for command, goal in (("start", {"new"}), ("back", {"old"})) * 2:
        line = f"targcc cutover {command} --job NightReport"
        for step in count(1):
            finished = await _dies_at(world, monkeypatch, line, step)
            assert len(live(world)) <= 1
            if finished:
                break
            if not live(world):
                assert "off on both sides" in await world.targcc("targcc cutover status", 1)
        assert live(world) == goal
        assert step > 3
        await world.targcc("targcc cutover status")
    await world.until(local("2031-06-02T12:00"))
    world.judge()


async def _dies_at(world, monkeypatch, line, step):
    """Run a command that dies at step number ``step`` (from 1); return whether the command finished before that step."""
    left = step
    with monkeypatch.context() as dying:
        for name in ("do", "there"):
            original = getattr(Handover, name)

            async def counted(self, *args, original=original, **kwargs):
                nonlocal left
                left -= 1
                if left == 0:
                    raise ItDiesError
                outcome = await original(self, *args, **kwargs)
                left -= 1
                if left == 0:
                    raise ItDiesError
                return outcome

            dying.setattr(Handover, name, counted)
        result = await world.anyhow(line)
    assert (left > 0) == (not isinstance(result.exception, ItDiesError))
    return left > 0


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_run_that_the_old_server_had_chosen_counts_as_its_own(world):
    """The old server chose the row before the switch and begins the run afterwards."""
    await world.until(local("2031-06-02T01:59"))
    await world.at(local("2031-06-02T02:00:01"), old=False)
    world.tell(f"choose {world.clock.now().isoformat()}")
    world.during_settle = lambda: world.tell("claim")
    output = await world.targcc("targcc cutover start --job NightReport", 1)
    assert "begun there at the last moment" in output
    assert live(world) == set()
    world.tell("end")
    world.during_settle = lambda: None
    await world.targcc("targcc cutover start --job NightReport")
    await world.until(local("2031-06-04T12:00"))
    world.judge()
    assert [side for side, job, _ in world.ran() if job == "NightReport"] == ["old", "new", "new"]


@pytest.mark.usefixtures("processes")
async def test_a_row_whose_run_ends_while_it_is_to_be_switched_off_is_taken(world):
    """The run was active at the statement and ended two seconds later; no other process switched the row off."""
    await world.until(local("2031-06-02T01:59"))
    await world.at(local("2031-06-02T02:00:01"), old=False)
    world.tell(f"choose {world.clock.now().isoformat()}")
    world.tell("claim")
    commands = ["end"]

    def ends():
        while commands:
            world.tell(commands.pop())

    world.during_settle = ends
    output = await world.targcc("targcc cutover start --job NightReport")
    assert "somebody else" not in output
    assert live(world) == {"new"}
    await world.until(local("2031-06-04T12:00"))
    world.judge()
    assert [side for side, job, _ in world.ran() if job == "NightReport"] == ["old", "new", "new"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_row_that_is_switched_off_by_its_own_run_accuses_nobody(world):
    """A OneOff row is inactive after its run."""
    world.change("NightReport", enmjobstatus="InProcess")
    world.during_settle = lambda: world.change(
        "NightReport", active=False, enmjobstatus="Success", nextruntime=None
    )
    output = await world.targcc("targcc cutover start --job NightReport", 1)
    assert "is off since its run has ended" in output
    assert "somebody else" not in output
    assert world.unfinished() == []


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_script_whose_row_ended_before_it_was_looked_at_accuses_nobody(world):
    world.change("NightReport", enmjobstatus="InProcess")
    await world.targcc("targcc cutover start --job NightReport --script off.sql --dialect sqlite")
    script = (world.folder / "off.sql").read_text(encoding="utf-8")
    ended = "COMMIT;\nUPDATE c_Job SET enmJobStatus = 'Success' WHERE ID = 1;"
    (world.folder / "off.sql").write_text(script.replace("COMMIT;", ended), encoding="utf-8")
    world.run_script("off.sql", "off.txt")
    output = await world.targcc("targcc cutover start --said off.txt", 1)
    assert "its run has just ended" in output
    assert live(world) == {"old"}
    await world.targcc("targcc cutover start --job NightReport")
    assert live(world) == {"new"}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_slot_that_nobody_has_begun_comes_along(world):
    await world.at(local("2031-06-02T02:00:30"), old=False)  # the old server sleeps
    await world.targcc("targcc cutover start --job NightReport")
    assert ("new", "NightReport", local("2031-06-02T02:00").isoformat()) in world.ran()


@pytest.mark.usefixtures("processes")
async def test_a_next_run_with_seconds_is_the_slot_of_its_minute(world):
    """Somebody wrote NextRunTime by hand, with seconds."""
    at = datetime(2031, 6, 2, 2, 0, 17)  # noqa: DTZ001 - a wall clock
    world.change("NightReport", nextruntime=at)
    output = await world.targcc("targcc cutover plan")
    assert "the next runs of both sides agree" in output
    await world.targcc("targcc cutover start --job NightReport")
    await world.until(local("2031-06-02T12:00"))
    assert ("new", "NightReport", local("2031-06-02T02:00").isoformat()) in world.ran()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_the_plan_names_the_rows_that_are_due_now(world):
    await world.until(local("2031-06-02T01:59"))
    await world.at(local("2031-06-02T02:00:30"), old=False)
    output = await world.targcc("targcc cutover plan")
    assert "runs them here, once: NightReport\n" in output


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_job_does_not_go_back_while_its_slot_is_about_to_come(world):
    await world.targcc("targcc cutover start --job NightReport")
    await world.until(local("2031-06-02T01:59:57"))
    output = await world.targcc("targcc cutover back --job NightReport", 1)
    assert "is about to run here" in output
    assert live(world) == {"new"}


@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_way_back_that_dies_where_a_passed_slot_is_taken_here_goes_on(world, monkeypatch):
    """The old row already has its next slot, and the new side has not recorded this."""

    async def dies(*_):
        raise ItDiesError

    line = "targcc cutover back --job NightReport"
    await world.targcc("targcc cutover start --job NightReport")
    for step in ("return_of", "_reopen"):
        with monkeypatch.context() as dying:
            dying.setattr(Returning, step, dies)
            assert isinstance((await world.anyhow(line)).exception, ItDiesError)
        await world.until(local("2031-06-02T02:30"))
    assert "it runs here; repeat this then" in await world.targcc(line, 1)
    await world.targcc(line)
    await world.until(local("2031-06-03T12:00"))
    world.judge()
    assert [side for side, job, _ in world.ran() if job == "NightReport"] == ["new", "old"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_job_that_came_and_is_paused_here_is_an_alarm(world):
    await world.targcc("targcc cutover start --job NightReport")
    await world.scheduler.pause("NightReport", by=Actor(ActorKind.CLI, "dana"))
    assert "paused here, and off there: its slots pass" in await world.targcc(
        "targcc cutover status", 1
    )


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_row_that_is_active_again_is_an_alarm(world):
    await world.targcc("targcc cutover start --job NightReport")
    world.change("NightReport", active=True)  # a person presses "run now" on an old screen
    assert "LIVE ON BOTH SIDES" in await world.targcc("targcc cutover status", 1)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_row_that_somebody_switched_off_is_not_taken(world):
    world.change("NightReport", active=False)
    output = await world.targcc("targcc cutover start --job NightReport", 1)
    assert "was switched off there by somebody else" in output
    assert "runs nowhere" in await world.targcc("targcc cutover status", 1)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_what_is_meant_has_to_be_said_and_known(world):
    assert "say which jobs" in await world.targcc("targcc cutover start", 2)
    assert "no job has the runner dusk" in await world.targcc(
        "targcc cutover back --runner dusk", 2
    )
    assert "no job of the old server" in await world.targcc("targcc cutover start --job Ours", 2)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_what_a_script_printed_for_another_switch_is_refused(world):
    (world.folder / "off.txt").write_text("targcc 000000 off 1 none none", encoding="utf-8")
    output = await world.targcc("targcc cutover start --said off.txt", 1)
    assert "of another change of sides" in output
    assert live(world) == {"old"}


ERRORS = {
    "empty": "",
    "sqlcmd": "Msg 229, Level 14, State 5, Server OLD, Line 3\nThe UPDATE permission was denied\n",
    "psql": "psql:off.sql:3: ERROR:  permission denied for table c_Job\n",
    "another language": "Meldung 229, Ebene 14, Status 5, Server OLD, Zeile 3\nThe right was denied\n",
}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_an_output_without_an_answer_leaves_the_job_and_quotes_the_server(
    world, name, encoding
):
    await world.targcc("targcc cutover start --job NightReport --script off.sql --dialect sqlite")
    (world.folder / "off.txt").write_bytes(ERRORS[name].encode(encoding))

    output = await world.targcc("targcc cutover start --said off.txt", 1)

    assert "LEFT  NightReport: off.txt has no answer for row 1" in output
    assert ("the old server says: " in output) == (name != "empty")
    assert ("denied" in output) == (name != "empty")
    world.run_script("off.sql", "off.txt")
    text = (world.folder / "off.txt").read_text(encoding="utf-8")
    (world.folder / "off.txt").write_bytes(text.encode(encoding))
    await world.targcc("targcc cutover start --said off.txt")
    assert live(world) == {"new"}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_an_output_that_no_job_waits_for_is_refused(world):
    (world.folder / "off.txt").write_text("\n", encoding="utf-8")

    assert "no job waits for one" in await world.targcc("targcc cutover start --said off.txt", 2)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_file_that_cannot_be_read_or_written_is_said_before_anything_begins(world):
    output = await world.targcc("targcc cutover start --said no.txt", 2)
    assert "no.txt cannot be read: " in output
    line = "targcc cutover start --job NightReport --script no/off.sql --dialect sqlite"
    assert "cannot be written: " in await world.targcc(line, 2)
    assert world.unfinished() == []


@pytest.mark.usefixtures("processes")
async def test_the_status_names_the_script_whose_output_is_awaited(world, monkeypatch):
    dialect = world.old.dialect.name
    script = f"--script first.sql --dialect {dialect}"
    await world.targcc(f"targcc cutover start --job NightReport {script}")
    again = script.replace("first", "off")
    await world.targcc(f"targcc cutover start --job NightReport {again}")
    monkeypatch.delenv("TARGCC_CUTOVER_URL")

    waiting = "targcc cutover start --said the output of off.sql for row 1"
    assert waiting in await world.targcc("targcc cutover status", 1)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_the_script_is_run_by_a_command(world):
    """A program in place of sqlcmd, which takes the script by ``-i`` and prints the answers."""
    program = world.folder / "sqlcmd.py"
    program.write_text(
        f"""
import sqlite3, sys
script = open(sys.argv[sys.argv.index("-i") + 1], encoding="utf-8").read()
connection = sqlite3.connect({world.old.url.database!r}, isolation_level=None)
for statement in script.split(";\\n"):
    if statement.strip():
        for row in connection.execute(statement):
            print(row[0])
""",
        encoding="utf-8",
    )
    command = f"{sys.executable} {program}"

    await world.targcc(
        f"targcc cutover start --job NightReport --script off.sql --dialect sqlite --sqlcmd '{command}'"
    )

    assert live(world) == {"new"}
    assert "cannot be run" in await world.targcc(
        "targcc cutover back --job NightReport --script on.sql --dialect sqlite --sqlcmd /no/such/sqlcmd",
        2,
    )
    assert "--script writes" in await world.targcc("targcc cutover start --all --sqlcmd x", 2)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_the_plan_says_what_stands_in_the_way(world):
    world.change("CloseDay", nextruntime="2031-06-01 22:00:00")
    world.change("Orders", active=False)
    output = await world.targcc("targcc cutover plan", 1)
    assert "stop  not active there, and not run here either: Orders" in output
    assert "look  the next run here is another than there: CloseDay" in output
    assert "1. day: targcc cutover start --runner day" in output


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_difference_in_shadow_is_named_and_breaks_the_row_of_clean_days(world):
    await world.targcc("targcc owner set --all shadow")
    await world.until(local("2031-06-02T01:00"))
    world.change("NightReport", nextruntime="2031-06-02 05:00:00")  # the old server runs late
    await world.until(local("2031-06-03T12:00"))
    output = await world.targcc("targcc shadow report --days 1", 1)
    assert "NightReport: a slot here, not begun there" in output
    assert "NightReport: begun there, no slot here" in output
    assert "0 clean days of 1" in output


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_programs_get_json(world):
    plan = json.loads(await world.targcc("targcc cutover plan --json"))
    assert plan["ready"]
    assert [entry["owned"]["job"] for entry in plan["runners"]["night"]] == [
        "CloseDay",
        "NightReport",
    ]
    await world.targcc("targcc owner set CloseDay shadow")
    report = json.loads(await world.targcc("targcc shadow report --json", 1))
    assert (report["clean"], report["report"]["jobs"]) == (False, ["CloseDay"])
    [done] = json.loads(await world.targcc("targcc cutover start --job CloseDay --json"))
    assert (done["job"], done["done"]) == ("CloseDay", True)
    status = json.loads(await world.targcc("targcc cutover status --json"))
    assert {entry["owned"]["job"]: entry["side"] for entry in status["jobs"]}["CloseDay"] == "new"
    assert [entry["owned"]["job"] for entry in status["watch"]] == ["CloseDay"]
    owners = json.loads(await world.targcc("targcc owner list --json"))
    assert {entry["job"]: entry["owner"] for entry in owners}["CloseDay"] == "new"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_nothing_is_begun_here_while_the_old_database_does_not_answer(world, monkeypatch):
    monkeypatch.setenv("TARGCC_CUTOVER_URL", f"sqlite:///{world.folder}/no/such.db")
    assert "cannot be used" in await world.targcc("targcc cutover start --all", 2)
    monkeypatch.setenv("TARGCC_CUTOVER_URL", "")
    assert "--script" in await world.targcc("targcc cutover start --all", 2)
    assert world.unfinished() == []


@pytest.mark.usefixtures("processes")
async def test_two_that_do_the_same_at_once_do_it_once(world):
    line = "targcc cutover start --job NightReport"
    results = await asyncio.gather(world.anyhow(line), world.anyhow(line))
    assert all("Traceback" not in result.output for result in results)
    await world.targcc(line)
    assert live(world) == {"new"}
    results = await asyncio.gather(
        world.anyhow("targcc cutover back --job NightReport"), world.anyhow(line)
    )
    assert len(live(world)) <= 1
    await world.finish()
    assert len(live(world)) == 1
    await world.until(local("2031-06-02T12:00"))
    world.judge()


@pytest.mark.parametrize("rehearsal", ["sqlite"], indirect=True)
async def test_a_killed_command_leaves_the_job_off_on_both_sides_and_is_repeated(world):
    program = (
        "import projects, targcc_scheduler as t; t.configure(projects.RIG);"
        "from targcc_scheduler.cli.main import main; main()"
    )
    words = ["cutover", "start", "--job", "NightReport"]
    environment = {**os.environ, "PYTHONPATH": PATH}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *words, env=environment
    )
    await until(lambda: not world.row("NightReport")["active"], 60)
    process.kill()  # while the command waits for runs that the old server may have chosen
    await process.wait()
    assert live(world) == set()
    assert "off on both sides" in await world.targcc("targcc cutover status", 1)
    await world.targcc("targcc cutover start --job NightReport")
    assert live(world) == {"new"}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rehearsal", ["cron"], indirect=True)
async def test_a_table_of_the_cron_shape_goes_and_comes(world):
    """Marks are stored in LastResult, and runs are copied to whatever columns the log table has."""
    output = await world.targcc("targcc cutover plan")
    assert "(cron)" in output
    assert "will not be in its c_LoggedJob" not in output
    await world.targcc("targcc cutover start --all")
    assert world.row("NightReport")["lastresult"].startswith("targcc ")
    await world.targcc("targcc cutover status")
    await world.until(local("2031-06-02T03:00"), old=False)
    await world.targcc("targcc cutover back --all")
    row = world.row("NightReport")
    assert (bool(row["isactive"]), str(row["nextrun"])[:16]) == (True, "2031-06-03 02:00")
    assert str(row["lastrun"])[:16] == "2031-06-02 02:00"
    ours = len([job for side, job, _ in world.ran() if side == "new"])
    assert ("NightReport", "2031-06-02 02:00:01", "1") in _log_of(world)
    assert len(_log_of(world)) == ours
    await world.targcc("targcc cutover status")
    assert ("new", "NightReport", local("2031-06-02T02:00").isoformat()) in world.ran()

    await world.targcc("targcc cutover start --all")
    await world.until(local("2031-06-03T03:00"), old=False)
    columns = "--shape cron --log-columns JobName,StartedAt,Success"
    await world.targcc(f"targcc cutover back --all --script on.sql --dialect sqlite {columns}")
    world.run_script("on.sql", "on.txt")
    await world.targcc("targcc cutover back --said on.txt")
    assert ("NightReport", "2031-06-03 02:00:01", "1") in _log_of(world)


def _log_of(world):
    """Return job, start and success of the runs in a log of the ``cron`` shape."""
    query = "SELECT JobName, StartedAt, Success FROM c_LoggedJob"
    with world.old.connect() as connection:
        return [tuple(map(str, row)) for row in connection.exec_driver_sql(query)]
