"""TARGCC's tables as a source: collect rows while reading, convert the rows at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from targcc_gen.errors import CountError
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Routine, Row, Unknown
from targcc_gen.sources.c_job import classic_rows, cron_rows
from targcc_gen.sources.c_job.classic_rows import queue_names
from targcc_gen.sources.c_job.companions import (
    Recipients,
    administrators,
    balances,
    concerns_jobs,
    missing_procedures,
    name_changed_rows,
    routines,
    with_recipients,
)
from targcc_gen.sources.c_job.moving import move
from targcc_gen.sources.c_job.questions import advice, questions
from targcc_gen.sources.c_job.tables import (
    DEFAULT,
    JOB,
    JOB_ID,
    LOGGED_JOB,
    PROCEDURE,
    RECIPIENT,
    TABLES,
    USER,
    Exported,
    History,
    Shape,
    shape_of,
)
from targcc_gen.sources.drafts import Draft, Naming, Refused
from targcc_gen.sources.model import (
    Import,
    Options,
    ReadingOptions,
    Rejection,
    Warnings,
)
from targcc_gen.sources.reading import read_rows
from targcc_gen.spec import Spec

# Rows of the same job: equal rows count a single time; the owner resolves contradictions.

# Columns that the old server wrote by itself. Exports of different days differ in these columns and still agree.
_VOLATILE = {
    "id", "lastrun", "nextrun", "lastresult", "failurecount", "nextruntime", "lastruntime", "enmjobstatus",
    "warningmailsent", "lastrunby", "activatinguser", "addedby", "addedon", "changedby", "changedon", "updatingloginid",
    "tablename_c_job",
}  # fmt: skip
_WORDS = {"true": "1", "false": "0"}


def name_of(row: Row) -> str | None:
    """Return the identity of a row's job: its name, or its code and runner, in lower case."""
    name = reader_rows.text(row, "jobname")
    if name is None and (code := reader_rows.text(row, "lkpjob")):
        name = f"{code}\0{reader_rows.text(row, 'lkpjobrunner') or ''}"
    return name.casefold() if name else None


def without_duplicates(
    rows: Sequence[Row], referred: Collection[str], warnings: Warnings
) -> tuple[list[Row], list[Rejection]]:
    """Split rows into rows to convert and rows that repeat or contradict another row.

    Rows of the same file may share a name (the old table allowed it) if their ids differ: these are two jobs. Two files may use the
    same id for different jobs (two servers) unless a recipient or the history refers to the id.

    Args:
        rows: Rows of ``c_Job``.
        referred: Ids that recipients or the history refer to.
        warnings: Receives a warning for each id with two jobs.
    """
    rejected: dict[int, Rejection] = {}
    for members in _groups(rows, name_of).values():
        _judge(rows, members, rejected)
    for key, members in _groups(rows, lambda row: reader_rows.key(row, "id")).items():
        left = [index for index in members if index not in rejected]
        if key in referred or len({rows[index].file for index in left}) == 1:
            _judge(rows, left, rejected)
        elif len(left) > 1:
            places = " and ".join(rows[index].place for index in left)
            warnings.add(
                places, f"different jobs have the id {key}: taken as jobs of different servers"
            )
    kept = [row for index, row in enumerate(rows) if index not in rejected]
    return kept, [rejected[index] for index in sorted(rejected)]


def _groups(rows: Sequence[Row], key_of: Callable[[Row], str | None]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if (key := key_of(row)) is not None:
            groups[key].append(index)
    return groups


def _judge(rows: Sequence[Row], members: Iterable[int], rejected: dict[int, Rejection]) -> None:
    different: list[int] = []
    for index in members:
        row = rows[index]
        same = next(
            (other_row for other_row in different if not _differences(rows[other_row], row)), None
        )
        if same is None:
            different.append(index)
        else:
            rejected[index] = _rejection(row, f"repeats {rows[same].place}, taken once")
    for index in different if len(different) > 1 else []:
        row = rows[index]
        other = next(
            (
                rows[other_row]
                for other_row in different
                if other_row != index and _must_agree(rows[other_row], row)
            ),
            None,
        )
        if other is not None:
            rejected[index] = _rejection(row, _contradiction(row, other))


def _must_agree(row: Row, other: Row) -> bool:
    if row.file != other.file:
        return True
    ids = reader_rows.key(row, "id"), reader_rows.key(other, "id")
    return ids[0] is not None and ids[0] == ids[1]


def _contradiction(row: Row, other: Row) -> str:
    column = _differences(row, other)[0]
    here, second = _shown(row, column), _shown(other, column)
    return f'contradicts {other.place}: {column} is "{here}" here and "{second}" there'


def _differences(row: Row, other: Row) -> list[str]:
    """Return the columns in which two rows disagree; ignore columns that only one export has."""
    shared = [column for column in row.values if column in other.values and column not in _VOLATILE]
    return [column for column in shared if _plain(row, column) != _plain(other, column)]


def _shown(row: Row, column: str) -> str:
    value = row.values[column]
    return value.text if isinstance(value, Unknown) else reader_rows.text(row, column) or "NULL"


def _plain(row: Row, column: str) -> str:
    value = row.values[column]
    if isinstance(value, Unknown):
        return f"\0{value.text}"
    text = reader_rows.key(row, column) or ""
    return _WORDS.get(text.lower(), text)


def _rejection(row: Row, reason: str) -> Rejection:
    name = reader_rows.text(row, "jobname", "lkpjob") or ""
    return Rejection(row.file, row.line, reason, name, reader_rows.key(row, "id"))


# Convert every row of ``c_Job`` to a job, an inactive job, or a rejection.

_QUIET_COLUMNS = {"lastrun", "nextrun", "addedon", "changedon", "lastruntime", "nextruntime"}


def convert(
    exported: Exported,
    files: Sequence[ExportFile],
    options: Options,
    *,
    project: Spec | None = None,
) -> Import:
    """Convert every row to a job, an inactive job, or a rejection.

    Args:
        exported: The rows that were read.
        files: The files of the rows.
        options: The user's choices.
        project: The project that the jobs will join. The project's names are taken; its zone may differ.

    Raises:
        InputError: The outcomes do not add up to the rows that were read: a fault of the generator, and nothing may be written.
    """
    result = Import(
        TABLES,
        files,
        options,
        exported.history,
        exported.warnings,
        questions=questions,
        advice=advice,
        move=move,
    )
    for remark in exported.unreadable:
        result.rejected.append(Rejection(remark.file, remark.line, remark.text))
    kept, repeated = without_duplicates(exported.jobs, _referred(exported), exported.warnings)
    result.rejected += repeated
    drafting = _Drafting(exported, options, kept)
    drafts = [
        with_recipients(draft, drafting.recipients, exported.defaults)
        for draft in drafting.drafts(result)
    ]
    name_changed_rows(exported, result)
    known = [*exported.routines, *routines(exported.procedures)]
    result.touches = {routine.name.casefold(): routine for routine in known}
    result.companions = balances(exported, drafting.recipients, files)
    drafts = _in_queues(drafts, options, result)
    Naming(drafts, options, project, result).add_jobs()
    _warn_about_history(exported, result)
    for job in missing_procedures(result.all_jobs, exported.procedures):
        text = f'"{job.stable_name}" calls {job.spec.procedure}, and the database has no such procedure'
        result.warnings.add(job.row.place, text)
    order = {file.name: place for place, file in enumerate(files)}
    result.rejected.sort(key=lambda item: (order.get(item.file, len(order)), item.line))
    _account(result)
    return result


def _in_queues(drafts: Sequence[Draft], options: Options, result: Import) -> list[Draft]:
    """Put each job of an old runner into the queue of that runner."""
    names = queue_names(
        draft.old.runner for draft in drafts if draft.old.runner and draft.old.managed
    )
    result.queues = dict.fromkeys(names.values(), options.runner_workers)
    return [
        (
            replace(draft, fields={**draft.fields, "queue": names[draft.old.runner]})
            if draft.old.managed and draft.old.runner in names
            else draft
        )
        for draft in drafts
    ]


def _referred(exported: Exported) -> set[str]:
    """Return the ids of jobs that recipients or the history refer to."""
    links = {link.removeprefix("id:") for link in exported.history.past if link.startswith("id:")}
    recipients = {reader_rows.key(row, *JOB_ID) for row in exported.recipients}
    return links | {key for key in recipients if key is not None}


def _warn_about_history(exported: Exported, result: Import) -> None:
    for why, rows in result.history.left_out.items():
        text = f"{rows.count:,} {'row' if rows.count == 1 else 'rows'} {why} left out: {rows}"
        result.warnings.add(TABLES.names[LOGGED_JOB], text)
    unmeasured = exported.history.unmeasured
    if unmeasured.count:
        text = f"{unmeasured.count:,} {'row' if unmeasured.count == 1 else 'rows'} with a length that cannot be read"
        result.warnings.add(TABLES.names[LOGGED_JOB], f"{text}, taken without it: {unmeasured}")


def _account(result: Import) -> None:
    for companion in result.companions:
        if companion.difference:
            raise CountError(
                f"the count does not add up: {companion.read} rows of {companion.table} were read, but {dict(companion.ends)} came out",
                hint="Nothing was written. This is a fault of targcc-gen: please report it with the export.",
            )
    ends = [len(result.jobs), len(result.inactive), len(result.rejected)]
    if result.rows != sum(ends):
        counts = " + ".join(map(str, ends))
        raise CountError(
            f"the count does not add up: {result.rows} rows of c_Job were read, but {counts} (jobs, inactive, rejected) came out",
            hint="Nothing was written. This is a fault of targcc-gen: please report it with the export.",
        )


class _Drafting:
    """Convert rows to drafts, by their shape."""

    def __init__(self, exported: Exported, options: Options, rows: Sequence[Row]) -> None:
        self._options = options
        self._rows = rows
        self._warnings = exported.warnings
        self.recipients = Recipients(exported.recipients, exported.users, exported.warnings)
        codes = Counter((classic_rows.code_of(row) or "").lower() for row in rows)
        self._classic = classic_rows.Context(
            self.recipients,
            exported.history,
            options.procedures,
            options.alert_email or administrators(exported.defaults),
            options.now.astimezone(options.zone).replace(tzinfo=None),
            options.weekly,
            frozenset(code for code, count in codes.items() if count > 1),
        )

    def drafts(self, result: Import) -> list[Draft]:
        """Return the drafts; refused rows go to ``result.rejected``."""
        drafts = []
        for row in self._rows:
            self._warn_about_unknowns(row)
            try:
                drafts.append(self._draft(row))
                self._warn_about_unreadable(row)
            except (Refused, reader_rows.UnreadableCellError) as refused:
                name = reader_rows.text(row, "jobname", "lkpjob") or ""
                self.recipients.claim(reader_rows.key(row, "id"), name)
                deleted = reader_rows.text(row, "deletedon") is not None
                key = reader_rows.key(row, "id")
                result.rejected.append(
                    Rejection(row.file, row.line, str(refused), name, key, deleted, row)
                )
        self._warn_about_strangers()
        return drafts

    def _draft(self, row: Row) -> Draft:
        shape = shape_of(row.values.keys())
        if shape is None and "jobname" not in row.values:
            raise Refused(
                "its columns are of no known c_Job: neither CronExpression nor enmJobType"
            )
        if shape is Shape.CLASSIC:
            return classic_rows.draft(row, self._classic)
        fallback = self._options.alert_email
        name = reader_rows.text(row, "jobname") or ""
        ran = self._classic.history.of(reader_rows.key(row, "id"), name) is not None
        return cron_rows.draft(
            row, self.recipients, dialect=self._options.dialect, fallback=fallback, has_run=ran
        )

    def _warn_about_unknowns(self, row: Row) -> None:
        for column, expression in reader_rows.unknowns(row).items():
            text = f"{column} is {expression}, which only the old server knew"
            self._warnings.add(row.place, text + ("; left out" if column in _QUIET_COLUMNS else ""))

    def _warn_about_unreadable(self, row: Row) -> None:
        """Warn about unreadable cells that the row's job does not depend on."""
        for column in _QUIET_COLUMNS & row.values.keys():
            try:
                reader_rows.moment(row, column)
            except reader_rows.UnreadableCellError as error:
                if not isinstance(row.values[column], Unknown):
                    self._warnings.add(row.place, f"{error}; left out")

    def _warn_about_strangers(self) -> None:
        strangers = self.recipients.unclaimed()
        if strangers:
            text = f"{len(strangers)} recipients belong to jobs that are not in the export"
            self._warnings.add(strangers[0].place, text)
        known = {classic_rows.code_of(row) for row in self._rows}
        for code in sorted(self._options.procedures.keys() - {(c or "").lower() for c in known}):
            self._warnings.add("--procedure-map", f'no job has the code "{code}"')


# The source.


class CJobSource:
    """The ``LegacySource`` of TARGCC's tables.

    Args:
        spool: The file for the history; None: only count the history.

    Attributes:
        tables: The tables that the readers look for.
        exported: The rows taken so far.
    """

    def __init__(self, spool: Path | None = None) -> None:
        self.tables = TABLES
        self.exported = Exported(History(spool))
        self._kept = {
            JOB: self.exported.jobs,
            RECIPIENT: self.exported.recipients,
            USER: self.exported.users,
            DEFAULT: self.exported.defaults,
            PROCEDURE: self.exported.procedures,
        }

    def read(self, exports: Sequence[str], reading: ReadingOptions) -> list[ExportFile]:
        """Read exports of these tables, or the database; see ``LegacySource``."""
        return read_rows(exports, self.tables, self.take, reading, procedures=PROCEDURE)

    def take(self, item: Item) -> None:
        """Keep a row, a routine or a remark."""
        if isinstance(item, Remark):
            self._take_remark(item)
        elif isinstance(item, Routine):
            self.exported.routines.append(item)
        elif item.table == DEFAULT and not concerns_jobs(item):
            self.exported.other_defaults += 1  # other settings may hold anything, passwords too
        elif item.table in self._kept:
            self._kept[item.table].append(item)
        else:
            self.exported.history.add(item)

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Convert every row of ``c_Job``; see ``LegacySource``."""
        self.exported.history.close()
        return convert(self.exported, files, options, project=project)

    def _take_remark(self, remark: Remark) -> None:
        text = remark.text
        if remark.kind is RemarkKind.UNREADABLE and remark.table == JOB:
            self.exported.unreadable.append(remark)
            return
        if remark.kind is RemarkKind.UNREADABLE and remark.table:
            self.exported.lost[remark.table] += 1
            text = f"a row of {TABLES.names[remark.table]} was left out: {text}"
        if remark.kind is RemarkKind.SKIPPED and remark.where is not None:
            self.exported.changes.append(remark)
        self.exported.warnings.add(remark.place, text)
