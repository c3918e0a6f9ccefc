"""The keepalive process. It is run as a script, imports nothing of this package, and takes its orders from its standard input.

The node says every second or so that its loop turns. Once it has not for a while, and its process is neither gone nor stopped, this
process beats in its place and writes down where it is stuck: C code that holds the interpreter is no reason to start a run again. A node
that is stuck for longer than ``stuck_after`` is killed, so that whoever takes its runs over does not share them with it.

It ends with its parent. Until the node falls silent it has loaded no database driver, and takes about ten megabytes.
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
"""How many characters of the stack are kept."""
_WAITS_FOR_LOCK = 1.0
"""Seconds that a note in a SQLite file may wait for the write lock; the beat itself, in a file of its own, waits for nobody."""


_ANSWERS = 0.1
"""Seconds after which the stacks are there."""
SPENT = 7
"""The exit status of a process that has spoken for its node, which is back: a new one has neither driver nor connection."""


class Sitter:
    """Watches one node.

    Args:
        orders: What the node says, as JSON; durations are seconds. ``server_id``, ``process_id``: which node it is. ``silence``: after so
            long without a word from the node, beat for it, each ``heartbeat``. ``stuck_after``: kill a node that is stuck for so long; 0 switches that off.
            ``driver``, ``address``, ``path``: the database, what the driver connects to, and the ``sys.path`` on which it is. ``beat_sql``,
            ``running_sql``: how to beat, and which runs the node has. ``beat_file``: where to beat besides, if not empty.
            ``stack_file``: where the node writes what its threads are doing. ``stack_signal``: asks it to while its interpreter is held; 0 is none.
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
        """Hear the node until its end of the pipe is closed, which its end does too."""
        for line in sys.stdin.buffer:
            if line.strip() == b"g":  # a thread of the node's runs; that is no turn of its loop
                self._pulsed = time.monotonic()
                continue
            if line.strip() != b".":
                self.orders = json.loads(line)
            self._turned = time.monotonic()
        self._leave()

    def watch(self) -> None:
        """Look at the node, for ever."""
        pause = self.orders["silence"] / 4
        while True:
            before = time.monotonic()
            time.sleep(pause)
            now = time.monotonic()
            if os.getppid() != self._parent:  # a child of the node may still hold the pipe
                self._leave()
            # A process that was stopped itself, or a machine that slept, has seen nothing of the time between.
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
        """Have the stacks written by signal where the interpreter is held: no thread runs, and this process has watched it for some time."""
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
        except Exception as error:  # noqa: BLE001 - whatever it is: the next beat tries again
            self._close()
            where = f"(the database does not answer: {type(error).__name__})"
        if not self._told:
            self._told = True
            self._say(f"is alive, but its loop has not turned for {silent:.0f} s", where)

    def _touch(self) -> None:
        """Beat in the file, if there is one."""
        file = self.orders["beat_file"]
        if not file:
            return
        try:
            with open(file, "r+b", buffering=0) as beats:  # noqa: PTH123 - pathlib costs megabytes
                beats.write(b"%020d" % time.time_ns())
        except OSError:
            self._say("cannot be spoken for", f"in {file}")

    def _note(self, silent: float) -> str:
        """Beat in the database, and write down where the node is stuck."""
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
        if self.orders["driver"] == "sqlite":
            import sqlite3

            return sqlite3.connect(
                self.orders["address"], timeout=_WAITS_FOR_LOCK, isolation_level=None, uri=True
            )
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
        """Where the threads of the node stand, as its ``faulthandler`` has written it."""
        try:
            with open(self.orders["stack_file"], encoding="utf-8") as file:  # noqa: PTH123
                return file.read()[:_MOST_STACK]
        except (OSError, ValueError):
            return ""

    def _file_is_locked(self) -> bool:
        """Whether nobody can write to the SQLite file; a process that was stopped in the midst of a transaction keeps its lock."""
        if self.orders["driver"] != "sqlite":
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
            pass  # nobody listens

    def _leave(self) -> None:
        try:  # noqa: SIM105 - contextlib costs memory
            os.unlink(self.orders["stack_file"])  # noqa: PTH108
        except OSError:
            pass
        os._exit(0)


def is_stopped(process_id: int) -> bool:
    """Whether a process is stopped, by SIGSTOP or a debugger. Nobody can tell on Windows."""
    if os.name == "nt":
        return False
    try:
        with open(f"/proc/{process_id}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except FileNotFoundError:
        pass
    return not os.path.isdir("/proc/self") and _state_by_ps(process_id) == "T"  # noqa: PTH112


def _state_by_ps(process_id: int) -> str:
    """The state of a process where there is no ``/proc``, as on macOS."""
    with os.popen(f"ps -o state= -p {int(process_id)}") as output:  # noqa: S605 - a number
        return output.read().strip()[:1]


def main() -> None:
    """Watch the node that started this process, until it ends."""
    # They are meant for the node, which ends this process. Windows has the console events Ctrl+C and Ctrl+Break as SIGINT and SIGBREAK.
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sitter = Sitter(json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=sitter.listen, daemon=True).start()
    sitter.watch()


if __name__ == "__main__":
    main()
