"""The database of a storm: a SQLite file or a PostgreSQL server of its own, on a small disk if that is to be full."""

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
    """Where the tables of a storm are, and what can be done to it.

    Args:
        url: For the checker and the submitter.
        server: The server, where there is one.
        disk: The disk that can be full, where it was asked for.
        network: Cables between nodes and server, where they were asked for.
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
        """A cable for one node, if the network is to be cut."""
        if self._network is None:
            return None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query)
        return Cable(self._network, Path(query["host"][0]) / ".s.PGSQL.5432")

    def url_through(self, cable: Cable | None) -> str:
        """The URL for a node."""
        if cable is None:
            return self.url
        parts = urllib.parse.urlsplit(self.url)
        return f"postgresql://{parts.username}@127.0.0.1:{cable.port}{parts.path}"

    def is_locked(self) -> bool:
        """Whether nobody can write to the SQLite file, since a process that was stopped is in the middle of it."""
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
        """Stop the server; ``immediate`` is as a crash of it."""
        assert self._server is not None
        self._server.stop_now() if immediate else self._server.stop()

    def start(self) -> None:
        """Start the server again."""
        assert self._server is not None
        self._server.start()


@contextmanager
def sqlite_file(folder: Path, faults: frozenset[str]) -> Iterator[StormDatabase]:
    """A file; gone at the end only when it was on a small disk, from which it is copied into the folder of the storm."""
    if "disk" not in faults:
        yield StormDatabase(f"sqlite:///{folder / 'jobs.db'}")
        return
    with small_disk.mounted(_SQLITE_MEGABYTES) as disk:
        try:
            yield StormDatabase(f"sqlite:///{disk.folder / 'jobs.db'}", disk=disk)
        finally:
            for file in filter(Path.is_file, disk.folder.glob("jobs.db*")):
                shutil.copy(
                    file, folder
                )  # the heartbeats, in a folder beside it, are of no use now


@contextmanager
def postgresql_server(
    faults: frozenset[str], server: postgresql.PostgreSQL | None = None
) -> Iterator[StormDatabase]:
    """A database on a server of its own, unless one is given, and then a database of its own on that."""
    with ExitStack() as stack:
        mine = server or stack.enter_context(postgresql.running())
        disk = stack.enter_context(_full_able(mine)) if "disk" in faults else None
        network = Network() if "net" in faults else None
        if network is not None:
            stack.callback(network.close)
        name = mine.create() if disk is None else mine.create_in("storm")
        stack.callback(_drop, mine, name, disk)
        yield StormDatabase(mine.url(name), server=mine, disk=disk, network=network)


def _drop(server: postgresql.PostgreSQL, name: str, disk: small_disk.SmallDisk | None) -> None:
    if disk is not None:
        disk.free()
    with contextlib.suppress(Exception):  # the server may have gone down with the storm
        server.drop(name)


@contextmanager
def _full_able(server: postgresql.PostgreSQL) -> Iterator[small_disk.SmallDisk]:
    with small_disk.mounted(_POSTGRESQL_MEGABYTES) as disk:
        server.make_tablespace("storm", disk.folder / "tables")
        yield disk
        disk.free()
        server.drop_tablespace("storm")


def new_folder() -> Path:
    """Where a storm keeps everything; it stays when the storm has found something."""
    return Path(tempfile.mkdtemp(prefix="targcc-storm-"))
