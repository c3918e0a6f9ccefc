"""Database of a storm: a SQLite file or a PostgreSQL server, on a small disk for disk faults."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import postgresql
import small_disk

from storms.proxy import Cable, Network

_SQLITE_MEGABYTES, _POSTGRESQL_MEGABYTES = 64, 160


class StormDatabase:
    """Database of a storm with its fault controls.

    Args:
        url: The URL for checker and submitter.
        server: The PostgreSQL server, if any.
        disk: The small disk, for disk faults.
        network: Cables between nodes and server, for network faults.
    """

    def __init__(
        self,
        url: str,
        *,
        server: postgresql.PostgreSQL | None = None,
        disk: small_disk.SmallDisk | None = None,
        network: Network | None = None,
    ) -> None:
        self.url = url
        self.disk = disk
        self._server = server
        self._network = network

    def cable(self) -> Cable | None:
        """Return a cable for a node, if network faults are enabled."""
        if self._network is None:
            return None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query)
        return Cable(self._network, Path(query["host"][0]) / ".s.PGSQL.5432")

    def url_through(self, cable: Cable | None) -> str:
        """Return the URL for a node."""
        if cable is None:
            return self.url
        parts = urllib.parse.urlsplit(self.url)
        return f"postgresql://{parts.username}@127.0.0.1:{cable.port}{parts.path}"

    def is_locked(self) -> bool:
        """Return whether a stopped process holds the write lock of the SQLite file."""
        if self._server is not None:
            return False
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=2)
        try:
            connection.execute("BEGIN IMMEDIATE").connection.rollback()
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False

    def stop(self, *, immediate: bool) -> None:
        """Stop the server; ``immediate`` acts like a crash."""
        assert self._server is not None
        self._server.stop_now() if immediate else self._server.stop()

    def start(self) -> None:
        """Start the server again."""
        assert self._server is not None
        self._server.start()


@contextmanager
def sqlite_file(folder: Path, faults: frozenset[str]) -> Iterator[StormDatabase]:
    """Yield a SQLite file. At the end a file on a small disk is copied into the storm's folder."""
    if "disk" not in faults:
        yield StormDatabase(f"sqlite:///{folder / 'jobs.db'}")
        return
    with small_disk.mounted(_SQLITE_MEGABYTES) as disk:
        try:
            yield StormDatabase(f"sqlite:///{disk.folder / 'jobs.db'}", disk=disk)
        finally:
            for file in filter(Path.is_file, disk.folder.glob("jobs.db*")):
                shutil.copy(file, folder)  # without the heartbeat folder beside it


@contextmanager
def postgresql_server(
    faults: frozenset[str], server: postgresql.PostgreSQL | None = None
) -> Iterator[StormDatabase]:
    """Yield a database on a new server, or a new database on the given server."""
    with ExitStack() as stack:
        storm_server = server or stack.enter_context(postgresql.running())
        disk = stack.enter_context(_full_able(storm_server)) if "disk" in faults else None
        network = Network() if "net" in faults else None
        if network is not None:
            stack.callback(network.close)
        name = storm_server.create() if disk is None else storm_server.create_in("storm")
        stack.callback(_drop, storm_server, name, disk)
        yield StormDatabase(storm_server.url(name), server=storm_server, disk=disk, network=network)


def _drop(server: postgresql.PostgreSQL, name: str, disk: small_disk.SmallDisk | None) -> None:
    if disk is not None:
        disk.free()
    with contextlib.suppress(Exception):  # the server may have stopped during the storm
        server.drop(name)


@contextmanager
def _full_able(server: postgresql.PostgreSQL) -> Iterator[small_disk.SmallDisk]:
    with small_disk.mounted(_POSTGRESQL_MEGABYTES) as disk:
        server.make_tablespace("storm", disk.folder / "tables")
        yield disk
        disk.free()
        server.drop_tablespace("storm")


def new_folder() -> Path:
    """Create the folder of a storm; it stays if the storm has complaints."""
    return Path(tempfile.mkdtemp(prefix="targcc-storm-"))
