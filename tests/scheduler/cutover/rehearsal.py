"""Cutover rehearsal: an old server in its own process, this scheduler beside it, one clock for both, and the manual's commands."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import old_server
import sqlalchemy as sa
from click.testing import CliRunner, Result
from projects import PATH
from rt_tools import QUICK
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.cli import common
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.tables import job_owner, job_schedule
from targcc_scheduler.features.legacy.cutover import Handover

ZONE = ZoneInfo("Asia/Jerusalem")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLL = timedelta(seconds=1)
"""Delay between a slot and the old server's poll."""

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cutover.md"

JOBS = {
    "NightReport": (1, "night", "Daily", "02:00", None),
    "CloseDay": (2, "night", "Daily", "23:30", None),
    "Sync": (3, "day", "CyclicHour", "00:10", 4),
    "Orders": (4, "day", "CyclicHour", "00:45", 3),
    "Cleanup": (5, "day", "Daily", "04:15", None),
}
"""Job code to ID, runner, type, time, count."""

CRON_TABLE = """
ALTER TABLE c_Job RENAME TO c_JobClassic;
CREATE TABLE c_Job (
  ID INTEGER PRIMARY KEY, JobName TEXT, CronExpression TEXT, StoredProcName TEXT, IsActive BIT,
  LastRun DATETIME, NextRun DATETIME, LastResult TEXT
);
ALTER TABLE c_LoggedJob RENAME TO c_LoggedJobClassic;
CREATE TABLE c_LoggedJob (
  ID INTEGER PRIMARY KEY, JobName TEXT NOT NULL, StartedAt DATETIME NOT NULL, CompletedAt DATETIME, DurationMs INT,
  Success BIT, ErrorMessage TEXT, ServerName TEXT
);
INSERT INTO c_Job SELECT ID, lkpJob, '', '', 1, NULL, NextRunTime, NULL FROM c_JobClassic"""


def local(text: str) -> datetime:
    """Return a wall-clock time of the old server as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def slots_of(job: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the slots of a job in ``(since, until]``, by plain arithmetic on the old server's wall clock."""
    _, _, kind, at, count = JOBS[job]
    hour, minute = map(int, at.split(":"))
    step = timedelta(days=1) if kind == "Daily" else timedelta(hours=count)
    wall = since.astimezone(ZONE).replace(tzinfo=None)
    wall = wall.replace(hour=hour, minute=minute, second=0, microsecond=0) - DAY
    while (slot := wall.replace(tzinfo=ZONE).astimezone(UTC)) <= until:
        if slot > since:
            yield slot
        wall += step


def page_commands(page: Path) -> list[str]:
    """Return the scheduler's commands that a page of the manual shows, in order."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("targcc ")]


class Rehearsal:
    """Both schedulers and the clock that both follow.

    Attributes:
        jobs: The names of the jobs.
        page_of: The manual's page whose commands are run.
    """

    jobs: Collection[str] = tuple(JOBS)
    page_of = PAGE

    def __init__(self, folder: Path, url: str, old_url: str, start: datetime, monkeypatch) -> None:
        self.folder, self.url, self.old_url, self.begin = folder, url, old_url, start
        self.own = old_server.engine_of(url)
        self.record = folder / "record"
        self.record.touch()
        self.clock = ManualClock(start)
        self.page = page_commands(self.page_of)
        self.played = True
        for name, value in {
            "TARGCC_DATABASE_URL": url,
            "TARGCC_CUTOVER_URL": old_url,
            "TARGCC_LEGACY_TIMEZONE": ZONE.key,
            "TARGCC_JOBS_PACKAGE": "moved_jobs",
            "RECORD": str(self.record),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(common, "make_scheduler", partial(Scheduler, clock=self.clock))
        self._make_old_tables()
        self._import_file()
        self.scheduler: Scheduler | None = None
        self.during_settle: Callable[[], None] = lambda: None
        monkeypatch.setattr(Handover, "wait_for_old_server", self._settle)

    def _make_old_tables(self) -> None:
        self.old = old_server.engine_of(self.old_url)
        old_server.make_tables(self.old)
        job = old_server.tables_of(self.old)["c_job"]
        names = {column.name.lower(): column.name for column in job.columns}
        with self.old.begin() as connection:
            for code, (key, runner, kind, at, count) in JOBS.items():
                following = next(slots_of(code, self.begin, self.begin + 2 * DAY))
                values = {
                    "id": key,
                    "lkpjob": code,
                    "lkpjobrunner": runner,
                    "enmjobtype": kind,
                    "whentorun": datetime.fromisoformat(f"2020-01-01T{at}"),
                    "cycliccount": count,
                    "active": True,
                    "ismanaged": True,
                    "nextruntime": following.astimezone(ZONE).replace(tzinfo=None),
                    "addedby": "dba",
                    "addedon": datetime(2020, 1, 1),  # noqa: DTZ001 - a wall clock
                }
                connection.execute(job.insert().values({names[k]: v for k, v in values.items()}))

    def slots(self, job: str, since: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots of a job in ``(since, until]``."""
        return slots_of(job, since, until)

    def make_cron_table(self) -> None:
        """Replace the TARGCC 4 table by a table of the ``cron`` shape; no old server runs then."""
        self.played = False
        with self.old.begin() as connection:
            for statement in CRON_TABLE.split(";"):
                connection.execute(sa.text(statement))

    def _import_file(self) -> None:
        jobs = [
            {"name": code, "id": str(key), "runner": runner}
            for code, (key, runner, *_) in JOBS.items()
        ]
        jobs[0]["decisions"] = [{"id": "d1", "question": "Old: 02:00; new: 01:00"}]
        (self.folder / "legacy").mkdir()
        text = json.dumps({"targcc": 1, "jobs": jobs})
        (self.folder / "legacy" / "cutover.json").write_text(text, encoding="utf-8")

    async def _settle(self, _handover: Handover | None = None) -> None:
        """Let the old server run the rows it had chosen, while a command waits for this."""
        await asyncio.to_thread(self.during_settle)

    # Old server.

    def start_old_server(self) -> None:
        """Start the old server's process."""
        arguments = [self.old_url, ZONE.key, str(self.record)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(PATH) / "old_server.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PATH},
        )

    def tell(self, line: str) -> None:
        """Send a line to the old server and wait for ``done``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    # New scheduler.

    async def start(self) -> None:
        """Start the node of the new scheduler."""
        # The test sets the clock, but not the time limit of a heartbeat: a short limit expires repeatedly on a busy machine.
        settings = Settings(database_url=self.url, **QUICK | {"lost_after_seconds": 20})
        self.scheduler = Scheduler(settings, clock=self.clock, notify=_nobody)
        await self.scheduler.start()

    async def stop(self) -> None:
        """Stop both schedulers."""
        if self.scheduler is not None:
            await self.scheduler.stop()
        self.process.kill()
        self.process.communicate()
        self.old.dispose()
        self.own.dispose()

    # Time.

    async def until(self, end: datetime, *, old: bool = True) -> None:
        """Advance the clock from slot to slot; with ``old=False`` the old server does nothing."""
        while self.clock.now() < end:
            now = self.clock.now()
            following = min(
                (
                    slot + POLL
                    for job in self.jobs
                    for slot in self.slots(job, now - POLL, now + DAY)
                ),
                key=lambda at: (at <= now, at),
            )
            await self.at(min(following, end), old=old)

    async def at(self, instant: datetime, *, old: bool = True) -> None:
        """Move to an instant and finish all work that both schedulers have to do then."""

        async def move() -> None:
            self.clock.set(instant)

        if self.scheduler is None:
            self.clock.set(instant)
        else:
            await self.scheduler.call(move())
        if old and self.played:
            await asyncio.to_thread(self.tell, f"at {instant.isoformat()}")
        if self.scheduler is not None:
            await self.idle()

    async def idle(self) -> None:
        """Wait until the new scheduler has no work left."""
        deadline = time.monotonic() + 60
        while not (self._slots_are_handled() and not self.active()):
            assert time.monotonic() < deadline, f"still busy: {self.active()}"
            await asyncio.sleep(0.005)

    def _slots_are_handled(self) -> bool:
        """Return whether the node has planned the next slots and handled all past slots in the tables.

        The node may not know of a switch yet.
        """
        node = self.scheduler.node
        planned = node.slots._agenda._next
        now = self.clock.now()
        ahead = len(planned) == len(self.jobs) and all(
            at is None or at > now for at in planned.values()
        )
        return ahead and all(
            last is not None and not list(self.slots(job, last, now))
            for job, last in self._handled()
        )

    def _handled(self) -> list[tuple[str, datetime | None]]:
        """Return for each job that runs here the time up to which slots are handled; ``None`` until a node has planned the job."""
        c, ours = job_schedule.c, sa.select(job_owner.c.JobName).where(job_owner.c.Owner == "new")
        query = sa.select(c.JobName, c.LastSlot).where(c.JobName.in_(ours), c.PausedAt.is_(None))
        with self.own.connect() as connection:
            rows = connection.execute(query).all()
        return [tuple(row) for row in rows]

    def active(self) -> list:
        """Return the unfinished runs of jobs that run here."""
        query = (
            "SELECT JobName, State FROM c_JobRun WHERE State IN ('enqueued', 'running', 'retrying')"
            " AND JobName NOT IN (SELECT JobName FROM c_JobOwner WHERE Owner <> 'new')"
        )
        with self.own.connect() as connection:
            return connection.execute(sa.text(query)).all()

    # Commands.

    async def targcc(self, line: str, status: int = 0) -> str:
        """Run a command, check its exit status and return its output."""
        result = await self.anyhow(line)
        assert result.exit_code == status, f"{line}\n{result.output}\n{result.exception!r}"
        return result.output

    async def anyhow(self, line: str) -> Result:
        """Run a command with any exit status."""
        words = shlex.split(line)[1:]
        result: Result = await asyncio.to_thread(
            CliRunner().invoke, main, words, prog_name="targcc"
        )
        if self.scheduler is not None:
            self.scheduler.look_for_slots()
            await self.idle()
        return result

    async def finish(self) -> None:
        """Finish unfinished switches as the status shows them; slots that passed meanwhile run."""
        for _ in range(5):
            begun = self.unfinished()
            if not begun:
                return
            for job, step in begun:
                command = "start" if step == "taking" else "back"
                await self.anyhow(f"targcc cutover {command} --job {job}")
        assert not self.unfinished()

    def unfinished(self) -> list[tuple[str, str]]:
        """Return the jobs with an unfinished switch, and their steps."""
        query = sa.text("SELECT JobName, Step FROM c_JobOwner WHERE Step IS NOT NULL")
        with self.own.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    async def follow(self, expected: str, *more: str, status: int = 0) -> str:
        """Run the next command of the manual, which must contain ``expected``; ``more`` is appended."""
        line = self.page.pop(0)
        assert expected in line
        return await self.targcc(" ".join([line.replace("--days 7", "--days 1"), *more]), status)

    def run_script(self, name: str, output: str) -> None:
        """Run a script on the old database as a person does, and save its output."""
        script = (self.folder / name).read_text(encoding="utf-8")
        lines = []
        driver = self.old.raw_connection()
        driver.driver_connection.rollback()
        cursor = driver.cursor()
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement)
                lines += [str(row[0]) for row in cursor.fetchall()] if cursor.description else []
        driver.driver_connection.commit()
        driver.close()
        (self.folder / output).write_text("\n".join(lines), encoding="utf-8")

    # Reading and changing rows.

    def row(self, job: str) -> dict:
        """Return the old row of a job, by column names in lower case."""
        with self.old.connect() as connection:
            row = connection.execute(
                sa.text(f"SELECT * FROM c_Job WHERE ID = {JOBS[job][0]}")
            ).one()
        return {name.lower(): value for name, value in row._mapping.items()}

    def change(self, job: str, **values: object) -> None:
        """Change the old row of a job, as a person would."""
        sets = ", ".join(f"{name} = :{name}" for name in values)
        with self.old.begin() as connection:
            query = sa.text(f"UPDATE c_Job SET {sets} WHERE ID = {JOBS[job][0]}")
            connection.execute(query, values)

    def audit(self, job: str) -> list[str]:
        """Return the audit entries of a job, oldest first: action and detail."""
        query = sa.text("SELECT Action, Detail FROM c_JobAudit WHERE JobName = :job ORDER BY Id")
        with self.own.connect() as connection:
            return [": ".join(row) for row in connection.execute(query, {"job": job})]

    def owner(self, job: str) -> str:
        """Return the owner of a job in the new scheduler's tables."""
        query = f"SELECT Owner FROM c_JobOwner WHERE JobName = '{job}'"
        with self.own.connect() as connection:
            return str(connection.scalar(sa.text(query)))

    def logged_here(self, job: str) -> list[tuple]:
        """Return start and status of the job's runs that were copied to the old server's log."""
        query = (
            "SELECT WhenStarted, enmRunStatus_JobStatus FROM c_LoggedJob"
            f" WHERE c_JobID = {JOBS[job][0]} AND LastRunBy = 'targcc' ORDER BY WhenStarted"
        )
        with self.old.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def ran(self) -> list[tuple[str, str, str]]:
        """Return side, job and slot of all runs in start order."""
        lines = self.record.read_text(encoding="utf-8").splitlines()
        return [tuple(line.split()) for line in lines]

    def judge(self) -> None:
        """Check that every slot of every job ran once, on one side."""
        until = self.clock.now() - POLL
        expected = {
            (job, slot.isoformat()): 1
            for job in self.jobs
            for slot in self.slots(job, self.begin, until)
        }
        counted = Counter((job, slot) for _, job, slot in self.ran() if slot != "by-hand")
        missing, twice = Counter(expected) - counted, counted - Counter(expected)
        wrong = f"missing {sorted(missing)}, twice {sorted(twice)}"
        assert not missing, wrong
        assert not twice, wrong


async def _nobody(event: object) -> None:
    """Send no alerts."""
