"""The content of a report, as JSON; the other formats print this content."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen import __version__
from targcc_gen.evidence.findings import span
from targcc_gen.evidence.model import Evidence, Weighed
from targcc_gen.parity import compare
from targcc_gen.parity.compare import RunnerQueue, runner_queues
from targcc_gen.parity.shapes import Difference
from targcc_gen.render.jobs import schedule_words
from targcc_gen.report.runbook import runbook
from targcc_gen.report.verdicts import (
    Standing,
    Standings,
    evidence_of,
    load_by_hour,
    owner_questions,
    standings,
)
from targcc_gen.sources.model import Balance, Import, ImportedJob, OldJob
from targcc_gen.spec import JobSpec, flow_values, job_values

# Outcome of every row, as ``--json`` prints it.


def outcome(result: Import) -> dict[str, list[Any]]:
    """Return the outcome of every row, and the warnings."""
    return {
        "jobs": [job_outcome(job) for job in result.jobs],
        "inactive": [job_outcome(job) for job in result.inactive],
        "rejected": [
            {"file": rejection.file, "line": rejection.line, "reason": rejection.reason}
            for rejection in result.rejected
        ],
        "warnings": list(result.warnings),
    }


def job_outcome(job: ImportedJob) -> dict[str, Any]:
    """Return a job's values, with the file and line of its row."""
    place = {"key": job.key, "name": job.stable_name, "file": job.row.file, "line": job.row.line}
    values = flow_values(job.flow) if job.flow else job_values(job.spec)
    return place | {key: value for key, value in values.items() if key != "name"}


# Old runners: their queues, and the starts that meet another run.

QUEUE_HEADINGS = ("Runner", "Queue", "At once", "Jobs", "Starts that meet another run")


def queue_cells(queue: dict[str, Any]) -> Sequence[str]:
    """Return a queue's row in a table."""
    first = queue["first"]
    meets = f"; first {first['at']}: {first['job']} and {first['other']}" if first else ""
    counts = str(queue["workers"]), str(queue["jobs"]), f"{queue['meetings']:,}{meets}"
    return queue["runner"], queue["queue"], *counts


def described_queues(result: Import) -> list[dict[str, Any]]:
    """Return the queue of each old runner, for JSON."""
    return [_queue(queue, result.options.zone) for queue in runner_queues(result)]


def _queue(queue: RunnerQueue, zone: ZoneInfo) -> dict[str, Any]:
    """Return the queue of an old runner, with the number of starts that meet another run."""
    first = queue.first
    return {
        "runner": queue.runner,
        "queue": queue.queue,
        "workers": queue.workers,
        "jobs": queue.jobs,
        "meetings": queue.meetings,
        "longest_wait_seconds": round(queue.longest_wait.total_seconds()),
        "first": (
            {"at": shown(first.at.astimezone(zone)), "job": first.job.key, "other": first.other.key}
            if first
            else None
        ),
    }


def shown(moment: datetime) -> str:
    """Format a moment with its offset: ``Wed 25 Nov 2026 02:00 +02:00``."""
    offset = f"{moment:%z}"
    return f"{moment:%a %d %b %Y %H:%M} {offset[:3]}:{offset[3:5]}"


# Content.

_NEXT_RUNS = 3
_MINUTE = timedelta(minutes=1)
_WIDEST_WORK = 120


def content(
    result: Import, differences: Sequence[Difference], weighed: Weighed, *, moves: bool = True
) -> dict[str, Any]:
    """Return the content of the report.

    Args:
        result: The outcome of every row.
        differences: The first difference between old and new schedule, by job.
        weighed: The evidence of the history.
        moves: Whether the jobs leave the old scheduler, which gives the report a runbook. False for rows that stay in ``c_Job``.
    """
    options = result.options
    stand = standings(result, differences, weighed)
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
        "balances": [_balance(item) for item in _balances(result)],
        "standings": {item.value: stand.count(item) for item in Standing},
        "alive": weighed.alive.isoformat(" ", "minutes") if weighed.alive else None,
        "jobs": [writer.described(job) for job in result.jobs],
        "inactive": [writer.described(job) for job in result.inactive],
        "second": second,
        "rejected": [
            {"file": item.file, "line": item.line, "name": item.name, "reason": item.reason}
            for item in result.rejected
        ],
        "parity": {
            "model": compare.model_of(result),
            "until": compare.horizon(options.now).date().isoformat(),
            "compared": stand.compared,
            "same": stand.count(Standing.SAME),
            "causes": causes(differences, options.zone),
            "differ": [_difference(item, options.zone) for item in differences],
        },
        "runbook": runbook(result) if moves and result.jobs else None,
        "queues": described_queues(result),
        "questions": result.questions(result),
        "advice": result.advice(result),
        "load": load_by_hour(result, weighed),
        "warnings": list(result.warnings),
    }


def _balances(result: Import) -> list[Balance]:
    """Return the balance of every table that was read, the main table first."""
    ends = {
        "jobs": len(result.jobs),
        "inactive jobs, created paused": len(result.inactive),
        "rejected, each with its reason": len(result.rejected),
    }
    main = Balance(result.tables.main_shown, result.rows, {k: n for k, n in ends.items() if n})
    return [main, *result.companions]


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "table": balance.table,
        "read": balance.read,
        "ends": dict(balance.ends),
        "sum": sum(balance.ends.values()),
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
    """Describe jobs for the report."""

    def __init__(self, result: Import, weighed: Weighed, stand: Standings) -> None:
        self._result = result
        self._weighed = weighed
        self._stand = stand

    def described(self, job: ImportedJob) -> dict[str, Any]:
        """Return a job's new values, its old values and its evidence."""
        options, old = self._result.options, job.old
        evidence = evidence_of(job, self._weighed)
        past = self._result.history.of(old.id, old.name)
        standing = self._stand.by_key[job.key]
        runs = compare.next_runs(job.spec, options.zone, options.now, _NEXT_RUNS)
        difference = self._stand.differences.get(job.key)
        return {
            **job_outcome(job),
            "notes": list(job.notes),
            "work": f"runs {len(job.steps)} steps" if job.steps else work(job.spec),
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
            "questions": owner_questions(standing, evidence, difference),
        }

    def _side_by_side(self, old: OldJob, runs: Sequence[datetime]) -> dict[str, Any]:
        """Compare the next run of the old server with the new next run, both in the old server's time zone."""
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
        """Return the objects that the job's procedure uses, if the export has the procedure's text."""
        if job.spec.procedure is None:
            return None
        name = job.spec.procedure.replace("[", "").replace("]", "").casefold()
        routines = self._result.touches
        last = name.rpartition(".")[2]
        near = [routine for key, routine in routines.items() if key.rpartition(".")[2] == last]
        routine = routines.get(name) or (near[0] if len(near) == 1 else None)
        if routine is None:
            return None
        return {
            "writes": list(routine.writes),
            "reads": list(routine.reads),
            "calls": list(routine.calls),
            "where": f"{routine.file}:{routine.line}",
        }


def work(spec: JobSpec) -> str:
    """Return the work of a job in words: the procedure, the program, the statement or the address that it calls."""
    if spec.blueprint == "stored-procedure":
        return f"calls {spec.procedure}"
    param = next(
        (spec.params[name] for name in ("command", "statement", "url") if name in spec.params), None
    )
    if param is None or param.default is None:
        return "not yet ported"
    text = " ".join(str(param.default).split())
    return f"runs {text[:_WIDEST_WORK]}{'…' if len(text) > _WIDEST_WORK else ''}"


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
        "findings": [finding.to_json() for finding in evidence.findings],
    }


_CAUSES = {
    "spring": "the gap of {day}",
    "autumn": "the repeated hour of {day}",
    "day and weekday": "a day of the month and a weekday, read with AND",
    "seconds": "a second that the cron text names",
    "next run": "a NextRunTime off the row's own grid",
    "month end": "a runner that hung at a month's end",
    "hung runner": "a runner that hung",
    "twice": "a time that two schedules of an entry name",
    "calendar": "days or times of their own",
}


def causes(differences: Sequence[Difference], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Group differences by their cause, the cause with the most differing starts first.

    Returns:
        For each cause: ``cause`` in words, ``jobs`` with their keys, ``starts``, the number of differing starts in the compared period,
        and ``first``, the first moment.
    """
    groups: dict[str, list[Difference]] = {}
    for difference in differences:
        day = difference.at.astimezone(zone)
        text = _CAUSES.get(difference.kind, difference.kind)
        groups.setdefault(text.format(day=f"{day:%d %B %Y}".lstrip("0")), []).append(difference)
    ordered = sorted(groups.items(), key=lambda item: -sum(each.count for each in item[1]))
    return [
        {
            "cause": cause,
            "jobs": list(dict.fromkeys(each.job.key for each in members)),
            "starts": sum(each.count for each in members),
            "first": shown(min(each.at for each in members).astimezone(zone)),
        }
        for cause, members in ordered
    ]


def _difference(difference: Difference, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "key": difference.job.key,
        "kind": difference.kind,
        "count": difference.count,
        "at": shown(difference.at.astimezone(zone)),
        "old": difference.old,
        "new": difference.new,
    }
