"""What a row of ``c_Job`` ends as, and what is remembered of it for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from targcc_gen.readers.rows import Row
from targcc_gen.spec import JobSpec


class OldSchedule(StrEnum):
    """How the old server found out that a job was due; what ``parity`` compares with."""

    CRON = "cron"
    DAILY = "daily"
    MONTHLY = "monthly"
    ANNUALLY = "annually"
    NONE = "none"
    """Nothing to compare: a job without a schedule, or one that followed its own last run."""


@dataclass(frozen=True, slots=True)
class OldJob:
    """The old row, as far as people want to read it again.

    ``when`` is ``WhenToRun`` of a classic row; times are the old server's wall clock.
    """

    name: str
    id: str | None
    schedule: OldSchedule
    schedule_text: str
    when: datetime | None = None
    last_run: datetime | None = None
    next_run: datetime | None = None
    last_result: str | None = None
    failures: int | None = None


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


@dataclass(frozen=True, slots=True)
class ImportedJob:
    """A row that became a job: its key and spec, and where it came from."""

    key: str
    spec: JobSpec
    row: Row
    old: OldJob

    @property
    def stable_name(self) -> str:
        """The name its history is kept under."""
        return self.spec.name or self.key


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that became no job, and why."""

    file: str
    line: int
    reason: str
    name: str = ""


@dataclass(slots=True)
class Warnings:
    """Remarks in the order they came up, each once."""

    texts: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        """Remember ``place: text``."""
        self.texts[f"{place}: {text}" if place else text] = None


class Refused(Exception):  # noqa: N818 - a row's end, not a fault
    """This row can be no job; the text is the reason."""
