"""The keepalive process: a script that imports nothing of this package and reads its orders from standard input.

The node reports about every second that its event loop turns. When the reports stop, and the node's process is neither gone nor stopped,
the keepalive process sends the heartbeats instead and records where the node is blocked. C code that holds the interpreter is no reason
to rescue a run. A node that is blocked for longer than ``stuck_after`` is killed: the node that rescues its runs must not share them.

The keepalive process ends with its parent. Until the node falls silent, the process loads no database driver and takes about ten megabytes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs megabytes
    from typing import Any

_MOST_STACK = 6000
"""Most characters of the stacks that are stored."""
_WAITS_FOR_LOCK = 1.0
"""Seconds that a heartbeat in a SQLite database waits for the write lock; the heartbeat file does not wait."""


_IN_FILES = "sqlite3"
"""The driver whose databases are files of this machine."""
_OF_SQL_SERVER = "mssql_python"
_ANSWERS = 0.1
"""Seconds to wait for the stacks after the signal."""
SPENT = 7
"""Exit status of a process that has sent heartbeats for a node now responsive again; its successor loads no driver and no connection."""


class Sitter:
    """Watches one node.

    Args:
        orders: The node's orders, from JSON; durations are seconds. ``server_id``, ``process_id``: ids of the node and its process.
            ``silence``: time without a report after which to send heartbeats. ``heartbeat``: time between heartbeats.
            ``stuck_after``: time after which to kill a blocked node; 0 turns that off. ``driver``, ``address``, ``path``: the module of the database's
            driver, the database's address for the driver, and the ``sys.path`` of the driver. ``beat_sql``, ``running_sql``: SQL that writes a heartbeat, and SQL that
            reads the node's running runs. ``beat_file``: heartbeat file, if not empty. ``stack_file``: file with the stacks of the node's
            threads. ``stack_signal``: signal that makes the node write the stacks while its interpreter is held; 0 for none.
    """

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self._parent = os.getppid()
        self._turned = self._pulsed = time.monotonic()
        self._stuck = 0.0
        self._asked = False
        self._stopped_since: float | None = None
        self._beaten = float("-inf")
        self._told = False
        self._connection: Any = None

    def listen(self) -> None:
        """Read the node's reports until the node closes the pipe or ends; then leave."""
        for line in sys.stdin.buffer:
            if line.strip() == b"g":  # a thread of the node runs; its event loop may be blocked
                self._pulsed = time.monotonic()
                continue
            if line.strip() != b".":
                self.orders = json.loads(line)
            self._turned = time.monotonic()
        self._leave()

    def watch(self) -> None:
        """Check the node in a loop, for ever."""
        pause = self.orders["silence"] / 4
        while True:
            before = time.monotonic()
            time.sleep(pause)
            now = time.monotonic()
            if os.getppid() != self._parent:  # a child of the node may still hold the pipe
                self._leave()
            # While this process was stopped, or the machine slept, nothing was observed: count at most two pauses.
            self._stuck = (
                0.0 if self._turned > before else self._stuck + min(now - before, 2 * pause)
            )
            self._look(now)

    def _look(self, now: float) -> None:
        if now - self._turned < self.orders["silence"]:
            self._told = self._asked = False
            if self._connection is not None:
                os._exit(SPENT)
            return
        if is_stopped(self.orders["process_id"]):
            self._stuck = 0.0
            self._stopped_since = self._stopped_since or now
            if now - self._stopped_since >= 4 * self.orders["silence"] and self._file_is_locked():
                self._end_node("is stopped, nobody can write to the database, and it is killed")
            return
        self._stopped_since = None
        self._ask_for_stacks(now)
        longest = self.orders["stuck_after"]
        if longest and self._stuck >= longest:
            self._end_node(f"has been stuck for {self._stuck:.0f} s and is killed")
        if now - self._beaten >= self.orders["heartbeat"]:
            self._beaten = now
            self._beat(now - self._turned)

    def _ask_for_stacks(self, now: float) -> None:
        """Send the signal for the stacks while the node's interpreter is held.

        The interpreter counts as held when two conditions hold: no thread in the node has reported for half of ``silence``, and this process has
        observed the node blocked for five eighths of ``silence``.
        """
        silence, number = self.orders["silence"], self.orders["stack_signal"]
        held = now - self._pulsed > silence / 2 and self._stuck > silence / 2 + silence / 8
        if number and held and not self._asked:
            self._asked = True
            os.kill(self.orders["process_id"], number)
            time.sleep(_ANSWERS)

    def _beat(self, silent: float) -> None:
        self._touch()
        try:
            where = self._note(silent)
        except Exception as error:  # noqa: BLE001 - the next beat tries again
            self._close()
            where = f"(the database does not answer: {type(error).__name__})"
        if not self._told:
            self._told = True
            self._say(f"is alive, but its loop has not turned for {silent:.0f} s", where)

    def _touch(self) -> None:
        """Write a heartbeat to the heartbeat file, if there is a file."""
        file = self.orders["beat_file"]
        if not file:
            return
        try:
            with open(file, "r+b", buffering=0) as beats:  # noqa: PTH123 - pathlib costs megabytes
                beats.write(b"%020d" % time.time_ns())
        except OSError:
            self._say("cannot be spoken for", f"in {file}")

    def _note(self, silent: float) -> str:
        """Write a heartbeat to the database with the place where the node is blocked; return that place."""
        if self._connection is None:
            self._connection = self._connect()
        me = {"id": self.orders["server_id"]}
        rows = self._connection.execute(self.orders["running_sql"], me).fetchall()
        runs = [f"{row[1]} (run {row[0]})" for row in rows]
        where = ("one of " if len(runs) > 1 else "") + (", ".join(runs) or "the scheduler itself")
        about = {"seconds": silent, "where": f"{where}\n{self._stack()}".strip()}
        self._connection.execute(self.orders["beat_sql"], {**me, **about})
        return where

    def _connect(self) -> Any:
        sys.path[:] = self.orders["path"]
        if self.orders["driver"] == _IN_FILES:
            import sqlite3

            return sqlite3.connect(
                self.orders["address"], timeout=_WAITS_FOR_LOCK, isolation_level=None, uri=True
            )
        if self.orders["driver"] == _OF_SQL_SERVER:
            import mssql_python

            return mssql_python.connect(self.orders["address"], autocommit=True)
        import psycopg  # at /path/of/the/node: this interpreter was started without site-packages

        return psycopg.connect(
            self.orders["address"],
            autocommit=True,
            application_name="targcc keepalive",
            connect_timeout=max(2, int(self.orders["silence"])),
            prepare_threshold=None,
        )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except Exception:  # noqa: BLE001, S110 - it is broken already
            pass

    def _stack(self) -> str:
        """Return the stacks of the node's threads from the stack file; empty without a readable file."""
        try:
            with open(self.orders["stack_file"], encoding="utf-8") as file:  # noqa: PTH123
                return file.read()[:_MOST_STACK]
        except (OSError, ValueError):
            return ""

    def _file_is_locked(self) -> bool:
        """Return whether the SQLite file is write-locked: a process that was stopped in a transaction keeps its lock."""
        if self.orders["driver"] != _IN_FILES:
            return False
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - sqlite3 is not imported before it is needed
            return "locked" in str(error)
        return False

    def _end_node(self, why: str) -> None:
        self._say(why, f"in\n{self._stack()}")
        os.kill(self.orders["process_id"], getattr(signal, "SIGKILL", signal.SIGTERM))
        self._leave()

    def _say(self, what: str, where: str) -> None:
        try:
            sys.stderr.write(f"targcc: node {self.orders['server_id']} {what}: {where}\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass  # standard error is closed

    def _leave(self) -> None:
        try:  # noqa: SIM105 - contextlib costs memory
            os.unlink(self.orders["stack_file"])  # noqa: PTH108
        except OSError:
            pass
        os._exit(0)


def is_stopped(process_id: int) -> bool:
    """Return whether a process is stopped, by SIGSTOP or a debugger; ``False`` on Windows."""
    if os.name == "nt":
        return False
    try:
        with open(f"/proc/{process_id}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except FileNotFoundError:
        pass
    return not os.path.isdir("/proc/self") and _state_by_ps(process_id) == "T"  # noqa: PTH112


def _state_by_ps(process_id: int) -> str:
    """Return the state of a process from ``ps``, where there is no ``/proc``, as on macOS."""
    with os.popen(f"ps -o state= -p {int(process_id)}") as output:  # noqa: S605 - a number
        return output.read().strip()[:1]


def main() -> None:
    """Watch the node that started this process, until the node ends."""
    # These signals are meant for the node, which ends this process. Windows sends Ctrl+C and Ctrl+Break as SIGINT and SIGBREAK.
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sitter = Sitter(json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=sitter.listen, daemon=True).start()
    sitter.watch()


if __name__ == "__main__":
    main()
