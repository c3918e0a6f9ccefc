"""``targcc dev``: serve with reload on save, for development.

The command watches the files and runs the server in a child process. A change ends the child, which tells running jobs to stop, and starts a
new one. Files are polled: a project has few files, and a watcher would be one more dependency for every user.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ...core.errors import ExtraMissing
from ...core.extras import missing_extra
from ...core.masking import dotenv
from ...project import current
from ..common import refuse_server, settings
from ..dev_database import development_environment
from ..dev_keys import keys
from ..interrupts import NAMES
from ..profiles import LOCAL

SPEC = "targcc.yaml"
_POLL_SECONDS = 0.2
_SKIPPED = {"__pycache__", "node_modules"}
_GRACE_SECONDS = 3.0
"""Time for running jobs to end before a reload."""
_END_SECONDS = 10.0
"""Further time for the child to end before it is killed."""
HELP = """r  run the job whose file was edited last
?  this help
q  quit"""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: a free port. Default: TARGCC_PORT, else 8000.",
)
@click.option("--no-open", is_flag=True, help="Print the link instead of opening the browser.")
@click.option("--child", is_flag=True, hidden=True, help="Serve for the process that watches.")
def dev(*, port: int | None, no_open: bool, child: bool) -> None:
    """Develop jobs: serve, reload on save, show each error at once. No retries, no alerts, the development database only.

    Keys: r runs the job whose file was edited last, ? shows help, q quits.

    \b
    Example:
      targcc dev
      targcc dev --port 9000 --no-open
    """
    if child:
        from ..dev_server import serve_child

        serve_child()
        return
    refuse_server()
    if find_spec("uvicorn") is None:
        raise ExtraMissing(missing_extra("run", "targcc dev needs uvicorn"))
    environment = development_environment(os.environ, dotenv(), current(), Path.cwd())
    os.environ.update({name: environment[name] for name in environment})
    chosen = settings(port=port)
    environment["TARGCC_PORT"] = str(chosen.port or _free_port(chosen.host))
    environment.setdefault("TARGCC_SHUTDOWN_GRACE", str(_GRACE_SECONDS))
    environment["PYTHONUNBUFFERED"] = "1"
    raise SystemExit(_Loop(environment, opens=not no_open).run())


def _free_port(host: str) -> int:
    from .serve import listen_at

    with listen_at(host, 0) as listener:
        return int(listener.getsockname()[1])


# Watching files.


@dataclass
class Watch:
    """The files of the project, polled for changes.

    Args:
        folders: Folders with Python files.
        files: Further files.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]

    def __post_init__(self) -> None:
        self._seen = self._look()

    def changes(self) -> list[Path]:
        """Return the files that were written, added or removed since the last call, newest last."""
        seen, now = self._seen, self._look()
        self._seen = now
        changed = {path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)}
        return sorted(changed, key=lambda path: now.get(path, (0, 0)))

    def _look(self) -> dict[Path, tuple[int, int]]:
        return {path: stamp for path in self._paths() if (stamp := _stamp(path)) is not None}

    def _paths(self) -> Iterator[Path]:
        yield from self.files
        for folder in self.folders:
            yield from _python_files(folder)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _python_files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        yield from (Path(base, name) for name in names if name.endswith(".py"))


def watch_project(package: str, folder: Path) -> Watch:
    """Return the watch of a project: its package, the vendored scheduler, ``targcc.yaml`` and ``.env``."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    vendored = folder / "vendor" / "targcc-scheduler" / "targcc_scheduler"
    folders = [*map(Path, places or ()), *([vendored] if vendored.is_dir() else [])]
    return Watch(tuple(folders), (folder / SPEC, folder / ".env"))


# The loop: keys, changes, and the child.


class _Loop:
    """Runs the child, reads keys, and reloads after changes.

    Args:
        environment: The environment of the child.
        opens: Whether the child opens the browser at its first start.
    """

    def __init__(self, environment: Mapping[str, str], *, opens: bool) -> None:
        self._environment = dict(environment)
        self._opens = opens
        self._package = current().package
        self._watch = watch_project(self._package, Path.cwd())
        self._ends = False
        self._child: _Child | None = None

    def run(self) -> int:
        """Run until ``q`` or a stop signal; return the exit status."""
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self._end)
        with keys() as read:
            self._start([], is_first=True)
            try:
                while not self._ends:
                    self._act(read(_POLL_SECONDS))
                    self._reload(self._settled())
                    self._look_at_child()
            finally:
                self._stop()
        return 0

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ends = True

    def _act(self, key: str) -> None:
        if key == "q":
            self._ends = True
        elif key == "?":
            click.echo(HELP)
        elif key == "r" and self._child is not None:
            self._child.send("run")

    def _settled(self) -> list[Path]:
        """Return the changed files once nothing changes any more: an editor may write several files."""
        changed: dict[Path, None] = {}
        while more := self._watch.changes():
            changed |= dict.fromkeys(more)
            time.sleep(_POLL_SECONDS)
        return list(changed)

    def _reload(self, changed: list[Path]) -> None:
        if not changed:
            return
        if any(path.name == SPEC for path in changed):
            click.echo(
                f"{time.strftime('%H:%M:%S')}  changed     {SPEC}: targcc-gen regenerate applies it to the code"
            )
        code = [path for path in changed if path.name != SPEC]
        if code:
            self._stop()
            self._start(code)

    def _start(self, changed: Iterable[Path], *, is_first: bool = False) -> None:
        order = {
            "opens": self._opens and is_first,
            "first": is_first,
            "changed": [str(path) for path in changed],
            "since": time.time(),
        }
        self._child = _Child(self._package, self._environment, order)

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _look_at_child(self) -> None:
        if self._child is not None and (status := self._child.status()) is not None:
            self._child = None
            click.echo(
                f"{time.strftime('%H:%M:%S')}  stopped     status {status}: correct the file and save it; q quits"
            )


class _Child:
    """The process that serves. It reads an order in JSON, then commands, a line each; the end of its input stops it.

    Args:
        package: The project's package.
        environment: The environment.
        order: What to do at the start; see :func:`~..dev_server.serve_child`.
    """

    def __init__(self, package: str, environment: Mapping[str, str], order: dict[str, Any]) -> None:
        own_group: dict[str, Any] = {"start_new_session": True}  # Ctrl-C reaches the parent alone
        if sys.platform == "win32":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "targcc_scheduler", "--project", package),
                *("--profile", LOCAL, "dev", "--child"),
            ],
            stdin=subprocess.PIPE,
            env=dict(environment),
            text=True,
            encoding="utf-8",
            **own_group,
        )
        self.send(json.dumps(order))

    def send(self, line: str) -> None:
        """Send a line; a child that has ended gets none."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def status(self) -> int | None:
        """Return the exit status; ``None`` while the child runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let the child end, and kill it if it does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_GRACE_SECONDS + _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
