"""Start the patched app in a separate process, as its server does, and compare its routes with before the patch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from packaging.requirements import Requirement

from targcc_gen.errors import TrialError
from targcc_gen.patch.layout import Layout
from targcc_gen.patch.server_settings import Entry
from targcc_gen.render.wheel import meets

# Run a program with the project's own Python.

TIMEOUT = 60.0
"""Seconds an app may take to load, and as many again to start and run a job."""

JOBS = "targcc_trial_jobs"
"""The package that has the trial's job."""

_DATABASE = "trial.db"
_LAST_LINES = 6
_OURS = ("PYTEST_", "COVERAGE_", "COV_")
"""Prefixes of environment variables by which an app or the scheduler detects a test run."""
_JOB = """import os
from pathlib import Path

from {scheduler} import job


@job(every="1s", name="TargccTrial")
def trial() -> str:
    Path(os.environ["TARGCC_TRIAL_SEEN"]).touch()
    return "ran"
"""


def project_python(root: Path) -> Path:
    """Return the project's interpreter: from `.venv`, `venv`, the active environment, else the running interpreter."""
    active = os.environ.get("VIRTUAL_ENV")
    folders = [root / ".venv", root / "venv", *([Path(active)] if active else [])]
    for folder in folders:
        for name in ("bin/python", "Scripts/python.exe"):
            if (folder / name).is_file():
                return folder / name
    return Path(sys.executable)


def missing(python: Path, layout: Layout, requirements: Sequence[str]) -> list[str]:
    """Return the requirements that the interpreter's environment does not meet, in the given order."""
    wanted = [Requirement(text) for text in requirements]
    answer = ask(python, layout, {"distributions": [requirement.name for requirement in wanted]})
    if "error" in answer:
        raise TrialError(f"{python} does not run\n{answer['error']}")
    if tuple(answer["python"]) < (3, 11):
        version = ".".join(map(str, answer["python"]))
        raise TrialError(f"{python} is Python {version}; the scheduler needs 3.11 or later")
    versions = answer["versions"]
    return [
        text
        for text, requirement in zip(requirements, wanted, strict=True)
        if versions[requirement.name] is None or not meets(requirement, versions[requirement.name])
    ]


def ask(
    python: Path,
    layout: Layout,
    request: Mapping[str, Any],
    *,
    extra: Sequence[Path] = (),
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Run `trial.py` with a request; return its answer, or a dict with `error`."""
    here = Path(__file__).parent
    source = (here / "trial.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="targcc-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        result, log = folder / "result", folder / "log"
        asked = {
            **request,
            "seen": str(folder / "seen"),
            "database": (folder / _DATABASE).as_posix(),
        }
        (folder / "request").write_text(json.dumps(asked), encoding="utf-8")
        _fill(folder, here, request.get("scheduler"))
        with log.open("wb") as output:
            command = [str(python), "-B", "-c", source, str(result), str(folder / "request")]
            path = (layout.source, *extra, folder)
            process = _start(command, layout.root, path, output, _variables(folder))
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                return {"error": f"it took longer than {timeout:.0f} s", "stage": "time"}
            finally:
                _kill(process)
        with contextlib.suppress(OSError, ValueError):
            answer: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return answer
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return {"error": "\n".join([*lines, f"the process ended with status {status}"])}


def _fill(folder: Path, here: Path, scheduler: object) -> None:
    """Write the comparison module and a package with one job that runs every second to the folder."""
    text = (here / "trial_comparison.py").read_text(encoding="utf-8")
    (folder / "targcc_trial_compare.py").write_text(text, encoding="utf-8")
    if scheduler:
        jobs = folder / JOBS
        jobs.mkdir()
        (jobs / "__init__.py").touch()
        (jobs / "trial.py").write_text(_JOB.format(scheduler=scheduler), encoding="utf-8")


def _variables(folder: Path) -> dict[str, str]:
    """Return the trial's settings: a separate database, only the trial's job, no alerts and no mail."""
    return {
        "TARGCC_DATABASE_URL": f"sqlite:///{(folder / _DATABASE).as_posix()}",
        "TARGCC_JOBS_PACKAGE": JOBS,
        "TARGCC_TRIAL_SEEN": str(folder / "seen"),
        "TARGCC_MODE": "embedded",
        "TARGCC_MIGRATE_ON_START": "true",
        "TARGCC_KEEPALIVE": "false",
        "TARGCC_LEGACY_URL": "",
        "TARGCC_ALERT_EMAIL": "",
        "TARGCC_SMTP_HOST": "",
    }


def _start(
    command: list[str],
    root: Path,
    folders: Sequence[Path],
    output: BinaryIO,
    variables: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start the command with the folders on Python's path, in a new process group; the process ends when its stdin pipe closes."""
    path = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    environment = {
        **kept,
        **variables,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    try:
        return subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise TrialError(f"{command[0]} does not run: {error}") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.wait()


# The trial.

Kind = Literal["verified", "untried", "refused", "failed"]

_SHOWN = 4
_JOB_SECONDS = 30
_REDIRECTS = range(300, 400)
_FORBIDDEN = frozenset({401, 403})


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Args:
        kind: `verified`: everything works. `untried`: no result. `refused`: the app starts, but no line can add the scheduler
            without changing the app's own routes. `failed`: the app does not work with the scheduler.
        looked: The started object: `shop.main:app`.
        text: Why the app is not verified.
        hint: What to do next.
        taken: The scheduler's prefix, if the app has its own routes there.
        mounted: Whether another app mounts the app.
        lines: The lines that were added in place of the planned lines, with file and number.
    """

    kind: Kind
    looked: str
    text: str = ""
    hint: str = ""
    taken: str = ""
    mounted: bool = False
    lines: tuple[str, ...] = ()

    @property
    def is_verified(self) -> bool:
        """Whether a job ran and the app's own routes are unchanged."""
        return self.kind == "verified"


@dataclass(frozen=True)
class Trial:
    """A trial of an app.

    Args:
        python: The project's interpreter.
        layout: How the project's modules are imported.
        entry: The object that the server loads.
        scheduler: The scheduler's package: `shop.scheduler`.
        extra: More folders for Python's path.
        timeout: Seconds the app may take to load, and as many again to start.
    """

    python: Path
    layout: Layout
    entry: Entry
    scheduler: str
    extra: Sequence[Path] = ()
    timeout: float = TIMEOUT

    def before(self) -> dict[str, Any]:
        """Load the app as it is; return routes, OpenAPI and middleware, or `error`."""
        return self._ask({})

    def starts_without(self) -> str:
        """Start the app after the scheduler's removal; return the error, empty when the app starts."""
        return str(self._ask({"start": True}).get("error", ""))

    def run(self, before: dict[str, Any] | None) -> Outcome:
        """Start the patched app and compare it with the description `before`, if given."""
        request = {"start": True, "scheduler": self.scheduler, "before": before}
        return judged(self.entry, self._ask(request))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        entry = self.entry
        common = {
            "module": entry.module,
            "name": entry.name,
            "factory": entry.factory,
            "lifespan": entry.lifespan,
            "script": entry.script,
            "seconds": _JOB_SECONDS,
        }
        timeout = self.timeout * (2 if request else 1)
        return ask(self.python, self.layout, common | request, extra=self.extra, timeout=timeout)


def judged(entry: Entry, answer: dict[str, Any]) -> Outcome:
    """Return the outcome for the answer of `trial.py`."""
    looked = entry.shown
    if "error" in answer:
        text = f"{looked} does not work with the scheduler in it\n{_indented(answer['error'])}"
        return Outcome("failed", looked, text)
    if "unserved" in answer:
        text = f"{answer['unserved']}, so that no job would run"
        return Outcome("refused", looked, text, mounted=bool(answer.get("mounted")))
    if "elsewhere" in answer:
        text = f"{answer['elsewhere']}, so that the trial cannot see its run"
        return Outcome("untried", looked, text, "A job ran. Look at the pages yourself.")
    if problem := _changes(looked, answer):
        taken = answer["prefix"] if answer.get("hidden") else ""
        return Outcome("refused", looked, problem, taken=taken)
    return _pages(looked, answer)


def _changes(looked: str, answer: dict[str, Any]) -> str:
    """Return the first change of the app's own routes, OpenAPI or middleware, as a message; empty without a change."""
    if answer.get("shadowed"):
        return f"{looked} has a route that comes before the scheduler's and answers {_first_few(answer['shadowed'])}"
    if answer.get("hidden"):
        return f"{looked} answers {_first_few(answer['hidden'])} itself, and the scheduler would answer that first"
    if answer.get("routes"):
        return f"routes of {looked} would not be as before: {_first_few(answer['routes'])}"
    if answer.get("openapi"):
        return f"the OpenAPI of {looked} would not be as before: {_first_few(answer['openapi'])}"
    return f"the middleware of {looked} would not be as before" if answer.get("middleware") else ""


def _pages(looked: str, answer: dict[str, Any]) -> Outcome:
    page, prefix = answer["pages"], answer["prefix"]
    status, location = page["status"], page["location"]
    if status == 200 or (status in _REDIRECTS and prefix in location):  # noqa: PLR2004
        return Outcome("verified", looked)
    if status in _FORBIDDEN or status in _REDIRECTS:
        text = f"something of the app's own stands before the pages: GET {prefix} answers {status}"
        return Outcome("untried", looked, text, "Its jobs run. Look at the pages yourself.")
    reason = f"{status} {location}".strip()
    return Outcome("failed", looked, f"the pages of {looked} do not answer: GET {prefix}: {reason}")


def _first_few(texts: list[str]) -> str:
    """Join the first few texts and the number of omitted texts."""
    shown, more = ", ".join(texts[:_SHOWN]), len(texts) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
