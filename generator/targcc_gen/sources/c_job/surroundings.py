"""What stands around the jobs in the old database: settings of ``c_SystemDefault``, and its stored procedures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from targcc_gen.readers.rows import Routine, Row
from targcc_gen.readers.tsql.routines import routine_of
from targcc_gen.sources.model import ImportedJob

_SETTINGS = ("config_problemmailto", "maintenance_daystokeep")
_MAIL_TO = _SETTINGS[0]
_ADDRESS = re.compile(r"[^@\s<>,;:\"()]+@[^@\s<>,;:\"()]+")


def concerns_jobs(row: Row) -> bool:
    """Whether a row of ``c_SystemDefault`` is one of the settings that TaskManager read."""
    return any(_is_setting(value) for value in row.values.values())


def administrators(defaults: Iterable[Row]) -> tuple[str, ...]:
    """Who was mailed about jobs without recipients: ``Config_ProblemMailTo``."""
    found: dict[str, None] = {}
    for row in defaults:
        texts = [value for value in row.values.values() if isinstance(value, str)]
        if any(text.strip().lower() == _MAIL_TO for text in texts):
            found |= dict.fromkeys(word for text in texts for word in _ADDRESS.findall(text))
    return tuple(found)


def routines(procedures: Iterable[Row]) -> Iterator[Routine]:
    """What each procedure of the database uses, as far as its text may be read."""
    for row in procedures:
        name, text = row.values.get("name"), row.values.get("definition")
        if isinstance(name, str) and isinstance(text, str):
            schema = row.values.get("schema")
            shown = f"{schema}.{name}" if isinstance(schema, str) else name
            yield routine_of(shown, text, row.file, row.line)


def missing_procedures(
    jobs: Iterable[ImportedJob], procedures: Iterable[Row]
) -> Iterator[ImportedJob]:
    """Jobs that call a procedure which the database has not, if its procedures are known at all."""
    known = {str(row.values.get("name")).lower() for row in procedures}
    for job in jobs:
        called = (job.spec.procedure or "").rpartition(".")[2].strip('[]"').lower()
        if known and called and called not in known:
            yield job


def _is_setting(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _SETTINGS
