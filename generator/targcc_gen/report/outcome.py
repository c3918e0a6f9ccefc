"""How every row ended, for programs: what ``--json`` prints."""

from __future__ import annotations

from typing import Any

from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import job_values


def outcome(result: Import) -> dict[str, list[Any]]:
    """Every row's end, and the warnings."""
    return {
        "jobs": [job_outcome(job) for job in result.jobs],
        "inactive": [job_outcome(job) for job in result.inactive],
        "rejected": [
            {"file": one.file, "line": one.line, "reason": one.reason} for one in result.rejected
        ],
        "warnings": list(result.warnings),
    }


def job_outcome(job: ImportedJob) -> dict[str, Any]:
    """A job: where its row is, and what it says."""
    place = {"key": job.key, "name": job.stable_name, "file": job.row.file, "line": job.row.line}
    return place | {key: value for key, value in job_values(job.spec).items() if key != "name"}
