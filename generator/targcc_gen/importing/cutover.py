"""Files for the cut-over: rows of jobs that arrived paused, and the old server's past runs."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from targcc_scheduler.core.sign_off import Decision, SignOffError, decisions_csv, read_decisions

from targcc_gen.errors import ImportMismatchError
from targcc_gen.importing.changes import SPEC_FILE
from targcc_gen.readers.text import open_text
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.sources.moving import SWITCHES

# The rows for ``targcc cutover``.

CUTOVER_FILE = Path("legacy") / "cutover.json"


Moving = dict[str, Any]
"""A job of the old server: its name in the project, the ID of its row, its runner."""


def named_already(root: Path) -> list[Moving]:
    """Return the jobs in the project's cut-over file.

    Raises:
        InputError: The file has other content.
    """
    path = root / CUTOVER_FILE
    if not path.exists():
        return []
    try:
        entries: list[Moving] = json.loads(path.read_text(encoding="utf-8"))["jobs"]
    except (ValueError, KeyError, TypeError):
        hint = "Move it away, and repeat the import. Nothing was written."
        raise ImportMismatchError(f"{path} is not a list of jobs to cut over", hint=hint) from None
    return entries


def write_cutover(
    result: Import,
    root: Path,
    named: Sequence[Moving],
    asked: Mapping[str, Sequence[Decision]] | None = None,
) -> int:
    """Write the old server's row of each job, for ``targcc owner import``, and return the number of jobs.

    Args:
        result: The import, with the jobs' keys in the project.
        root: The project's folder, with the jobs written.
        named: The jobs of the previous file. They stay while the project has them, because an import may be repeated with
            other rows.
        asked: The decisions that each job needs, by its key.
    """
    from targcc_gen.spec import load_spec

    path = root / CUTOVER_FILE
    spec = load_spec(root / SPEC_FILE)
    ours = {key: spec.stable_name(key) for key in spec.jobs}
    jobs = {job["name"]: job for job in named if job["name"] in ours.values()}
    for job in result.jobs:
        if job.key in ours and _runs_there(job):
            lines = [_decision(line) for line in (asked or {}).get(job.key, ())]
            entry = _entry(job, ours[job.key])
            jobs[ours[job.key]] = {**entry, "decisions": lines} if lines else entry
    content = {"targcc": 1, "jobs": [jobs[name] for name in sorted(jobs)]}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with _whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return len(jobs)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which then takes the place of ``path``; after an error ``path`` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _runs_there(job: ImportedJob) -> bool:
    """Return whether the old server runs the job by a schedule. Jobs started by other programs have no cut-over."""
    return job.old.id is not None and job.spec.has_schedule


def _entry(job: ImportedJob, name: str) -> Moving:
    return {"name": name, "id": str(job.old.id), "runner": job.old.runner}


def _decision(line: Decision) -> dict[str, str]:
    return {"id": line.id, "question": line.question}


# The decisions that people sign.

DECISIONS_FILE = Path("legacy") / "decisions.csv"


def signed_already(root: Path, zone: str) -> dict[str, Decision]:
    """Return the lines of an earlier import's list by id, in any encoding and with any separator.

    Args:
        root: The project's folder.
        zone: The old server's zone, which tells the code page of a file without a Unicode encoding.

    Raises:
        InputError: The list cannot be read.
    """
    path = root / DECISIONS_FILE
    if not path.exists():
        return {}
    try:
        return read_decisions("".join(open_text(path, zone=zone).chunks()))
    except SignOffError as error:
        hint = "Move it away, and repeat the import. Nothing was written."
        raise ImportMismatchError(f"{path}: {error}", hint=hint) from None


def write_decisions(root: Path, signed: Mapping[str, Decision]) -> int:
    """Write the list of decisions that the jobs of the cut-over file need, and return the number of open lines.

    Args:
        root: The project's folder, with the cut-over file written.
        signed: The lines of the previous list: what people filled in stays. An equal list is not written again.
    """
    lines = []
    for entry in named_already(root):
        for line in entry.get("decisions", ()):
            new = Decision(line["id"], entry["name"], entry["runner"], line["question"])
            old = signed.get(new.id, new)
            lines.append(replace(new, decision=old.decision, by=old.by, on=old.on))
    if {line.id: line for line in lines} != signed:
        with _whole(root / DECISIONS_FILE) as partial:
            partial.write_text(decisions_csv(lines), encoding="utf-8-sig", newline="")
    return sum(bool(line.problem) for line in lines)


# Scripts that stop and start the jobs on an old scheduler of another kind.


def write_switches(result: Import, root: Path) -> list[Path]:
    """Write a script that stops the imported jobs on the old scheduler, and a script that starts them again.

    Returns:
        The scripts.
    """
    jobs = {job.row.place: job for job in reversed([*result.jobs, *result.second])}
    parts: dict[Path, list[str]] = {}
    for place, switch in result.switches.items():
        if (job := jobs.get(place)) is None:
            continue
        for name, statement in (("off", switch.off), ("on", switch.on)):
            path = root / "legacy" / f"{SWITCHES[name]}{switch.suffix}"
            comment = f"{switch.comment} {job.stable_name} ({place})"
            parts.setdefault(path, []).append(f"{comment}\n{statement}\n")
    for path, texts in parts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(texts), encoding="utf-8", newline="\n")
    return list(parts)


def write_scripts(result: Import, root: Path) -> list[Path]:
    """Write the DBA's scripts of the move, and return their paths."""
    paths = []
    for name, sql in (result.move(result).scripts if result.move else {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sql, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


# The past runs for ``targcc import-history``.

HISTORY_FILE = Path("data") / "legacy_history.jsonl.gz"
_COMPRESSION = 5


def write_project_history(result: Import, root: Path) -> Counter[str]:
    """Write the history beside the project, for ``targcc import-history``, and return the number of runs by job.

    The history is data of any size and not a managed file; a ``.gitignore`` in its folder keeps it out of git.
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
    """Write records as gzipped JSON lines, completely or not at all. Equal records give equal bytes.

    Returns:
        The number of rows by job.
    """
    counts: Counter[str] = Counter()
    with (
        _whole(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,
    ):
        for record in records:
            counts[record["JobName"]] += 1
            line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
            stream.write(line.encode())
            if progress:
                progress()
    return counts
