"""Import the patched app with the project's own Python, in a process of its own, and hear what it serves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from packaging.requirements import Requirement

from targcc_gen.errors import InputError
from targcc_gen.patch.app.apps import App
from targcc_gen.patch.app.layout import Layout

TIMEOUT = 60.0
"""Seconds an app may take to be imported."""

_LAST_LINES = 6
_SHOWN = 4


@dataclass(frozen=True)
class Verified:
    """What the import showed.

    Args:
        looked: What was looked at: `acme.main:app`, or `imported` when the app itself could not be reached.
    """

    looked: str


def project_python(root: Path) -> Path:
    """The interpreter of the project: of its `.venv` or `venv`, of the active environment, or the one that runs us."""
    active = os.environ.get("VIRTUAL_ENV")
    folders = [root / ".venv", root / "venv", *([Path(active)] if active else [])]
    for folder in folders:
        for name in ("bin/python", "Scripts/python.exe"):
            if (folder / name).is_file():
                return folder / name
    return Path(sys.executable)


def missing(python: Path, layout: Layout, requirements: Sequence[str]) -> list[str]:
    """The requirements that the interpreter's environment does not meet, in their order.

    Raises:
        InputError: The interpreter does not run, or is too old.
    """
    wanted = [Requirement(text) for text in requirements]
    answer = _probe(python, layout, {"distributions": [one.name for one in wanted]})
    if "error" in answer:
        raise InputError(f"{python} does not run\n{answer['error']}")
    if tuple(answer["python"]) < (3, 11):
        version = ".".join(map(str, answer["python"]))
        raise InputError(f"{python} is Python {version}; the scheduler needs 3.11 or later")
    versions = answer["versions"]
    return [
        text
        for text, one in zip(requirements, wanted, strict=True)
        if versions[one.name] is None
        or not one.specifier.contains(versions[one.name], prereleases=True)
    ]


def install_command(root: Path, pyproject: dict[str, Any], requirements: Sequence[str]) -> str:
    """The line that adds requirements to the project with the tool it uses."""
    quoted = " ".join(f'"{text}"' for text in requirements)
    if "poetry" in pyproject.get("tool", {}) and "project" not in pyproject:
        return f"poetry add {quoted}"
    if "project" in pyproject:
        return f"uv add {quoted}"
    target = " (and add them to requirements.txt)" if (root / "requirements.txt").is_file() else ""
    return f"python -m pip install {quoted}{target}"


def install_wheel_command(pyproject: dict[str, Any], wheel: str, extras: Sequence[str]) -> str:
    """The line that adds a wheel which is in the project, with its extras, by the tool that the project uses."""
    if "poetry" in pyproject.get("tool", {}) and "project" not in pyproject:
        return f'poetry add --extras "{" ".join(extras)}" ./{wheel}'
    if "project" in pyproject:
        return f"uv add {' '.join(f'--extra {one}' for one in extras)} ./{wheel}"
    return f'python -m pip install "./{wheel}[{",".join(extras)}]"'


def verify(
    python: Path,
    layout: Layout,
    app: App,
    scheduler: str,
    *,
    extra: Sequence[Path] = (),
    timeout: float = TIMEOUT,
) -> Verified:
    """Import the app's module and look for the scheduler's routes.

    Args:
        python: The project's interpreter.
        layout: How the file is imported.
        app: The app in it.
        scheduler: The package with the router: `acme.scheduler`.
        extra: More folders for Python's path.
        timeout: Seconds the import may take.

    Raises:
        InputError: It does not import, the routes are not there, another route hides them, or they hide one of the app's.
    """
    module_level = not app.scope
    request = {
        "module": layout.module,
        "scheduler": scheduler,
        "names": [app.target] if module_level else list(app.aliases),
        "factory": app.scope[0] if len(app.scope) == 1 else None,
    }
    answer = _probe(python, layout, request, extra=extra, timeout=timeout)
    if "error" in answer:
        raise InputError(
            f"{layout.module} does not work with the scheduler in it\n{_indented(answer['error'])}"
        )
    _check_routes(answer)
    return Verified(answer["looked"])


def _check_routes(answer: dict[str, Any]) -> None:
    shadowed, hidden = answer.get("shadowed"), answer.get("hidden")
    if shadowed:
        raise InputError(
            f"{answer['looked']} has a route that comes before the scheduler's and answers {_some(shadowed)}"
        )
    if hidden:
        raise InputError(
            f"{answer['looked']} answers {_some(hidden)} itself, and the scheduler would answer that first",
            hint="To let the app's own routes win, paste the second line below them:",
        )


def _some(routes: list[str]) -> str:
    """The first few routes, which is as much as a line holds."""
    shown, more = ", ".join(routes[:_SHOWN]), len(routes) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _probe(
    python: Path,
    layout: Layout,
    request: dict[str, Any],
    *,
    extra: Sequence[Path] = (),
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Run the probe; its answer, or what went wrong as `error`."""
    source = (Path(__file__).parent / "probe.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="targcc-") as folder:
        result, log = Path(folder) / "result", Path(folder) / "log"
        with log.open("wb") as output:
            command = [str(python), "-B", "-c", source, str(result), json.dumps(request)]
            process = _start(command, layout.root, (layout.source, *extra), output)
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                return {"error": f"importing it took longer than {timeout:.0f} s"}
            finally:
                _kill(process)
        with contextlib.suppress(OSError, ValueError):
            answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return answer
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return {"error": "\n".join([*lines, f"the process ended with status {status}"])}


def _start(
    command: list[str], root: Path, folders: Sequence[Path], output: BinaryIO
) -> subprocess.Popen[bytes]:
    """Start it with the folders on Python's path, in a group of its own, so that it can be ended with its children."""
    path = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    try:
        return subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise InputError(f"{command[0]} does not run: {error}") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
