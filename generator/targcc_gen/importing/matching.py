"""Match the rows of this import with the rows of the last import: by ID, or by name if the ID changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from targcc_gen.errors import ImportMismatchError
from targcc_gen.importing.base import NAMES, Base, BaseRow, plain
from targcc_gen.names import MAX_LENGTH, JobName
from targcc_gen.sources.model import SECOND, Import, ImportedJob, Rejection
from targcc_gen.spec import JobSpec, Spec, job_values

_FEWEST = 3
_NUMBERED = " ({})"


@dataclass(frozen=True, slots=True)
class Matched:
    """A row in the last and in this import.

    Attributes:
        row: The row's current ID; for a missing row, its last ID.
        before: The row as of the last import.
        job: The job of this import, under the key that the job keeps.
        rejection: The reason that the row is no job now.
        renamed: Whether the old server's name of the job has changed.
        held: Whether the row stays unchanged: the second schedule of a job whose history is not in this export.
    """

    row: str
    before: BaseRow | None = None
    job: ImportedJob | None = None
    rejection: Rejection | None = None
    renamed: bool = False
    held: bool = False


def source_of(base: Base, name: str | None, default: str) -> str:
    """Return the name of the imported table: the given name, the only known name, or the default.

    Raises:
        InputError: Several names are known and none is given.
    """
    known = base.sources
    if name is not None:
        return name
    if len(known) > 1:
        raise ImportMismatchError(
            f"the project has rows of {len(known)} old tables: {', '.join(known)}",
            hint="--source NAME says which one this export is of, or names a new one",
        )
    return known[0] if known else default


def matched(result: Import, base: Base, source: str, project: Spec | None) -> list[Matched]:
    """Match every row of this import and of the last import. Jobs keep their keys and stable names.

    Args:
        result: The outcome of every row. Its jobs get the keys that they keep.
        base: The last imports.
        source: The imported table.
        project: The project that the jobs join.

    Raises:
        InputError: The rows are of another table.
    """
    before = base.of(source)
    jobs = _by_id(result.all_jobs)
    rejected = _rejected_by_id(result.rejected, jobs)
    _refuse_strangers(before, jobs, source)
    pairs = _pairs(before, jobs, rejected)
    taken = {key.casefold() for key in (project.jobs if project else ())}
    taken |= {row.key.casefold() for row in base.rows.values()}
    taken |= {str(row.job.get("name", row.key)).casefold() for row in base.rows.values()}
    owned = _owned(base, source, pairs)
    kept = [_kept(pair) if pair.before and pair.job else pair for pair in pairs]
    taken |= {pair.job.key.casefold() for pair in kept if pair.job and pair.before}
    final = [_new(pair, taken, owned) if pair.job and not pair.before else pair for pair in kept]
    _rekey(result, pairs, final)
    return final


def _by_id(jobs: Sequence[ImportedJob]) -> dict[str, ImportedJob]:
    """Map IDs of rows to jobs; for an ID that two servers use, add the job's name."""
    ids = [job.old.id or f"name:{job.old.name.casefold()}" for job in jobs]
    counts = Counter(ids)
    keys = [
        key if counts[key] == 1 else f"{key} {job.stable_name}"
        for key, job in zip(ids, jobs, strict=True)
    ]
    return dict(zip(keys, jobs, strict=True))


def _rejected_by_id(
    rejected: Sequence[Rejection], jobs: Mapping[str, ImportedJob]
) -> dict[str, Rejection]:
    """Map IDs of rows to rejections; a repeated ID gets a number."""
    result: dict[str, Rejection] = {}
    for rejection in rejected:
        base = rejection.id or f"name:{rejection.name.casefold()}"
        key, number = base, 1
        while key in result or key in jobs:
            number += 1
            key = f"{base} #{number}"
        result[key] = rejection
    return result


def _refuse_strangers(
    before: Mapping[str, BaseRow], jobs: Mapping[str, ImportedJob], source: str
) -> None:
    """Raise an error if known IDs belong to other jobs: the rows come from another server."""
    common = [row for row in before if row in jobs and before[row].key]
    strange = [row for row in common if _is_another(before[row], jobs[row])]
    if len(common) >= _FEWEST and len(strange) * 2 > len(common):
        row = strange[0]
        raise ImportMismatchError(
            f"this is another table than the one that was imported as {source}: {len(strange)} of {len(common)} known IDs"
            f' are other jobs (row {row} was "{before[row].name}" and is "{jobs[row].old.name}")',
            hint="--source NAME gives the rows of a second server a name of their own",
        )


def _is_another(before: BaseRow, job: ImportedJob) -> bool:
    if before.name.casefold() == job.old.name.casefold():
        return False
    now = job_values(job.spec)
    work = ("procedure", "description", "blueprint")
    return any(before.job.get(key) != now.get(key) for key in (*work, "cron", "every"))


def _pairs(
    before: Mapping[str, BaseRow],
    jobs: Mapping[str, ImportedJob],
    rejected: Mapping[str, Rejection],
) -> list[Matched]:
    result = []
    gone = {row: known for row, known in before.items() if row not in jobs and row not in rejected}
    by_name = {known.name.casefold(): row for row, known in gone.items()}
    for row, job in jobs.items():
        known = before.get(row)
        if known is None and (other := by_name.pop(job.old.name.casefold(), None)) is not None:
            known = gone.pop(other)
        if known is not None and not known.key:  # formerly no job, now a job
            known = None
        renamed = known is not None and known.name != job.old.name
        result.append(Matched(row, known, job, renamed=renamed))
    result += [
        Matched(row, before.get(row), rejection=rejection) for row, rejection in rejected.items()
    ]
    numbered = {
        row: f"{row}{SECOND}"
        for row, job in jobs.items()
        if (known := before.get(row)) is not None and _adds_nothing(job, known)
    }
    held = gone.keys() & set(numbered.values())
    return [*result, *(Matched(row, known, held=row in held) for row, known in gone.items())]


def _owned(base: Base, source: str, matches: Sequence[Matched]) -> set[str]:
    """Return the keys of other rows; a new row cannot mean their jobs."""
    gone = {match.before.key for match in matches if match.before and not match.job}
    return {
        row.key.casefold()
        for row in base.rows.values()
        if row.key and (row.source != source or row.key not in gone)
    }


def _kept(matched: Matched) -> Matched:
    """Give a known row its key and stable name; a new name on the old server changes the display name here."""
    assert matched.job is not None
    assert matched.before is not None
    values = _without_names(job_values(matched.job.spec))
    if _adds_nothing(matched.job, matched.before):
        values = _without_names(matched.before.job)
        if matched.job.awake and not matched.before.theory.get("paused"):
            values.pop("paused", None)
    for name in NAMES:
        if name in matched.before.job:
            values[name] = matched.before.job[name]
    if matched.renamed:
        values["display_name"] = _title(matched.job)
    return replace(matched, job=_as(matched.job, matched.before.key, values))


def _adds_nothing(job: ImportedJob, before: BaseRow) -> bool:
    """Return whether an export without history equals the row of an earlier import that had the history."""
    values = _without_names(job_values(job.spec))
    return not job.seen and bool(before.theory) and plain(values) == _without_names(before.theory)


def _without_names(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in {*NAMES, "steps"}}


def _title(job: ImportedJob) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in job.old.name).split())[
        :MAX_LENGTH
    ]


def _new(matched: Matched, taken: set[str], owned: set[str]) -> Matched:
    """Give a new row a key that no other row has."""
    assert matched.job is not None
    job = matched.job
    if job.key.casefold() not in owned and job.stable_name.casefold() not in owned:
        taken.add(job.key.casefold())
        return matched
    key = JobName.from_text(job.key, taken=taken).key
    taken.add(key.casefold())
    values = job_values(job.spec)
    name, number = values.pop("name", job.key), 2
    while f"{name}{_NUMBERED.format(number)}".casefold() in taken:
        number += 1
    values["name"] = f"{name[: MAX_LENGTH - 6]}{_NUMBERED.format(number)}"
    values.setdefault("display_name", _title(job))
    taken.add(values["name"].casefold())
    return replace(matched, job=_as(job, key, values))


def _as(job: ImportedJob, key: str, values: Mapping[str, Any]) -> ImportedJob:
    try:
        return replace(job, key=key, spec=JobSpec.model_validate(values))
    except ValidationError as error:
        reasons = "; ".join(str(detail["msg"]) for detail in error.errors())
        raise ImportMismatchError(f"{job.row.place}: {reasons}") from None


def _rekey(result: Import, matches: Sequence[Matched], final: Sequence[Matched]) -> None:
    """Replace the import's jobs by the jobs under the kept keys, so that report and history use these keys."""
    now = {
        id(was.job): match.job
        for was, match in zip(matches, final, strict=True)
        if was.job is not None and match.job is not None
    }
    for jobs in (result.jobs, result.inactive, result.second):
        jobs[:] = [now.get(id(job), job) for job in jobs]
