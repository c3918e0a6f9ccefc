"""The summary on the terminal: rows read, their outcome, differences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from targcc_gen.evidence.model import Weighed
from targcc_gen.parity.compare import runner_queues
from targcc_gen.parity.shapes import Difference
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import KnownTables
from targcc_gen.report.verdicts import Standing, Standings, evidence_of, standings
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import

_MOST_WARNINGS = 12
_MOST_QUEUES = 12
_MOST_REJECTED = 50
_MOST_DUE = 10
_IN_PROCESS = "InProcess"
_FEW = 2
_OF_A_JOB = re.compile(r'.+?:\d+: ".*?": (?P<what>.+)', re.DOTALL)
_KINDS = {
    "autumn": "on the autumn clock change",
    "spring": "on the spring clock change",
    "day and weekday": "read day AND weekday",
    "seconds": "name seconds",
    "next run": "have a NextRunTime off their own grid",
    "month end": "hung their runner at a month's end",
    "hung runner": "waited for a runner that hung",
    "calendar": "followed the old runner's own calendar",
    "twice": "name a time in two schedules",
}


def lines(
    result: Import,
    differences: Sequence[Difference],
    weighed: Weighed | None = None,
    *,
    report: str | None,
    hybrid: bool = False,
) -> Iterator[str]:
    """Yield the lines of the summary.

    Args:
        result: The outcome of every row.
        differences: The differences between old and new schedules.
        weighed: The evidence of the history.
        report: The report's file, if the command wrote a report.
        hybrid: Whether the rows stay in ``c_Job``.
    """
    yield from _labelled("read", _files(result))
    yield from _labelled("result", [_counts(result, hybrid=hybrid)])
    if hybrid:
        yield from _labelled("hybrid", _hybrid(result))
    yield from _labelled("reject", _rejected(result))
    yield from _labelled("warning", _warnings(result))
    weighed = weighed or Weighed()
    yield from _labelled("history", _evidence(result, weighed))
    if not hybrid:
        yield from _labelled("queues", _queues(result))
    yield from _labelled(
        "parity", _parity(result, differences, weighed, reported=report is not None)
    )
    if report:
        yield from _labelled("report", [report])


def _labelled(label: str, texts: Sequence[str]) -> Iterator[str]:
    for index, text in enumerate(texts):
        yield f"{'' if index else label:<9} {text}".rstrip()


def _files(result: Import) -> list[str]:
    names = [f"{file.name} ({file.encoding}, {file.kind})" for file in result.files]
    width = max(map(len, names), default=0)
    return [
        f"{printable(name):<{width}}  {_rows(file, result.tables)}"
        for name, file in zip(names, result.files, strict=True)
    ]


def _rows(file: ExportFile, tables: KnownTables) -> str:
    texts = [
        f"{tables.names[table]} {_count(count, 'row')}" for table, count in file.counts.items()
    ]
    if skipped := sum(file.others.values()):
        texts.append(f"{_count(skipped, 'row')} of other tables skipped")
    return ", ".join(texts) or f"no rows of {tables.main_shown}"


def _counts(result: Import, *, hybrid: bool) -> str:
    inactive = f"{len(result.inactive)} inactive" + ("" if hybrid else " (created paused)")
    return f"{_count(len(result.jobs), 'job')}, {inactive}, {len(result.rejected)} rejected"


def _hybrid(result: Import) -> list[str]:
    """Describe the rows that stay in ``c_Job``."""
    count = len(result.all_jobs)
    idle = len(result.inactive)
    lines = [
        f"{count} rows stay in c_Job and run from there, by TARGCC_LEGACY_URL; no job files for them"
    ]
    classic = _has_classic_rows(result)
    if idle:
        lines.append(f"{idle} of them when {'Active' if classic else 'IsActive'} becomes 1")
    if classic and (due := _due(result)):
        more = f" and {len(due) - _MOST_DUE} more" if len(due) > _MOST_DUE else ""
        names = ", ".join(map(printable, due[:_MOST_DUE]))
        lines.append(
            f"{_count(len(due), 'row')} due now, to run once at the first start: {names}{more}"
        )
    if broken := len(result.rejected) + sum(job.spec.procedure is None for job in result.jobs):
        lines.append(
            f"{broken} cannot run as they are: the dashboard shows them as broken until they are repaired"
        )
    return [*lines, "Stop TaskManager before you start this: whatever both run, runs twice"]


def _has_classic_rows(result: Import) -> bool:
    """Return whether the rows are of TARGCC 4."""
    return any(shape_of(job.row.values.keys()) is Shape.CLASSIC for job in result.all_jobs)


def _due(result: Import) -> list[str]:
    """Return the active jobs with a procedure whose ``NextRunTime`` has passed and that TaskManager is not running."""
    options = result.options
    now = options.now.astimezone(options.zone).replace(tzinfo=None)
    return [
        job.stable_name
        for job in result.jobs
        if job.old.managed
        and job.spec.procedure is not None
        and job.old.next_run is not None
        and job.old.next_run <= now
        and job.row.values.get("enmjobstatus") != _IN_PROCESS
    ]


def _rejected(result: Import) -> list[str]:
    texts = [
        f"{rejection.file}:{rejection.line}"
        + (f'  "{rejection.name}"' if rejection.name else "")
        + f"  {rejection.reason}"
        for rejection in result.rejected
    ]
    return _cut([printable(text) for text in texts], _MOST_REJECTED)


def _warnings(result: Import) -> list[str]:
    """Return the warnings; equal warnings about more than two jobs share a line."""
    alike: dict[str, list[str]] = {}
    for text in result.warnings:
        match = _OF_A_JOB.fullmatch(text)
        alike.setdefault(match["what"] if match else text, []).append(text)
    texts: list[str] = []
    for what, same in alike.items():
        many = len(same) > _FEW
        texts += (
            [f"{same[0].removesuffix(f': {what}')} and {len(same) - 1} more: {what}"]
            if many
            else same
        )
    return _cut([printable(text) for text in texts], _MOST_WARNINGS)


def _queues(result: Import) -> list[str]:
    """Return a line for the queue of each old runner, with the number of starts that meet another run."""
    texts = []
    for queue in runner_queues(result):
        at_once = "one at a time" if queue.workers == 1 else f"{queue.workers} at once"
        met = f"{_count(queue.meetings, 'start')} in five weeks would meet another run"
        text = (
            f"{queue.queue}: {_count(queue.jobs, 'job')} of runner {queue.runner}, {at_once}; {met}"
        )
        texts.append(printable(text))
    return _cut(texts, _MOST_QUEUES)


def _cut(texts: list[str], most: int) -> list[str]:
    if len(texts) <= most:
        return texts
    return [*texts[:most], f"… and {len(texts) - most} more: see --report or --json"]


def _evidence(result: Import, weighed: Weighed) -> list[str]:
    """Return the findings of the history about each job."""
    texts = [
        f"{job.key}: {finding.text}" + (f" → {finding.chosen}" if finding.chosen else "")
        for job in [*result.jobs, *result.inactive]
        for finding in evidence_of(job, weighed).findings
    ]
    return _cut([printable(text) for text in texts], _MOST_WARNINGS)


def _parity(
    result: Import, differences: Sequence[Difference], weighed: Weighed, *, reported: bool
) -> list[str]:
    stand = standings(result, differences, weighed)
    if not stand.compared:
        return []
    same, unseen = stand.count(Standing.SAME), stand.count(Standing.UNSEEN)
    fire = f"{_count(same, 'job')} {'fires' if same == 1 else 'fire'}" if same else "no job fires"
    texts = [f"{fire} exactly as before over the next 13 months, by schedule and by history"]
    if unseen:
        texts.append(
            f"{unseen} by schedule alone: no evidence of when {'it' if unseen == 1 else 'they'} ran"
        )
    if followed := stand.count(Standing.FOLLOWED):
        texts.append(
            f"{followed} as {'its' if followed == 1 else 'their'} history shows, not as the row says"
        )
    if contradicted := stand.count(Standing.CONTRADICTED):
        texts.append(
            f"{contradicted} against {'its' if contradicted == 1 else 'their'} history: the owner decides"
        )
    if count := stand.count(Standing.DIFFERS):
        kinds = {
            difference.kind: None
            for difference in differences
            if stand.by_key[difference.job.key] is Standing.DIFFERS
        }
        parts = [f"{_jobs_of(kind, differences, stand)} {_KINDS.get(kind, kind)}" for kind in kinds]
        where = "see the report" if reported else "--report FILE.html shows when"
        differ = "1 differs" if count == 1 else f"{count} differ"
        texts.append(f"{differ}: {where} ({', '.join(parts)})")
    if left := stand.count(Standing.LOOSE):
        texts.append(f"{left} cannot be compared: manual, one time, or counted from the last run")
    return texts


def _jobs_of(kind: str, differences: Sequence[Difference], stand: Standings) -> int:
    """Count the jobs with a kind of difference whose standing is `DIFFERS`."""
    keys = {difference.job.key for difference in differences if difference.kind == kind}
    return sum(stand.by_key[key] is Standing.DIFFERS for key in keys)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def printable(text: str) -> str:
    """Return the text on a single line that is safe on a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
