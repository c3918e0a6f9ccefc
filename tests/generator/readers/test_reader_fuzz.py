"""Inputs of 1 MB take a reader at most 2 s of processor time and 200 MB, and errors are worded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_reader_bombs import EXPORTS, GOOD, workbook

SECONDS = float(os.environ.get("TARGCC_FUZZ_SECONDS", "6"))
SEED = os.environ.get("TARGCC_FUZZ_SEED", "14")
KINDS = ("csv", "json", "xml", "sql", "xlsx")
DATA = Path(__file__).parents[2] / "data"


def seeds(folder: Path, kind: str) -> None:
    """Write the fuzzer's seeds: the exports of the tests, and small files of this kind from the tests' data."""
    folder.mkdir(parents=True)
    for name, text in EXPORTS.items():
        if name.endswith(kind):
            (folder / name).write_text(text, encoding="utf-8")
            (folder / f"16{name}").write_text(text, encoding="utf-16")
    if kind == "xlsx":
        workbook(folder / "good.xlsx", GOOD)
    for number, file in enumerate(sorted(DATA.rglob(f"*.{kind}"))):
        if file.stat().st_size < 20_000:
            (folder / f"{number}.{kind}").write_bytes(file.read_bytes())


def run(kind: str, seconds: float, folder: Path) -> dict:
    seeds(folder / "seeds", kind)
    fuzzer = Path(__file__).with_name("reader_fuzzer.py")
    command = [sys.executable, str(fuzzer), kind, str(seconds), SEED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_takes_a_reader_long_or_much_memory(kind: str, tmp_path: Path):
    """``TARGCC_FUZZ_SECONDS`` sets the duration of each."""
    results = run(kind, SECONDS, tmp_path)
    print(results)  # noqa: T201 - with -s, for whoever counts
    assert results["found"] == []
    assert results["inputs"] > 5
    assert results["lines"] > 100
