"""What the other tables come to: who was mailed, what became of each row, and which jobs a later statement changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from targcc_gen.readers import cells
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.model import Draft, Exported
from targcc_gen.sources.c_job.recipients import Recipients
from targcc_gen.sources.c_job.surroundings import administrators
from targcc_gen.sources.model import Balance, Import


def mailed(draft: Draft, recipients: Recipients, defaults: Sequence[Row]) -> Draft:
    """A draft with the addresses that the old server wrote to, and when it did."""
    row = draft.row
    found = recipients.of(cells.key(row, "id"), draft.old.name)
    if "emailonfailure" in row.values or tables.shape_of(row.values.keys()) is tables.Shape.CRON:
        asked = _asked(row, "emailonfailure")
        rule = "on failure" if asked else "nobody: EmailOnFailure is off"
        addresses = found if asked else ()
    else:
        rule = "on failure and warning"
        if _asked(row, "sendnotificationonsuccess"):
            rule += ", and on success once a day or when the remarks changed"
        addresses = found or administrators(defaults)
        if not found:
            rule += " (no recipient: ProblemMailTo)"
    return replace(draft, old=replace(draft.old, mailed=addresses, mail_rule=rule))


def _asked(row: Row, column: str) -> bool:
    """Whether a row asks for mail; one that says neither 0 nor 1 is taken as asking."""
    try:
        return bool(cells.flag(row, column))
    except cells.UnreadableCellError:
        return True


def name_changed_rows(exported: Exported, result: Import) -> None:
    """Say of each job that a later UPDATE or DELETE of the script speaks of it."""
    for change in exported.changes:
        assert change.where is not None
        column, values = change.where
        wanted = {value.casefold() for value in values}
        for row in exported.jobs:
            if change.table != row.table:
                continue
            if (cells.key(row, column) or "").casefold() in wanted:
                name = cells.text(row, "jobname", "lkpjob") or ""
                text = f'"{name}" is changed by a later statement, {change.place}: {change.text}'
                result.warnings.add(row.place, text)


def balances(
    exported: Exported, recipients: Recipients, files: Sequence[ExportFile]
) -> list[Balance]:
    """What became of the rows of the companions of ``c_Job``; each adds up to what was read."""
    read = sum((file.counts for file in files), Counter[str]())
    history = exported.history
    known = {f"id:{key}" for row in exported.jobs if (key := cells.key(row, "id")) is not None}
    known |= {f"name:{(cells.text(row, 'jobname') or '').lower()}" for row in exported.jobs}
    kept = {True: 0, False: 0}
    for link, past in history.past.items():
        kept[link in known] += past.runs
    lost = exported.lost
    ends: dict[str, dict[str, int]] = {
        tables.RECIPIENT: dict(recipients.ends()),
        tables.LOGGED_JOB: {
            "runs of these jobs": kept[True],
            "runs of jobs that are not in the export": kept[False],
            **{why: rows.count for why, rows in history.left_out.items()},
        },
        tables.USER: {"read, to look up addresses": len(exported.users)},
        tables.DEFAULT: {
            "read, to look up addresses": len(exported.defaults),
            "settings that concern no job": exported.other_defaults,
        },
        tables.PROCEDURE: {"read, to say what they use": len(exported.procedures)},
    }
    return [
        Balance(
            tables.TABLES.names[table],
            read[table],
            {why: count for why, count in {**one, "unreadable": lost[table]}.items() if count},
        )
        for table, one in ends.items()
        if read[table]
    ]
