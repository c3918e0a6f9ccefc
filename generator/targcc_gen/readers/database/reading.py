"""Reading a database from beginning to end, within limits of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.errors import InputError
from targcc_gen.readers.database.address import Address, parse_address
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Row

if TYPE_CHECKING:
    from targcc_gen.readers.database.contents import Contents, Wanted

_SLACK = 1.0
"""Seconds that a driver has to notice by itself that the server is silent; it says more."""
_CHANGED = "somebody changed it while it was read, and the server allows no SNAPSHOT: import again to be sure of this instant"

Progress = Callable[[int, int], None]
"""Called with the number of rows read, and of all."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A table's rows come now: how they are called, and how many rows all tables have."""

    name: str
    total: int


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


_Message = _Begun | _Failed | list[Row] | Remark | None
"""What the thread says; ``None``: it has come to the end."""


def read_database(
    text: str,
    wanted: Wanted,
    take: Callable[[Item], None],
    *,
    seconds: float,
    progress: Progress | None = None,
) -> list[ExportFile]:
    """Read the tables of a database in one read-only transaction.

    Args:
        text: Its address.
        wanted: What is looked for.
        take: Called with each row, and each remark.
        seconds: How long the log-in, a statement, or the wait for the next rows may take.
        progress: Called while reading.

    Returns:
        A file for each table, as if it had been exported.

    Raises:
        InputError: The address is none, the server cannot be reached, refuses, or stops answering; or there is no such table. No message
            holds the password.
    """
    address = parse_address(text)
    reader = _Reader(address, wanted, seconds)
    files: list[ExportFile] = []
    done = total = 0
    try:
        for message in reader.messages():
            if isinstance(message, _Begun):
                total = message.total
                files.append(ExportFile(message.name, "database", address.product, 0))
            elif isinstance(message, Remark):
                take(message)
            else:
                done += len(message)
                for row in message:
                    files[-1].counts[row.table] += 1
                    take(row)
                if progress is not None:
                    progress(min(done, total), total)
    finally:
        reader.stop()
    if not sum(file.counts[wanted.tables.main] for file in files):
        raise InputError(f"{address.label}: {wanted.tables.main_shown} has no rows")
    return files


class _Reader:
    """Reads in a thread, since no driver's promise to give up in time holds on every network."""

    def __init__(self, address: Address, wanted: Wanted, seconds: float) -> None:
        self._address = address
        self._wanted = wanted
        self._seconds = seconds
        self._queue: queue.Queue[_Message] = queue.Queue(8)
        self._stopped = threading.Event()
        self._doing = "to the log-in"

    def messages(self) -> Iterator[_Begun | list[Row] | Remark]:
        """What the thread finds, in order."""
        threading.Thread(target=self._work, name="import-legacy", daemon=True).start()
        while True:
            try:
                message = self._queue.get(timeout=self._seconds + _SLACK)
            except queue.Empty:
                raise self._silent() from None
            if message is None:
                return
            if isinstance(message, _Failed):
                raise self._told(message.error) from None
            yield message

    def stop(self) -> None:
        """Let the thread end at its next word."""
        self._stopped.set()

    def _silent(self) -> InputError:
        return InputError(
            f"{self._address.label} does not answer: nothing came for {self._seconds:g} s, {self._doing}",
            hint="Is the server up, and its port open from here? --timeout gives it longer. Nothing was written.",
        )

    def _told(self, error: Exception) -> InputError:
        if isinstance(error, InputError):
            return error
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        words = self._address.redacted(" ".join(line.strip() for line in lines)) or type(error).__name__  # fmt: skip
        return InputError(
            f"{self._address.label}: {words}", hint=f"This came {self._doing}. Nothing was written."
        )

    def _work(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            self._say(_Failed(error))
        else:
            self._say(None)

    def _say(self, message: _Message) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(message, timeout=0.2)
            except queue.Full:
                continue
            return

    def _read(self) -> None:
        from targcc_gen.readers.database.contents import Contents
        from targcc_gen.readers.database.session import read_only

        with read_only(self._address, self._seconds) as session:
            self._doing = "in answer to the list of tables"
            contents = Contents(session, self._address, self._wanted)
            first = self._tables_of(contents, again=not session.is_consistent)
            if self._wanted.procedures is not None:
                self._doing = "in answer to the list of procedures"
                name, rows = contents.procedures(self._wanted.procedures)
                if rows:
                    self._say(_Begun(name, first + len(rows)))
                    self._say(rows)

    def _tables_of(self, contents: Contents, *, again: bool) -> int:
        """Hand on every table; the number of their rows.

        Args:
            contents: Where they are.
            again: Whether the main table is read a second time, at the end, and compared.
        """
        places = contents.places()
        for remark in contents.remarks:
            self._say(remark)
        total = sum(contents.count(place) for place in places)
        main: list[list[Row]] = []
        for place in places:
            self._doing = f"in {place.shown}"
            columns = contents.columns(place)
            if self._wanted.tables.strangers & set(columns):
                text = "it is another program's table of this name, and was not read"
                self._say(Remark(RemarkKind.WARNING, contents.name_of(place), 0, text))
                continue
            self._say(_Begun(contents.name_of(place), total))
            for rows in contents.rows(place, columns):
                if self._stopped.is_set():
                    return total
                if again and place.table == self._wanted.tables.main:
                    main.append(rows)
                self._say(rows)
        if again and [*contents.rows(places[0], contents.columns(places[0]))] != main:
            self._say(Remark(RemarkKind.WARNING, contents.name_of(places[0]), 0, _CHANGED))
        return total
