"""The decisions that an import asks of the owners: one for each difference between the old and the new runs of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from targcc_scheduler.core.sign_off import Decision

from targcc_gen.evidence.model import Finding, Weighed
from targcc_gen.parity.shapes import Difference
from targcc_gen.render.jobs import schedule_words
from targcc_gen.report.verdicts import Standing, evidence_of, standings
from targcc_gen.sources.model import Import, ImportedJob

_DIGITS = 8


def decisions(
    result: Import, differences: Sequence[Difference], weighed: Weighed
) -> dict[str, list[Decision]]:
    """Return the decisions about each job, by its key. Jobs that run as before have none.

    Args:
        result: The outcome of every row.
        differences: The differences between old and new schedules that no history has settled.
        weighed: The evidence of the history.
    """
    stand = standings(result, differences, weighed)
    asked: dict[str, list[Decision]] = {}
    for job in result.all_jobs:
        findings = _to_decide(job, stand.by_key[job.key], weighed)
        own = [item for item in differences if item.job.key == job.key]
        lines = [
            *(_line(job, f"history: {finding.kind}", _words(finding)) for finding in findings),
            *(_line(job, item.kind, f"Old: {item.old}; new: {item.new}") for item in own),
        ]
        if lines:
            asked[job.key] = list({line.id: line for line in reversed(lines)}.values())[::-1]
    return asked


def _to_decide(job: ImportedJob, standing: Standing, weighed: Weighed) -> Iterator[Finding]:
    """Yield the findings that changed the job, or that contradict its row."""
    if standing in {Standing.FOLLOWED, Standing.CONTRADICTED}:
        for finding in evidence_of(job, weighed).findings:
            if finding.chosen or standing is Standing.CONTRADICTED:
                yield finding


def _words(finding: Finding) -> str:
    return f"{finding.text}{f': {finding.chosen}' if finding.chosen else ''}"


def _line(job: ImportedJob, kind: str, question: str) -> Decision:
    """Return a line. Its id holds the schedules of both sides and not the moments, which move with the day of the import."""
    facts = (job.stable_name, kind, job.old.schedule_text, schedule_words(job.spec))
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:_DIGITS]
    return Decision(f"d{digest}", job.stable_name, job.old.runner, question)
