"""Rehearse the move from SQL Server Agent and back: every slot runs once, on one side."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from projects import RIG
from rehearsal import DAY, ZONE, Rehearsal, local
from targcc_gen.cli import main as targcc_gen
from targcc_gen.old_runners.agent import AgentSchedule, agent_starts, read_schedule
from targcc_gen.render.vendor import flows_of
from targcc_gen.spec import load_spec
from targcc_scheduler.db.tables import job_schedule

EVERY_DAY = {"freq_type": 4, "freq_interval": 1}
JOBS = {
    "Nightly load": {**EVERY_DAY, "active_start_time": 23000},
    "Sync": {**EVERY_DAY, "freq_subday_type": 8, "freq_subday_interval": 4, "active_start_time": 1000, "active_end_time": 235959},
    "Weekly": {"freq_type": 8, "freq_interval": 2, "freq_recurrence_factor": 1, "active_start_time": 61500},
    "Close": {**EVERY_DAY, "active_start_time": 44500},
}  # fmt: skip
"""The schedules of Agent: 02:30 each day, from 00:10 every four hours, 06:15 on Mondays, 04:45 each day."""
STEPS = {
    "Close": [
        "@step_name=N'load', @on_success_action=3, @on_fail_action=4, @on_fail_step_id=3",
        "@step_name=N'sum', @on_success_action=1, @on_fail_action=3",
        "@step_name=N'tell', @on_success_action=2, @on_fail_action=2",
    ]
}
"""Steps that branch, which become a flow; the others have one step."""
SWITCH = re.compile(
    r"EXEC msdb\.dbo\.sp_update_job @job_name = N'(?P<name>[^']+)', @enabled = (?P<on>[01]);"
)


def script() -> str:
    """Return the jobs as Management Studio scripts them."""
    calls = []
    for name, schedule in JOBS.items():
        values = ", ".join(f"@{column}={value}" for column, value in schedule.items())
        calls.append(f"EXEC msdb.dbo.sp_add_job @job_name=N'{name}'")
        calls += [
            f"EXEC msdb.dbo.sp_add_jobstep @job_name=N'{name}', @command=N'EXEC dbo.usp_Work', {step}"
            for step in STEPS.get(name, ["@step_name=N'x'"])
        ]
        calls += [
            f"EXEC msdb.dbo.sp_add_jobschedule @job_name=N'{name}', @name=N's', {values}",
        ]
    return "\n".join(calls) + "\n"


class SimulatedAgent:
    """Agent: it starts the enabled jobs when the clock has reached their times."""

    def __init__(self, record: Path, begin: datetime) -> None:
        self._record, self._last = record, begin
        self.enabled = dict.fromkeys(JOBS, True)
        self._schedules: dict[str, AgentSchedule] = {
            name: read_schedule(schedule, "s") for name, schedule in JOBS.items()
        }

    def run_until(self, now: datetime) -> None:
        """Start the jobs that are due up to an instant."""
        for name, schedule in self._schedules.items():
            if self.enabled[name]:
                second = timedelta(seconds=1)
                for at in agent_starts([schedule], ZONE, self._last + second, now + second):
                    slot = at.astimezone(UTC).isoformat()
                    with self._record.open("a", encoding="utf-8") as file:
                        file.write(f"old {key_of(name)} {slot}\n")
        self._last = now

    def execute(self, sql: str) -> None:
        """Execute a script of calls of ``sp_update_job``; every other statement fails the test."""
        for line in sql.splitlines():
            if line and not line.startswith("--"):
                match = SWITCH.fullmatch(line)
                assert match, line
                assert match["name"] in self.enabled, line
                self.enabled[match["name"]] = match["on"] == "1"


def key_of(name: str) -> str:
    """Return the key that the import gives a job."""
    return "".join(word[:1].upper() + word[1:] for word in name.split())


class AgentRehearsal(Rehearsal):
    """A simulated Agent, this scheduler with the imported jobs, and the commands of the manual's page."""

    jobs = tuple(map(key_of, JOBS))
    page_of = Path(__file__).resolve().parents[3] / "docs" / "import-schedulers.md"

    def _make_old_tables(self) -> None:
        self.agent = SimulatedAgent(self.record, self.begin)

    def _import_file(self) -> None:
        """Import Agent's script as the page does."""
        export = self.folder / "agent-jobs.sql"
        export.write_text(script(), encoding="utf-8")
        words = ["import-legacy", str(export), "--timezone", "Israel Standard Time", "--new", str(self.project), "--paused"]  # fmt: skip
        done = CliRunner().invoke(targcc_gen, words)
        assert done.exit_code == 0, done.output

    @property
    def project(self) -> Path:
        """The imported project."""
        return self.folder / "ops-jobs"

    def slots(self, job: str, since: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots of a job by plain arithmetic on the wall clock; no clock change falls into June."""
        wall = since.astimezone(ZONE).replace(
            tzinfo=None, hour=0, minute=0, second=0, microsecond=0
        )
        while (day := wall.replace(tzinfo=ZONE)) <= until:
            times = {
                "NightlyLoad": [(2, 30)],
                "Sync": [(hour, 10) for hour in range(0, 24, 4)],
                "Close": [(4, 45)],
                "Weekly": [(6, 15)] if day.weekday() == 0 else [],
            }[job]
            for hour, minute in times:
                slot = day.replace(hour=hour, minute=minute).astimezone(UTC)
                if since < slot <= until:
                    yield slot
            wall += DAY

    def tell(self, line: str) -> None:
        """Let Agent work up to the instant of a line ``at INSTANT``."""
        self.agent.run_until(datetime.fromisoformat(line.removeprefix("at ")))

    def turn(self, way: str) -> None:
        """Run one of the scripts that the import has written, on the old server."""
        path = self.project / "legacy" / f"turn_{way}_old.sql"
        self.agent.execute(path.read_text(encoding="utf-8"))

    def _handled(self) -> list[tuple[str, datetime]]:
        c = job_schedule.c
        query = sa.select(c.JobName, c.LastSlot).where(c.PausedAt.is_(None))
        with self.own.connect() as connection:
            return [(key_of(name), last) for name, last in connection.execute(query)]

    async def stop(self) -> None:
        """Stop the scheduler."""
        if self.scheduler is not None:
            await self.scheduler.stop()
        self.own.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
async def agent(request, tmp_path, monkeypatch):
    """Both schedulers; the new one on a real database."""
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    monkeypatch.setenv("AGENT_PROJECT", str(tmp_path / "ops-jobs"))
    made = AgentRehearsal(tmp_path, url, "", local("2031-06-01T12:00"), monkeypatch)
    flows = flows_of(load_spec(made.project / "targcc.yaml"))
    project = replace(RIG, timezone=ZONE.key, retries=0, flows=flows)
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "agent_jobs")
    monkeypatch.delenv("TARGCC_CUTOVER_URL")
    yield made
    await made.stop()


@pytest.mark.slow
async def test_every_slot_runs_once_on_one_side(agent: AgentRehearsal):
    await agent.start()
    await agent.until(local("2031-06-03T17:00"))
    assert {side for side, *_ in agent.ran()} == {"old"}

    agent.turn("off")
    for name in agent.jobs:
        await agent.follow(f"job resume {name}")
    await agent.until(local("2031-06-09T17:00"))

    for name in agent.jobs:
        await agent.follow(f"job pause {name}")
    agent.turn("on")
    await agent.until(local("2031-06-16T12:00"))

    assert agent.page == []
    sides = {(side, job) for side, job, _ in agent.ran()}
    assert sides == {(side, job) for side in ("old", "new") for job in agent.jobs}
    agent.judge()
    closed = [slot for side, job, slot in agent.ran() if (side, job) == ("new", "Close")]
    steps = agent.record.with_suffix(".steps").read_text(encoding="utf-8").split()[1::3]
    assert steps == ["CloseSum", "CloseTell"] * len(closed)  # the sum fails, and somebody is told


@pytest.mark.slow
async def test_a_job_moves_alone(agent: AgentRehearsal):
    await agent.start()
    off = (agent.project / "legacy" / "turn_off_old.sql").read_text(encoding="utf-8")
    agent.agent.execute(next(line for line in off.splitlines() if "N'Sync'" in line))
    await agent.targcc("targcc job resume Sync")
    await agent.until(local("2031-06-03T12:00"))

    assert {(side, job) for side, job, _ in agent.ran()} == {
        ("new", "Sync"), ("old", "NightlyLoad"), ("old", "Weekly"), ("old", "Close"),
    }  # fmt: skip
    agent.judge()
