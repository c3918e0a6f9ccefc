"""The tables beside ``c_Job``: recipients, later changes, settings, stored procedures."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from targcc_gen.errors import ProceduresError
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Routine, Row
from targcc_gen.readers.tsql.routines import routine_of
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.tables import Exported
from targcc_gen.sources.drafts import Draft
from targcc_gen.sources.model import Balance, Import, ImportedJob, Warnings
from targcc_gen.spec.rules import MAX_RECIPIENTS
from targcc_gen.spec.values import PROCEDURE, PROCEDURE_PART

# Recipients: ``c_JobAlertRecipient`` and ``c_User`` as mail addresses.

_ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+")
TAKEN = "taken over or known"
_SPLIT = re.compile(r"[;,\s]+")


class Recipients:
    """Looks up the addresses of a job's recipients.

    Args:
        recipients: Rows of ``c_JobAlertRecipient``.
        users: Rows of ``c_User``, if exported.
        warnings: Receives a warning for each address that is not found.
    """

    def __init__(self, recipients: Iterable[Row], users: Iterable[Row], warnings: Warnings) -> None:
        self._warnings = warnings
        self._users = {reader_rows.key(user, "id"): user for user in users}
        self._by_job: dict[str, list[Row]] = defaultdict(list)
        self._used: set[str] = set()
        self._ends: dict[int, str] = {}
        self._rows = list(recipients)
        for row in self._rows:
            self._by_job[self._job_of(row)].append(row)

    def of(self, job_id: str | None, name: str) -> tuple[str, ...]:
        """Return the distinct addresses of a job, up to the limit of a job. Warn about the rest."""
        self.claim(job_id, name)
        result: dict[str, str] = {}
        for link in _links(job_id, name):
            for row in self._by_job.get(link, ()):
                addresses = self._addresses(row)
                if addresses:
                    self._ends[id(row)] = TAKEN
                for address in addresses:
                    result.setdefault(address.lower(), address)
        return self._fitting(list(result.values()), name)

    def claim(self, job_id: str | None, name: str) -> None:
        """Record that a job is in the export, whatever its outcome."""
        self._used.update(_links(job_id, name))

    def ends(self) -> Counter[str]:
        """Count the rows by outcome, in words. Call after the look-up of every job."""
        strangers = {id(row) for row in self.unclaimed()}
        words = (
            (
                "of jobs that are not in the export"
                if id(row) in strangers
                else self._ends.get(id(row), "of rows that became no job")
            )
            for row in self._rows
        )
        return Counter(words)

    def unclaimed(self) -> list[Row]:
        """Return the recipients of jobs that are not in the export."""
        return [
            row for link, rows in self._by_job.items() if link not in self._used for row in rows
        ]

    def _job_of(self, row: Row) -> str:
        job_id = reader_rows.key(row, *tables.JOB_ID)
        return (
            f"id:{job_id}" if job_id else f"name:{(reader_rows.text(row, 'jobname') or '').lower()}"
        )

    def _addresses(self, row: Row) -> list[str]:
        try:
            gone = tables.deleted_on(row) or reader_rows.flag(row, "isactive") is False
        except reader_rows.UnreadableCellError as error:
            self._warnings.add(row.place, f"recipient taken as wanted: {error}")
            gone = None
        if gone:
            self._ends[id(row)] = "deleted or switched off"
            return []
        kind = (reader_rows.text(row, "enmjobalerttype") or "email").lower()
        if kind not in {"email", "ud"}:
            self._warnings.add(row.place, f"recipient by {kind}: only mail is carried over")
            self._ends[id(row)] = f"by {kind}: the old server sent nothing"
            return []
        text = self._address_text(row)
        if text is None:
            self._ends[id(row)] = "without a known address"
            return []
        words = [word.strip("<>") for word in _SPLIT.split(text) if "@" in word]
        good = [word for word in words if _ADDRESS.fullmatch(word)]
        if not good:
            self._warnings.add(row.place, f'recipient "{text}" is no mail address')
            self._ends[id(row)] = "without a known address"
        return good

    def _address_text(self, row: Row) -> str | None:
        """Return ``OverrideEmailOrPhone`` if ``OverrideName`` is set; otherwise, or if empty, the user's address."""
        user_id = reader_rows.key(row, "c_userid", "userid")
        if user_id is None or reader_rows.text(row, "overridename"):
            own = reader_rows.text(row, *tables.EMAIL)
            if own is not None or user_id is None:
                return own
        user = self._users.get(user_id)
        if user is not None and (
            address := reader_rows.text(user, "email", "emailaddress", "mail")
        ):
            return address
        if fallback := reader_rows.text(row, *tables.EMAIL):
            return fallback
        self._warnings.add(row.place, f"recipient is user {user_id}, who is not in the export")
        return None

    def _fitting(self, addresses: list[str], name: str) -> tuple[str, ...]:
        kept: list[str] = []
        for address in addresses:
            if len(",".join([*kept, address])) <= MAX_RECIPIENTS:
                kept.append(address)
        if len(kept) < len(addresses):
            left = len(addresses) - len(kept)
            self._warnings.add("", f'"{name}": {left} recipients left out; use a mailing list')
        return tuple(kept)


def _links(job_id: str | None, name: str) -> tuple[str, str]:
    return f"id:{job_id}", f"name:{name.lower()}"


# Stored procedures of old jobs, as new jobs name them.

_EXEC = re.compile(r"\s*EXEC(?:UTE)?\s+", re.IGNORECASE)
_MOST_PARTS = 4  # server.database.schema.name
# Characters that show that a text is more than a name. A name may have spaces, dashes and similar characters.
_MORE_THAN_A_NAME = re.compile(r"[@='();,\"\[\]\r\n]")


def procedure_name(text: str) -> str | None:
    """Return the name in ``StoredProcName``, quoted where needed; None if the text is more than a name.

    ``EXEC dbo.SP_Nightly;`` is ``dbo.SP_Nightly``; ``dbo.Daily Load`` is ``dbo.[Daily Load]``.
    """
    name = _EXEC.sub("", text.strip(), count=1).rstrip("; ").strip()
    if PROCEDURE.fullmatch(name):
        return name
    if not name or _MORE_THAN_A_NAME.search(name):
        return None
    parts = name.split(".")
    if len(parts) > _MOST_PARTS or not all(part.strip() for part in parts):
        return None
    return ".".join(part if re.fullmatch(PROCEDURE_PART, part) else f"[{part}]" for part in parts)


def load_procedure_map(path: Path) -> Mapping[str, str]:
    """Read ``--procedure-map``: YAML with a stored procedure for each code of ``lkpJob``.

    Returns:
        The procedures by code; codes in lower case.

    Raises:
        InputError: The file is no such mapping, or a value is no procedure name.
    """
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ProceduresError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ProceduresError(
            f"{path}{where}: not YAML: {getattr(error, 'problem', error)}"
        ) from None
    hint = "Write one line for each code, such as  NightlyLoad: dbo.usp_NightlyLoad"
    if not isinstance(loaded, dict):
        raise ProceduresError(f"{path}: not a mapping of codes to procedures", hint=hint)
    result: dict[str, str] = {}
    for code, text in loaded.items():
        name = procedure_name(text) if isinstance(text, str) else None
        if name is None:
            raise ProceduresError(
                f'{path}: "{text}" (for {code}) is no name of a procedure', hint=hint
            )
        result[str(code).lower()] = name
    return result


# Settings of ``c_SystemDefault``, and stored procedures of the database.

_SETTINGS = ("config_problemmailto", "maintenance_daystokeep")
_MAIL_TO = _SETTINGS[0]
_ADMINISTRATOR_ADDRESS = re.compile(r"[^@\s<>,;:\"()]+@[^@\s<>,;:\"()]+")


def concerns_jobs(row: Row) -> bool:
    """Return whether a row of ``c_SystemDefault`` is a setting that TaskManager read."""
    return any(_is_setting(value) for value in row.values.values())


def administrators(defaults: Iterable[Row]) -> tuple[str, ...]:
    """Return the addresses that got mail about jobs without recipients: ``Config_ProblemMailTo``."""
    result: dict[str, None] = {}
    for row in defaults:
        texts = [value for value in row.values.values() if isinstance(value, str)]
        if any(text.strip().lower() == _MAIL_TO for text in texts):
            result |= dict.fromkeys(
                word for text in texts for word in _ADMINISTRATOR_ADDRESS.findall(text)
            )
    return tuple(result)


def routines(procedures: Iterable[Row]) -> Iterator[Routine]:
    """Yield the objects that each procedure of the database uses, if its text is readable."""
    for row in procedures:
        name, text = row.values.get("name"), row.values.get("definition")
        if isinstance(name, str) and isinstance(text, str):
            schema = row.values.get("schema")
            shown = f"{schema}.{name}" if isinstance(schema, str) else name
            yield routine_of(shown, text, row.file, row.line)


def missing_procedures(
    jobs: Iterable[ImportedJob], procedures: Iterable[Row]
) -> Iterator[ImportedJob]:
    """Yield the jobs that call a procedure missing in the database, if the export lists the procedures."""
    known = {str(row.values.get("name")).lower() for row in procedures}
    for job in jobs:
        called = (job.spec.procedure or "").rpartition(".")[2].strip('[]"').lower()
        if known and called and called not in known:
            yield job


def _is_setting(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _SETTINGS


# Companions.


def with_recipients(draft: Draft, recipients: Recipients, defaults: Sequence[Row]) -> Draft:
    """Return the draft with the addresses that the old server wrote to, and the rule for mails."""
    row = draft.row
    recipient_addresses = recipients.of(reader_rows.key(row, "id"), draft.old.name)
    if "emailonfailure" in row.values or tables.shape_of(row.values.keys()) is tables.Shape.CRON:
        asked = _wants_mail(row, "emailonfailure")
        rule = "on failure" if asked else "nobody: EmailOnFailure is off"
        addresses = recipient_addresses if asked else ()
    else:
        rule = "on failure and warning"
        if _wants_mail(row, "sendnotificationonsuccess"):
            rule += ", and on success once a day or when the remarks changed"
        addresses = recipient_addresses or administrators(defaults)
        if not recipient_addresses:
            rule += " (no recipient: ProblemMailTo)"
    return replace(draft, old=replace(draft.old, mailed=addresses, mail_rule=rule))


def _wants_mail(row: Row, column: str) -> bool:
    """Return whether a row asks for mail; an unreadable cell counts as yes."""
    try:
        return bool(reader_rows.flag(row, column))
    except reader_rows.UnreadableCellError:
        return True


def name_changed_rows(exported: Exported, result: Import) -> None:
    """Warn about each job that a later UPDATE or DELETE of the script changes."""
    for change in exported.changes:
        assert change.where is not None
        column, values = change.where
        wanted = {value.casefold() for value in values}
        for row in exported.jobs:
            if change.table != row.table:
                continue
            if (reader_rows.key(row, column) or "").casefold() in wanted:
                name = reader_rows.text(row, "jobname", "lkpjob") or ""
                text = f'"{name}" is changed by a later statement, {change.place}: {change.text}'
                result.warnings.add(row.place, text)


def balances(
    exported: Exported, recipients: Recipients, files: Sequence[ExportFile]
) -> list[Balance]:
    """Return the outcomes of the rows of the tables beside ``c_Job``. The outcomes of a table add up to the rows read."""
    read = sum((file.counts for file in files), Counter[str]())
    history = exported.history
    known = {
        f"id:{key}" for row in exported.jobs if (key := reader_rows.key(row, "id")) is not None
    }
    known |= {f"name:{(reader_rows.text(row, 'jobname') or '').lower()}" for row in exported.jobs}
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
            {why: count for why, count in {**counts, "unreadable": lost[table]}.items() if count},
        )
        for table, counts in ends.items()
        if read[table]
    ]
