"""The kinds of old schedulers, and the recognition of an export's kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from targcc_gen.errors import OptionError
from targcc_gen.readers.database import is_address
from targcc_gen.readers.text import open_text
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.celery_beat import CELERY
from targcc_gen.sources.crontab import CRONTAB
from targcc_gen.sources.hangfire import HANGFIRE
from targcc_gen.sources.kubernetes import KUBERNETES
from targcc_gen.sources.model import SourceKind
from targcc_gen.sources.quartz import QUARTZ
from targcc_gen.sources.reading import files_of
from targcc_gen.sources.sql_agent.source import SQL_AGENT
from targcc_gen.sources.systemd import SYSTEMD
from targcc_gen.sources.task_scheduler import TASK_SCHEDULER

C_JOB = SourceKind(
    "c-job",
    "TARGCC's c_Job",
    lambda _path, _head: False,
    CJobSource,
    frozenset({
        "mode", "cron_dialect", "procedure_map", "weekly", "polling", "runner_workers", "schema", "dates",
    }),
)  # fmt: skip
"""The kind of every export that no other kind recognizes."""

KINDS = (C_JOB, SQL_AGENT, TASK_SCHEDULER, HANGFIRE, QUARTZ, SYSTEMD, KUBERNETES, CELERY, CRONTAB)
_HEAD = 1 << 16


def kind_named(name: str) -> SourceKind:
    """Return the kind of a name.

    Raises:
        KeyError: No kind has the name.
    """
    return {kind.name: kind for kind in KINDS}[name]


def recognized(exports: Sequence[str]) -> SourceKind:
    """Return the kind that recognizes the files; ``c_Job`` if no kind does, and for a database.

    Raises:
        InputError: The files are of several kinds.
    """
    kinds: dict[str, SourceKind] = {}
    for export in exports:
        if not is_address(export):
            for path in files_of(Path(export)):
                kind = _kind_of(path)
                kinds[kind.name] = kind
    if len(kinds) > 1:
        raise OptionError(
            f"the files are of several kinds: {', '.join(kind.title for kind in kinds.values())}",
            hint="Import the files of each kind by itself, or say --kind.",
        )
    return next(iter(kinds.values()), C_JOB)


def _kind_of(path: Path) -> SourceKind:
    from targcc_gen.errors import InputError

    try:
        head = next(open_text(path).chunks(), "")[:_HEAD]
    except InputError:  # a workbook, or no text: its reader says so
        return C_JOB
    return next((kind for kind in KINDS if kind.recognizes(path, head)), C_JOB)
