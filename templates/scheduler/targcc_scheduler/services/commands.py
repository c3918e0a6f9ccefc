"""Execute a program as the work of a run: its output is the run's log, and a cancelled run ends the program with its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..kernel.jobs.context import JobContext

_LONGEST_LINE = 8_000
_LAST_LINES = 20
_GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL."""
_WINDOWS = sys.platform == "win32"


class CommandError(Exception):
    """A program ended with a status that is not among the expected ones; the message has the last lines of its output.

    Attributes:
        status: The exit status; negative for the number of a signal.
    """

    def __init__(self, command: str, status: int, last_lines: Sequence[str]) -> None:
        self.status = status
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__("\n".join([f"{command} {how}", *last_lines]))


async def run_command(
    ctx: JobContext,
    command: str | Sequence[str],
    *,
    folder: str = "",
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    shell: str = "",
    expected: Sequence[int] = (0,),
) -> int:
    """Execute a program, log each line of its output, and return its exit status.

    When the run is cancelled or times out, the program gets SIGTERM and five seconds later SIGKILL, together with the programs that it
    started; on Windows ``taskkill /T`` ends them.

    Args:
        ctx: The run.
        command: A command line for the shell, or a program with its arguments, which no shell reads.
        folder: The working folder; default: the folder of the worker.
        environment: Variables beside those of the worker.
        stdin: The text that the program reads from its standard input.
        shell: The program that reads a command line; default: ``/bin/sh``, on Windows ``cmd.exe``.
        expected: The exit statuses of a success.

    Raises:
        CommandError: The exit status is not expected.
        OSError: The program or the folder does not exist.
    """
    process = _start(command, folder, environment or {}, shell)
    threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
    last_lines: list[str] = []
    try:
        assert process.stdout is not None
        while line := await asyncio.to_thread(process.stdout.readline, _LONGEST_LINE):
            text = line.decode(errors="replace").rstrip("\r\n")
            ctx.log.info(text)
            last_lines = [*last_lines[1 - _LAST_LINES :], text]
        status = await asyncio.to_thread(process.wait)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(_end, process))
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if status not in expected:
        shown = command if isinstance(command, str) else " ".join(command)
        raise CommandError(shown.split("\n", 1)[0][:200], status, last_lines)
    return status


def _start(
    command: str | Sequence[str], folder: str, environment: Mapping[str, str], shell: str
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own."""
    is_line = isinstance(command, str)
    arguments = [shell, "-c", command] if is_line and shell else command
    return subprocess.Popen(
        arguments,  # type: ignore[arg-type]
        shell=is_line and not shell,
        cwd=Path(folder).expanduser() if folder else None,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=not _WINDOWS,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin as stream:  # the program may read no input
        stream.write(text.encode())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and the programs that it started."""
    if _WINDOWS:
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)],  # noqa: S607 - of Windows itself
            capture_output=True,
            check=False,
        )
        process.wait()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            break
    with contextlib.suppress(ProcessLookupError):  # children may outlive the program
        os.killpg(process.pid, signal.SIGKILL)
