"""The old server's past runs, as a file beside the project that ``targcc import-history`` reads."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from targcc_gen.sources.model import Import

HISTORY_FILE = Path("data") / "legacy_history.jsonl.gz"
_COMPRESSION = 5


def write_project_history(result: Import, root: Path) -> Counter[str]:
    """Write the history beside the project, ready for ``targcc import-history``; how many runs each job has.

    It is data, of any size, and not the generator's to manage: its folder keeps itself out of git.
    """
    history = result.history
    named: dict[str, tuple[str, str]] = {}
    for job in result.all_jobs:
        kind = "Recurring" if job.spec.has_schedule and job.spec.at is None else "Manual"
        for link in (f"id:{job.old.id}", f"name:{job.old.name.lower()}"):
            named.setdefault(link, (job.stable_name, kind))
    if history.is_empty:
        return Counter()
    path = root / HISTORY_FILE
    counts = write_history(path, history.records(result.options.zone, named))
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8", newline="\n")
    return counts


def write_history(
    path: Path, records: Iterator[dict[str, Any]], progress: Callable[[], None] | None = None
) -> Counter[str]:
    """Write records as gzipped JSON lines, whole or not at all; the same records give the same bytes.

    Returns:
        How many rows each job got.
    """
    counts: Counter[str] = Counter()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,
        ):
            for record in records:
                counts[record["JobName"]] += 1
                line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
                stream.write(line.encode())
                if progress:
                    progress()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return counts
