"""TARGCC's tables as a source of jobs: takes their rows as they are read, and turns them into jobs at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Routine
from targcc_gen.sources.c_job.convert import convert
from targcc_gen.sources.c_job.history import History
from targcc_gen.sources.c_job.model import Exported
from targcc_gen.sources.c_job.surroundings import concerns_jobs
from targcc_gen.sources.c_job.tables import (
    DEFAULT,
    JOB,
    PROCEDURE,
    RECIPIENT,
    TABLES,
    USER,
)
from targcc_gen.sources.model import Import, Options
from targcc_gen.spec import Spec


class CJobSource:
    """A ``LegacySource``.

    Args:
        spool: Where the history may be kept; None: it is only counted.

    Attributes:
        tables: What the readers look for.
        exported: What has been taken so far.
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

    def take(self, item: Item) -> None:
        """Keep a row, or what is to be said about one."""
        if isinstance(item, Remark):
            self._take_remark(item)
        elif isinstance(item, Routine):
            self.exported.routines.append(item)
        elif item.table == DEFAULT and not concerns_jobs(item):
            self.exported.other_defaults += 1  # they hold anything, passwords too
        elif item.table in self._kept:
            self._kept[item.table].append(item)
        else:
            self.exported.history.add(item)

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Bring every row of ``c_Job`` to its end; see ``LegacySource``."""
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
