"""Helpers to run a generated project."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from targcc_gen import demo
from targcc_gen.demo import DemoProject

WAYS = ("vendored", "package")
MOSTLY_VENDORED = pytest.mark.parametrize(
    "either", ["vendored", pytest.param("package", marks=pytest.mark.soak)], indirect=True
)
"""For long tests with hardly any difference between the ways: only CI runs the second way."""

DATA = Path(__file__).resolve().parents[1] / "data" / "e2e"


def run(project: DemoProject, *command: str | Path, **more: str) -> subprocess.CompletedProcess:
    """Run a Python module by its name in the project's folder, with arguments."""
    return subprocess.run(
        [str(project.python), "-m", *map(str, command)],
        cwd=project.root,
        env=project.environment() | more,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30) -> object:
    """Wait until ``condition`` returns a true value and return the value; fail after a timeout."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return value


@contextmanager
def running(project: DemoProject, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Run `targcc` until the block ends; its output is appended to ``processes.log``."""
    with (project.root / "processes.log").open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            project.command(*command),
            cwd=project.root,
            env=project.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            demo.stop(process)


@contextmanager
def served(project: DemoProject) -> Iterator[tuple[int, Path]]:
    """Run the project's server; yield its port and its log file once ready."""
    port, output = demo.free_port(), project.root / "serve.log"
    with (
        output.open("w", encoding="utf-8") as file,
        demo.serving(project, port, output=file.fileno()) as process,
    ):
        try:
            demo.wait_until_ready(process, port)
        except demo.DemoError as error:
            pytest.fail(f"{error}\n{output.read_text(encoding='utf-8')}")
        yield port, output
