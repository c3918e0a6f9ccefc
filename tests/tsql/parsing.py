"""Microsoft's own parser of T-SQL: the language service in the wheel ``mssqltoolsservice-linux-64``, without a connection to a server.

The service is a language server of 2017: it parses the T-SQL of SQL Server 2017.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

PROGRAM = "MicrosoftSqlToolsServiceLayer"
_SETTINGS = {"runtimeOptions": {"configProperties": {"System.Globalization.Invariant": True}}}
"""Run without the library ICU: the program's .NET does not work with the versions of today."""


@dataclass(frozen=True)
class Problem:
    """A problem in a statement.

    Attributes:
        index: The number of the statement, from 0.
        line: Its line, from 1.
        column: Its column, from 1.
        message: The parser's message.
    """

    index: int
    line: int
    column: int
    message: str


def folder() -> Path:
    """Return the folder of the program.

    Raises:
        ModuleNotFoundError: The wheel is not installed, or there is none for this system.
    """
    spec = find_spec("mssqltoolsservice")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("mssqltoolsservice-linux-64 is missing: uv sync --all-groups")
    return Path(spec.origin).parent / "bin"


class Parser:
    """The running program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        self._documents = 0
        self._send(
            "initialize", {"processId": os.getpid(), "rootPath": None, "capabilities": {}}, 1
        )
        while "result" not in self._receive():
            pass

    def parse(self, statements: Sequence[str]) -> list[Problem]:
        """Parse statements, each as a batch of its own."""
        self._documents += 1
        name = f"file:///statements{self._documents}.sql"
        starts, lines = [], 0
        for statement in statements:
            starts.append(lines)
            lines += statement.count("\n") + 2
        text = "\nGO\n".join(statements)
        document = {"uri": name, "languageId": "sql", "version": 1, "text": text}
        self._send("textDocument/didOpen", {"textDocument": document})
        while True:
            message = self._receive()
            is_answer = message.get("method") == "textDocument/publishDiagnostics"
            if is_answer and message["params"]["uri"].endswith(name.rpartition("/")[2]):
                break
        return [_problem(diagnostic, starts) for diagnostic in message["params"]["diagnostics"]]

    def _send(self, method: str, parameters: dict[str, Any], number: int | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": parameters}
        if number is not None:
            message["id"] = number
        body = json.dumps(message).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._in.flush()

    def _receive(self) -> dict[str, Any]:
        length = 0
        while (line := self._out.readline()) != b"\r\n":
            if not line:
                raise EOFError(f"{PROGRAM} has ended")
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message: dict[str, Any] = json.loads(self._out.read(length))
        return message


def _problem(diagnostic: dict[str, Any], starts: Sequence[int]) -> Problem:
    begin = diagnostic["range"]["start"]
    index = max(n for n, start in enumerate(starts) if start <= begin["line"])
    return Problem(
        index, begin["line"] - starts[index] + 1, begin["character"] + 1, diagnostic["message"]
    )


@contextmanager
def running() -> Iterator[Parser]:
    """Start the program with settings of its own."""
    with tempfile.TemporaryDirectory(prefix="targcc-tsql-") as name:
        own = Path(name)
        for file in folder().iterdir():
            if file.name == f"{PROGRAM}.runtimeconfig.json":
                (own / file.name).write_text(json.dumps(_SETTINGS), encoding="utf-8")
            elif file.name == PROGRAM:
                shutil.copy(file, own)
                (own / file.name).chmod(0o755)
            elif file.is_file():
                (own / file.name).symlink_to(file)
        environment = {**os.environ, "HOME": name}
        with subprocess.Popen(
            [own / PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as process:  # fmt: skip
            try:
                yield Parser(process)
            finally:
                process.kill()
