"""Backs up the orders database and keeps the last 14 copies."""

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path

import sqlalchemy as sa

from acme_jobs.scheduler import Alerts, JobContext, JobResult, job
from acme_jobs.services import Database

FOLDER = Path("backups")


@job(
    "15 1 * * *",
    timeout="2h",
    misfire_grace="1d",
    alerts=Alerts(on=("failure", "missed"), email=("ops@example.com",)),
)
class NightlyBackupJob:
    """Backs up the orders database and keeps the last 14 copies."""

    def __init__(self, database: Database) -> None:
        self.url = database.engine.url

    async def execute(self, ctx: JobContext, keep: int = 7) -> JobResult:
        if keep < 1:
            return JobResult.failure("keep must be 1 or more", retry=False)
        backend = self.url.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            return JobResult.failure(f"Back up {backend} with its own tools", retry=False)
        at = ctx.scheduled_for.astimezone(UTC)  # in local time an hour repeats in autumn
        name = f"{Path(self.url.database or 'database').stem}-{at:%Y%m%d-%H%M%S}"
        target = FOLDER / f"{name}.{'db' if backend == 'sqlite' else 'dump'}"
        await self.back_up(target)
        dropped, size = await asyncio.to_thread(finish, target, keep)
        ctx.log.info("Backup written", file=str(target), bytes=size)
        return JobResult.success(
            f"{target} ({size / 1_000_000:,.1f} MB), {dropped} old deleted"
        ).with_metadata(file=str(target), bytes=size)

    async def back_up(self, target: Path) -> None:
        """Write the backup to a file beside ``target``, which :func:`finish` renames."""
        unfinished = target.with_suffix(".part")
        await asyncio.to_thread(make_room, unfinished)
        if self.url.get_backend_name() == "sqlite":
            await asyncio.to_thread(copy_sqlite, self.url, unfinished)
        else:
            await dump_postgresql(self.url, unfinished)


def make_room(target: Path) -> None:
    """Create the folder and an empty file that only its owner can read; remove the file of a killed attempt."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.touch(mode=0o600, exist_ok=False)


def copy_sqlite(url: sa.URL, target: Path) -> None:
    """Copy a live SQLite database as of one moment, and check the copy.

    Raises:
        sqlite3.OperationalError: the file does not exist; none is created.
        sqlite3.DatabaseError: the copy is damaged.
    """
    file = f"{Path(url.database or '').resolve().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(file, uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"{target}: {verdict}")


async def dump_postgresql(url: sa.URL, target: Path) -> None:
    """Dump a PostgreSQL database with ``pg_dump``, and read the dump's table of contents.

    Raises:
        FileNotFoundError: the PostgreSQL client programs are not installed.
        RuntimeError: a program failed; the message has its output.
    """
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    await run_program(
        "pg_dump", "--format=custom", f"--file={target}", plain, password=url.password
    )
    await run_program("pg_restore", "--list", str(target))


async def run_program(name: str, *arguments: str, password: str | None = None) -> None:
    """Run a PostgreSQL client program, with the password in the environment, not on the command line."""
    program = shutil.which(name)
    if program is None:
        raise FileNotFoundError(f"{name} is not installed: install the PostgreSQL client programs")
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env=os.environ | ({"PGPASSWORD": password} if password else {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{name} failed: {errors.decode(errors='replace').strip()}")


def finish(target: Path, keep: int) -> tuple[int, int]:
    """Rename the finished backup to ``target``, and delete all but the ``keep`` newest.

    The backup is complete and checked by now, so that every renamed file can be restored.
    Backups of other databases stay.

    Returns:
        The number of deleted backups, and the size of the new backup in bytes.
    """
    target.with_suffix(".part").replace(target)
    prefix = target.stem.rsplit("-", 2)[0]
    backups = sorted(target.parent.glob(f"{prefix}-????????-??????{target.suffix}"), reverse=True)
    for old in backups[keep:]:
        old.unlink()
    return len(backups[keep:]), target.stat().st_size
