"""The rows of ``c_Job`` and its companions as they were read, and a row on its way to a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from targcc_gen.readers.rows import Remark, Routine, Row
from targcc_gen.sources.c_job.history import History
from targcc_gen.sources.model import OldJob, Warnings


@dataclass(slots=True)
class Exported:
    """Everything the files hold of these tables; the history only as counts and a spool.

    Of ``c_SystemDefault`` what concerns jobs is kept, and the others are counted. ``lost`` counts unreadable rows of the
    other tables, ``changes`` are statements that change rows.
    """

    history: History
    jobs: list[Row] = field(default_factory=list)
    recipients: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    defaults: list[Row] = field(default_factory=list)
    other_defaults: int = 0
    procedures: list[Row] = field(default_factory=list)
    unreadable: list[Remark] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    changes: list[Remark] = field(default_factory=list)
    routines: list[Routine] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that can become a job, before it has a key.

    Attributes:
        row: Where it came from.
        name: The stable name: what the old tables call it.
        fields: ``JobSpec`` fields, without names.
        active: False: created paused.
        old: The old row.
        warnings: What to look at.
    """

    row: Row
    name: str
    fields: Mapping[str, object]
    active: bool
    old: OldJob
    warnings: tuple[str, ...] = ()


class Refused(Exception):  # noqa: N818 - a row's end, not a fault
    """This row can be no job; the text is the reason."""
