"""Run projects of earlier releases with the scheduler of their release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import sqlalchemy as sa
from guarantee_rig import until
from migration_rig import BEFORE_OWN_TABLE
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_run

_MODULES = {"0.1": "acme_jobs.scheduler.cli", "before-vendor": "acme_jobs.scheduler"}
"""Command line module by release."""
_STATES = sa.select(job_run.c.Id, job_run.c.State)
_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{after}"


def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
"""


def states_of(url: str) -> dict[int, str]:
    """Return the state of each run; works with the tables of every release."""
    with sync_engine(url) as engine, engine.connect() as connection:
        return {row.Id: row.State for row in connection.execute(_STATES)}


class OldProject:
    """Project ``acme-jobs`` with the scheduler of an earlier release.

    Args:
        release: A folder of ``tests/data/upgrade``.
        folder: The folder for its files; existing files are kept.
        url: Its database.
    """

    def __init__(self, release: str, folder: Path, url: str) -> None:
        self._command = [sys.executable, "-m", _MODULES[release]]
        self._url = url
        self._root = folder / "acme-jobs"
        if not self._root.exists():
            with tarfile.open(BEFORE_OWN_TABLE / release / "projects.tar.xz") as archive:
                archive.extractall(folder, filter="data")
        ours = ("TARGCC_", "PYTEST_")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "PYTHONPATH": str(self._root / "src"),
            "TARGCC_DATABASE_URL": url,
        }

    def targcc(self, *words: str) -> str:
        """Run a command of the project and return its output."""
        done = subprocess.run(
            [*self._command, *words],
            cwd=self._root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def work(self, *run_ids: int) -> None:
        """Run the project's worker until the runs have succeeded, and stop the worker."""
        worker = subprocess.Popen(  # noqa: ASYNC220 - it goes on meanwhile
            [*self._command, "worker"],
            cwd=self._root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            await until(lambda: self._have_ended(run_ids) or worker.poll() is not None, "they ran")
        finally:
            worker.terminate()
            output = worker.communicate(timeout=60)[0]
        assert self._have_ended(run_ids), output

    def _have_ended(self, run_ids: tuple[int, ...]) -> bool:
        states = states_of(self._url)
        return all(states.get(run_id) == "succeeded" for run_id in run_ids)

    def start(self) -> int:
        """Create a run with the project's command; return the run id."""
        return int(self.targcc("job", "run", "PurgeCarts").split("run ")[1].split(":")[0])

    def run(self, run_id: int) -> dict[str, object]:
        """Return a run as the project's command shows the run."""
        run: dict[str, object] = json.loads(self.targcc("run", "show", str(run_id), "--json"))
        return run

    def add_revision(self, name: str, *, after: str) -> None:
        """Write a revision of the project's own."""
        file = self._root / "migrations" / "versions" / f"{name}_orders.py"
        file.write_text(_REVISION.format(name=name, after=after), encoding="utf-8")
