"""Further processes of a benchmark. Each runs the benchmark's own file, prints ``ready``, and works until its input ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATH = os.pathsep.join([str(HERE.parents[1] / "templates" / "scheduler"), str(HERE)])


def start(file: str, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start a process of a benchmark with further variables of the environment."""
    return subprocess.Popen(
        [sys.executable, file, *words],
        env={**os.environ, "PYTHONPATH": PATH, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Wait until a process prints ``ready``; end the benchmark if the process ends before."""
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit(f"a process of the benchmark has ended: {process.args}")
