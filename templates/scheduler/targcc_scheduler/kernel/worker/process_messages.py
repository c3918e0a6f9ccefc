"""Protocol between a node and its worker processes: JSON objects, each preceded by its length (four bytes, big-endian).

To the process: ``run`` (an attempt), ``stop`` (tell the job to stop), ``cancel`` (cancel the job's coroutine), ``step`` (the answer to
``find``, ``keep`` or ``attach``).
From the process: ``ready``, ``begun``, ``log``, ``progress``, ``find`` and ``keep`` (steps), ``attach`` (a file), ``record`` (a line of the
process's own log), ``ended``.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from typing import IO, Any

Message = dict[str, Any]

LONGEST = 64 * 2**20
"""Maximum length of a message, in bytes. A longer message is an error."""
_LENGTH = struct.Struct(">I")


class TooLongError(ValueError):
    """A message is longer than :data:`LONGEST`."""


class Channel:
    """One end of a pair of pipes. Any thread may send messages; a single thread receives.

    Args:
        source: The pipe to read messages from.
        target: The pipe to write messages to.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self._lock = threading.Lock()
        self._is_left = False

    def send(self, kind: str, **values: Any) -> None:
        """Send a message; do nothing after :meth:`leave`.

        Raises:
            OSError: The other end is closed.
            TooLongError: The message is longer than :data:`LONGEST`.
        """
        if self._is_left:
            return
        body = json.dumps({"kind": kind, **values}).encode()
        if len(body) > LONGEST:
            text = f"{len(body)} bytes are too many between a node and its worker process, which take {LONGEST}"
            raise TooLongError(text)
        with self._lock:
            self._target.write(_LENGTH.pack(len(body)) + body)
            self._target.flush()

    def receive(self) -> Message | None:
        """Return the next message; ``None`` if the other end is closed or the bytes are not a message."""
        try:
            head = self._source.read(_LENGTH.size)
            if len(head) < _LENGTH.size or (length := _LENGTH.unpack(head)[0]) > LONGEST:
                return None
            body = self._source.read(length)
            message = json.loads(body) if len(body) == length else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def leave(self) -> None:
        """Detach a forked copy of the process: send nothing from now on, and replace both pipes by the null device.

        So the copy does not keep the pipes open when the original process has ended.
        """
        self._is_left = True
        nothing = os.open(os.devnull, os.O_RDWR)
        for pipe in (self._source, self._target):
            os.dup2(nothing, pipe.fileno(), inheritable=False)
        os.close(nothing)

    def close(self) -> None:
        """Close the pipe to the other end, so that the other end reads end of file."""
        with contextlib.suppress(OSError):  # flushing unsent bytes fails if the other end is closed
            self._target.close()

    def close_source(self) -> None:
        """Close the pipe that messages come from. Called by the thread that receives."""
        with contextlib.suppress(OSError):
            self._source.close()
