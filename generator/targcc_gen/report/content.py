"""Everything that a report says, as JSON has it; the other formats print it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen import __version__
from targcc_gen.evidence.findings import span
from targcc_gen.evidence.model import Evidence, Weighed
from targcc_gen.parity import compare
from targcc_gen.parity.compare import Difference
from targcc_gen.render.job.jobs import schedule_words
from targcc_gen.report.load import load_by_hour
from targcc_gen.report.outcome import job_outcome
from targcc_gen.report.questions import advice, questions
from targcc_gen.report.runners import described_queues, shown
from targcc_gen.report.verdicts import Standing, Standings, asked, evidence_of, standings
from targcc_gen.sources.model import Balance, Import, ImportedJob, OldJob

_NEXT_RUNS = 3
_MINUTE = timedelta(minutes=1)


def content(result: Import, found: Sequence[Difference], weighed: Weighed) -> dict[str, Any]:
    """What the report says.

    Args:
        result: The end of every row.
        found: Where old and new schedules part.
        weighed: What the history says.
    """
    options = result.options
    stand = standings(result, found, weighed)
    writer = _Jobs(result, weighed, stand)
    second = [writer.described(job) for job in result.second]
    return {
        "generator": f"targcc-gen {__version__}",
        "made_at": options.now.astimezone(UTC).isoformat(timespec="seconds"),
        "timezone": options.zone.key,
        "cron_dialect": options.dialect,
        "files": _files(result),
        "table": result.tables.main_shown,
        "counts": {
            "rows": result.rows,
            "jobs": len(result.jobs),
            "inactive": len(result.inactive),
            "rejected": len(result.rejected),
            "history": result.history.rows,
            "history_left_out": {why: rows.count for why, rows in result.history.left_out.items()},
        },
        "balances": [_balance(one) for one in _balances(result)],
        "standings": {one.value: stand.count(one) for one in Standing},
        "alive": weighed.alive.isoformat(" ", "minutes") if weighed.alive else None,
        "jobs": [writer.described(job) for job in result.jobs],
        "inactive": [writer.described(job) for job in result.inactive],
        "second": second,
        "rejected": [
            {"file": one.file, "line": one.line, "name": one.name, "reason": one.reason}
            for one in result.rejected
        ],
        "parity": {
            "model": compare.MODEL,
            "until": compare.horizon(options.now).date().isoformat(),
            "compared": stand.compared,
            "same": stand.count(Standing.SAME),
            "differ": [_difference(one, options.zone) for one in found],
        },
        "queues": described_queues(result),
        "questions": questions(result),
        "advice": advice(result),
        "load": load_by_hour(result, weighed),
        "warnings": list(result.warnings),
    }


def _balances(result: Import) -> list[Balance]:
    """The sum of every table that was read, the main one first."""
    ends = {
        "jobs": len(result.jobs),
        "inactive jobs, created paused": len(result.inactive),
        "rejected, each with its reason": len(result.rejected),
    }
    main = Balance(result.tables.main_shown, result.rows, {k: n for k, n in ends.items() if n})
    return [main, *result.companions]


def _balance(one: Balance) -> dict[str, Any]:
    return {
        "table": one.table,
        "read": one.read,
        "ends": dict(one.ends),
        "sum": sum(one.ends.values()),
    }


def _files(result: Import) -> list[dict[str, Any]]:
    return [
        {
            "file": file.name,
            "encoding": file.encoding,
            "kind": file.kind,
            "rows": {result.tables.names[table]: count for table, count in file.counts.items()},
            "other_rows": dict(file.others),
        }
        for file in result.files
    ]


class _Jobs:
    """Describes jobs."""

    def __init__(self, result: Import, weighed: Weighed, stand: Standings) -> None:
        self._result = result
        self._weighed = weighed
        self._stand = stand

    def described(self, job: ImportedJob) -> dict[str, Any]:
        """A job, its old self, and what is known of it."""
        options, old = self._result.options, job.old
        evidence = evidence_of(job, self._weighed)
        past = self._result.history.of(old.id, old.name)
        standing = self._stand.by_key[job.key]
        runs = compare.next_runs(job.spec, options.zone, options.now, _NEXT_RUNS)
        difference = self._stand.differences.get(job.key)
        return {
            **job_outcome(job),
            "notes": list(job.notes),
            "schedule": schedule_words(job.spec),
            "next_runs": [
                {"local": shown(run), "utc": f"{run.astimezone(UTC):%Y-%m-%d %H:%M} UTC"}
                for run in runs
            ],
            "next": self._side_by_side(old, runs),
            "standing": standing.value,
            "old": _old(old),
            "history": {"runs": past.runs, "failures": past.failures} if past else None,
            "durations": _durations(evidence),
            "evidence": _evidence(evidence),
            "mailed": {"to": list(old.mailed), "when": old.mail_rule},
            "touches": self._touches(job),
            "questions": asked(standing, evidence, difference),
        }

    def _side_by_side(self, old: OldJob, runs: Sequence[datetime]) -> dict[str, Any]:
        """The old server's next run and the new one's, by the same clock."""
        options = self._result.options
        now = options.now.astimezone(options.zone).replace(tzinfo=None)
        new = runs[0].astimezone(options.zone).replace(tzinfo=None) if runs else None
        same = note = None
        if old.next_run is not None and old.next_run < now:
            note = "in the past: the export is older, or the old server did not run it"
        elif old.next_run is not None:
            same = new is not None and abs(new - old.next_run) <= _MINUTE
        return {
            "old": old.next_run.isoformat(" ", "minutes") if old.next_run else None,
            "new": new.isoformat(" ", "minutes") if new else None,
            "same": same,
            "note": note,
        }

    def _touches(self, job: ImportedJob) -> dict[str, Any] | None:
        """What the job's procedure uses, if the export has its text."""
        if job.spec.procedure is None:
            return None
        name = job.spec.procedure.replace("[", "").replace("]", "").casefold()
        routines = self._result.touches
        last = name.rpartition(".")[2]
        near = [one for key, one in routines.items() if key.rpartition(".")[2] == last]
        found = routines.get(name) or (near[0] if len(near) == 1 else None)
        if found is None:
            return None
        return {
            "writes": list(found.writes),
            "reads": list(found.reads),
            "calls": list(found.calls),
            "where": f"{found.file}:{found.line}",
        }


def _old(old: OldJob) -> dict[str, Any]:
    return {
        "id": old.id,
        "schedule": old.schedule_text,
        "runner": old.runner or None,
        "last_run": old.last_run.isoformat(" ", "seconds") if old.last_run else None,
        "next_run": old.next_run.isoformat(" ", "seconds") if old.next_run else None,
        "last_result": old.last_result,
        "failures": old.failures,
    }


def _durations(evidence: Evidence) -> dict[str, Any] | None:
    if evidence.typical is None or evidence.longest is None:
        return None
    return {
        "typical_seconds": evidence.typical,
        "longest_seconds": evidence.longest,
        "typical": span(timedelta(seconds=evidence.typical)),
        "longest": span(timedelta(seconds=evidence.longest)),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "verdict": evidence.verdict.value,
        "text": evidence.text,
        "reading": evidence.reading,
        "findings": [one.to_json() for one in evidence.findings],
    }


def _difference(one: Difference, zone: ZoneInfo) -> dict[str, str]:
    return {
        "key": one.job.key,
        "kind": one.kind,
        "count": str(one.count),
        "at": shown(one.at.astimezone(zone)),
        "old": one.old,
        "new": one.new,
    }
