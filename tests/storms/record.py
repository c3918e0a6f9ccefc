"""Record files: one JSON object a line, each appended by one write, safe with concurrent writers and kills.

Jobs record their executions, the submitter acknowledgements, the storm its faults. This module does not import the scheduler.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

JOBS = "jobs.jsonl"
"""Events of jobs: ``start``, ``end``, ``step`` (being executed), ``kept`` (stored result returned)."""
SUBMITTED = "submitted.jsonl"
"""Events of the submitter: ``acknowledged`` with the run, ``batch``, ``flow``, ``refused``, or ``rolled back``."""
ROLLED_BACK = "rolled back"
"""Event of a call in a transaction that was rolled back."""
ACTING, ACTED = "acting", "acted"
"""Events of people: an act begins, and its outcome is known."""
STORM = "storm.jsonl"
"""Events of the storm: ``node``, ``ready``, ``ended``, ``fault``, ``healed``, ``begin``, ``quiet``."""


def append(path: Path, event: str, **values: Any) -> None:
    """Append a line: event, process, and time by the machine's monotonic clock and by this process's wall clock.

    One ``write`` on a descriptor opened with ``O_APPEND`` is written whole or not at all, even when the process is killed. A pipe does the
    same for lines this short, which keeps the record working while the disk is full.
    """
    line = {
        "event": event,
        "mono": time.monotonic(),
        "wall": time.time(),
        "pid": os.getpid(),
        "node": os.environ.get("STORM_NODE", ""),
        **values,
    }
    file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def note(event: str, **values: Any) -> None:
    """Append a line to the jobs' record, whose file the environment names."""
    append(Path(os.environ["STORM_RECORD"]), event, **values)


def read(path: Path) -> list[dict[str, Any]]:
    """Return every line in the order of writing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
