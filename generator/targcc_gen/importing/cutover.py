"""The file that says which row of the old table each job is that arrived paused: what ``targcc cutover`` needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.importing.arrival import SPEC_FILE
from targcc_gen.sources.model import Import, ImportedJob

CUTOVER_FILE = Path("legacy") / "cutover.json"


Moving = dict[str, Any]
"""A job of the old server: its name here, the ID of its row, its runner."""


def named_already(root: Path) -> list[Moving]:
    """The jobs that the file of a project names.

    Raises:
        InputError: The file that is there is something else.
    """
    path = root / CUTOVER_FILE
    if not path.exists():
        return []
    try:
        found: list[Moving] = json.loads(path.read_text(encoding="utf-8"))["jobs"]
    except (ValueError, KeyError, TypeError):
        hint = "Move it away, and repeat the import. Nothing was written."
        raise InputError(f"{path} is not a list of jobs to cut over", hint=hint) from None
    return found


def write_cutover(result: Import, root: Path, named: Sequence[Moving]) -> int:
    """Write which row each job of the old server is, for ``targcc owner import``; how many jobs are named.

    Args:
        result: The import, with the keys that its jobs have in the project.
        root: The project's folder, with the jobs written.
        named: The jobs that the file named before. They stay in it while the project has them, as an import may be done
            again with other rows.
    """
    from targcc_gen.spec import load_spec

    path = root / CUTOVER_FILE
    spec = load_spec(root / SPEC_FILE)
    ours = {key: spec.stable_name(key) for key in spec.jobs}
    jobs = {job["name"]: job for job in named if job["name"] in ours.values()}
    for job in result.jobs:
        if job.key in ours and _runs_there(job):
            jobs[ours[job.key]] = _entry(job, ours[job.key])
    content = {"targcc": 1, "jobs": [jobs[name] for name in sorted(jobs)]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return len(jobs)


def _runs_there(job: ImportedJob) -> bool:
    """Whether the old server runs it by its schedule; what other programs start is no part of a cut-over."""
    return job.old.id is not None and job.spec.has_schedule


def _entry(job: ImportedJob, name: str) -> Moving:
    runner = job.row.values.get("lkpjobrunner")
    return {"name": name, "id": str(job.old.id), "runner": str(runner or "")}
