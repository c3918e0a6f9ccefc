"""``uv run python tests/benchmarks/table.py``: run all benchmarks, record their results, and put the tables into two pages.

The pages are the README beside this file and the performance page. ``--render`` only writes the pages anew from ``results.json``;
``-k`` runs some benchmarks for a trial and leaves the pages alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

# ruff: noqa: E402, T201 - found by the line above; a command prints
from bench_results import (
    RESULTS,
    SAMPLES,
    document,
    machine,
    read_samples,
    render,
    write_pages,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks and write the results; return the exit status of pytest."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/table.py", description=__doc__)
    parser.add_argument("--render", action="store_true", help="write the pages from results.json")
    parser.add_argument("-k", help="only these benchmarks; their table is printed")
    options = parser.parse_args(arguments)
    if not options.render:
        about, status = machine(), 0
        with tempfile.TemporaryDirectory() as folder:
            samples = Path(folder) / "samples.jsonl"
            samples.touch()
            status = _benchmarks(samples, options.k)
            text = document(
                read_samples(samples), dt.datetime.now(dt.UTC).date().isoformat(), about
            )
        if options.k:
            print(render(json.loads(text)))
            return status
        RESULTS.write_text(text, encoding="utf-8")
        if status:
            print(
                "a benchmark missed what it asserts; its numbers are in the table", file=sys.stderr
            )
    else:
        status = 0
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_pages(results)
    return status


def _benchmarks(samples: Path, some: str | None) -> int:
    words = [sys.executable, "-m", "pytest", "-m", "benchmark", "-n", "0", "-s", "-q", str(HERE)]
    words += ["-k", some] if some else []
    environment = {**os.environ, SAMPLES: str(samples)}
    return subprocess.run(words, env=environment, check=False, cwd=HERE.parents[1]).returncode


if __name__ == "__main__":
    sys.exit(main())
