"""The record: files of one JSON object a line, appended by one write each, whoever else writes and whoever is killed.

Jobs write what they do, the submitter what was acknowledged, the storm what it broke. Nothing here knows the scheduler.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

JOBS = "jobs.jsonl"
"""What jobs do: ``start``, ``end``, ``step`` (it is being done), ``kept`` (its result came back)."""
SUBMITTED = "submitted.jsonl"
"""What the submitter was told: ``acknowledged`` with the run, ``batch``, ``flow``, ``refused``, or that it was rolled back."""
ROLLED_BACK = "rolled back"
"""The event of what was asked for in a transaction that was rolled back."""
STORM = "storm.jsonl"
"""What the storm did: ``node``, ``ready``, ``ended``, ``fault``, ``healed``, ``begin``, ``quiet``."""


def append(path: Path, event: str, **values: Any) -> None:
    """Add a line: what happened, who says so, and when by the machine's monotonic clock and by this process's wall clock.

    One ``write`` on a descriptor opened with ``O_APPEND`` is whole or not there, also when the process is killed; a pipe does the same for
    lines this short, which is how a record is kept while the disk is full.
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
    """Add a line to the record of the jobs, whose file the environment names."""
    append(Path(os.environ["STORM_RECORD"]), event, **values)


def read(path: Path) -> list[dict[str, Any]]:
    """Every line, in the order in which they were written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
