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
        at = ctx.scheduled_for.astimezone(UTC)  # the hours of one night may come twice elsewhere
        name = f"{Path(self.url.database or 'database').stem}-{at:%Y%m%d-%H%M%S}"
        target = FOLDER / f"{name}.{'db' if backend == 'sqlite' else 'dump'}"
        await self.back_up(target)
        dropped, size = await asyncio.to_thread(finish, target, keep)
        ctx.log.info("Backup written", file=str(target), bytes=size)
        return JobResult.success(
            f"{target} ({size / 1_000_000:,.1f} MB), {dropped} old deleted"
        ).with_metadata(file=str(target), bytes=size)

    async def back_up(self, target: Path) -> None:
        """Write the backup beside ``target``, where :func:`finish` finds it."""
        unfinished = target.with_suffix(".part")
        await asyncio.to_thread(make_room, unfinished)
        if self.url.get_backend_name() == "sqlite":
            await asyncio.to_thread(copy_sqlite, self.url, unfinished)
        else:
            await dump_postgresql(self.url, unfinished)


def make_room(target: Path) -> None:
    """Make the folder and an empty file for its owner's eyes alone; take away what an attempt that was killed left behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.touch(mode=0o600, exist_ok=False)


def copy_sqlite(url: sa.URL, target: Path) -> None:
    """Copy a live SQLite database as of one moment, and check the copy.

    Raises:
        sqlite3.OperationalError: there is no such file; none is made.
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
        RuntimeError: one of them failed; says what it said.
    """
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    await run_program(
        "pg_dump", "--format=custom", f"--file={target}", plain, password=url.password
    )
    await run_program("pg_restore", "--list", str(target))


async def run_program(name: str, *arguments: str, password: str | None = None) -> None:
    """Run a PostgreSQL client program; the password is in its environment, not on its command line."""
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
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{name} failed: {said.decode(errors='replace').strip()}")


def finish(target: Path, keep: int) -> tuple[int, int]:
    """Give the finished backup its name; keep the ``keep`` newest of the same database.

    It is whole and was read once by now, so whatever has a backup's name can be restored.

    Returns:
        How many were deleted, and the size of the new one in bytes.
    """
    target.with_suffix(".part").replace(target)
    prefix = target.stem.rsplit("-", 2)[0]
    backups = sorted(target.parent.glob(f"{prefix}-????????-??????{target.suffix}"), reverse=True)
    for old in backups[keep:]:
        old.unlink()
    return len(backups[keep:]), target.stat().st_size
