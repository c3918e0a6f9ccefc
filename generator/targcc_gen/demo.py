"""Run a rendered project on this machine: the demo, and its self-check through the REST API."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import TargccError
from targcc_gen.git import program
from targcc_gen.render.package import SOURCE_TREE

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_WINDOWS = os.name == "nt"


class DemoError(TargccError):
    """The demo project did not start, or its job did not succeed (exit status 2)."""

    code = "TG701"
    kind = "demo"


@dataclass(frozen=True)
class DemoProject:
    """A rendered project on disk and the interpreter that can run the project.

    Args:
        root: The project's folder.
        package: The project's import package.
        python: An interpreter with all requirements of the project.
    """

    root: Path
    package: str
    python: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the project's own `targcc` with these arguments."""
        start = f"from {self.package}.scheduler import main; main(prog_name='targcc')"
        return [str(self.python), "-c", start, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of the project's processes: source on the path, output unbuffered."""
        paths = [str(self.root / SOURCE_TREE), str(self.root / "src")]
        paths.append(os.environ.get("PYTHONPATH", ""))
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
        }


def find_python(root: Path) -> Path | None:
    """Return this interpreter if it has all requirements of the project in ``root``; else None."""
    requirements = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return Path(sys.executable) if _installed(requirements["project"]["dependencies"]) else None


def _installed(requirements: list[str]) -> bool:
    """Return whether all requirements are installed in this interpreter, including the requirements of their extras."""
    from packaging.requirements import Requirement

    from targcc_gen.render.wheel import meets

    left = [Requirement(text) for text in requirements]
    seen: set[str] = set()
    while left:
        requirement = left.pop()
        if str(requirement) in seen or not _applies(requirement):
            continue
        seen.add(str(requirement))
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not meets(requirement, version):
            return False
        left += _of_extras(requirement)
    return True


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def _of_extras(requirement: Requirement) -> Iterator[Requirement]:
    """Yield the requirements of a requirement's extras, from the installed metadata."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires(requirement.name) or ():
        wanted = Requirement(text)
        for extra in requirement.extras:
            if wanted.marker is not None and wanted.marker.evaluate({"extra": extra}):
                wanted.marker = None
                yield wanted
                break


def create_python(root: Path) -> Path:
    """Create a virtual environment in the project and install the project, with uv if available.

    Raises:
        DemoError: The installation failed; the message ends with the installer's output.
    """
    venv = root / ".venv"
    python = venv / ("Scripts/python.exe" if _WINDOWS else "bin/python")
    uv = program("uv")
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(venv)],
            [uv, "pip", "install", "--quiet", "--python", str(python), str(root)],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(venv)],
            [str(python), "-m", "pip", "install", "--quiet", *_scheduler(root), str(root)],
        ]
    for step in steps:
        done = subprocess.run(step, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise DemoError(f"installing the demo project failed:\n{tail}")
    return python


def _scheduler(root: Path) -> list[str]:
    """Return the pip arguments that find the project's scheduler."""
    source = root / SOURCE_TREE
    return [str(source)] if source.is_dir() else ["--find-links", str(root / "vendor")]


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    project: DemoProject, port: int, *, output: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run the project's `targcc serve`; stop the process gracefully at the end.

    Args:
        project: The project.
        port: The port on 127.0.0.1.
        output: The target of the process's output; ``None`` is the terminal.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP  # only this process gets our ctrl-break
    process = subprocess.Popen(
        project.command("serve", "--port", str(port)),
        cwd=project.root,
        env=project.environment(),
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        text=True,
        encoding="utf-8",
        creationflags=flags,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str], grace: float = 20) -> None:
    """Terminate a process that we started; kill the process after ``grace`` seconds."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_targcc(project: DemoProject, *arguments: str) -> str:
    """Run the project's `targcc` and return its output.

    Raises:
        DemoError: The command failed; the message holds its output.
    """
    done = subprocess.run(
        project.command(*arguments),
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise DemoError(f"targcc {' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def call(url: str, token: str, body: dict[str, Any] | None = None) -> Any:
    """Call the project's REST API and return the JSON answer; a body makes the call a POST."""
    request = urllib.request.Request(  # noqa: S310 - our own loopback server
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.load(answer)


def wait_until_ready(process: subprocess.Popen[str], port: int, seconds: float = 60) -> None:
    """Wait until the server answers that it is ready.

    Raises:
        DemoError: The server ended, or was not ready in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the demo server ended with status {process.returncode}")
        if _answers(f"http://127.0.0.1:{port}/jobs/health/ready"):
            return
        time.sleep(0.05)
    raise DemoError(f"the demo server was not ready after {seconds:.0f} s")


def run_one_job(port: int, token: str, name: str, seconds: float = 60) -> dict[str, Any]:
    """Trigger a job over REST, wait for its end and return the run as the API shows it.

    Raises:
        DemoError: The run did not succeed in time.
    """
    base = f"http://127.0.0.1:{port}/jobs/api"
    run_id = call(f"{base}/jobs/{name}/trigger", token, {})["run_id"]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run: dict[str, Any] = call(f"{base}/runs/{run_id}", token)
        if run["state"] == "succeeded":
            return run
        if run["state"] in {"failed", "cancelled"}:
            raise DemoError(f"run {run_id} of {name} {run['state']}: {run.get('message')}")
        time.sleep(0.05)
    raise DemoError(f"run {run_id} of {name} was not done after {seconds:.0f} s")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback server
            return True
    except urllib.error.HTTPError as error:
        error.close()  # an HTTP error is an answer too, and holds its connection
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        pass
    return False
