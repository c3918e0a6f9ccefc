"""The tables an old TARGCC database hands over, and how its two families are told apart: by their columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

JOB = "c_job"
RECIPIENT = "c_jobalertrecipient"
LOGGED_JOB = "c_loggedjob"
USER = "c_user"
TABLES = {
    JOB: "c_Job",
    RECIPIENT: "c_JobAlertRecipient",
    LOGGED_JOB: "c_LoggedJob",
    USER: "c_User",
}
"""The tables that are imported, as the readers name them and as people write them."""


class Shape(StrEnum):
    """A family of ``c_Job`` tables."""

    CRON = "cron"
    """A cron text and a stored procedure in each row."""
    CLASSIC = "classic"
    """TARGCC 4.x: a kind of schedule, a first time, a count, and a code that names the work."""


def _names(text: str) -> list[str]:
    return text.split()


_AUDIT = _names("addedby addedon changedby changedon deletedby deletedon updatingloginid")

CRON_JOB = _names(
    "id jobname cronexpression storedprocname isactive lastrun nextrun lastresult failurecount"
    " emailonfailure"
)
CLASSIC_JOB = [
    *_names(
        "tablename_c_job id lkpjob lkpjobrunner description instructions enmjobtype whentorun cycliccount"
        " sendnotificationonsuccess sendalarmonmissed timeoutsec active activatinguser nextruntime"
        " lastruntime enmjobstatus warningmailsent ismanaged lastrunby"
    ),
    *_AUDIT,
]
CLASSIC_RECIPIENT = [
    *_names(
        "tablename_c_jobalertrecipient id c_jobid c_userid enmjobalerttype overridename"
        " overrideemailorphone"
    ),
    *_AUDIT,
]
CLASSIC_LOGGED_JOB = [
    *_names(
        "id c_jobid whenstarted activatinguser lastrunby executiontimesec enmrunstatus_jobstatus"
        " remarks c_loggedalertid successcount failurecount"
    ),
    *_AUDIT,
]

_KNOWN: dict[str, tuple[list[str], ...]] = {
    JOB: (CRON_JOB, CLASSIC_JOB),
    RECIPIENT: (CLASSIC_RECIPIENT,),
    LOGGED_JOB: (CLASSIC_LOGGED_JOB,),
}

_SIGNS = {
    JOB: {"jobname", "cronexpression", "storedprocname", "lkpjob", "enmjobtype", "whentorun"},
    RECIPIENT: {
        "enmjobalerttype",
        "overrideemailorphone",
        "email",
        "emailaddress",
        "recipientemail",
    },
    LOGGED_JOB: {
        "whenstarted",
        "executiontimesec",
        "rundate",
        "startedat",
        "starttime",
        "durationms",
        "enmrunstatus_jobstatus",
    },
    USER: {"fullname", "username", "loginname"},
}


def known_columns(table: str, count: int) -> list[str] | None:
    """The columns of a row that came without names, if a known shape of ``table`` has ``count`` of them.

    A row with one value less than a shape has left out the identity column (T-SQL does that without a column list).
    """
    for columns in _KNOWN.get(table, ()):
        if len(columns) == count:
            return columns
    for columns in _KNOWN.get(table, ()):
        without_identity = [column for column in columns if column != "id"]
        if len(without_identity) == count:
            return without_identity
    return None


def headerless_shapes() -> list[tuple[str, list[str]]]:
    """Each table and column list that rows without any header are tried against."""
    return [(table, columns) for table, shapes in _KNOWN.items() for columns in shapes]


def shape_of(columns: Collection[str]) -> Shape | None:
    """Which family a ``c_Job`` row belongs to; None if its columns are of neither."""
    if "cronexpression" in columns or "storedprocname" in columns:
        return Shape.CRON
    if "lkpjob" in columns or "enmjobtype" in columns:
        return Shape.CLASSIC
    return None


def table_of(columns: Sequence[str], file_name: str = "") -> str | None:
    """Which table a list of columns belongs to, for formats that do not name it.

    The file's name decides if it holds a table's name; otherwise the columns that only one table has.
    """
    squeezed = file_name.lower().replace("_", "").replace("-", "")
    for table in (RECIPIENT, LOGGED_JOB, USER, JOB):
        if table.replace("_", "") in squeezed:
            return table
    present = set(columns)
    scores = {table: len(present & signs) for table, signs in _SIGNS.items()}
    best = max(scores, key=lambda table: scores[table])
    return best if scores[best] else None
