"""Changes of an import to a project, row by row, and the user's decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from targcc_gen.errors import OptionError, UnknownJobError
from targcc_gen.importing.base import BASE_FILE, Base, BaseRow, FieldChange, plain, shown
from targcc_gen.render.tree import Owner
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import FlowSpec, JobSpec, QueueSpec, flow_values, job_values
from targcc_gen.spec.errors import nearest
from targcc_gen.sync import Action, Change, Plan

# Changes.


class Kind(StrEnum):
    """The outcome of a row."""

    ADDED = "added"
    CHANGED = "changed"
    RENAMED = "renamed"
    SWITCHED_OFF = "switched off"
    SWITCHED_ON = "switched on"
    REMOVED = "removed"
    """Missing in the old table: the job is removed."""
    KEPT = "kept"
    """Changed in the project only: the change stays."""
    LEFT_OUT = "left out"
    """Removed in the project: the job does not come back."""
    REJECTED = "rejected"
    """No valid job any more: the project's job stays."""
    CONFLICT = "conflict"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class RowChange:
    """The outcome of a row.

    Attributes:
        kind: The outcome.
        row: The row's ID in the old table.
        key: The job's key.
        name: The old server's name of the job.
        fields: Fields that change, are kept, or need a decision.
        note: A note in words.
    """

    kind: Kind
    row: str
    key: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    note: str = ""

    def words(self) -> str:
        """Return the change on a single line, without its kind and key."""
        texts = [self.note] if self.note else []
        texts += [_field_words(self.kind, change) for change in self.fields]
        return "; ".join(texts)

    def to_json(self) -> dict[str, Any]:
        """Return the change for JSON."""
        data: dict[str, Any] = {
            "kind": self.kind.value,
            "row": self.row,
            "key": self.key,
            "name": self.name,
        }
        if self.fields:
            data["fields"] = [
                {
                    "field": change.field,
                    "base": change.before,
                    "mine": change.mine,
                    "old": change.old,
                }
                for change in self.fields
            ]
        if self.note:
            data["note"] = self.note
        return data


def _field_words(kind: Kind, change: FieldChange) -> str:
    if kind is Kind.CONFLICT:
        base = f", it was {shown(change.before)}" if change.before is not None else ""
        return f"{change.field}: mine {shown(change.mine)}, old {shown(change.old)}{base}"
    if kind is Kind.KEPT:
        return f"{change.field}: {shown(change.mine)} here, {shown(change.old)} there"
    return f"{change.field}: {shown(change.mine)} → {shown(change.old)}"


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's choices of a side, by ``Job``, ``Job.field``, or ``.`` for everything; in any case.

    Attributes:
        sides: ``mine`` or ``old`` by place.
    """

    sides: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, mine: Iterable[str], old: Iterable[str]) -> Choices:
        """Build the choices from a command line.

        Raises:
            InputError: A place is given to both sides.
        """
        sides = {place.casefold(): "old" for place in old}
        for place in mine:
            if sides.get(place.casefold()) == "old":
                raise OptionError(f"{place} is given to both --mine and --old")
            sides[place.casefold()] = "mine"
        return cls(sides)

    def of_field(self, key: str, name: str, part: str) -> str | None:
        """Return the side for a field of a job: by the field, else the job, else ``.``."""
        return self.named(key, name, part) or self.sides.get(".")

    def named(self, key: str, name: str, part: str) -> str | None:
        """Return the side for a field of a job, if a choice names the field or the job."""
        places = [f"{word}.{part}" for word in (key, name)] if part else []
        if part == "schedule":
            kinds = ("cron", "every", "anchor", "after", "at", "type")
            places += [f"{word}.{kind}" for word in (key, name) for kind in kinds]
        elif "." in part:
            places += [f"{word}.{part.partition('.')[0]}" for word in (key, name)]
        for place in (*places, key, name):
            if place.casefold() in self.sides:
                return self.sides[place.casefold()]
        return None

    def check(self, keys: Iterable[str], names: Iterable[str]) -> None:
        """Check that every place names a job.

        Raises:
            InputError: A place names no job.
        """
        known = list(keys)
        places = {word.casefold() for word in (*known, *names)} | {"."}
        for place in self.sides:
            if place not in places and not any(place.startswith(f"{word}.") for word in places):
                raise UnknownJobError(
                    f"no job {place} in this import or this project",
                    hint=nearest(place, known) or "write Job, Job.field, or . for all",
                )


# The outcome of an import, and the user's decisions.

SPEC_FILE = "targcc.yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """The user's options for an import into a project.

    Attributes:
        choices: The side to take where both sides changed a field.
        source: The name of the old table; None: the only known table.
        partial: Whether the export has only some rows of the table, so that missing rows are not removed.
        accept_rejected: Whether rows that can be no job are accepted as such.
        paused: Whether new jobs arrive paused. The base keeps the values of the rows.
        scheduler: The way a new project gets the scheduler; None: the default.
        database: The database of a new project's scheduler; None: the default.
    """

    choices: Choices = field(default_factory=Choices)
    source: str | None = None
    partial: bool = False
    accept_rejected: bool = False
    paused: bool = False
    scheduler: str | None = None
    database: str | None = None

    def arriving(self, spec: JobSpec) -> JobSpec:
        """Return the spec of a new job on arrival."""
        return spec.model_copy(update={"paused": True}) if self.paused else spec

    def arriving_flows(self, jobs: Iterable[ImportedJob]) -> dict[str, FlowSpec]:
        """Return the new flows on arrival, by key. The jobs of their steps have no schedule, so they need no pause."""
        arriving = (replace(job, spec=self.arriving(job.spec)) for job in jobs)
        return {job.key: flow for job in arriving if (flow := job.flow) is not None}


@dataclass(frozen=True, slots=True)
class Arrival:
    """The result of an import into a project.

    Attributes:
        plan: The changes to files.
        rows: The outcome of each row; empty for a new project.
        accepted: The number of rejected rows that the user accepted, now or earlier.
    """

    plan: Plan
    rows: tuple[RowChange, ...] = ()
    accepted: int = 0

    @property
    def conflicts(self) -> tuple[RowChange, ...]:
        """The rows that need a decision."""
        return tuple(row for row in self.rows if row.kind is Kind.CONFLICT)

    def having(self, kind: Kind) -> tuple[RowChange, ...]:
        """Return the rows of a kind."""
        return tuple(row for row in self.rows if row.kind is kind)


def queues_of(result: Import, used: Collection[str | None]) -> dict[str, QueueSpec]:
    """Return the used queues of old runners. The limit across all nodes is also the limit of each node."""
    return {
        name: QueueSpec(workers=count, concurrency=count)
        for name, count in result.queues.items()
        if name in used
    }


def base_row(source: str, row: str, job: ImportedJob) -> BaseRow:
    """Return a row of the base after this import."""
    theory = plain(job_values(job.theory)) if job.theory else {}
    return BaseRow(source, row, job.old.name, job.key, values_of(job), theory)


def values_of(job: ImportedJob) -> dict[str, Any]:
    """Return the values of an imported job or flow, by the keys of the spec."""
    values: dict[str, Any] = plain(flow_values(job.flow) if job.flow else job_values(job.spec))
    return values


def with_base(plan: Plan, base: Base) -> Plan:
    """Add the base to the plan. Like the lock, the base is the generator's own file."""
    path = plan.root / BASE_FILE
    before = path.read_bytes() if path.is_file() else None
    after = base.dump().encode()
    if before is not None and before.replace(b"\r\n", b"\n") == after:
        return plan
    action = Action.CREATE if before is None else Action.UPDATE
    reason = "what the old server says, for the next import"
    change = Change(BASE_FILE, action, reason, Owner.MANAGED, before, after)
    changes = sorted([*plan.changes, change], key=lambda row: row.path)
    return replace(plan, changes=tuple(changes))
