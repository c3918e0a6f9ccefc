"""The tables an old TARGCC database hands over, and how its two families are told apart: by their columns."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row, Unknown
from targcc_gen.readers.tables import ColumnKind, KnownTables

JOB = "c_job"
RECIPIENT = "c_jobalertrecipient"
LOGGED_JOB = "c_loggedjob"
USER = "c_user"
DEFAULT = "c_systemdefault"
PROCEDURE = "sys.procedures"


class Shape(StrEnum):
    """A family of ``c_Job`` tables."""

    CRON = "cron"
    """A cron text and a stored procedure in each row."""
    CLASSIC = "classic"
    """TARGCC 4.x: a kind of schedule, a first time, a count, and a code that names the work."""


# --- Columns by what they mean: shops have called them by different names, the first that a row has counts -------------

JOB_ID = ("c_jobid", "jobid", "job_id")
JOB_NAME = ("jobname", "job_name", "name")
EMAIL = (
    "overrideemailorphone",
    "email",
    "emailaddress",
    "recipientemail",
    "recipient",
    "mail",
    "address",
)
STARTED = (
    "whenstarted",
    "startedat",
    "starttime",
    "startdate",
    "rundate",
    "runtime",
    "rundatetime",
    "executedat",
    "loggedat",
    "lastrun",
)
COMPLETED = ("completedat", "endtime", "enddate", "finishedat", "whenended")
SECONDS = ("executiontimesec", "durationsec", "durationseconds", "duration")
MILLISECONDS = ("durationms", "executiontimems", "elapsedms")
SUCCESS = ("success", "issuccess", "succeeded", "enmrunstatus_jobstatus", "status", "runstatus")
MESSAGE = ("resultmessage", "remarks", "result", "message", "lastresult", "output")
ERROR = ("errormessage", "error", "exception")
SERVER = ("servername", "machinename", "server", "lastrunby", "runby")

# --- Columns by table -------------------------------------------------------------------------------------------------


def _names(text: str) -> list[str]:
    return text.split()


_AUDIT = _names("addedby addedon changedby changedon deletedby deletedon updatingloginid")

_CRON_JOB = _names(
    "id jobname cronexpression storedprocname isactive lastrun nextrun lastresult failurecount"
    " emailonfailure"
)
_CLASSIC_JOB = [
    *_names(
        "tablename_c_job id lkpjob lkpjobrunner description instructions enmjobtype whentorun cycliccount"
        " sendnotificationonsuccess sendalarmonmissed timeoutsec active activatinguser nextruntime"
        " lastruntime enmjobstatus warningmailsent ismanaged lastrunby"
    ),
    *_AUDIT,
]
_CLASSIC_RECIPIENT = [
    *_names(
        "tablename_c_jobalertrecipient id c_jobid c_userid enmjobalerttype overridename"
        " overrideemailorphone"
    ),
    *_AUDIT,
]
_CLASSIC_LOGGED_JOB = [
    *_names(
        "id c_jobid whenstarted activatinguser lastrunby executiontimesec enmrunstatus_jobstatus"
        " remarks c_loggedalertid successcount failurecount"
    ),
    *_AUDIT,
]
_EVERY_COLUMN = frozenset(
    {
        name
        for group in (
            JOB_ID, JOB_NAME, EMAIL, STARTED, COMPLETED, SECONDS, MILLISECONDS, SUCCESS, MESSAGE, ERROR, SERVER,
            _CRON_JOB, _CLASSIC_JOB, _CLASSIC_RECIPIENT, _CLASSIC_LOGGED_JOB,
            ("fullname", "username", "loginname"),
        )
        for name in group
    }
)  # fmt: skip

_SIGNS = {
    JOB: frozenset(
        {"jobname", "cronexpression", "storedprocname", "lkpjob", "enmjobtype", "whentorun"}
    ),
    RECIPIENT: frozenset(
        {
            "enmjobalerttype",
            "overrideemailorphone",
            "email",
            "emailaddress",
            "recipientemail",
        }
    ),
    LOGGED_JOB: frozenset(
        {
            "whenstarted",
            "executiontimesec",
            "rundate",
            "startedat",
            "starttime",
            "durationms",
            "enmrunstatus_jobstatus",
        }
    ),
    USER: frozenset({"fullname", "username", "loginname"}),
    DEFAULT: frozenset(),
}

_INTS = {
    "id", "c_jobid", "jobid", "c_userid", "cycliccount", "timeoutsec", "failurecount", "successcount", "executiontimesec",
    "durationms", "c_loggedalertid", "updatingloginid",
}  # fmt: skip
_BITS = {
    "isactive", "emailonfailure", "active", "sendnotificationonsuccess", "sendalarmonmissed", "warningmailsent", "ismanaged",
    "success", "tablename_c_job", "tablename_c_jobalertrecipient",
}  # fmt: skip
_DATES = {
    "lastrun", "nextrun", "whentorun", "nextruntime", "lastruntime", "whenstarted", "addedon", "changedon", "deletedon",
    "startedat", "completedat", "rundate", "createdat", "starttime", "endtime",
}  # fmt: skip
_LINES = {"storedprocname", "lkpjob", "lkpjobrunner", "enmjobtype", "enmjobstatus", "jobname"}

TABLES = KnownTables(
    names={
        JOB: "c_Job",
        RECIPIENT: "c_JobAlertRecipient",
        LOGGED_JOB: "c_LoggedJob",
        USER: "c_User",
        DEFAULT: "c_SystemDefault",
        PROCEDURE: "sys.procedures",
    },
    main=JOB,
    signs=_SIGNS,
    shapes={
        JOB: (_CRON_JOB, _CLASSIC_JOB),
        RECIPIENT: (_CLASSIC_RECIPIENT,),
        LOGGED_JOB: (_CLASSIC_LOGGED_JOB,),
    },
    columns=_EVERY_COLUMN,
    kinds={
        **dict.fromkeys(_LINES, ColumnKind.LINE),
        **dict.fromkeys(_DATES, ColumnKind.DATE),
        **dict.fromkeys(_BITS, ColumnKind.BIT),
        **dict.fromkeys(_INTS, ColumnKind.INTEGER),
        "cronexpression": ColumnKind.CRON,
    },
    dates=frozenset({*_DATES, *STARTED, *COMPLETED}),
    nested=RECIPIENT,
    link="jobid",
    strangers=frozenset({"scheduledfor"}),
)
"""What the readers look for."""


def deleted_on(row: Row) -> str | None:
    """When a row was deleted, as written; ``None``: it was not.

    Raises:
        UnreadableCellError: Only the old server knew whether it was.
    """
    value = row.values.get("deletedon")
    if isinstance(value, Unknown):
        text = f"is {value.text}, which only the old server knew"
        raise cells.UnreadableCellError("deletedon", text)
    return cells.text(row, "deletedon")


def shape_of(columns: Collection[str]) -> Shape | None:
    """Which family a ``c_Job`` row belongs to; None if its columns are of neither."""
    if "cronexpression" in columns or "storedprocname" in columns:
        return Shape.CRON
    if "lkpjob" in columns or "enmjobtype" in columns:
        return Shape.CLASSIC
    return None
