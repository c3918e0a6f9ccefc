"""What a node and its worker processes say to each other: JSON objects, each after its length in bytes (four, big-endian).

To the process: ``run`` (an attempt), ``stop`` (tell the job), ``cancel`` (stop its coroutine), ``step`` (the answer to a question).
From the process: ``ready``, ``begun``, ``log``, ``progress``, ``find`` and ``keep`` (steps), ``attach`` (a file), ``record`` (a line of the process's own log), ``ended``.
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
"""Bytes of the longest message; a longer one is a fault."""
_LENGTH = struct.Struct(">I")


class TooLongError(ValueError):
    """A message is longer than :data:`LONGEST`."""


class Channel:
    """One end of a pair of pipes. Messages may be sent from any thread; one thread reads.

    Args:
        source: Where messages come from.
        target: Where they go.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self._lock = threading.Lock()
        self._is_left = False

    def send(self, kind: str, **values: Any) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone.
            TooLongError: it is too long.
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
        """The next message; ``None`` when the other end is gone, or says what is no message."""
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
        """In a copy of the process, after a fork: say nothing, and hold the pipes open no longer than the process that they belong to."""
        self._is_left = True
        nothing = os.open(os.devnull, os.O_RDWR)
        for pipe in (self._source, self._target):
            os.dup2(nothing, pipe.fileno(), inheritable=False)
        os.close(nothing)

    def close(self) -> None:
        """Close the way out: the other end reads that this one is gone."""
        with contextlib.suppress(OSError):  # what is not sent yet finds nobody
            self._target.close()

    def close_source(self) -> None:
        """Close the way in; for the thread that reads."""
        with contextlib.suppress(OSError):
            self._source.close()
